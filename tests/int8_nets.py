"""Graphs for tests: each operator alone with drawn constants, small composite networks, and the frames they are given."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from firmware_export.build import GraphBuilder
from firmware_export.graph import Operator, Tensor
from optics_sim.encoders.bdq_int import integer_thresholds, integer_weights

EXTREME_ZERO_POINTS = (-128, 127, 0, 3)


def frames(graph, seed, drawn=3):
    """Returns every input [T, ...]: drawn frames, saturated ones of both signs, constant ones, a checkerboard, steps of one."""
    rng = np.random.default_rng(seed)
    clip = {}
    for name in graph.inputs:
        shape = graph[name].shape[1:]
        checks = np.indices(shape).sum(0) % 2
        odd = [np.full(shape, value) for value in (-128, 127, 0, graph[name].zero_point)]
        odd += [np.where(checks, 127, -128), np.where(checks, -128, 127), rng.integers(-1, 2, shape)]
        clip[name] = np.stack([*rng.integers(-128, 128, (drawn, *shape)), *odd]).astype(np.int8)
    return clip


def _scale(rng, low=-3.0, high=0.0):
    return float(np.exp(rng.uniform(low, high)))


def _zero(rng):
    return int(rng.choice([*EXTREME_ZERO_POINTS, *rng.integers(-128, 128, 2)]))


def _input(builder, rng, shape, name="frame", scale=None, zero=None):
    return builder.input(name, (1, *shape), scale or _scale(rng), _zero(rng) if zero is None else zero)


def weighted(builder, rng, source, kind, shape, step=None, **options):
    """Adds a convolution or dense layer with drawn weights and per-channel scales; its output fills most of int8.

    With `step` the scales of the weights are such that the output has it.
    """
    axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    scales = np.exp(rng.uniform(-6, -2, shape[axis]))
    inside = np.prod(shape) / shape[axis]
    bias = rng.integers(-2000, 2000, shape[axis]).astype(np.int32)
    scale = float(builder.tensors[source].scale[0] * scales.max() * 127 * 128 * np.sqrt(inside) / 90)
    if step:
        scales, scale = scales * step / scale, step
    return builder.weighted(kind, source, weights, scales, bias, scale, _zero(rng), **options)


def _finished(builder, *names):
    builder.output(*names)
    return builder.build()


def convolution(kind, seed, *, size=(7, 6), channels=3, out=5, kernel=(3, 3), **options):
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    source = _input(builder, rng, (*size, channels))
    shape = (out, *kernel, channels) if kind == "CONV_2D" else (1, *kernel, out)
    return _finished(builder, weighted(builder, rng, source, kind, shape, **options))


def dense(seed, activation="none"):
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    source = _input(builder, rng, (3, 5, 2))
    return _finished(builder, weighted(builder, rng, source, "FULLY_CONNECTED", (7, 30), activation=activation))


def pair(kind, seed, *, activation="none", broadcast=False):
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    first = _input(builder, rng, (5, 4, 3), "first")
    second = _input(builder, rng, (1, 1, 3) if broadcast else (5, 4, 3), "second")
    one, other = (builder.tensors[name].scale[0] for name in (first, second))
    scale = one * other * 200 * rng.uniform(0.3, 1) if kind == "MUL" else (one + other) * rng.uniform(0.2, 1)
    return _finished(builder, builder.add(kind, (first, second), scale, _zero(rng), activation=activation))


def function(kind, seed):
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    source = _input(builder, rng, (16, 16, 1), scale=_scale(rng, -6, -1))
    return _finished(builder, builder.add(kind, (source,)))


def table(seed):
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    source = _input(builder, rng, (16, 16, 2))
    entries = builder.constant(rng.integers(-128, 128, 256).astype(np.int8))
    return _finished(builder, builder.add("TABLE", (source, entries), 1.0, 0))


def alone(kind, seed, *, size=(7, 6), channels=2, **options):
    """Returns a graph of one operator that has no constants and keeps the scale."""
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    source = _input(builder, rng, (*size, channels))
    return _finished(builder, builder.add(kind, (source,), **options))


def mean(seed):
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    source = _input(builder, rng, (5, 7, 3))
    return _finished(builder, builder.add("MEAN", (source,), builder.tensors[source].scale[0] * rng.uniform(0.3, 1.2), _zero(rng)))


def concatenation(seed):
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    zero = _zero(rng)
    sources = [_input(builder, rng, (4, 5, channels), f"part_{channels}", 0.25, zero) for channels in (1, 3, 2)]
    return _finished(builder, builder.add("CONCATENATION", sources))


def smoothed(seed, *, size=(9, 8), channels=1, kernel=5, sigma=1.0, thresholds=(-30.0, -3.5, -1.0, 1.0, 3.25, 128.0), difference=True):
    """Returns BDQ's own operators: blur, difference, levels."""
    builder = GraphBuilder("net")
    source = builder.input("frame", (1, *size, channels))
    blurred = builder.smooth(source, integer_weights(sigma, kernel), "blurred")
    values = [blurred]
    if difference:
        values.append(builder.state("previous", blurred))
        builder.keep("previous", blurred)
        builder.warmup = 1
    return _finished(builder, builder.levels(values, integer_thresholds(thresholds), "code"))


def ringed(graph, seed=0):
    """Returns the graph with a drawn table before every input and after every output frame, so that its arrays are our own."""
    rng = np.random.default_rng(seed)
    names = {name: f"{name}_own" for name in (*graph.inputs, *graph.outputs) if len(graph[name].shape) == 4}
    tensors, before, after = list(graph.tensors), [], []
    for name in names:
        tensors += [dataclasses.replace(graph[name], name=names[name]),
                    Tensor(f"{name}_entries", (256,), data=rng.permutation(np.arange(-128, 128)).astype(np.int8))]
    for name in graph.inputs:
        before.append(Operator("TABLE", (name, f"{name}_entries"), names[name]))
    for name in (name for name in graph.outputs if name in names):
        after.append(Operator("TABLE", (name, f"{name}_entries"), names[name]))
    own = {name: names[name] for name in graph.inputs}
    inside = [dataclasses.replace(operator, inputs=tuple(own.get(name, name) for name in operator.inputs)) for operator in graph.operators]
    return dataclasses.replace(graph, tensors=tuple(tensors), operators=(*before, *inside, *after),
                               outputs=tuple(names.get(name, name) for name in graph.outputs))


def bottleneck(seed, size=(16, 12), channels=3):
    """Returns a small autoencoder: stem, inverted residual, sigmoid, two resizes, a recurrent difference, two outputs."""
    rng, builder = np.random.default_rng(seed), GraphBuilder("autoencoder", design="0123abcd")
    source = builder.input("frame", (1, *size, channels), 1 / 255, -128)
    padded = builder.add("MIRROR_PAD", (source,), pads=((1, 1), (1, 1)))
    stem = weighted(builder, rng, padded, "CONV_2D", (6, 3, 3, channels), 6 / 255, stride=(2, 2), padding="VALID", activation="relu6")
    wide = weighted(builder, rng, stem, "CONV_2D", (12, 1, 1, 6), 0.03, activation="relu")
    deep = weighted(builder, rng, wide, "DEPTHWISE_CONV_2D", (1, 3, 3, 12), 0.03)
    narrow = weighted(builder, rng, deep, "CONV_2D", (6, 1, 1, 12), 0.03)
    joined = builder.add("ADD", (stem, narrow), builder.tensors[narrow].scale[0] * 1.3, 5)
    code = builder.add("LOGISTIC", (joined,), name="bottleneck")
    before = builder.state("before", code)
    builder.keep(before, code)
    moved = builder.add("SUB", (code, before), 1 / 127, 0)
    large = builder.add("RESIZE_BILINEAR", (moved,), shape=(1, *size, 6))
    pooled = builder.add("MAX_POOL_2D", (large,), window=(2, 2), stride=(2, 2))
    grown = builder.add("RESIZE_NEAREST_NEIGHBOR", (pooled,), shape=(1, *size, 6))
    both = builder.add("CONCATENATION", (large, grown))
    last = weighted(builder, rng, both, "CONV_2D", (2, 1, 1, 12), 0.02)
    mean_ = builder.add("MEAN", (last,))
    scores = weighted(builder, rng, mean_, "FULLY_CONNECTED", (4, 2), 0.02)
    builder.warmup = 1
    return _finished(builder, builder.add("TANH", (last,), name="decoded"), scores)


@functools.cache
def obfuscator(seed, size=(200, 320)):
    """Returns the kit's own obfuscator with drawn weights as integers: 0.14 M parameters, to 1/8 of the size, 8 channels, and back.

    Its steps are chosen by drawn frames, so that every layer uses its numbers: codes of one value would be equal anywhere.
    """
    import torch  # here: the other networks are made without it

    from firmware_export.quantise import quantised
    from optics_sim.encoders.obfuscator import Obfuscator
    from optics_sim.encoding import ObfuscatorEncoder
    from optics_sim.learning.trace import traced

    drawn = np.random.default_rng(seed).integers(-128, 128, (5, *size)).astype(np.int8)
    module = Obfuscator(ObfuscatorEncoder(seed=seed)).plain(size)
    return quantised(traced(module, torch.zeros(1, 1, *size), name="obfuscator"), drawn, design="0bf05ca7").graph


def cases():
    """Yields (name, graph maker) of every operator with its options, and the composite networks."""
    window = {"same": {}, "valid_stride_2": {"padding": "VALID", "stride": (2, 2)}, "same_stride": {"stride": (2, 3)},
              "dilated": {"dilation": (2, 1), "size": (9, 8)}, "relu": {"activation": "relu"}, "relu6": {"activation": "relu6"},
              "5x1": {"kernel": (5, 1)}, "1x1": {"kernel": (1, 1)}, "even": {"kernel": (2, 4), "size": (11, 5)},
              "one_pixel": {"size": (1, 1)}}
    for name, options in window.items():
        yield f"conv_{name}", lambda seed, o=options: convolution("CONV_2D", seed, **o)
        if name not in ("5x1", "even"):
            yield f"depthwise_{name}", lambda seed, o=options: convolution("DEPTHWISE_CONV_2D", seed, **{**o, "out": 3})
    yield "depthwise_multiplier", lambda seed: convolution("DEPTHWISE_CONV_2D", seed, channels=2, out=6)
    for activation in ("none", "relu", "relu6"):
        yield f"dense_{activation}", lambda seed, a=activation: dense(seed, a)
        for kind in ("ADD", "SUB", "MUL"):
            yield f"{kind.lower()}_{activation}", lambda seed, k=kind, a=activation: pair(k, seed, activation=a)
    for kind in ("ADD", "MUL"):
        yield f"{kind.lower()}_a_channel", lambda seed, k=kind: pair(k, seed, broadcast=True)
    for kind in ("LOGISTIC", "TANH"):
        yield kind.lower(), lambda seed, k=kind: function(k, seed)
    yield "table", table
    pads = ((2, 1), (0, 3))
    for kind, options in (("PAD", {}), ("MIRROR_PAD", {"mode": "reflect"}), ("MIRROR_PAD", {"mode": "symmetric"}), ("EDGE_PAD", {})):
        yield "_".join([kind.lower(), *options.values()]), lambda seed, k=kind, o=options: alone(k, seed, pads=pads, **o)
    for kind in ("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"):
        for size in ((14, 12), (15, 11), (3, 4), (7, 6), (1, 1)):
            for half in (True, False):
                name = f"{kind.lower()}_{size[0]}x{size[1]}{'_half_pixel' if half else ''}"
                yield name, lambda seed, k=kind, s=size, h=half: alone(k, seed, shape=(1, *s, 2), half_pixel=h)
    for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for name, options in {"same": {}, "valid": {"padding": "VALID"}, "stride": {"stride": (2, 3)},
                              "relu": {"activation": "relu"}}.items():
            yield f"{kind.lower()}_{name}", lambda seed, k=kind, o=options: alone(k, seed, window=(3, 2), **o)
    yield "mean", mean
    yield "concatenation", concatenation
    yield "reshape", lambda seed: alone("RESHAPE", seed, shape=(1, 6, 14, 1))
    yield "smooth_levels", smoothed
    yield "smooth_levels_colour", lambda seed: smoothed(seed, channels=3, kernel=7, sigma=2.0)
    yield "smooth_levels_still", lambda seed: smoothed(seed, difference=False)
    yield "smooth_levels_wide", lambda seed: smoothed(seed, size=(3, 4), kernel=31, sigma=5.0)
    yield "smooth_levels_no_blur", lambda seed: smoothed(seed, kernel=1)
    yield "autoencoder", bottleneck

"""A float network run in numpy: what the integer graph is calibrated on and compared with.

Frames may come in batches [N, h, w, c]; with a state they run one after another, every state zero before the first.
Deliberately not here: gradients, speed beyond what a product of matrices gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.errors import PrivcamError
from optics_sim.network import FloatNetwork, FloatOperator, Shape, spatial

Floats = NDArray[np.float32]
Values = dict[str, Floats]
Kernel = Callable[[FloatOperator, list[Floats], Shape], Floats]
BATCH = 16
"""Frames that are run together: every value of so many is in memory at once."""


def values_of_clip(network: FloatNetwork, clip: Mapping[str, NDArray[Any]]) -> Iterator[Values]:
    """Yields every value of the network for inputs [T, ...], some frames after another."""
    given = {name: clip[name].astype(np.float32) for name in network.inputs}
    count = len(next(iter(given.values())))
    step = 1 if network.states else BATCH
    states = {before: np.zeros(network.shapes[before], np.float32) for before, _ in network.states}
    for start in range(0, count, step):
        found = evaluate(network, {**{name: frames[start: start + step] for name, frames in given.items()}, **states})
        states = {before: found[after] for before, after in network.states}
        yield found


def run(network: FloatNetwork, clip: Mapping[str, NDArray[Any]]) -> Values:
    """Returns the outputs [T - warmup, ...] for inputs [T, ...]."""
    found = [{name: values[name] for name in network.outputs} for values in values_of_clip(network, clip)]
    return {name: np.concatenate([values[name] for values in found])[network.warmup:] for name in network.outputs}


def evaluate(network: FloatNetwork, given: Mapping[str, Floats]) -> Values:
    """Returns every value for inputs and states [N, ...]. Raises PrivcamError for a kind of operator that is not known."""
    found: Values = dict(given)
    for operator in network.operators:
        if operator.kind not in KERNELS:
            raise PrivcamError("this operator has no meaning in numpy", got=operator.kind, allowed=sorted(KERNELS),
                               todo="see what `network_problems` says of it")
        arrays = [found[name] if name in found else network.constants[name] for name in operator.inputs]
        result = KERNELS[operator.kind](operator, arrays, network.shapes[operator.output])
        found[operator.output] = _activated(operator, result)
    return found


def _activated(operator: FloatOperator, values: Floats) -> Floats:
    match operator.options.get("activation", "none"):
        case "relu":
            return np.maximum(values, 0)
        case "relu6":
            return np.clip(values, 0, 6)
    return values


def _taps(frames: Floats, window: tuple[int, int], operator: FloatOperator) -> Iterator[tuple[int, int, Floats]]:
    (step_y, step_x), (far_y, far_x) = operator.options["stride"], operator.options.get("dilation", (1, 1))
    height = spatial(frames.shape[1], window[0], step_y, far_y)
    width = spatial(frames.shape[2], window[1], step_x, far_x)
    for row in range(window[0]):
        for column in range(window[1]):
            y, x = row * far_y, column * far_x
            yield row, column, frames[:, y: y + (height - 1) * step_y + 1: step_y, x: x + (width - 1) * step_x + 1: step_x]


def _conv(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
    frames, weights, bias = arrays
    taps = [patch for _, _, patch in _taps(frames, weights.shape[1:3], operator)]
    patches = np.concatenate(taps, axis=-1) if len(taps) > 1 else taps[0]
    return patches @ weights.reshape(len(weights), -1).T + bias


def _depthwise(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
    frames, weights, bias = arrays
    frames = np.repeat(frames, weights.shape[3] // frames.shape[3], axis=3)
    total = np.broadcast_to(bias, (len(frames), *shape[1:])).copy()
    for row, column, patch in _taps(frames, weights.shape[1:3], operator):
        total += patch * weights[0, row, column]
    return total


def _dense(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
    return arrays[0].reshape(len(arrays[0]), -1) @ arrays[1].T + arrays[2]


def _pooled(reduce: Callable[..., Any]) -> Kernel:
    def pool(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
        found: Floats = reduce([patch for _, _, patch in _taps(arrays[0], operator.options["window"], operator)], axis=0)
        return found
    return pool


def _pad(mode: str) -> Kernel:
    def pad(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
        widths = ((0, 0), *operator.options["pads"], (0, 0))
        if mode == "constant":
            return np.pad(arrays[0], widths, constant_values=operator.options.get("value", 0.0))
        found: Floats = np.pad(arrays[0], widths, mode=mode)  # type: ignore[call-overload]
        return found
    return pad


def _nearest(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
    rows, columns = (np.arange(out) * size // out for out, size in zip(shape[1:3], arrays[0].shape[1:3], strict=True))
    return arrays[0][:, rows][:, :, columns]


def _bilinear(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
    frames = arrays[0]
    for axis in (1, 2):
        size, out = frames.shape[axis], shape[axis]
        place = np.maximum((np.arange(out) + 0.5) * size / out - 0.5, 0)
        lower = np.minimum(place.astype(np.int64), size - 1)
        weight = (place - lower).astype(np.float32).reshape([-1 if at == axis else 1 for at in range(4)])
        above = np.take(frames, np.minimum(lower + 1, size - 1), axis)
        frames = np.take(frames, lower, axis) * (1 - weight) + above * weight
    return frames


def _logistic(operator: FloatOperator, arrays: list[Floats], shape: Shape) -> Floats:
    return (0.5 * (1 + np.tanh(0.5 * arrays[0]))).astype(np.float32)


KERNELS: Mapping[str, Kernel] = {
    "CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _dense, "PAD": _pad("constant"), "MIRROR_PAD": _pad("reflect"),
    "EDGE_PAD": _pad("edge"), "MAX_POOL_2D": _pooled(np.max), "AVERAGE_POOL_2D": _pooled(np.mean),
    "MEAN": lambda operator, arrays, shape: arrays[0].mean(axis=(1, 2), keepdims=True),
    "RESHAPE": lambda operator, arrays, shape: arrays[0].reshape(-1, *shape[1:]),
    "RELU": lambda operator, arrays, shape: np.maximum(arrays[0], 0), "RELU6": lambda operator, arrays, shape: np.clip(arrays[0], 0, 6),
    "AFFINE": lambda operator, arrays, shape: arrays[0] * arrays[1] + arrays[2],
    "ADD": lambda operator, arrays, shape: arrays[0] + arrays[1], "SUB": lambda operator, arrays, shape: arrays[0] - arrays[1],
    "MUL": lambda operator, arrays, shape: arrays[0] * arrays[1], "LOGISTIC": _logistic,
    "TANH": lambda operator, arrays, shape: np.tanh(arrays[0]),
    "CONCATENATION": lambda operator, arrays, shape: np.concatenate(arrays, axis=-1), "RESIZE_NEAREST_NEIGHBOR": _nearest,
    "RESIZE_BILINEAR": _bilinear,
}

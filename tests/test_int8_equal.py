"""Integer reference == TFLite's reference kernels == generated C == TFLite-Micro, bit for bit, operator by operator."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from int8_nets import bottleneck, cases, convolution, frames, function, ringed, smoothed
from tflite_micro_runner import MicroArtifact

from firmware_export.build import GraphBuilder
from firmware_export.c_code import c_files
from firmware_export.c_host import SANITIZED, CArtifact, compiler
from firmware_export.int8 import Reference
from firmware_export.tflite import TfliteArtifact

CASES = dict(cases())
SEEDS = (0, 1)
needs_litert = pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")
needs_micro = pytest.mark.skipif(importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed")
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")


def assert_equal(graph, artifact, clip):
    """Fails, with the number of codes that differ, unless an artefact gives the reference's codes."""
    wanted, found = Reference(graph).run(clip), artifact.run(clip)
    assert wanted.keys() == found.keys()
    for name, codes in wanted.items():
        assert codes.shape == found[name].shape and codes.dtype == found[name].dtype == np.int8
        assert np.array_equal(codes, found[name]), f"{np.sum(codes != found[name])} of {codes.size} codes of {name} differ"


@needs_litert
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_tflite_reference_kernels_equal_the_reference(name, seed):
    graph = CASES[name](seed)
    assert_equal(graph, TfliteArtifact(graph), frames(graph, seed))


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_generated_c_equals_the_reference(name):
    graph = CASES[name](0)
    assert_equal(graph, CArtifact(graph, options=SANITIZED), frames(graph, 0))


@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_streamed_c_equals_the_reference(name):
    """Tables around each network make its frames our own: rows in rings, which inputs and outputs are not."""
    graph = ringed(CASES[name](0))
    assert_equal(graph, CArtifact(graph, c_files(graph, streamed=True), (*SANITIZED, "-O0")), frames(graph, 0))


@needs_litert
@needs_micro
@pytest.mark.parametrize("name", CASES)
def test_tflite_micro_equals_the_reference(name):
    graph = CASES[name](1)
    assert_equal(graph, MicroArtifact(graph), frames(graph, 1, drawn=1))


@needs_litert
@pytest.mark.parametrize("seed", range(30))
def test_drawn_scales_and_zero_points(seed):
    """The operators whose rounding depends on the scales most, with many of them."""
    for name in ("conv_same", "depthwise_same", "dense_none", "add_none", "sub_none", "mul_none", "mean", "logistic", "tanh"):
        graph = CASES[name](100 + seed)
        assert_equal(graph, TfliteArtifact(graph), frames(graph, seed))


@needs_litert
@pytest.mark.parametrize("fast_frames", [20])
def test_bdq_is_equal_on_the_fast_path_too(fast_frames):
    """Its arithmetic in the file is of whole numbers, which no kernel rounds."""
    graph = smoothed(0, size=(32, 24))
    clip = {"frame": np.random.default_rng(5).integers(-128, 128, (fast_frames, 32, 24, 1)).astype(np.int8)}
    assert_equal(graph, TfliteArtifact(graph, fast=True), clip)


FAST_STEPS = 1
"""The fast path rounds once: one operator's result is off by one code level at most."""


@needs_litert
def test_the_fast_path_is_within_one_level_of_a_convolution():
    graph = convolution("CONV_2D", 3, size=(20, 20), channels=8, out=16)
    clip = frames(graph, 3)
    wanted, found = (artifact.run(clip) for artifact in (Reference(graph), TfliteArtifact(graph, fast=True)))
    for name, codes in wanted.items():
        assert np.abs(codes.astype(int) - found[name]).max() <= FAST_STEPS


# --- negative controls ----------------------------------------------------------------------------
def _differs(graph, files, clip):
    wanted, found = Reference(graph).run(clip), CArtifact(graph, files=files).run(clip)
    return any(not np.array_equal(codes, found[name]) for name, codes in wanted.items())


def _changed(graph, name, old, new):
    files = CArtifact(graph).files
    text = files[name].decode()
    assert old in text, f"{name} has no {old!r}: the control no longer controls anything"
    return {**files, name: text.replace(old, new, 1).encode()}


def _halving(kind, scale):
    """Returns a network whose values lie on halves often: every scale is a power of two."""
    builder = GraphBuilder("net")
    builder.output(builder.add(kind, [builder.input(name, (1, 8, 8, 1)) for name in ("first", "second")], scale, 0))
    return builder.build()


@needs_compiler
@pytest.mark.parametrize(("graph", "name", "old", "new"), [
    (_halving("SUB", 4.0), "kernels.h", "(mask >> 1) + (high < 0)", "(mask >> 1)"),
    (_halving("MUL", 128.0), "kernels.h", "(mask >> 1) + (high < 0)", "(mask >> 1)"),
    (_halving("MUL", 2.0), "kernels.h", "product + ((int64_t)1 << 30)", "product + ((int64_t)1 << 30) - (product < 0)"),
    (function("TANH", 0), "kernels.c", "in[index] + 128]", "in[index] + 127 + (in[index] < 0)]"),
    (smoothed(0, size=(32, 24)), "model.c", "-448,", "-440,"),
    (smoothed(0, size=(32, 24)), "kernels.c", "total = 1 << 5", "total = 0"),
    (bottleneck(0), "model.c", ".out_zero = 5", ".out_zero = 4"),
], ids=["halves up in a sum", "halves up in a product", "halves down in the first rounding, of negative products", "a table shifted by one",
        "a threshold", "a row not rounded", "a zero point"])
def test_a_flipped_rounding_or_table_is_seen(graph, name, old, new):
    clip = frames(graph, 0, drawn=30)
    assert not _differs(graph, CArtifact(graph).files, clip)
    assert _differs(graph, _changed(graph, name, old, new), clip)


def wide_dense(seed):
    """Returns a dense layer of 256 outputs, each with its own scale, and its sums' values in output steps, unrounded, [n, 256]."""
    rng, builder = np.random.default_rng(seed), GraphBuilder("net")
    source = builder.input("frame", (1, 128), 0.05, -128)
    weights, scales = rng.integers(-127, 128, (256, 128)).astype(np.int8), np.exp(rng.uniform(-6, -5, 256)).astype(np.float32)
    bias = rng.integers(-2000, 2000, 256).astype(np.int32)
    builder.output(builder.weighted("FULLY_CONNECTED", source, weights, list(scales), bias, 0.3, -5))
    clip = {"frame": rng.integers(-128, 128, (60, 128)).astype(np.int8)}
    sums = (clip["frame"].astype(int) + 128) @ weights.T.astype(int) + bias
    return builder.build(), clip, sums * (np.float64(np.float32(0.05)) * scales.astype(np.float64) / np.float64(np.float32(0.3)))


@needs_litert
@needs_micro
def test_a_wide_dense_layer_rounds_twice_everywhere():
    """LiteRT's own reference kernel of a dense layer rounds once: a control says that this clip would have told."""
    graph, clip, exact = wide_dense(0)
    once = np.clip(np.floor(exact + 0.5) - 5, -128, 127)
    assert np.sum(Reference(graph).run(clip)[graph.outputs[0]] != once) >= 3
    for artifact in (TfliteArtifact(graph), MicroArtifact(graph)):
        assert_equal(graph, artifact, clip)


@needs_compiler
def test_a_wide_dense_layer_rounds_twice_in_c():
    graph, clip, _ = wide_dense(0)
    assert_equal(graph, CArtifact(graph), clip)

"""BDQ in integers: equal everywhere for 100 frames of 64 x 64, and within one step of the float encoder on every pixel."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_export.bdq_graph import bdq_graph, weight_error_codes
from firmware_export.build import GraphBuilder
from firmware_export.c_host import CArtifact, compiler
from firmware_export.golden import golden_clip
from firmware_export.int8 import Reference
from firmware_export.tflite import TfliteArtifact
from optics_sim.encoders.bdq import Bdq
from optics_sim.encoders.bdq_int import IntegerBdq
from optics_sim.encoding import BdqEncoder
from optics_sim.errors import PrivcamError

CODE_STEPS = 1
"""Proved in `bdq_graph`: an error of less than one code level cannot pass two thresholds that are two apart."""
DENSE = BdqEncoder(input_range=(-15.0, 15.0))


def specs():
    def build(sigma, radius, levels, middle, gap, blur, difference):
        half = gap * (levels - 1) / 2
        return BdqEncoder(sigma_px=sigma, kernel_px=2 * radius + 1, levels=levels, input_range=(middle - half, middle + half),
                          blur=blur, difference=difference)
    return st.builds(build, st.floats(0.2, 6), st.integers(0, 15), st.integers(2, 16), st.floats(-120, 120), st.floats(2.001, 12),
                     st.booleans(), st.booleans())


def clip_of(seed, size=(9, 10), frames=4):
    graph = bdq_graph(BdqEncoder(), size)
    return golden_clip(graph, np.random.default_rng(seed), frames)["frame"][..., 0]


@settings(max_examples=60, deadline=None)
@given(spec=specs(), seed=st.integers(0, 2**31))
def test_the_graph_is_the_integer_encoder_and_within_a_step_of_floats(spec, seed):
    clip = clip_of(seed)
    codes = Reference(bdq_graph(spec, clip.shape[1:]))(clip)
    assert np.array_equal(codes, IntegerBdq.from_spec(spec)(clip))
    floats = Bdq(spec)(torch.from_numpy(clip.astype(np.float32))).numpy()
    assert np.abs(codes - floats).max() <= CODE_STEPS


def test_how_far_codes_are_from_floats():
    """Measured on the densest quantiser there may be: nearly every code is the float one's, none is two steps off."""
    clip = clip_of(7, (64, 64), 40)
    codes = Reference(bdq_graph(DENSE, (64, 64)))(clip)
    off = np.abs(codes - Bdq(DENSE)(torch.from_numpy(clip.astype(np.float32))).numpy())
    assert off.max() <= CODE_STEPS
    assert np.mean(off > 0) < 0.001


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")
@pytest.mark.parametrize("fast", [False, True], ids=["reference kernels", "fast path"])
@pytest.mark.parametrize("spec", [BdqEncoder(), DENSE], ids=["default", "dense"])
def test_a_hundred_frames_in_tflite(spec, fast):
    graph = bdq_graph(spec, (64, 64))
    clip = clip_of(1, (64, 64), 100)
    assert np.array_equal(Reference(graph)(clip), TfliteArtifact(graph, fast=fast)(clip))


@pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
@pytest.mark.parametrize("spec", [BdqEncoder(), DENSE, BdqEncoder(kernel_px=9, sigma_px=2.5, levels=4)], ids=["default", "dense", "wide"])
def test_a_hundred_frames_in_c(spec):
    graph = bdq_graph(spec, (64, 64))
    clip = clip_of(2, (64, 64), 100)
    assert np.array_equal(Reference(graph)(clip), CArtifact(graph)(clip))


def test_a_clip_starts_anew_each_time():
    reference = Reference(bdq_graph(BdqEncoder(), (9, 10)))
    clip = clip_of(3)
    assert np.array_equal(reference(clip), reference(clip))
    assert len(reference(clip)) == len(clip) - 1


@pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
def test_the_first_frame_never_leaves_the_device():
    """Its difference is against black: a picture. The program says nothing and the buffer is blank."""
    graph = bdq_graph(DENSE, (9, 10))
    clip = clip_of(3)
    text = CArtifact(graph).files["model.c"].decode()
    assert "memset(output, 0, MODEL_OUTPUT_BYTES);" in text
    assert len(CArtifact(graph)(clip)) == len(clip) - 1


def test_without_the_quantiser_there_is_no_graph():
    with pytest.raises(PrivcamError, match="no 8-bit codes"):
        bdq_graph(BdqEncoder(quantise=False), (8, 8))


# --- why the state is not int8 --------------------------------------------------------------------
def _plain(sigma_px, kernel_px, size):
    """Returns the blur as TFLite's own operators have it: 8-bit weights in two dimensions, a state in whole code levels."""
    line = np.exp(-0.5 * ((np.arange(kernel_px) - kernel_px // 2) / sigma_px) ** 2)
    weights = np.outer(line, line) / line.sum() ** 2
    step = weights.max() / 127
    builder, radius = GraphBuilder("plain"), kernel_px // 2
    frame = builder.input("frame", (1, *size, 1))
    padded = builder.add("EDGE_PAD", (frame,), pads=((radius, radius), (radius, radius)))
    stored = np.rint(weights / step).astype(np.int8)[None, :, :, None]
    builder.output(builder.weighted("DEPTHWISE_CONV_2D", padded, stored, [step], np.zeros(1, np.int32), 1.0, 0, padding="VALID"))
    return builder.build()


def test_an_int8_state_misses_the_bound():
    """One pixel, the worst pair of frames for 8-bit weights: a quantiser of gap 2 may be off by two steps."""
    sigma_px, kernel_px = 1.0, 5
    assert weight_error_codes(sigma_px, kernel_px) > 2
    line = np.exp(-0.5 * ((np.arange(kernel_px) - 2) / sigma_px) ** 2)
    weights = np.outer(line, line) / line.sum() ** 2
    step = weights.max() / 127
    too_large = np.rint(weights / step) * step > weights
    pair = np.stack([np.where(too_large, -128, 127), np.where(too_large, 127, -128)]).astype(np.int8)
    blurred = Reference(_plain(sigma_px, kernel_px, (5, 5)))(pair).astype(int)
    exact = (pair.astype(float) * weights).sum((1, 2))
    error = (blurred[1, 2, 2] - blurred[0, 2, 2]) - (exact[1] - exact[0])
    assert abs(error) > 2
    spec = BdqEncoder(sigma_px=sigma_px, kernel_px=kernel_px)
    state = [IntegerBdq.from_spec(spec).step(frame)[1][2, 2] / 128 for frame in pair]
    assert abs(state[1] - state[0] - (exact[1] - exact[0])) < 0.1

"""BDQ: the published equations by brute force, its laws, its thresholds' order, streaming, and the integer encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from optics_sim.encoders import bdq_soft
from optics_sim.encoders.bdq import Bdq
from optics_sim.encoders.bdq_int import ERROR_CODES, STATE_BITS, IntegerBdq, integer_weights
from optics_sim.encoders.bdq_soft import Scale, soft_levels
from optics_sim.encoders.cost import BDQ_PUBLISHED, WU, bdq_parameters, full_cost, paper_cost
from optics_sim.encoding import FULL_RANGE, MIN_GAP_CODES, BdqEncoder, even_thresholds
from optics_sim.errors import PrivcamError

ABLATION = {"raw": (0, 0, 0), "B": (1, 0, 0), "D": (0, 1, 0), "Q": (0, 0, 1), "BD": (1, 1, 0), "BQ": (1, 0, 1), "DQ": (0, 1, 1),
            "BDQ": (1, 1, 1)}
FLOAT32_CODES = 1e-4  # 25 products of numbers up to 128
SOFT_LEVELS = 1e-5
HELD = 1e-6  # slope of the outermost sigmoid where values are held


def clips(count: int = 2, frames: int = 5, side: int = 12, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-128, 128, (count, frames, side, side + 1), generator=generator).float()


def ablated(name: str, **fields) -> BdqEncoder:
    return BdqEncoder(**dict(zip(("blur", "difference", "quantise"), map(bool, ABLATION[name]), strict=True)), **fields)


def brute_force(clip: np.ndarray, spec: BdqEncoder, *, hard: bool) -> np.ndarray:
    """The equations as written, [T, h, w] in double precision, pixel by pixel."""
    radius = spec.kernel_px // 2
    reach = range(-radius, radius + 1)
    window = np.array([[np.exp(-(y * y + x * x) / (2 * spec.sigma_px**2)) for x in reach] for y in reach])
    values = clip.astype(float)
    if spec.blur:
        padded = np.pad(values, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
        patches = np.lib.stride_tricks.sliding_window_view(padded, window.shape, (1, 2))
        values = (patches * (window / window.sum())).sum((-2, -1))
    if spec.difference:
        values = values[1:] - values[:-1]
    if not spec.quantise:
        return values
    if hard:
        return sum((values > edge).astype(float) for edge in spec.thresholds)
    low, high = spec.input_range
    scale = (spec.levels - 1) / (high - low)
    return sum(1 / (1 + np.exp(-spec.hardness * scale * (values - edge))) for edge in spec.thresholds)


# --- the equations --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ABLATION)
@pytest.mark.parametrize("kernel_px", [3, 5])
def test_soft_codes_are_those_of_the_equations(name, kernel_px):
    spec = ablated(name, sigma_px=1.3, kernel_px=kernel_px)
    ours = Bdq(spec)(clips(), hard=False)
    theirs = np.stack([brute_force(clip, spec, hard=False) for clip in clips().numpy()])
    np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=FLOAT32_CODES)


@pytest.mark.parametrize("name", ["Q", "DQ"])
def test_hard_codes_of_whole_numbers_are_the_counts_of_thresholds_below(name):
    spec = ablated(name)
    assert np.array_equal(Bdq(spec)(clips()).numpy()[0], brute_force(clips().numpy()[0], spec, hard=True))


def test_a_static_pixel_lies_on_the_lower_side_of_the_middle_threshold():
    still = torch.full((1, 3, 4, 4), 17.0)
    assert Bdq(BdqEncoder()).thresholds()[7] == 0
    assert Bdq(BdqEncoder())(still).eq(7).all()
    assert torch.allclose(Bdq(BdqEncoder())(still, hard=False), torch.tensor(7.5), atol=1e-3)


def test_soft_levels_and_slopes_are_those_of_the_sum_of_sigmoids_even_far_outside():
    thresholds, slope = torch.tensor(even_thresholds((-16, 16), 16)), 5 * 15 / 32

    def answers(dtype: torch.dtype, levels: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        inputs = [torch.linspace(-400, 400, 4001, dtype=dtype, requires_grad=True), thresholds.to(dtype).requires_grad_()]
        soft = levels(*inputs)
        return [soft.detach(), *torch.autograd.grad(soft.sum(), inputs)]

    exact = answers(torch.float64, lambda values, edges: torch.sigmoid(slope * (values[:, None] - edges)).sum(-1))
    ours = answers(torch.float32, lambda values, edges: soft_levels(
        values, Scale(edges, torch.tensor(0.0), torch.tensor(slope), 5.0 * 7.5 + 12)))
    assert ours[0].min() >= 0 and ours[0].max() <= 15
    for one, other, summed in zip(ours, exact, (1, 1, 4001), strict=True):
        assert torch.allclose(one.double(), other, atol=max(SOFT_LEVELS, HELD * summed), rtol=1e-5)


def test_the_published_scale_is_that_of_the_full_range():
    """On differences scaled to 0..15 the edges are 0.5, 1.5, ... 14.5."""
    low, high = FULL_RANGE
    scaled = [(edge - low) / (high - low) * 15 for edge in BdqEncoder().thresholds]
    assert scaled == pytest.approx([index + 0.5 for index in range(15)])


# --- laws -----------------------------------------------------------------------------------------
def test_sixteen_parameters_learn():
    encoder = Bdq(BdqEncoder())
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 16 == bdq_parameters(encoder.spec)
    encoder(clips(), hard=False).square().mean().backward()
    for parameter in encoder.parameters():
        assert parameter.grad.isfinite().all() and (parameter.grad != 0).all()


def test_gradients_agree_with_finite_differences():
    encoder = Bdq(BdqEncoder(sigma_px=0.8, input_range=(-40, 40))).double()
    codes = clips(1, 3, 5).double() / 8
    assert torch.autograd.gradcheck(
        lambda *parameters: torch.func.functional_call(
            encoder, dict(zip(("raw_sigma", "first", "raw_gaps"), parameters[:3], strict=True)), (parameters[3],), {"hard": False}),
        (*(parameter.detach().clone().requires_grad_() for parameter in encoder.parameters()), codes.requires_grad_()))


def test_sigma_learns_and_stays_positive():
    encoder = Bdq(BdqEncoder(sigma_px=2.0, input_range=(-60, 60)))
    target = Bdq(BdqEncoder(sigma_px=0.6, input_range=(-60, 60)))(clips(), hard=False).detach()
    optimiser = torch.optim.Adam([encoder.raw_sigma], lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        (encoder(clips(), hard=False) - target).square().mean().backward()
        optimiser.step()
    assert float(encoder.sigma_px().detach()) == pytest.approx(0.6, abs=0.05)
    with torch.no_grad():
        encoder.raw_sigma.fill_(-50)
    assert encoder.sigma_px() > 0 and encoder(clips()).isfinite().all()


def test_thresholds_keep_order_and_gap_whatever_an_optimiser_does():
    encoder = Bdq(BdqEncoder(input_range=(-16, 16)))
    generator = torch.Generator().manual_seed(0)
    for scale in (1, 10, 100):
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
        assert (encoder.thresholds().diff() >= MIN_GAP_CODES - 1e-3).all()
        assert all(above - below >= MIN_GAP_CODES - 1e-6 for below, above in pairwise(encoder.to_spec().thresholds))


def test_a_code_depends_on_its_own_clip_and_changes_no_state():
    encoder = Bdq(BdqEncoder(input_range=(-60, 60)))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    for hard in (True, False):
        together = encoder(torch.cat([clips(), 100 * clips(seed=1)]), hard=hard)
        assert together[:2].equal(encoder(clips(), hard=hard))
    assert all(value.equal(before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("name", ABLATION)
def test_the_plain_data_come_back(name):
    spec = ablated(name, sigma_px=1.7, input_range=(-31.3, 44.4))
    assert Bdq.from_spec(spec).to_spec() == spec
    learned = Bdq(spec)
    with torch.no_grad():
        learned.raw_sigma.add_(0.3)
        learned.raw_gaps.add_(0.2)
    again = Bdq(learned.to_spec())
    assert again.to_spec() != spec
    assert torch.allclose(again(clips(), hard=False), learned(clips(), hard=False), atol=1e-3)


@pytest.mark.parametrize("name", ABLATION)
@pytest.mark.parametrize("hard", [True, False])
def test_frame_by_frame_equals_the_batch(name, hard):
    encoder, state, found = Bdq(ablated(name, input_range=(-60, 60))), None, []
    for frame in clips().unbind(1):
        code, state = encoder.step(frame, state, hard=hard)
        found += [] if code is None else [code]
    together = encoder(clips(), hard=hard)
    assert torch.stack(found, 1).equal(together) if hard else torch.allclose(torch.stack(found, 1), together, atol=FLOAT32_CODES)
    assert len(found) == 5 - encoder.spec.difference


def test_colour_planes_are_encoded_one_by_one():
    colour = torch.stack([clips(seed=seed) for seed in range(3)], 2)
    encoder = Bdq(BdqEncoder(input_range=(-60, 60)))
    together = encoder(colour, time_axis=-4)
    assert all(together[:, :, plane].equal(encoder(colour[:, :, plane])) for plane in range(3))


@pytest.mark.parametrize("difference", [True, False])
@pytest.mark.parametrize("compiler", [pytest.param(bdq_soft._fast, marks=pytest.mark.slow, id="compiled"), lambda function: function])
def test_large_batches_have_the_codes_and_gradients_of_double_precision(monkeypatch, compiler, difference):
    encoder = Bdq(BdqEncoder(kernel_px=3, levels=4, difference=difference, input_range=(-60, 60)))  # small: it compiles sooner
    still = torch.cat([clips(), clips()[:, :1].expand(2, 5, 12, 13)])

    def answers(encoder: Bdq, codes: torch.Tensor) -> list[torch.Tensor]:
        inputs = [codes.requires_grad_(), *encoder.parameters()]
        soft = encoder(codes, hard=False)
        given = torch.linspace(-1, 2, soft.numel(), dtype=torch.float64).reshape(soft.shape).to(soft.dtype)
        torch.autograd.grad(soft, inputs, given, retain_graph=True)  # a kept graph has as many backwards as one asks for
        return [soft.detach(), *torch.autograd.grad(soft, inputs, given)]

    exact = answers(copy.deepcopy(encoder).double(), still.double())
    monkeypatch.setattr(bdq_soft, "LARGE", 0)
    monkeypatch.setattr(bdq_soft, "_fast", compiler)
    for one, other in zip(answers(encoder, still), exact, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


# --- the range ------------------------------------------------------------------------------------
def test_the_range_is_the_span_of_the_training_values():
    encoder = Bdq(ablated("DQ"))
    encoder.measure_range(clips(8, 6, 20))
    values = (clips(8, 6, 20)[:, 1:] - clips(8, 6, 20)[:, :-1]).flatten()
    assert torch.allclose(encoder.input_range.float(), values.quantile(torch.tensor([0.005, 0.995])), atol=1)
    spec = encoder.to_spec()
    assert spec.thresholds == pytest.approx(even_thresholds(spec.input_range, 16))


def test_a_still_clip_widens_to_two_steps_a_level():
    encoder = Bdq(BdqEncoder())
    encoder.measure_range(torch.zeros(1, 3, 8, 8))
    assert encoder.to_spec().input_range == (-16, 16)


@pytest.mark.parametrize(("fields", "reason"), [
    ({"kernel_px": 4}, "odd"), ({"input_range": (3, 3)}, "low below high"), ({"thresholds": (0.0, 4.0)}, "need 15 thresholds"),
    ({"levels": 3, "thresholds": (0.0, 1.0)}, "at least 2"), ({"levels": 3, "thresholds": (4.0, 0.0)}, "ascend"),
    ({"input_range": (-5, 5)}, "widen"), ({"sigma_px": 0}, "greater than 0"), ({"levels": 32}, "16"),
])
def test_what_no_firmware_could_run_is_refused(fields, reason):
    with pytest.raises(ValidationError, match=reason):
        BdqEncoder(**fields)


def test_a_single_frame_has_no_difference():
    for encoder in (Bdq(BdqEncoder()), lambda codes: IntegerBdq.from_spec(BdqEncoder())(codes.numpy().astype(np.int8))):
        with pytest.raises(PrivcamError, match="too short"):
            encoder(clips(1, 1))


# --- integers -------------------------------------------------------------------------------------
@st.composite
def specs(draw) -> BdqEncoder:
    gaps = draw(st.lists(st.floats(2, 30), min_size=14, max_size=14))
    first = draw(st.floats(-200, 0))
    return BdqEncoder(sigma_px=draw(st.floats(0.05, 20)), kernel_px=draw(st.sampled_from([1, 3, 5, 9, 31])),
                      blur=draw(st.booleans()), difference=draw(st.booleans()),
                      thresholds=tuple(first + float(sum(gaps[:index])) for index in range(15)))


def extreme_clips(seed: int, extreme: str) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if extreme == "random":
        return generator.integers(-128, 128, (3, 9, 10)).astype(np.int8)
    if extreme == "black and white":
        return np.where(generator.random((3, 9, 10)) < 0.5, -128, 127).astype(np.int8)
    return np.broadcast_to(np.array([-128, 127, -128], np.int8)[:, None, None], (3, 9, 10))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(spec=specs(), seed=st.integers(0, 2**31), extreme=st.sampled_from(["random", "black and white", "flashes"]))
def test_integers_are_within_one_step_of_floats(spec, seed, extreme):
    codes = extreme_clips(seed, extreme)
    float_codes = Bdq(spec)(torch.from_numpy(codes.astype(np.float32))).numpy()
    whole = IntegerBdq.from_spec(spec)(codes)
    assert whole.dtype == np.uint8 and whole.max() <= 15
    assert np.abs(whole.astype(int) - float_codes).max() <= 1
    unquantised = spec.model_copy(update={"quantise": False})
    values = IntegerBdq.from_spec(unquantised)(codes) / 2**STATE_BITS
    exact = np.stack(list(brute_force(codes, unquantised, hard=True)))
    assert np.abs(values - exact).max() < ERROR_CODES


def test_integers_without_the_blur_are_the_floats():
    spec = ablated("DQ", input_range=(-77.7, 91.3))
    codes = clips(side=40).numpy()
    assert np.array_equal(IntegerBdq.from_spec(spec)(codes.astype(np.int8)), Bdq(spec)(torch.from_numpy(codes)).numpy())


@pytest.mark.parametrize("kernel_px", [1, 5, 31])
@pytest.mark.parametrize("sigma_px", [1e-3, 0.7, 3.0, 100.0])
def test_integer_weights_are_symmetric_and_let_all_light_through(kernel_px, sigma_px):
    weights = integer_weights(sigma_px, kernel_px)
    assert weights.dtype == np.int16 and weights.astype(int).sum() == 2**14 and (weights >= 0).all()
    assert np.array_equal(weights, weights[::-1])


def test_an_even_field_keeps_its_code_exactly():
    encoder = IntegerBdq.from_spec(ablated("B"))
    for level in (-128, -1, 0, 1, 127):
        frame = np.full((1, 6, 7), level, np.int8)
        assert (encoder(frame) == level * 2**STATE_BITS).all()


def test_the_integer_arithmetic_is_the_documented_one():
    """A golden: what firmware must give for this frame pair, worked through the format once in Python's own integers."""
    frames = np.array([[[10, -20, 30], [-40, 50, -60], [70, -80, 90]], [[-128, 127, 0], [1, -1, 2], [100, -100, 3]]], np.int8)
    spec = BdqEncoder(sigma_px=0.8, kernel_px=3, input_range=(-80, 80))
    w = [int(v) for v in integer_weights(0.8, 3)]
    states = []
    for frame in frames.tolist():
        at = lambda grid, y, x: grid[min(max(y, 0), 2)][min(max(x, 0), 2)]  # noqa: E731
        rows = [[(sum(w[k] * at(frame, y, x + k - 1) for k in range(3)) + 32) >> 6 for x in range(3)] for y in range(3)]
        states.append([[(sum(w[k] * at(rows, y + k - 1, x) for k in range(3)) + 16384) >> 15 for x in range(3)] for y in range(3)])
    edges = [int(np.floor(edge * 128)) for edge in spec.thresholds]
    codes = [[sum(b - a > edge for edge in edges) for a, b in zip(*rows, strict=True)] for rows in zip(*states, strict=True)]
    assert w == [3916, 8552, 3916]  # 2**14 * exp(-0.5 / 0.64) / (1 + 2 exp(-0.5 / 0.64)) is 3915.7
    assert IntegerBdq.from_spec(spec)(frames)[0].tolist() == codes


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32), np.zeros(4, np.int8)])
def test_integers_read_int8_frames_alone(frame):
    with pytest.raises(PrivcamError, match="readout's codes"):
        IntegerBdq.from_spec(BdqEncoder()).step(frame)


def test_a_state_of_another_frame_size_is_refused():
    encoder = IntegerBdq.from_spec(BdqEncoder())
    _, state = encoder.step(np.zeros((4, 4), np.int8))
    with pytest.raises(PrivcamError, match="state"):
        encoder.step(np.zeros((5, 4), np.int8), state)


# --- cost -----------------------------------------------------------------------------------------
def test_the_cost_is_the_papers():
    cost = paper_cost(BdqEncoder(), 16, 224, 224)
    assert (cost.parameters, round(cost.flop / 1e6, 1)) == (BDQ_PUBLISHED.parameters, BDQ_PUBLISHED.flop / 1e6)
    assert WU.flop / cost.flop > 1000


def test_the_full_count_holds_every_part():
    whole = full_cost(BdqEncoder(), 2, 1, 1, 1)
    assert whole.flop == 4 * 5 * 2 + 1 + 4
    assert full_cost(ablated("raw"), 2, 1, 1, 1).flop == 0
    assert full_cost(BdqEncoder(), 2, 1, 1, 1, hard=False).flop == 4 * 5 * 2 + 1 + 4 * 15

"""A float network as an integer graph: each operator within a stated error, whole networks, and equal on every runner."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util

import numpy as np
import pytest
import torch
from test_trace import LAYERS, drawn
from torch import nn
from torch.nn import functional as F
from trained_networks import face_codes, fitted, fresh

from firmware_export.c_host import CArtifact, compiler
from firmware_export.float_run import run
from firmware_export.int8 import Reference
from firmware_export.quantise import network_problems, quantised
from firmware_export.ranges import METHODS, observed
from firmware_export.tflite import TfliteArtifact
from optics_sim.errors import PrivcamError
from optics_sim.learning.quantisation import RoundedNetwork
from optics_sim.learning.recognisers import RECOGNISERS, Standardise
from optics_sim.learning.trace import traced
from optics_sim.network_scales import planned, step_of

needs_litert = pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
LAYER_DB = 30.0
"""A step of 1/255 of a range that is four deviations either way has 39 dB; weights of 8 bits and a second rounding take some."""
MEANS, MEAN_DB = ("adaptive_2", "average_pool", "average_pool_padded"), 20.0
"""A mean keeps the step of what it is of, and is smaller."""
NETWORK_DB = 22.0
"""Of a whole network with drawn weights."""
AGREEMENT = 0.98


def codes_of(shape, seed=0):
    return np.clip(np.rint(np.random.default_rng(seed).normal(-20, 40, shape)), -128, 127).astype(np.int8)


class Scaled(nn.Module):
    """Codes as numbers of about 1, then a layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.first = layer, drawn(nn.Conv2d(3, 3, 1), 7)

    def forward(self, frames):
        return self.layer(self.first(frames / 40))


def small_of(module, codes, **options):
    return quantised(traced(module, torch.from_numpy(codes[:1]).float().movedim(-1, 1) if codes.ndim == 4
                            else torch.from_numpy(codes[:1]).float()), codes, **options)


@pytest.fixture(params=[pytest.param(TfliteArtifact, marks=needs_litert, id="tflite"),
                        pytest.param(CArtifact, marks=needs_compiler, id="c")])
def artifact(request):
    """A way to run a graph's own bytes."""
    return request.param


def assert_runs_equal(graph, artifact, codes):
    """Fails unless an artefact gives the reference's codes."""
    clip = {graph.inputs[0]: codes if codes.ndim == 4 else codes[..., None]}
    wanted = Reference(graph).run(clip)
    for name, found in artifact(graph).run(clip).items():
        assert np.array_equal(found, wanted[name]), f"{np.sum(found != wanted[name])} codes of {name} differ"


@pytest.mark.parametrize("name", LAYERS)
def test_an_integer_layer_is_near_the_float_one(name):
    made = small_of(Scaled(drawn(LAYERS[name])), codes_of((30, 13, 16, 3)))
    for output, error in made.report.errors.items():
        assert error.snr_db > (MEAN_DB if name in MEANS else LAYER_DB), (output, error)


class Autoencoder(nn.Module):
    """Stem, inverted residual, sigmoid bottleneck, two resizes, a join: what an obfuscating encoder is made of."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU6(), nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU6(), nn.Conv2d(16, 8, 1))
        self.narrow, self.widen = nn.Conv2d(8, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect")
        self.last = nn.Conv2d(16, 1, 3, 1, 1)

    def forward(self, frames):
        stem = self.stem(frames.unsqueeze(1) / 128)
        code = torch.sigmoid(self.narrow(stem + self.wide(stem)))
        half = F.interpolate(F.relu(self.widen(code)), stem.shape[-2:], mode="bilinear")
        joined = torch.cat([half, stem], 1)
        return torch.tanh(self.last(F.interpolate(joined, frames.shape[-2:], mode="nearest"))).squeeze(1), code


@pytest.mark.parametrize("size", [(24, 16), (21, 19)])
def test_an_autoencoder_is_near_and_equal_everywhere(size, artifact):
    codes = codes_of((20, *size))
    made = small_of(drawn(Autoencoder()), codes)
    assert {error.snr_db > NETWORK_DB for error in made.report.errors.values()} == {True}
    assert_runs_equal(made.graph, artifact, codes[:3])


@pytest.mark.parametrize(("kind", "size"), [("small", (32, 32)), ("mobile", (32, 32)), ("mobile", (37, 43)), ("resnet18", (33, 32))])
def test_a_recogniser_is_near_and_equal_everywhere(kind, size, artifact):
    module = drawn(RECOGNISERS[kind](5, width=4))
    module.standardise.mean.fill_(-21.4)
    module.standardise.deviation.fill_(37.5)
    codes = codes_of((20, *size))
    made = small_of(module, codes)
    assert next(iter(made.report.errors.values())).snr_db > NETWORK_DB
    assert_runs_equal(made.graph, artifact, codes[:2])


# --- a trained recogniser ---------------------------------------------------------------------------
TRAINED = 72


@pytest.fixture(scope="module")
def faces():
    codes, labels = face_codes(4, 30, 32)
    order = np.random.default_rng(0).permutation(len(codes))
    return codes[order], labels[order]


@pytest.fixture(scope="module")
def trained(faces):
    codes, labels = faces
    return fitted(fresh(4, 8), codes[:TRAINED], labels[:TRAINED], epochs=12)


def test_a_trained_recogniser_decides_alike_in_integers(faces, trained, artifact):
    codes, labels = faces
    made = quantised(traced(trained, torch.zeros(1, 32, 32)), codes[:TRAINED], held_out=codes[TRAINED:])
    with torch.no_grad():
        scores = trained(torch.from_numpy(codes).float()).numpy()
    found = Reference(made.graph)(codes)
    assert (scores[TRAINED:].argmax(1) == labels[TRAINED:]).mean() > 0.75, "it did learn"
    assert (found.argmax(1) == scores.argmax(1)).mean() >= AGREEMENT
    assert_runs_equal(made.graph, artifact, codes[:4])


@pytest.mark.slow
def test_whole_ranges_are_as_good_as_clipped_ones():
    """Why `extremes` is the default: over three trained recognisers the others are no nearer to the float network."""
    codes, labels = face_codes(6, 40, 32)
    order = np.random.default_rng(0).permutation(len(codes))
    codes, labels = codes[order], labels[order]
    found = {method: [] for method in METHODS}
    for seed in range(3):
        network = traced(fitted(fresh(6, 8, seed), codes[:144], labels[:144], epochs=12, seed=seed), torch.zeros(1, 32, 32))
        for method, so_far in found.items():
            so_far.append(quantised(network, codes[:144], held_out=codes[144:], method=method).report.errors["head"].snr_db)
    mean = {method: float(np.mean(values)) for method, values in found.items()}
    assert mean["extremes"] > mean["percentile"] and abs(mean["extremes"] - mean["least_error"]) < 1.0, mean


def test_the_report_says_what_there_is(faces, trained):
    network = traced(trained, torch.zeros(1, 32, 32))
    report = quantised(network, faces[0]).report
    assert report.held_out == len(faces[0]) // 5
    assert report.cost.parameters == sum(data.size for data in network.constants.values())
    assert report.cost.macs == 32**2 * 9 * 8 + 16**2 * 9 * 8 * 16 + 8**2 * 9 * 16 * 32 + 4**2 * 9 * 32 * 32 + 128 * 32 + 32 * 4
    assert report.cost.constant_bytes == report.cost.parameters + 3 * (8 + 16 + 32 + 32 + 32 + 4)
    assert report.cost.arena_bytes == 32 * 32 * 8 + 16 * 16 * 8


# --- training with rounding --------------------------------------------------------------------------
def uneven(network, factor):
    """Returns a recogniser that computes the same with one channel of three layers `factor` times as large as the others."""
    found = copy.deepcopy(network)
    convolutions, norms = ([part for part in found.trunk if isinstance(part, kind)] for kind in (nn.Conv2d, nn.BatchNorm2d))
    with torch.no_grad():
        for norm, after in zip(norms[:3], convolutions[1:], strict=True):
            norm.weight[0] *= factor
            norm.bias[0] *= factor
            after.weight[:, 0] /= factor
    return found


def nearer(rounded, codes, wanted, rate, epochs=10):
    """Trains a rounded network to give the float network's scores, by frames without labels."""
    generator, frames = torch.Generator().manual_seed(0), torch.from_numpy(codes).float()
    optimiser = torch.optim.Adam(rounded.parameter_groups(rate))
    for _ in range(epochs):
        for some in torch.randperm(len(frames), generator=generator).split(16):
            optimiser.zero_grad()
            F.mse_loss(rounded(frames[some]), wanted[some]).backward()
            optimiser.step()


def before_and_after(network, faces, rate):
    """Returns (signal to noise in dB, agreement) on held-out frames: of the integer graph, and of the one trained with rounding."""
    codes = faces[0]
    floats = traced(network, torch.zeros(1, 32, 32))
    scores = run(floats, {"codes": codes[..., None]})["head"]
    made = quantised(floats, codes[:TRAINED], held_out=codes[TRAINED:])
    rounded = RoundedNetwork(floats, made.report.ranges)
    nearer(rounded, codes[:TRAINED], torch.from_numpy(scores[:TRAINED]), rate)
    again = quantised(rounded.to_network(), codes[:TRAINED], held_out=codes[TRAINED:], ranges=rounded.ranges())
    for one in (made, again):
        step, stored = one.plan.steps["head"], Reference(one.graph)(codes[TRAINED:])
        noise = ((step.scale * (stored.astype(float) - step.zero_point) - scores[TRAINED:]) ** 2).mean()
        agreement = (stored.argmax(1) == scores[TRAINED:].argmax(1)).mean()
        yield 10 * np.log10((scores[TRAINED:] ** 2).mean() / noise), agreement


def test_training_with_rounding_is_no_worse_where_there_is_little_to_mend(faces, trained):
    (rounded_db, _), (trained_db, agreement) = before_and_after(trained, faces, 3e-5)
    assert trained_db > rounded_db - 0.5
    assert agreement >= AGREEMENT


def test_training_with_rounding_mends_uneven_channels(faces, trained):
    (rounded_db, rounded_alike), (trained_db, trained_alike) = before_and_after(uneven(trained, 100.0), faces, 1e-4)
    assert rounded_alike < 0.9, "the weights are hard"
    assert trained_db > rounded_db + 1 and trained_alike > rounded_alike


def test_the_rounded_network_has_the_steps_of_the_graph(faces, trained):
    codes = faces[0][:20]
    floats = traced(trained, torch.zeros(1, 32, 32))
    ranges = observed(floats, {"codes": codes[..., None]})
    rounded = RoundedNetwork(floats, ranges)
    with torch.no_grad():
        found = rounded(torch.from_numpy(codes).float()).numpy()
    step = planned(floats, ranges).steps["head"]
    stored = found / step.scale + step.zero_point
    assert {name: (pytest.approx(step.scale, rel=1e-6), step.zero_point) for name, step in planned(floats, ranges).steps.items()} == {
        name: (step.scale, step.zero_point) for name, step in planned(floats, rounded.ranges()).steps.items()}
    assert np.abs(stored - np.rint(stored)).max() < 1e-3
    assert np.abs(np.rint(stored) - Reference(quantised(floats, codes, held_out=codes, ranges=ranges).graph)(codes)).max() <= 8


def test_rounding_passes_a_gradient_to_every_weight_and_range(faces, trained):
    floats = traced(trained, torch.zeros(1, 32, 32))
    rounded = RoundedNetwork(floats, observed(floats, {"codes": faces[0][:20, ..., None]}))
    rounded(torch.from_numpy(faces[0][:20]).float()).square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in rounded.parameters())
    assert all(value.grad.abs().sum() > 0 for value in rounded.constants.values())


def test_a_network_that_is_not_exported_is_not_trained_so():
    with pytest.raises(PrivcamError, match="UNFOLD"):
        RoundedNetwork(traced(RECOGNISERS["shift_variant"](4), torch.zeros(1, 32, 32)), {})


@pytest.mark.parametrize("name", LAYERS)
def test_a_rounded_layer_with_fine_steps_is_the_layer(name):
    """Both ways to run a float network agree: what rounds nothing away is what numpy computes."""
    floats = traced(Scaled(drawn(LAYERS[name])), torch.zeros(1, 3, 13, 16))
    codes = codes_of((4, 13, 16, 3))
    ranges = observed(floats, {"frames": codes})
    rounded = RoundedNetwork(floats, ranges)
    with torch.no_grad():
        found = rounded(torch.from_numpy(codes).float())
    for output, ours in zip(floats.outputs, found if isinstance(found, tuple) else (found,), strict=True):
        wanted = run(floats, {"frames": codes})[output]
        noise = ((ours.numpy() - wanted) ** 2).mean()
        assert 10 * np.log10((wanted**2).mean() / max(noise, 1e-30)) > (MEAN_DB if name in MEANS else LAYER_DB)


# --- borders, scales, what is degenerate ------------------------------------------------------------
def standardising(mean, deviation=20.0):
    first = Standardise()
    first.mean.fill_(mean)
    first.deviation.fill_(deviation)
    return nn.Sequential(first, drawn(nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU())))


def border_error(module, codes):
    """The mean error of the integer graph (at the border, inside), in steps of the output."""
    made = small_of(module, codes)
    ((name, error),) = made.report.errors.items()
    step = made.plan.steps[name]
    off = np.abs((Reference(made.graph)(codes).astype(float) - step.zero_point) * step.scale
                 - run(traced(module, torch.zeros(1, 1, 8, 8)), {"input": codes})[name]) / error.step
    edge = np.ones(off.shape[1:3], bool)
    edge[1:-1, 1:-1] = False
    return off[:, edge].mean(), off[:, ~edge].mean()


@pytest.mark.parametrize("mean", [-37.0, 0.0, 100.0])
def test_a_border_of_a_whole_mean_is_as_exact_as_the_middle(mean):
    edge, inside = border_error(standardising(mean), codes_of((20, 8, 8, 1)))
    assert edge < 1.5 * inside


def test_a_border_of_half_a_code_is_off_by_what_that_is():
    """The negative control: padding with a code off by ten is seen, by a half hardly."""
    module, codes = standardising(-36.5), codes_of((20, 8, 8, 1))
    edge, inside = border_error(module, codes)
    assert edge < 3 * inside
    made = small_of(module, codes)
    tensors = tuple(dataclasses.replace(tensor, zero_point=tensor.zero_point + 10) if tensor.name == "input" else tensor
                    for tensor in made.graph.tensors)
    found = Reference(dataclasses.replace(made.graph, tensors=tensors))(codes).astype(int) - Reference(made.graph)(codes)
    assert np.abs(found).mean() > 3 * edge


def test_a_mean_that_is_no_code_is_refused():
    network = traced(standardising(-300.0), torch.zeros(1, 1, 8, 8))
    with pytest.raises(PrivcamError, match="which no frame's code is"):
        quantised(network, codes_of((20, 8, 8, 1)))


def test_a_frame_that_is_also_used_beside_its_border_keeps_its_value():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = standardising(30.0)

        def forward(self, frames):
            return torch.cat([self.conv(frames), torch.tanh(frames / 50)], 1)
    made = small_of(Beside(), codes_of((20, 8, 8, 1)))
    assert next(iter(made.report.errors.values())).snr_db > LAYER_DB


@pytest.mark.parametrize("spoil", ["dead_channel", "all_dead", "tiny", "constant"])
def test_nothing_is_divided_by_zero(spoil, artifact):
    module = nn.Sequential(nn.Conv2d(1, 3, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 64, 4))
    with torch.no_grad():
        drawn(module)
        if spoil == "dead_channel":
            module[0].weight[1] = 0
            module[0].bias[1] = 5.0
        if spoil in ("all_dead", "constant"):
            module[0].weight[:] = 0
            module[0].bias[:] = 2.5 if spoil == "constant" else -1.0
        if spoil == "tiny":
            module[3].weight[:2] = 1e-20
            module[3].weight[2:] *= 1e-9
    with np.errstate(all="raise"):
        made = small_of(module, codes_of((20, 8, 8, 1)), held_out=codes_of((20, 8, 8, 1)))  # the same frames: nothing is clipped
    error = next(iter(made.report.errors.values()))
    assert np.isfinite(error.mean) and error.largest <= 3 * error.step
    assert_runs_equal(made.graph, artifact, codes_of((2, 8, 8, 1)))


def test_a_state_comes_back_at_its_step_and_is_equal_everywhere(artifact):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, 1, 1)

        def forward(self, frame, before):
            now = F.relu(self.conv(torch.cat([frame / 64, before], 1)))
            return torch.tanh(now - before), now
    module, codes = drawn(Recurrent()), codes_of((25, 9, 8, 1))
    network = traced(module, [torch.zeros(1, 1, 9, 8), torch.zeros(1, 2, 9, 8)], states=["before"], warmup=1)
    made = quantised(network, codes)
    assert made.graph["before"].quantisation == made.graph[made.graph.states[0].after].quantisation
    assert next(iter(made.report.errors.values())).snr_db > NETWORK_DB
    assert_runs_equal(made.graph, artifact, codes[:4])


def test_steps_hold_zero_exactly_and_ranges_to_half_a_step():
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0), (-1e-3, 1e4)):
        step = step_of([(low, high)])
        assert -128 <= step.zero_point <= 127
        ends = step.scale * (np.array([-128, 127]) - step.zero_point)
        assert ends[0] <= min(low, 0) + step.scale / 2 + 1e-9 and ends[1] >= max(high, 0) - step.scale / 2 - 1e-9


# --- what cannot be exported ------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "words"), [("patches", "ATTENTION.*larger window"), ("shift_variant", "UNFOLD.*CONV_2D")])
def test_a_recogniser_that_cannot_be_exported_says_why(kind, words):
    network = traced(RECOGNISERS[kind](4), torch.zeros(1, 32, 32))
    assert len({problem.operator for problem in network_problems(network)}) >= 2
    with pytest.raises(PrivcamError, match=words):
        quantised(network, codes_of((10, 32, 32)))


@pytest.mark.parametrize(("layer", "words"), [
    (nn.Conv2d(4, 4, 3, groups=2), "GROUPED_CONV_2D.*2 groups of 4.*one group"), (nn.GELU(), "GELU"), (nn.LeakyReLU(), "LEAKY_RELU.*TABLE"),
    (nn.AdaptiveAvgPool2d(3), "ADAPTIVE_AVERAGE_POOL.*several sizes"), (nn.GroupNorm(2, 4), "GROUP_NORM.*batch norm"),
    (nn.ConvTranspose2d(4, 4, 2), "TRANSPOSE_CONV.*NEAREST"), (nn.Upsample(scale_factor=1.3), "RESIZE.*no whole size"),
    (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "RESIZE.*corners"), (nn.Flatten(), "TRANSPOSE.*dense layer"),
    (nn.AvgPool2d(3, 2, 1, count_include_pad=False), "UNEVEN_AVERAGE_POOL"), (nn.Softmax(1), "SOFTMAX.*order is the same"),
    (nn.BatchNorm2d(4, track_running_stats=False), "BATCH_NORM.*batch at hand"), (nn.Hardtanh(-1, 1), "CLAMP.*to -1"),
    (nn.ConstantPad2d(1, 3.0), "CONSTANT_PAD2D"),
])
def test_an_operator_without_a_kernel_is_named(layer, words):
    network = traced(nn.Sequential(nn.Conv2d(1, 4, 1), layer), torch.zeros(1, 1, 8, 8))
    with pytest.raises(PrivcamError, match=words):
        quantised(network, codes_of((10, 8, 8)))


@pytest.mark.parametrize("frames", [np.zeros((9, 8, 8)), np.zeros((9, 7, 8), np.int8), np.zeros((2, 8, 8), np.int8)])
def test_frames_of_another_kind_are_refused(frames):
    with pytest.raises(PrivcamError, match=r"clip|too few"):
        quantised(traced(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 8, 8)), frames)


def test_unknown_ranges_are_refused():
    with pytest.raises(PrivcamError, match="least_error"):
        observed(traced(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 8, 8)), {"input": codes_of((4, 8, 8, 1))}, "guess")


@pytest.mark.parametrize("method", METHODS)
def test_ranges_are_of_what_was_seen(method):
    network = traced(nn.Sequential(drawn(nn.Conv2d(1, 2, 3)), nn.ReLU()), torch.zeros(1, 1, 8, 8))
    ranges = observed(network, {"input": codes_of((40, 8, 8, 1))}, method)
    whole = observed(network, {"input": codes_of((40, 8, 8, 1))})
    assert all(whole[name][0] <= low <= high <= whole[name][1] for name, (low, high) in ranges.items())
    assert set(planned(network, ranges).steps) == set(ranges)

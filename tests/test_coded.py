"""Coded exposure: its photon budget and noise, its allowed sets, its gradients, and what can be recovered from one image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from optics_sim.attacks.snapshot import agreeing, first_guess, gap_tv, measured, snapshot_admm_tv, tv_denoised
from optics_sim.camera import PrivacyCamera
from optics_sim.coding import (
    GlobalFlutterCoding,
    LongCoding,
    PixelwiseCoding,
    RowsColumnsCoding,
    ShortCoding,
    SingleBumpCoding,
    TileCoding,
    coding_bits,
    intervals,
    realised_by,
    tile_bits,
)
from optics_sim.design import CameraDesign, Exposure, RandomPattern, Readout, Sensor
from optics_sim.errors import PrivcamError
from optics_sim.learning.pipeline import control_design, start_design
from optics_sim.report.metrics import psnr
from optics_sim.sensor import coded, learned_coding
from optics_sim.sensor.coded import CodedExposure, coded_sum, per_open_slot, tiled
from optics_sim.sensor.learned_coding import LearnableCoding, alternated, best_bumps, best_rows_columns, decorrelate, decorrelation, project

CODINGS = [PixelwiseCoding(), TileCoding(), RowsColumnsCoding(), SingleBumpCoding(), GlobalFlutterCoding(), LongCoding(),
           ShortCoding(slot=3)]
SIGMAS = 4.0  # a fixed seed's mean further out than this has a chance of 6e-5
BENCHMARK_DB = {"traffic": 20.7, "runner": 29.3, "drop": 34.5}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sensor_of(**changes) -> Sensor:
    base = dict(name="test", pixel_pitch_m=2e-6, shape=(32, 32), quantum_efficiency=0.5, bit_depth=16, black_level_dn=64.0,
                gain_dn_per_e=1.0, full_well_e=60000.0, read_noise_e=3.0, dark_current_e_per_s=40.0, shutter="pixelwise")
    return Sensor.model_validate(base | changes)


def exposure_of(coding, **changes) -> CodedExposure:
    readout = Readout(crop=(0, 0, 32, 32), bin=(2, 2), black_level_dn=64, shift=2, turn=False)
    return CodedExposure(coding, sensor_of(**changes), Exposure(exposure_s=0.04, white_photons_per_px_s=1e4), readout)


# --- plain data -----------------------------------------------------------------------------------
@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: coding.kind)
def test_a_code_survives_the_design_file(coding, tmp_path):
    design = start_design(RandomPattern(), (31, 31), (16, 16), bin_px=20).replace(coding=coding.model_dump())
    design.save(tmp_path)
    again = CameraDesign.load(tmp_path)
    assert again.coding == coding and again.digest == design.digest
    bits = coding_bits(again.coding, (10, 13))
    assert bits.shape == (16, 10, 13) and np.isin(bits, (0, 1)).all()


def test_tiles_repeat_and_given_bits_are_kept(tmp_path):
    given = TileCoding(slots=2, tile=(2, 3), bits=(("100", "011"), ("001", "110")))
    bits = coding_bits(given, (5, 7))
    assert bits[0, :2, :3].tolist() == [[1, 0, 0], [0, 1, 1]] and (bits[:, 2:4, 3:6] == bits[:, :2, :3]).all()
    assert torch.equal(tiled(torch.from_numpy(tile_bits(given)), (5, 7)), torch.from_numpy(bits))
    np.save(tmp_path / "bits.npy", bits)
    assert (coding_bits(PixelwiseCoding(slots=2, path=str(tmp_path / "bits.npy")), (5, 7)) == bits).all()
    with pytest.raises(PrivcamError, match="does not hold these bits"):
        coding_bits(PixelwiseCoding(slots=3, path=str(tmp_path / "bits.npy")), (5, 7))


@pytest.mark.parametrize("make", [
    lambda: TileCoding(slots=2, tile=(1, 2), bits=(("10",),)), lambda: TileCoding(slots=1, tile=(1, 2), bits=(("1x",),)),
    lambda: SingleBumpCoding(slots=4, tile=(1, 1), start=((2,),), length=((3,),)), lambda: GlobalFlutterCoding(slots=4, bits="101"),
    lambda: RowsColumnsCoding(slots=1, tile=(2, 2), rows=("10",)), lambda: ShortCoding(slots=4, slot=4),
    lambda: TileCoding(slots=4, open_slots=5),
])
def test_codes_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_a_drawn_tile_may_have_so_many_open_slots_in_each_pixel():
    drawn = [tile_bits(TileCoding(slots=5, tile=(3, 4), open_slots=2, seed=seed)) for seed in (0, 1)]
    assert all((bits.sum(0) == 2).all() for bits in drawn) and not (drawn[0] == drawn[1]).all()


def test_drawn_single_bumps_open_once():
    bits = tile_bits(SingleBumpCoding(seed=4))
    assert ((np.diff(np.pad(bits, ((1, 1), (0, 0), (0, 0))), axis=0) == 1).sum(0) == 1).all()


def test_what_a_sensor_can_do_by_itself():
    assert realised_by(LongCoding(), "rolling").how == "one_exposure"
    assert realised_by(TileCoding(), "pixelwise").how == "one_exposure"
    assert realised_by(RowsColumnsCoding(), "rows_columns").how == "one_exposure"
    flutter = realised_by(GlobalFlutterCoding(slots=4, bits="1011"), "global")
    assert flutter.how == "sum_of_frames" and flutter.frames == 3 and "trigger" in flutter.reason
    assert realised_by(TileCoding(), "rolling").frames == 16 and realised_by(ShortCoding(), "rolling").frames == 1


# --- light ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("shutter", ["pixelwise", "rolling"])
def test_closed_slots_collect_nothing_and_open_ones_their_share(shutter):
    bits = (("10", "00"), ("11", "00"), ("01", "00"), ("01", "00"))
    coding = TileCoding(slots=4, tile=(2, 2), bits=bits)
    exposure = exposure_of(coding, shutter=shutter, dark_current_e_per_s=0.0)
    light = torch.tensor([1e4, 2e4, 4e4, 8e4])[:, None, None].expand(4, 16, 16)
    mean, _ = exposure.moments(light)
    electrons = torch.tensor([[30e3, 140e3], [0.0, 0.0]]) * 0.5 * 0.01 * 4  # quantum efficiency, a slot's time, pixels in a bin
    torch.testing.assert_close(mean[:2, :2], electrons, rtol=1e-4, atol=0.1)


@pytest.mark.parametrize("shutter", ["pixelwise", "rolling"])
def test_noise_is_that_of_raw_pixels_one_by_one(shutter):
    """One exposure pays read noise once, a sum of frames for each open frame; both agree with `SensorModel.raw`."""
    coding = TileCoding(slots=4, tile=(1, 1), bits=(("1",), ("0",), ("1",), ("1",)))
    exposure = exposure_of(coding, shutter=shutter, read_noise_e=9.0)
    light = torch.tensor([1e4, 9e4, 2e4, 3e4])[:, None, None].expand(4, 16, 16)
    fine = light.repeat_interleave(2, 1).repeat_interleave(2, 2)
    draw, count = generator(1), 60
    if exposure.reads_once:
        frames = (fine[0] + fine[2] + fine[3]).expand(count, 32, 32) / 4
        sums = exposure.sensor.bin_raw(exposure.sensor.raw(frames, generator=draw))
    else:
        raw = exposure.sensor.raw(fine[[0, 2, 3]].expand(count, 3, 32, 32), generator=draw)
        sums = exposure.sensor.bin_raw(raw).sum(1)
    mean, variance = (float(value.mean()) for value in exposure.moments(light))
    samples = sums.numel()
    assert abs(float(sums.mean()) - mean) < SIGMAS * (variance / samples) ** 0.5
    assert float(sums.var()) == pytest.approx(variance, rel=SIGMAS * (2 / samples) ** 0.5)
    drawn = exposure.binned(light.expand(count, 4, 16, 16), generator=generator(2))
    assert float(drawn.var()) == pytest.approx(variance, rel=SIGMAS * (2 / samples) ** 0.5)


def test_a_sum_of_frames_pays_for_every_reading():
    coding, light = LongCoding(slots=8), torch.full((8, 16, 16), 1e3)
    once = exposure_of(GlobalFlutterCoding(slots=8, bits="11111111"), dark_current_e_per_s=0.0)
    frames = exposure_of(GlobalFlutterCoding(slots=8, bits="11111111"), shutter="rolling", dark_current_e_per_s=0.0)
    (mean, variance), (summed, noisier) = once.moments(light), frames.moments(light)
    torch.testing.assert_close(mean, summed)
    read = 4 * (3.0**2 + 1 / 12)  # a bin of four pixels
    torch.testing.assert_close(noisier - variance, torch.full_like(variance, 7 * read), rtol=1e-2, atol=0.0)
    torch.testing.assert_close(exposure_of(coding, dark_current_e_per_s=0.0).moments(light)[0], mean)


def test_the_camera_makes_one_image_of_a_clip():
    lensless = start_design(RandomPattern(), (31, 31), (16, 16), bin_px=20)
    plain = control_design("identity", lensless)
    design = plain.replace(coding=TileCoding(slots=4).model_dump())
    camera, clip = PrivacyCamera(design), torch.rand(2, 4, 31, 31, generator=generator())
    code = camera(clip, generator=generator(1))
    assert code.shape == (2, 31, 31) and torch.equal(code, camera(clip, generator=generator(1)))
    with pytest.raises(PrivcamError, match="one frame for each slot"):
        camera(clip[:, :3], generator=generator())
    with pytest.raises(PrivcamError, match="coded design"):
        PrivacyCamera(plain, coding=LearnableCoding.drawn(generator()))
    learned = LearnableCoding.drawn(generator(3), slots=4)
    trained = PrivacyCamera(design, coding=learned)
    trained(clip, generator=generator(1)).sum().backward()
    assert learned.weights.grad.abs().min() > 0
    again = trained.to_design("learned")
    assert again.parent == design.digest
    assert torch.equal(PrivacyCamera(again)(clip, generator=generator(1)), trained(clip, generator=generator(1)))


def test_normalisation_makes_a_still_scene_even():
    bits = torch.from_numpy(coding_bits(SingleBumpCoding(), (16, 16)))
    torch.testing.assert_close(per_open_slot(coded_sum(torch.full((16, 16, 16), 0.3), bits), bits), torch.full((16, 16), 0.3))


@pytest.mark.slow
def test_compiled_sum_has_the_eager_numbers_and_gradients(monkeypatch):
    clip, bits = torch.rand(2, 4, 9, 11, generator=generator()), torch.rand(4, 9, 11, generator=generator(1))
    slope = torch.rand(2, 9, 11, generator=generator(2))

    def answers() -> list[torch.Tensor]:
        inputs = [clip.clone().requires_grad_(), bits.clone().requires_grad_()]
        image = coded_sum(*inputs)
        return [image.detach(), *torch.autograd.grad(image, inputs, slope)]

    eager = answers()
    monkeypatch.setattr(coded, "LARGE", 0)
    for ours, theirs in zip(answers(), eager, strict=True):
        torch.testing.assert_close(ours, theirs)


# --- learnable codes ------------------------------------------------------------------------------
def test_single_bumps_are_the_best_of_all_intervals():
    weights = torch.randn(16, 8, 8, generator=generator())
    bits = best_bumps(weights)
    start, length = intervals(16)
    assert len(start) == 136
    for row, column in itertools.product(range(8), range(8)):
        best = max(float(weights[s:s + n, row, column].sum()) for s, n in zip(start, length, strict=True))
        assert float((bits[:, row, column] * weights[:, row, column]).sum()) == pytest.approx(best, abs=1e-5)


def test_rows_and_columns_are_exact_and_alternation_climbs():
    for seed in range(5):
        weights = torch.randn(4, 5, generator=generator(seed))
        signals = [torch.tensor(signal, dtype=torch.float32) for signal in itertools.product((0, 1), repeat=4)]
        best = max(float((row @ weights).clamp_min(0).sum()) for row in signals)
        assert float((best_rows_columns(weights) * weights).sum()) == pytest.approx(best, abs=1e-5)
        scores = [float((product * weights).sum()) for product in alternated(weights)]
        assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(scores)) and scores[-1] <= best + 1e-5
    assert torch.linalg.matrix_rank(best_rows_columns(torch.randn(12, 14, generator=generator()))) <= 1


@pytest.mark.parametrize("family", ["tile", "single_bump", "rows_columns"])
def test_learnable_bits_are_allowed_lit_and_pass_the_gradient(family):
    code = LearnableCoding.drawn(generator(), family=family)
    slope = torch.randn(16, 8, 8, generator=generator(1))
    bits = code()
    assert bool(torch.isin(bits.detach(), torch.tensor([0.0, 1.0])).all()) and bool((bits.amax(0) == 1).all())
    (bits * slope).sum().backward()
    torch.testing.assert_close(code.weights.grad, slope)
    data = code.to_coding()
    assert data.kind == family and torch.equal(torch.from_numpy(tile_bits(data)), bits.detach())
    assert torch.equal(LearnableCoding.from_coding(data)().detach(), bits.detach())
    assert torch.equal(project(-torch.ones(16, 8, 8), family).amax(0), torch.ones(8, 8))


def test_warm_up_mixes_random_codes_and_ends():
    code = LearnableCoding.drawn(generator(), family="single_bump")
    draw = generator(1)
    same = [torch.equal(code.warmed(50, draw), code()) for _ in range(40)]
    assert 5 < sum(same) < 35
    assert all(torch.equal(code.warmed(step, draw), code()) for step in (learned_coding.WARM_UP_STEPS, 1000))
    assert not torch.equal(code.warmed(0, draw), code())


def test_decorrelation_is_the_mean_squared_correlation_and_falls():
    image = torch.randn(3, 16, 16, generator=generator())
    samples = image.reshape(3, 2, 8, 2, 8).permute(0, 1, 3, 2, 4).reshape(12, 64).numpy()
    squared = np.corrcoef(samples.T) ** 2
    expected = (squared.sum() - 64) / (64 * 63)
    assert float(decorrelation(image, (8, 8))) == pytest.approx(expected, rel=1e-4)
    drift = torch.nn.functional.interpolate(torch.randn(6, 1, 8, 8, 8, generator=generator(1)), (16, 32, 32), mode="trilinear")[:, 0]
    code = LearnableCoding.drawn(generator(2))
    losses = decorrelate(code, drift, 110, generator(3), batch=3)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


@pytest.mark.parametrize("family", ["tile", "single_bump", "rows_columns"])
def test_a_restarted_code_keeps_its_bits_and_can_be_turned_again(family):
    code = LearnableCoding.drawn(generator(2), family=family, scale=5.0)
    before = code.bits()
    code.restart()
    assert code.bits().equal(before) and code.weights.abs().max() <= 0.1


# --- video from one image -------------------------------------------------------------------------
def moving_square() -> torch.Tensor:
    clip = torch.full((8, 32, 32), 0.2)
    for slot in range(8):
        clip[slot, 8:20, 4 + slot:16 + slot] = 0.8
    return clip


def test_guesses_agree_with_the_measurement():
    clip, bits = moving_square(), torch.from_numpy(coding_bits(PixelwiseCoding(slots=8), (32, 32)))
    image = measured(clip, bits)
    torch.testing.assert_close(measured(first_guess(image, bits), bits), image)
    torch.testing.assert_close(measured(agreeing(torch.rand(8, 32, 32, generator=generator()), image, bits), bits), image)
    with pytest.raises(PrivcamError, match="do not belong"):
        first_guess(image[:-1], bits)


def test_denoiser_finds_the_minimum():
    """Its dual steps end where the subgradient of the objective vanishes: no small change lowers it."""
    noisy = moving_square() + 0.1 * torch.randn(8, 32, 32, generator=generator())

    def objective(clip: torch.Tensor) -> float:
        down, across = (torch.nn.functional.pad(clip.diff(dim=axis), pad) for axis, pad in ((1, (0, 0, 0, 1)), (2, (0, 1))))
        return float(0.5 * (clip - noisy).square().sum() + 0.1 * ((down**2 + across**2).sqrt().sum() + 0.3 * clip.diff(dim=0).abs().sum()))

    found = tv_denoised(noisy, 0.1, 0.3, steps=400)
    for seed in range(5):
        change = torch.randn(8, 32, 32, generator=generator(seed))
        assert objective(found) < min(objective(found + 1e-2 * change), objective(found - 1e-2 * change))
    assert objective(found) < objective(moving_square())


@pytest.mark.parametrize("solve", [gap_tv, snapshot_admm_tv])
def test_a_moving_square_comes_back_and_a_still_code_hides_its_motion(solve):
    clip, bits = moving_square(), torch.from_numpy(coding_bits(PixelwiseCoding(slots=8), (32, 32)))
    recovered = solve(measured(clip, bits), bits)
    distance = (recovered[:, None] - clip[None]).square().mean((-2, -1))
    assert int((distance.argmin(1) - torch.arange(8)).abs().max()) <= 1
    still = solve(measured(clip, torch.ones_like(bits)), torch.ones_like(bits))
    torch.testing.assert_close(still, still[:1].expand(8, -1, -1), atol=1e-3, rtol=0.0)
    both = solve(measured(torch.stack([clip, 1 - clip]), bits), bits)
    torch.testing.assert_close(both[0], recovered)


@pytest.fixture(scope="module")
def benchmark(real_data):
    file = real_data / "sci_benchmark" / "sci_gray_drop_runner_traffic.npz"
    if not file.is_file():
        pytest.skip("no sci_benchmark below PRIVCAM_DATA")
    with np.load(file) as stored:
        clips = {name: torch.from_numpy(stored[name]).reshape(-1, 8, 256, 256) for name in BENCHMARK_DB}
        return clips, torch.from_numpy(stored["mask_8x256x256"])


@pytest.mark.data
def test_benchmark_measurements_are_exact(benchmark):
    clips, mask = benchmark
    whole = clips["drop"][:1]
    assert torch.equal(measured(whole.float(), mask.float()), (whole.int() * mask.int()).sum(1).float())


@pytest.mark.data
@pytest.mark.slow
def test_gap_tv_reaches_the_published_quality(benchmark):
    """One setting for all. Published for GAP-TV (ucaswangls/cacti, configs/TV, all frames): traffic 20.65, runner 30.13, drop 34.50 dB."""
    clips, mask = benchmark
    found = {}
    for name, clip in clips.items():
        truth = clip.float() / 255
        found[name] = np.mean([psnr(gap_tv(measured(one, mask.float()), mask.float()).numpy(), one.numpy()).mean() for one in truth])
    assert all(found[name] >= level for name, level in BENCHMARK_DB.items()), found

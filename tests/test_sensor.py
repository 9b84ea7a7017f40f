"""The sensor: presets and their sources, the integer readout, the model's statistics, gradients and guards."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from optics_sim.design import Exposure, Readout, Sensor
from optics_sim.errors import PrivcamError
from optics_sim.sensor import chain, planning, presets
from optics_sim.sensor.fixed_pattern import gain_errors, offset_errors_e
from optics_sim.sensor.model import SensorModel
from optics_sim.sensor.moments import clipped_moments
from optics_sim.sensor.readout import bayer_planes, bin_sums, colours, quantise_sums, readout, readout_of_crop

SIGMAS = 4.0  # a fixed seed's draw further out than this has a chance of 6e-5
CFAS = ("rggb", "bggr", "grbg", "gbrg")


def sensor_of(**changes) -> Sensor:
    base = dict(name="test", pixel_pitch_m=2e-6, shape=(48, 64), cfa="rggb", quantum_efficiency=(0.5, 0.7, 0.4), bit_depth=12,
                black_level_dn=256.0, gain_dn_per_e=0.5, full_well_e=7600.0, read_noise_e=3.0, row_noise_e=0.5,
                dark_current_e_per_s=20.0, prnu=0.01, dsnu_e=1.0)
    return Sensor.model_validate(base | changes)


def model_of(sensor: Sensor | None = None, *, gain: float = 1.0, compiled: bool = False, **spec) -> SensorModel:
    base = dict(crop=(4, 6, 32, 48), bin=(8, 8), black_level_dn=256, shift=7)
    exposure = Exposure(exposure_s=0.01, analogue_gain=gain, white_photons_per_px_s=1e5)
    return SensorModel(sensor or sensor_of(), exposure, Readout.model_validate(base | spec), compiled=compiled)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- presets --------------------------------------------------------------------------------------
def test_presets_are_the_sensors_we_know():
    assert presets.names() == ["ideal", "imx219", "imx296", "imx477", "imx708", "ov9281"]


@pytest.mark.parametrize("name", ["imx219", "imx296", "imx477", "imx708", "ov9281"])
def test_gain_black_and_well_follow_from_their_sources(name):
    sensor = presets.load(name)
    scale = 2 ** (16 - sensor.bit_depth)
    slope = float(re.search(r"reference_slope ([\d.]+)", sensor.source_of("gain_dn_per_e")).group(1))
    black16 = float(re.search(r"black_level (\d+) of", sensor.source_of("black_level_dn")).group(1))
    assert sensor.gain_dn_per_e == pytest.approx(slope**2 / scale, rel=1e-6)
    assert sensor.black_level_dn == black16 / scale
    clip_dn = 2**sensor.bit_depth - 1 - sensor.black_level_dn
    assert sensor.full_well_e == pytest.approx(clip_dn / sensor.gain_dn_per_e, rel=1e-5)


def test_published_gain_of_the_hq_camera():
    """An independent photon-transfer measurement gives 0.47 DN/e- and a clip at 8180 e-: 2 % apart."""
    sensor = presets.load("imx477")
    assert sensor.gain_dn_per_e == pytest.approx(0.47, rel=0.02)
    assert sensor.full_well_e == pytest.approx(8180, rel=0.02)


def test_numbers_without_a_source_print_assumed():
    rows = {field: source for field, _, _, source in presets.describe(presets.load("imx477"))}
    assert rows["prnu"] == rows["dark_current_e_per_s"] == rows["quantum_efficiency"] == "assumed"
    assert "second-hand" in rows["read_noise_e"]
    assert all(source != "assumed" for _, _, _, source in presets.describe(presets.load("ideal")))


def test_documentation_is_the_table():
    page = Path(__file__).parents[1] / "docs" / "sensor-presets.md"
    assert page.read_text(encoding="utf-8") == presets.table()


def test_table_is_written_where_told(tmp_path):
    presets.main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == presets.table()


@pytest.mark.parametrize("call", [lambda: presets.load("imx999"), lambda: presets.main([])])
def test_preset_guards(call):
    with pytest.raises(PrivcamError):
        call()


def test_what_the_camera_runs_never_loads_torch():
    modules = "readout, presets, planning, fixed_pattern"
    code = f"from optics_sim.sensor import {modules}; presets.load('imx477'); import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0


# --- readout --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("shift", "total", "code"), [
    (0, 0, -128), (0, 255, 127), (0, 256, 127), (0, -5, -128), (2, 1, -128), (2, 2, -127), (2, 5, -127), (2, 6, -126),
    (4, 4087, 127), (4, -9, -128), (30, 2**37, 0),
])
def test_quantise_by_hand(shift, total, code):
    assert quantise_sums(np.array([total], np.int64), shift)[0] == code


def test_sums_do_not_overflow():
    spec = Readout(crop=(0, 0, 1200, 1200), bin=(1200, 1200), black_level_dn=0, shift=30)
    raw = np.full((1200, 1200), 65535, np.uint16)
    assert bin_sums(raw, spec, "mono")[0, 0] == 1200 * 1200 * 65535 > 2**31


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("origin", [(0, 0), (3, 2), (2, 5), (5, 5)])
def test_a_plane_holds_its_colour_wherever_the_crop_starts(cfa, origin):
    frame = colours(cfa, (24, 28)).astype(np.uint16) * 100 + 16  # red 16, green 116, blue 216
    for plane, lifted, pixels in (("red", 0, 4), ("green", 100, 8), ("blue", 200, 4)):
        spec = Readout(crop=(*origin, 16, 16), bin=(4, 4), black_level_dn=16, planes=plane, shift=0)
        crop = frame[origin[0] : origin[0] + 16, origin[1] : origin[1] + 16]
        assert (bin_sums(crop, spec, cfa) == lifted * pixels).all()
        assert (readout(frame, spec, cfa) == min(lifted * pixels, 255) - 128).all()


@pytest.mark.parametrize("cfa", CFAS)
def test_bayer_planes_are_one_colour_each(cfa):
    planes = bayer_planes(colours(cfa, (8, 12)), cfa)
    assert {name: set(plane.ravel().tolist()) for name, plane in planes.items()} == {
        "red": {0}, "green_r": {1}, "green_b": {1}, "blue": {2}}
    assert all(plane.shape == (4, 6) for plane in planes.values())


def test_an_f_reads_out_upright():
    """Raw as the camera sees it, turned into the sensor's order, comes out of the readout as the camera sees it."""
    letter = np.array([[0, 1, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0]], np.float32)
    model = model_of(sensor_of(read_noise_e=0.0, row_noise_e=0.0, prnu=0.0, dsnu_e=0.0), bin=(8, 8))
    light = torch.from_numpy(np.kron(letter, np.ones((8, 8), np.float32))) * 2e5
    raw = model.raw(light, generator=seeded())
    wire = model.in_sensor_order(raw).numpy().astype(np.uint16)
    code = readout_of_crop(wire, model.spec, "rggb")
    assert (code[letter > 0] > 0).all() and (code[letter == 0] <= -127).all()
    assert not np.array_equal(wire, raw.numpy())


SMALL = Readout(crop=(0, 0, 4, 4), bin=(2, 2), black_level_dn=0, shift=0)
GUARDS = {
    "float raw": lambda: readout_of_crop(np.zeros((4, 4)), SMALL, "mono"),
    "wrong crop": lambda: readout_of_crop(np.zeros((4, 6), np.uint16), SMALL, "mono"),
    "small frame": lambda: readout(np.zeros((4, 3), np.uint16), SMALL, "mono"),
    "mono plane": lambda: model_of(sensor_of(cfa="mono", quantum_efficiency=0.5), planes="red"),
    "odd bin plane": lambda: model_of(crop=(0, 0, 9, 9), bin=(3, 3), planes="red"),
    "mono planes": lambda: bayer_planes(np.zeros((4, 4), np.uint16), "mono"),
    "odd mosaic": lambda: bayer_planes(np.zeros((3, 4), np.uint16), "rggb"),
    "three efficiencies": lambda: model_of(sensor_of(cfa="mono")),
    "crop off the sensor": lambda: model_of(crop=(40, 0, 32, 48)),
    "light at the wrong resolution": lambda: model_of().binned(torch.ones(32, 48), generator=seeded()),
    "raw at the wrong resolution": lambda: model_of().raw(torch.ones(4, 6), generator=seeded()),
    "no light": lambda: planning.quarter_well_exposure_s(sensor_of(), 0.0),
    "overfull": lambda: planning.quarter_well_exposure_s(sensor_of(), 1.0, fill=1.5),
    "no shift": lambda: planning.fitting_shift(2.0**40),
    "no generators": lambda: chain.spawn(seeded(), 0),
}


@pytest.mark.parametrize("name", GUARDS)
def test_guards(name):
    with pytest.raises(PrivcamError) as caught:
        GUARDS[name]()
    assert caught.value.got is not None


# --- model: bits ----------------------------------------------------------------------------------
@pytest.mark.parametrize("planes", ["sum", "red", "green", "blue"])
@pytest.mark.parametrize("turn", [True, False])
@pytest.mark.parametrize("crop", [(4, 6, 32, 48), (5, 7, 32, 48)])
def test_code_equals_the_integer_readout_bit_for_bit(planes, turn, crop):
    model = model_of(planes=planes, turn=turn, crop=crop, shift=10 if planes == "sum" else 9)
    light = torch.rand(3, 4, 6, generator=seeded(1)).repeat_interleave(8, -2).repeat_interleave(8, -1) * 1.5e6
    raw = model.raw(light, generator=seeded(2))
    wire = model.in_sensor_order(raw).numpy().astype(np.uint16)
    expected = readout_of_crop(wire, model.spec, "rggb")
    assert np.array_equal(model.code(model.bin_raw(raw)).numpy(), expected)
    assert len(np.unique(expected)) > 20


def test_code_is_exact_over_the_whole_range():
    model = model_of(shift=3)
    sums = torch.arange(-100, 2200)[:, None].expand(-1, 4).contiguous()
    assert np.array_equal(model.code(sums.float()).numpy(), quantise_sums(sums.numpy(), 3))


@pytest.mark.parametrize("exact", [True, False])
def test_same_seed_same_bits(exact):
    model, light = model_of(), torch.rand(2, 32, 48, generator=seeded(1)) * 1e5
    first, second = (model.raw(light, generator=seeded(5), exact=exact) for _ in range(2))
    assert torch.equal(first, second) and not torch.equal(first, model.raw(light, generator=seeded(6), exact=exact))
    code = torch.rand(2, 4, 6, generator=seeded(1)) * 1e5
    assert torch.equal(model(code, generator=seeded(5)), model(code, generator=seeded(5)))


def test_raw_is_integers_within_the_converter():
    model = model_of(gain=1.2)
    raw = model.raw(torch.linspace(0, 2e6, 32 * 48).reshape(32, 48), generator=seeded())
    assert torch.equal(raw, raw.round()) and raw.min() >= 0 and raw.max() == 4095


def test_fixed_pattern_belongs_to_the_sensor():
    sensor = sensor_of()
    whole, part = gain_errors(sensor, (0, 0, 48, 64)), gain_errors(sensor, (5, 7, 20, 30))
    assert np.array_equal(whole[5:25, 7:37], part)
    other = sensor.model_copy(update={"fixed_pattern_seed": 1})
    assert not np.array_equal(gain_errors(other, (0, 0, 48, 64)), whole)
    assert abs(np.corrcoef(whole.ravel(), offset_errors_e(sensor, (0, 0, 48, 64)).ravel())[0, 1]) < SIGMAS / whole.size**0.5


def test_moments_do_not_look_at_the_rest_of_the_batch():
    model = model_of()
    light = torch.rand(5, 4, 6, generator=seeded(1)) * 3e5
    alone = [part for part in zip(*(model.binned_moments(one) for one in light), strict=True)]
    for together, parts in zip(model.binned_moments(light), alone, strict=True):
        assert torch.equal(together, torch.stack(parts))


# --- model: statistics ----------------------------------------------------------------------------
def test_poisson_mean_is_variance():
    ideal = presets.load("ideal").model_copy(update={"shape": (200, 200)})
    spec = Readout(crop=(0, 0, 200, 200), bin=(10, 10), black_level_dn=64, shift=8)
    model = SensorModel(ideal, Exposure(exposure_s=1.0, white_photons_per_px_s=1.0), spec)
    for mean in (0.5, 5.0, 19.0, 30.0, 1000.0):
        electrons = model.raw(torch.full((200, 200), mean), generator=seeded(3)) - 64
        rounding = 1 / 12 if mean > 20 else 0.0  # Poisson draws are integers already
        assert float(electrons.mean()) == pytest.approx(mean, abs=SIGMAS * (mean / 40_000) ** 0.5)
        spread = (mean + 2 * mean**2) / 40_000  # variance of the sample variance of a Poisson number
        assert float(electrons.var()) == pytest.approx(mean + rounding, abs=SIGMAS * spread**0.5)


@pytest.mark.parametrize("planes", ["sum", "green", "red"])
@pytest.mark.parametrize(("exact", "irradiance"), [(False, 3e5), (True, 3e5), (True, 1e4)])
def test_binned_has_the_statistics_of_binned_raw(planes, exact, irradiance):
    """Mean and variance of every code pixel over 600 frames, and the covariance along a row that row noise makes."""
    frames = 600
    model = model_of(sensor_of(row_noise_e=3.0), planes=planes, crop=(5, 6, 32, 48), black_level_dn=250)
    light = torch.rand(4, 6, generator=seeded(1)) * irradiance + irradiance / 2
    wide = light.repeat_interleave(8, 0).repeat_interleave(8, 1)
    seeds = range(10, 10 + frames // 100)
    raws = torch.cat([model.bin_raw(model.raw(wide.expand(100, -1, -1), generator=seeded(seed))) for seed in seeds])
    drawn = model.binned(light.expand(frames, -1, -1), generator=seeded(4), exact=exact).double()
    error = (2 * raws.var(0) / frames).sqrt()  # of the difference of two means
    assert float(((raws.mean(0) - drawn.mean(0)) / error).abs().max()) < SIGMAS
    ratio = (raws.var(0) / drawn.var(0)).log()
    assert float(ratio.abs().max()) < SIGMAS * 2 / frames**0.5  # each log variance has sigma sqrt(2 / n)
    assert float(ratio.mean().abs()) < SIGMAS * 2 / (frames * 24) ** 0.5 * 2
    along = [float(np.mean([np.corrcoef(x[:, r].T.numpy())[0, 1:].mean() for r in range(4)])) for x in (raws, drawn)]
    assert along[0] == pytest.approx(along[1], abs=SIGMAS / frames**0.5)
    if irradiance < 1e5:
        assert along[0] > 0.1


def test_moments_hold_through_saturation():
    """Colours saturate one after the other; the bin's mean and variance follow, within the fixed pattern's second order."""
    sensor = sensor_of(row_noise_e=0.0)
    for gain in (1.0, 4.0):
        model = model_of(sensor, gain=gain)
        for fill in (0.9, 0.98, 1.0, 1.1, 1.5, 3.0):
            light = torch.full((4, 6), fill * planning.clip_level_e(sensor, gain) / (0.7 * 0.01))
            wide = light.repeat_interleave(8, 0).repeat_interleave(8, 1).expand(300, -1, -1)
            sums = model.bin_raw(model.raw(wide, generator=seeded(7)))
            mean, variance, _ = model.binned_moments(light)
            assert float(mean.mean()) == pytest.approx(float(sums.mean()), rel=2e-3)
            assert float(variance.sqrt().mean()) == pytest.approx(float(sums.var(0).mean() ** 0.5), rel=0.15, abs=0.01)


def test_fast_chain_has_the_statistics_of_the_exact_one():
    model, light = model_of(), torch.full((400, 32, 48), 1e5)
    exact, fast = (model.raw(light, generator=seeded(1), exact=flag) for flag in (True, False))
    rows = 400 * 32  # the row noise, not the pixel count, limits how well the means are known
    error = (2 * (float(exact.var(0).mean()) / exact.numel() + (0.5 * 0.5) ** 2 / rows)) ** 0.5
    assert float(fast.mean()) == pytest.approx(float(exact.mean()), abs=SIGMAS * error)
    assert float(fast.var(0).mean()) == pytest.approx(float(exact.var(0).mean()), rel=SIGMAS * 2 / exact.numel() ** 0.5)


def test_row_noise_is_one_draw_per_row():
    quiet = sensor_of(cfa="mono", quantum_efficiency=0.5, read_noise_e=0.0, row_noise_e=20.0, prnu=0.0, dsnu_e=0.0,
                      dark_current_e_per_s=0.0)
    raw = model_of(quiet).raw(torch.zeros(32, 48), generator=seeded())
    assert (raw == raw[:, :1]).all() and len(raw[:, 0].unique()) > 10


def test_clipped_moments_against_integration():
    mean = torch.linspace(-30, 30, 41, dtype=torch.float64)
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    weight = torch.exp(-x * x / 2)
    weight = weight / weight.sum()
    got = clipped_moments(mean, torch.full_like(mean, 9.0), 5.0)
    cut = (mean[:, None] + 3 * x).clamp(max=5.0)
    expected = (cut * weight).sum(1)
    assert torch.allclose(got[0], expected, atol=1e-6)
    assert torch.allclose(got[1], ((cut - expected[:, None]) ** 2 * weight).sum(1), atol=1e-5)


# --- model: gradient ------------------------------------------------------------------------------
@pytest.mark.parametrize("fill", [0.0, 1e-3, 0.3, 1.0, 20.0])
def test_gradient_is_finite_everywhere(fill):
    for name in presets.names():
        sensor = presets.load(name).model_copy(update={"shape": (64, 64)})
        spec = Readout(crop=(0, 0, 64, 64), bin=(8, 8), black_level_dn=int(sensor.black_level_dn), shift=6)
        model = SensorModel(sensor, Exposure(exposure_s=0.01, white_photons_per_px_s=1.0), spec)
        light = torch.full((2, 8, 8), fill * sensor.full_well_e / 0.01, requires_grad=True)
        model(light, generator=seeded()).sum().backward()
        assert torch.isfinite(light.grad).all(), name


def test_gradient_in_expectation_is_the_slope_of_the_mean():
    """Averaged over noise, the gradient of f(binned) is d/dE E[f]: finite differences with the same draws agree."""
    model, count, step = model_of(), 4000, 2e3
    base = torch.full((4, 6), 2e5)

    def outcome(light: torch.Tensor) -> torch.Tensor:
        sums = model.binned(light.expand(count, -1, -1), generator=seeded(3))
        return (sums / 1e4).square().mean(0)

    light = base.clone().requires_grad_()
    outcome(light).sum().backward()
    numeric = (outcome(base + step).double() - outcome(base - step).double()) / (2 * step)
    assert torch.allclose(light.grad.double(), numeric, rtol=2e-3)


def test_code_gradient_is_straight_through_and_stops_at_the_clip():
    sums = torch.tensor([-500.0, 100.0, 20_000.0, 50_000.0], requires_grad=True)
    model_of(shift=7).code(sums).sum().backward()
    assert sums.grad.tolist() == [0.0, 1 / 128, 1 / 128, 0.0]


# --- planning -------------------------------------------------------------------------------------
def test_quarter_well_is_a_quarter_of_the_well():
    sensor = sensor_of(cfa="mono", quantum_efficiency=0.5)
    for gain in (1.0, 4.0):
        seconds = planning.quarter_well_exposure_s(sensor, 1e5, analogue_gain=gain)
        assert (1e5 * 0.5 + 20) * seconds == pytest.approx(planning.clip_level_e(sensor, gain) / 4)


def test_fitting_shift_is_the_smallest():
    for total in (0, 100, 255, 256, 511, 4087, 4088, 1_000_000):
        shift = planning.fitting_shift(total)
        assert quantise_sums(np.array([total]), shift)[0] == min(127, (total + ((1 << shift) >> 1) >> shift) - 128)
        assert shift == 0 or (total + ((1 << (shift - 1)) >> 1)) >> (shift - 1) > 255


def test_largest_sum_is_the_models_mean():
    for planes in ("sum", "red", "green", "blue"):
        model = model_of(sensor_of(prnu=0.0, dsnu_e=0.0), planes=planes)
        mean, _, _ = model.binned_moments(torch.full((4, 6), 2e5))
        planned = planning.largest_sum_dn(model.sensor, model.exposure, model.spec, 2e5)
        assert planned == pytest.approx(float(mean.mean()), rel=1e-5)


def test_noise_regime():
    assert planning.noise_regime(presets.load("imx477"), 1.0) == "measurable"
    assert planning.noise_regime(presets.load("imx708"), 1.0) == "quantisation-limited"
    assert planning.noise_regime(presets.load("imx708"), 8.0) == "measurable"


# --- the fast chain -------------------------------------------------------------------------------
@pytest.mark.slow
def test_compiled_chain_equals_the_eager_one():
    light = torch.rand(32, 48, generator=seeded(1)) * 2e6
    before = light.clone()
    eager, compiled = (model_of(compiled=flag).raw(light, generator=seeded(5), exact=False) for flag in (False, True))
    assert torch.equal(eager, compiled) and torch.equal(light, before)


def test_chain_falls_back_where_nothing_compiles(monkeypatch):
    def broken(*_args, **_kwargs):
        def fail(*_inner):
            raise RuntimeError("no compiler")
        return fail

    chain.compiled_chain.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    light = torch.rand(32, 48, generator=seeded(1)) * 2e6
    eager, fallen = (model_of(compiled=flag).raw(light, generator=seeded(5), exact=False) for flag in (False, True))
    chain.compiled_chain.cache_clear()
    assert torch.equal(eager, fallen)


def test_threaded_normals_are_seeded_and_normal():
    first, second = (chain.normal((500, 301), chain.spawn(seeded(9), 3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, chain.normal((500, 301), chain.spawn(seeded(8), 3)))
    assert abs(float(first.mean())) < SIGMAS / first.numel() ** 0.5
    assert float(first.var()) == pytest.approx(1, abs=SIGMAS * (2 / first.numel()) ** 0.5)
    assert len(first.unique()) > 0.9 * first.numel() * 0.9

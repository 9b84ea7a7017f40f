"""Photon transfer: known cameras are found again, frames that cannot carry it are refused, an independent package agrees."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from known_camera import KnownCamera, with_level

from calibration import datasheet, masters
from calibration.photon_transfer import check, fit, gather, plan
from calibration.stacks import Level, Sweep, moments
from optics_sim.design import Sensor
from optics_sim.errors import PrivcamError

CAMERAS = 150
COVERAGE = (0.90, 0.99)  # of 95 % intervals; 150 cameras of true coverage 95 % lie in it with 99.2 % probability
CAMERA = KnownCamera()


def fitted(sweep: Sweep, seed: int = 0):
    return fit(sweep, generator=np.random.default_rng(seed))


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return CAMERA.sweep(seed=3)


# --- figures --------------------------------------------------------------------------------------
def random_camera(rng: np.random.Generator) -> KnownCamera:
    return KnownCamera(
        gain=float(rng.uniform(0.15, 0.4)), efficiency=float(rng.uniform(0.3, 0.8)), dark_noise_e=float(rng.uniform(5, 12)),
        dsnu_e=float(rng.uniform(2, 6)), prnu=float(rng.uniform(0.005, 0.02)), dark_current_e_s=float(rng.uniform(20, 60)),
    )


def truth(camera: KnownCamera, seed: int) -> dict[str, float]:
    """The figures of a camera; its pixels' mean response, which one sweep cannot tell from efficiency, counts as efficiency."""
    efficiency = camera.efficiency * camera.pattern(np.random.default_rng(seed))[1].mean()
    threshold_e = np.hypot(camera.dark_noise_e, 12**-0.5 / camera.gain) + 0.5
    return {
        "gain": camera.gain, "responsivity": camera.gain * efficiency, "quantum efficiency": efficiency,
        "dark noise": camera.dark_noise_e, "dark current from mean": camera.dark_current_e_s,
        "dark current from variance": camera.dark_current_e_s, "sensitivity threshold": threshold_e / efficiency,
        "dsnu": camera.dsnu_e, "dsnu pixel": camera.dsnu_e, "prnu": camera.prnu, "prnu pixel": camera.prnu,
    }


def test_intervals_cover_the_truth_as_often_as_they_say():
    inside: Counter[str] = Counter()
    for seed in range(CAMERAS):
        camera = random_camera(np.random.default_rng(70_000 + seed))
        result = fitted(camera.sweep(seed, exposures=True), seed)
        for name, value in truth(camera, seed).items():
            low, high = result[name].interval
            inside[name] += low <= value <= high
    coverage = {name: count / CAMERAS for name, count in inside.items()}
    assert all(COVERAGE[0] <= share <= COVERAGE[1] for share in coverage.values()), coverage


def test_every_figure_has_an_interval_around_it_and_the_source(sweep):
    for name, measure in fitted(sweep).figures.items():
        low, high = measure.interval
        assert low <= measure.value <= high, name
        assert measure.source == "simulated" and measure.name == name
        assert measure.n > 0


def greatest_variance_e() -> float:
    """The electrons at which clipping stops the growth of a clipped normal's variance: a little below the clip."""
    electrons = np.linspace(0.8, 1.05, 251) * CAMERA.full_e
    noise = np.random.default_rng(0).normal(size=(20_000, 1)) * np.sqrt(electrons + CAMERA.dark_noise_e**2)
    return float(electrons[np.argmax(np.minimum(electrons + noise, CAMERA.full_e).var(axis=0))])


def test_saturation_and_what_follows_from_it(sweep):
    result = fitted(sweep)
    assert 0.85 * CAMERA.full_e < greatest_variance_e() < CAMERA.full_e
    assert result["saturation"].interval[0] <= greatest_variance_e() <= result["saturation"].interval[1]
    assert result["snr max"].value == pytest.approx(result["saturation"].value ** 0.5)
    ratio = result["saturation photons"].value / result["sensitivity threshold"].value
    assert result["dynamic range"].value == pytest.approx(ratio)


def test_predicted_snr_meets_the_measured_one(sweep):
    result = fitted(sweep)
    levels = slice(0, result.curve.fit.stop)
    predicted = result.model_snr(result.curve.light[levels])
    assert np.allclose(predicted, result.curve.snr[levels], rtol=5 * (2 / CAMERA.side**2) ** 0.5 / 2)


def test_row_pattern_is_told_from_pixel_pattern():
    camera = dataclasses.replace(CAMERA, dsnu_e=2.0, row_dsnu_e=3.0)
    result = fitted(camera.sweep(seed=5))
    for name, value in (("dsnu row", 3.0), ("dsnu pixel", 2.0)):
        assert result[name].interval[0] <= value <= result[name].interval[1]
    assert result["dsnu column"].interval[0] == 0


def test_a_wave_stands_in_the_spectrogram(sweep):
    wave = np.rint(20 * np.sin(2 * np.pi * np.arange(CAMERA.side) * 4 / CAMERA.side)).astype(int)
    dark = dataclasses.replace(sweep.dark, frames=(sweep.dark.frames + wave.clip(-20)).astype(np.uint16))
    found = fitted(dataclasses.replace(sweep, dark=dark, flat=sweep.flat)).spectrograms
    assert found["dsnu along rows"].frequency[np.argmax(found["dsnu along rows"].power)] == 4 / CAMERA.side
    assert np.median(found["dsnu along columns"].power[1:]) < 3 * np.median(found["dsnu along rows"].power[1:])


def test_bent_camera_shows_its_linearity_error(sweep):
    straight = fitted(sweep)["linearity error"]
    assert straight.interval[0] == 0
    bent = [dataclasses.replace(level, frames=_bend(level.frames)) for level in sweep.levels]
    found = fitted(dataclasses.replace(sweep, levels=tuple(bent)))["linearity error"]
    assert found.interval[0] > straight.value


def _bend(frames):
    light = frames.astype(float) - CAMERA.black_dn
    return np.clip(np.rint(CAMERA.black_dn + light * (1 - 0.05 * light / 1000)), 0, 1023).astype(np.uint16)


def test_rounding_is_taken_off_the_dark_noise():
    camera = KnownCamera(gain=0.2, dark_noise_e=3.0, side=64)  # 0.6 DN: rounding adds 11 %
    result = fitted(camera.sweep(seed=7, levels=15))
    low, high = result["dark noise"].interval
    assert low <= camera.dark_noise_e <= high
    assert high - low < 0.08 * camera.dark_noise_e
    assert high < result["dark noise dn"].value / camera.gain


def test_dark_noise_under_the_rounding_is_a_bound():
    result = fitted(KnownCamera(dark_noise_e=0.8, dsnu_e=1.0).sweep(seed=2))
    assert result["dark noise"].interval[0] == 0
    assert "bound" in result["dark noise"].note
    assert result["dark noise"].interval[1] > 0.8


def test_doubling_temperature():
    rng = np.random.default_rng(4)
    warm = tuple(
        Level(time, 0.0, dataclasses.replace(CAMERA, dark_current_e_s=200 * 2 ** ((t - 30) / 7)).frames(2, 0, time, rng, (0.0, 1.0)), t)
        for t in (20.0, 30.0, 40.0, 50.0) for time in (0.2, 0.4, 0.6, 0.8)
    )
    found = fitted(dataclasses.replace(CAMERA.sweep(seed=4), warm_darks=warm))["doubling temperature"]
    assert found.interval[0] <= 7 <= found.interval[1]
    assert found.interval[1] - found.interval[0] < 2


def test_without_photons_there_is_no_quantum_efficiency():
    result = fitted(CAMERA.sweep(seed=6, photons_known=False, exposures=True))
    assert result["gain"].interval[0] <= CAMERA.gain <= result["gain"].interval[1]
    assert result["responsivity"].unit == "DN/s"
    with pytest.raises(PrivcamError, match="no such figure"):
        result["quantum efficiency"]


def test_pair_variance_is_half_the_squared_difference():
    frames = np.random.default_rng(0).integers(0, 4096, (2, 16, 20)).astype(np.uint16)
    difference = frames[0].astype(float) - frames[1]
    found = moments(frames)
    assert found.variance == pytest.approx(difference.var(ddof=1) / 2, rel=1e-6)
    assert found.stack_variance == pytest.approx(frames.var(axis=0, ddof=1).mean(), rel=1e-6)
    assert found.mean == pytest.approx(frames.mean())


# --- refusals -------------------------------------------------------------------------------------
def _scaled(level: Level, factors) -> Level:
    light = (level.frames - CAMERA.black_dn) * np.asarray(factors)[:, None, None]
    return dataclasses.replace(level, frames=np.clip(np.rint(CAMERA.black_dn + light), 0, 1023).astype(np.uint16))


def _swap(sweep: Sweep, i: int, j: int) -> Sweep:
    return with_level(with_level(sweep, i, frames=sweep.levels[j].frames), j, frames=sweep.levels[i].frames)


def _relabel(sweep: Sweep) -> Sweep:
    return with_level(sweep, 4, photons_per_px=sweep.levels[6].photons_per_px)


def _all(sweep: Sweep, change) -> Sweep:
    def changed(level: Level) -> Level:
        return dataclasses.replace(level, frames=change(level.frames))

    return dataclasses.replace(sweep, levels=tuple(map(changed, sweep.levels)), darks=tuple(map(changed, sweep.darks)),
                               flat=changed(sweep.flat), dark=changed(sweep.dark))


REFUSALS = {
    "not raw integers": lambda s: with_level(s, 3, frames=s.levels[3].frames.astype(float)),
    "wrong shape": lambda s: with_level(s, 3, frames=s.levels[3].frames[:, :20]),
    "level 3: too few frames": lambda s: with_level(s, 3, frames=s.levels[3].frames[:1]),
    "flat stack: too few frames": lambda s: dataclasses.replace(s, flat=dataclasses.replace(s.flat, frames=s.flat.frames[:8])),
    "too few levels": lambda s: dataclasses.replace(s, levels=s.levels[:6]),
    "too few levels up to saturation": lambda s: dataclasses.replace(s, levels=s.levels[1:13:2] + s.levels[14:]),
    "does not reach saturation": lambda s: dataclasses.replace(s, levels=s.levels[:15]),
    "left-justified": lambda s: dataclasses.replace(_all(s, lambda frames: frames * np.uint16(4)), bits=12),
    "outside the converter's range": lambda s: dataclasses.replace(s, bits=9),
    "levels are out of order: by label": _relabel,
    "levels are out of order, or the light changed": lambda s: _swap(s, 5, 8),
    "known for some levels only": lambda s: with_level(s, 3, photons_per_px=None),
    "without dark frames": lambda s: with_level(s, 3, exposure_s=0.7),
    "differ in exposure time": lambda s: dataclasses.replace(s, dark=dataclasses.replace(s.dark, exposure_s=0.6)),
    "dark stack: saturated": lambda s: _all(s, lambda frames: np.clip(frames.astype(int) - 30, 0, 1023).astype(np.uint16)),
    "flat stack: saturated": lambda s: dataclasses.replace(s, flat=_scaled(s.flat, np.full(16, 2.2))),
    "not at half of saturation": lambda s: dataclasses.replace(s, flat=_scaled(s.flat, np.full(16, 0.4))),
    "no temporal noise": lambda s: dataclasses.replace(s, flat=dataclasses.replace(s.flat, frames=s.flat.frames[[0] * 16])),
    "flat stack: drifting": lambda s: dataclasses.replace(s, flat=_scaled(s.flat, np.linspace(1, 1.03, 16))),
    "flat stack: flickering": lambda s: dataclasses.replace(s, flat=_scaled(s.flat, 1 + 0.03 * np.cos(np.arange(16) * 2.1))),
    "level 9: drifting or flickering": lambda s: with_level(s, 9, frames=_scaled(s.levels[9], [1, 1.04]).frames),
    "dark stack: drifting": lambda s: dataclasses.replace(
        s, dark=dataclasses.replace(s.dark, frames=s.dark.frames + np.arange(16, dtype=np.uint16)[:, None, None] // 4)),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refused_with_what_to_take_again(sweep, reason):
    found = check(REFUSALS[reason](sweep))
    matching = [fault for fault in found if reason.split(": by")[0] in fault.what]
    assert matching, [str(fault) for fault in found]
    assert all(fault.todo for fault in found)
    with pytest.raises(PrivcamError):
        fitted(REFUSALS[reason](sweep))


def test_good_frames_are_not_refused(sweep):
    assert check(sweep) == []
    refused = [seed for seed in range(40) if check(CAMERA.sweep(seed, levels=15))]
    assert refused == []


def test_a_slightly_unsteady_lamp_is_allowed_and_reported(sweep):
    rng = np.random.default_rng(8)
    levels = tuple(_scaled(level, 1 + 0.002 * rng.normal(size=2)) if i < 16 else level for i, level in enumerate(sweep.levels))
    result = fitted(dataclasses.replace(sweep, levels=levels))
    assert 0.001 < result["light flicker"].value < 0.004
    assert result["gain"].interval[0] <= CAMERA.gain <= result["gain"].interval[1]


# --- plan -----------------------------------------------------------------------------------------
def sensor() -> Sensor:
    return Sensor(name="known", pixel_pitch_m=3e-6, shape=(32, 32), quantum_efficiency=CAMERA.efficiency, bit_depth=CAMERA.bits,
                  black_level_dn=CAMERA.black_dn, gain_dn_per_e=CAMERA.gain, full_well_e=1e5)


def test_plan_is_what_fit_needs():
    shots = plan(sensor(), 20_000.0, levels=20, stack=16)
    rng = np.random.default_rng(9)
    pattern = CAMERA.pattern(rng)
    frames = [CAMERA.frames(shot.count, shot.photons_per_px, shot.exposure_s, rng, pattern) for shot in shots]
    result = fitted(gather(shots, frames, bits=CAMERA.bits, source="simulated"))
    assert result["gain"].interval[0] <= CAMERA.gain <= result["gain"].interval[1]
    with pytest.raises(PrivcamError, match="do not fit the plan"):
        gather(shots, frames[:-1], bits=CAMERA.bits, source="simulated")


@pytest.mark.parametrize(("light", "options"), [(0.0, {}), (1e4, {"levels": 5}), (1e4, {"stack": 3})])
def test_plan_that_cannot_work_is_refused(light, options):
    with pytest.raises(PrivcamError):
        plan(sensor(), light, **options)


# --- masters and datasheet ------------------------------------------------------------------------
def test_defects_are_found_where_they_are(sweep, tmp_path):
    dark, flat = sweep.dark.frames.copy(), sweep.flat.frames.copy()
    dark[:, 3, 4] += 60
    flat[:, 3, 4] += 60
    flat[:, 10, 12] = CAMERA.black_dn + (flat[:, 10, 12] - CAMERA.black_dn) // 2
    dark[:, 20, 7] = np.random.default_rng(1).integers(0, 60, len(dark))
    made = masters.make(dataclasses.replace(sweep.flat, frames=flat), dataclasses.replace(sweep.dark, frames=dark), "simulated")
    expected = {(3, 4): masters.DARK_DEFECT, (10, 12): masters.RESPONSE_DEFECT, (20, 7): masters.NOISE_DEFECT}
    assert {place: made.defects[place] for place in zip(*np.nonzero(made.defects), strict=True)} == expected
    corrected = made.correct(flat)
    assert np.isnan(corrected[0, 3, 4])
    assert np.nanstd(corrected.mean(axis=0)) < 0.05 * np.nanstd(flat.mean(axis=0))
    made.save(tmp_path)
    again = masters.load(tmp_path)
    assert np.array_equal(again.correct(flat), corrected, equal_nan=True)
    assert again.source == "simulated"


def test_masters_refuse_stacks_that_do_not_belong_together(sweep):
    for flat, dark in (
        (sweep.flat, dataclasses.replace(sweep.dark, exposure_s=9.0)), (sweep.dark, sweep.flat),
        (sweep.flat, dataclasses.replace(sweep.dark, frames=sweep.dark.frames[:4])),
    ):
        with pytest.raises(PrivcamError):
            masters.make(flat, dark, "simulated")
    with pytest.raises(PrivcamError, match="does not fit"):
        masters.make(sweep.flat, sweep.dark, "simulated").correct(sweep.flat.frames[:, 1:])


def test_datasheet_keeps_every_figure(sweep, tmp_path):
    result = fitted(sweep)
    datasheet.write(result, "a <known> camera", tmp_path)
    text = (tmp_path / "datasheet.json").read_text()
    assert datasheet.figures(text) == result.figures
    assert json.loads(text)["source"] == "simulated"
    html = (tmp_path / "datasheet.html").read_text()
    assert all(f">{name}<" in html for name in result.figures)
    assert "a &lt;known&gt; camera" in html
    assert "physical" not in html.split("</style>")[1]


# --- an independent package -----------------------------------------------------------------------
@pytest.fixture
def emva1288_results(monkeypatch):
    """Returns a function from a sweep to the package's results; emva1288 1.0.2 calls np.asfarray, which numpy 2 took away."""
    monkeypatch.setattr(np, "asfarray", lambda values: np.asarray(values, float), raising=False)
    process = pytest.importorskip("emva1288.process.routines")
    from emva1288.process.data import Data1288
    from emva1288.process.results import Results1288

    def temporal(level: Level) -> dict:
        images = process.get_int_imgs(list(level.frames))
        return {"sum": images["sum"].sum(), "pvar": images["pvar"].sum(), "dmean": images["dmean"]}

    def results(sweep: Sweep) -> Results1288:
        levels: dict[float, dict] = {}
        for level in sweep.levels:
            at = levels.setdefault(level.exposure_s * 1e9, {0.0: temporal(sweep.dark_of(level))})
            at[level.photons_per_px] = temporal(level)
        stacks = {stack.photons_per_px: process.get_int_imgs(list(stack.frames)) for stack in (sweep.dark, sweep.flat)}
        rows, columns = sweep.flat.frames.shape[1:]
        return Results1288(Data1288({"temporal": levels, "spatial": {sweep.flat.exposure_s * 1e9: stacks},
                                     "width": columns, "height": rows}).data)

    return results


def assert_agrees(sweep: Sweep, package) -> None:
    result = fitted(sweep)
    pairs = {
        "gain": (package.K, 0.01), "quantum efficiency": (package.QE / 100, 0.01), "dark noise": (package.sigma_d, 0.03),
        "snr max": (package.SNR_max, 0.01), "dsnu": (package.DSNU1288, 0.05), "prnu": (package.PRNU1288 / 100, 0.05),
        "responsivity": (package.R, 0.01), "dynamic range": (package.DR, 0.01), "sensitivity threshold": (package.u_p_min, 0.01),
        "linearity error low": (package.LE_min / 100, 0.01), "linearity error high": (package.LE_max / 100, 0.01),
        "prnu pixel": (package.PRNU1288_pixel / 100, 0.05),
    }
    for name, (theirs, tolerance) in pairs.items():
        ours = result[name]
        assert ours.value == pytest.approx(theirs, rel=tolerance), name
        assert ours.interval[0] <= theirs <= ours.interval[1], name
    theirs = package.temporal["u_y"] - package.temporal["u_ydark"]
    noisy = package.temporal["s2_y"] > 0
    assert np.allclose(result.curve.snr[noisy], (theirs[noisy] / package.temporal["s2_y"][noisy] ** 0.5), rtol=0.01)


def ccd(root) -> Sweep:
    """The real CCD of the standard's reference set 001: 50 exposures, 160 x 160 pixels."""
    file = root / "sensor_emva1288" / "001_CCD_12Bit_crop160.npz"
    if not file.exists():
        pytest.skip("no sensor_emva1288 data")
    with np.load(file, allow_pickle=False) as stored:
        data = {name: stored[name] for name in ("images", "condition", "is_bright", "exposure_ns", "photons_per_pixel")}
    found = []
    for condition in np.unique(data["condition"]):
        chosen = data["condition"] == condition
        found.append((bool(data["is_bright"][chosen][0]), Level(float(data["exposure_ns"][chosen][0]) * 1e-9,
                      float(data["photons_per_pixel"][chosen][0]), data["images"][chosen])))
    pairs, stacks = ([item for item in found if (len(item[1].frames) == 2) == pair] for pair in (True, False))
    return Sweep(bits=12, source="physical", flat=next(s for lit, s in stacks if lit), dark=next(s for lit, s in stacks if not lit),
                 levels=tuple(s for lit, s in pairs if lit), darks=tuple(s for lit, s in pairs if not lit))


@pytest.mark.data
def test_agrees_on_a_real_ccd(real_data, emva1288_results):
    sweep = ccd(real_data)
    assert check(sweep) == []
    assert_agrees(sweep, emva1288_results(sweep))


def test_agrees_on_the_packages_own_camera(emva1288_results):
    sweep = package_camera(seed=1)
    package = emva1288_results(sweep)
    assert_agrees(sweep, package)
    spectra = fitted(sweep).spectrograms
    from emva1288.process.routines import FFT1288

    theirs = FFT1288(package.spatial["sum_dark"], n=package.spatial["L_dark"])
    assert np.allclose(spectra["dsnu along rows"].power, theirs)


def package_camera(seed: int, side: int = 64, levels: int = 20, stack: int = 24) -> Sweep:
    """A sweep of light taken by the camera simulator of the emva1288 package."""
    from emva1288.camera.camera import Camera
    from emva1288.camera.routines import Qe

    rng = np.random.default_rng(seed)
    camera = Camera(bit_depth=12, width=side, height=side, K=0.4, K_min=0.4, K_max=0.4, K_steps=1, blackoffset=50, blackoffset_steps=2,
                    blackoffset_min=50, blackoffset_max=100, u_esat=50_000, dark_signal_0=0.0, sigma2_dark_0=60.0, seed=seed,
                    qe=Qe(qe=np.full((side, side, 1), 0.5), wavelength=np.array([550.0]), width=side, height=side),
                    dsnu=rng.normal(0, 5, (side, side)), prnu=1 + rng.normal(0, 0.01, (side, side)))
    one = np.ones((side, side, 1))
    per_radiance = float(camera.get_photons(one).mean())
    full = (4095 - 50) / 0.4 / 0.5

    def level(photons: float, count: int) -> Level:
        frames = np.stack([camera.grab(one * photons / per_radiance) for _ in range(count)])
        return Level(camera.exposure * 1e-9, photons, frames.astype(np.uint16))

    light = np.linspace(1.15 * full / levels, 1.15 * full, levels)
    return Sweep(bits=12, source="simulated", levels=tuple(level(float(photons), 2) for photons in light),
                 darks=(level(0.0, 2),), flat=level(full / 2, stack), dark=level(0.0, stack))

"""Every preset measured by the `emva1288` package, which knows nothing of this project."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emva1288.process import routines
from emva1288.process.data import Data1288
from emva1288.process.results import Results1288

from optics_sim.design import Exposure, Readout, Sensor
from optics_sim.sensor import presets
from optics_sim.sensor.model import SensorModel
from optics_sim.sensor.planning import clip_level_e, noise_regime

SIDE = 288  # 82,944 pixels: a variance from one pair of frames is known to sqrt(2 / n) = 0.49 %
LEVELS = 20
STACK = 24
GAIN_TOLERANCE = 0.01
PATTERN_TOLERANCE = 0.05
READ_NOISE_TOLERANCE = 0.03
EFFICIENCY_TOLERANCE = 0.01
EXPOSURE_S = 0.01


def mono_crop(name: str) -> Sensor:
    """The preset seen through its green pixels alone, cut to a square."""
    sensor = presets.load(name)
    efficiency = sensor.quantum_efficiency
    green = efficiency if isinstance(efficiency, float) else efficiency[1]
    return sensor.model_copy(update={"cfa": "mono", "quantum_efficiency": green, "shape": (SIDE, SIDE)})


def measurable_gain(sensor: Sensor) -> float:
    """The smallest power of two at which the dark noise is above the converter's steps."""
    return next(gain for gain in (1.0, 2.0, 4.0, 8.0, 16.0) if noise_regime(sensor, gain) == "measurable")


def pair(model: SensorModel, photons: float, generator: torch.Generator, count: int) -> list[np.ndarray]:
    light = torch.full((count, SIDE, SIDE), photons / EXPOSURE_S)
    return [frame.numpy().astype(np.uint16) for frame in model.raw(light, generator=generator)]


def temporal(frames: list[np.ndarray]) -> dict[str, float]:
    images = routines.get_int_imgs(frames)
    return {"sum": images["sum"].sum(), "pvar": images["pvar"].sum(), "dmean": images["dmean"]}


def measure(sensor: Sensor, gain: float, seed: int) -> Results1288:
    spec = Readout(crop=(0, 0, SIDE, SIDE), bin=(8, 8), black_level_dn=int(sensor.black_level_dn), shift=4)
    model = SensorModel(sensor, Exposure(exposure_s=EXPOSURE_S, analogue_gain=gain, white_photons_per_px_s=1.0), spec)
    generator = torch.Generator().manual_seed(seed)
    full = clip_level_e(sensor, gain) / float(sensor.quantum_efficiency)  # type: ignore[arg-type]
    levels = {0.0: temporal(pair(model, 0.0, generator, 2))}
    for photons in np.linspace(1.15 * full / LEVELS, 1.15 * full, LEVELS):
        levels[float(photons)] = temporal(pair(model, float(photons), generator, 2))
    spatial = {p: routines.get_int_imgs(pair(model, p, generator, STACK)) for p in (0.0, full / 2)}
    nanoseconds = EXPOSURE_S * 1e9
    data = Data1288({"temporal": {nanoseconds: levels}, "spatial": {nanoseconds: spatial}, "width": SIDE, "height": SIDE})
    return Results1288(data.data)


@pytest.fixture(autouse=True)
def _old_numpy_name(monkeypatch):
    """emva1288 1.0.2 calls np.asfarray, which numpy 2 took away."""
    monkeypatch.setattr(np, "asfarray", lambda values: np.asarray(values, float), raising=False)


def errors(name: str, seed: int = 11) -> dict[str, float]:
    sensor = mono_crop(name)
    gain = measurable_gain(sensor)
    results = measure(sensor, gain, seed)
    truth_gain = sensor.gain_dn_per_e * gain
    other_e2 = sensor.row_noise_e**2 + sensor.dark_current_e_per_s * EXPOSURE_S  # the package measures all dark noise at once
    return {
        "gain": results.K / truth_gain - 1,
        "efficiency": results.QE / 100 / float(sensor.quantum_efficiency) - 1,  # type: ignore[arg-type]
        "prnu": results.PRNU1288 / 100 / sensor.prnu - 1,
        "dsnu": results.DSNU1288 / sensor.dsnu_e - 1,
        "read noise": (results.sigma_d**2 - other_e2) ** 0.5 / sensor.read_noise_e - 1,
    }


@pytest.mark.parametrize("name", [n for n in presets.names() if n != "ideal"])
def test_preset_measures_as_written(name):
    found = errors(name)
    assert abs(found["gain"]) < GAIN_TOLERANCE, found
    assert abs(found["efficiency"]) < EFFICIENCY_TOLERANCE, found
    assert abs(found["prnu"]) < PATTERN_TOLERANCE, found
    assert abs(found["dsnu"]) < PATTERN_TOLERANCE, found
    assert abs(found["read noise"]) < READ_NOISE_TOLERANCE, found


def test_a_wrong_gain_is_noticed():
    sensor = mono_crop("imx477")
    results = measure(sensor.model_copy(update={"gain_dn_per_e": sensor.gain_dn_per_e * 1.03}), 1.0, seed=11)
    assert abs(results.K / sensor.gain_dn_per_e - 1) > GAIN_TOLERANCE

"""A 12.3 Mpixel frame of noise: the sensor's fast chain against the eager `torch.normal` one.

One table: ratios to the eager chain of equal physics, and the floors (random numbers alone, memory traffic alone).

Run: python -m benchmarks.sensor [--threads N] [--results FILE]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks._timing import Bench, benches
from optics_sim.design import Exposure, Readout
from optics_sim.sensor import presets
from optics_sim.sensor.chain import normal
from optics_sim.sensor.model import SensorModel

CROP = (0, 0, 3040, 4040)
MEAN_E = 2000.0


def model_of(compiled: bool) -> SensorModel:
    """Returns the whole IMX477, 3040 x 4040 pixels of it in 40 x 40 bins."""
    readout = Readout(crop=CROP, bin=(40, 40), black_level_dn=256, shift=11)
    exposure = Exposure(exposure_s=0.01, white_photons_per_px_s=1.0)
    return SensorModel(presets.load("imx477"), exposure, readout, compiled=compiled)


def eager(model: SensorModel, light: Tensor, generator: torch.Generator) -> Tensor:
    """Returns raw as one writes it first: `torch.normal` for the shot noise, again for read noise, all out of place."""
    sensor = model.sensor
    mean = light * model.response + sensor.dark_current_e_per_s * model.exposure.exposure_s
    electrons = torch.normal(mean, mean.sqrt(), generator=generator).clamp(0, sensor.full_well_e)
    read = torch.normal(0.0, sensor.read_noise_e, mean.shape, generator=generator)
    row = torch.normal(0.0, sensor.row_noise_e, (mean.shape[0], 1), generator=generator)
    volts = (electrons + model.offset_e + row + read) * model.gain_dn_per_e + sensor.black_level_dn
    return volts.round().clamp(0, 2**sensor.bit_depth - 1)


def eager_plain(model: SensorModel, light: Tensor, generator: torch.Generator) -> Tensor:
    """Returns raw without fixed pattern or row noise: shot, read, gain, offset, 12-bit clamp."""
    mean = light * 0.0065
    electrons = torch.normal(mean, mean.sqrt(), generator=generator)
    electrons = electrons + torch.normal(0.0, 3.0, mean.shape, generator=generator)
    return (electrons * model.gain_dn_per_e + 256.0).round().clamp(0, 4095)


def contenders(threads: int) -> dict[str, Callable[[], object]]:
    """Returns what is measured, the baseline first."""
    plain, fast = model_of(compiled=False), model_of(compiled=True)
    light = torch.full(plain.spec.crop[2:], MEAN_E / 0.0065)
    spare = torch.empty_like(light)
    generator = torch.Generator().manual_seed(0)
    return {
        "eager torch.normal chain, same physics": lambda: eager(plain, light, generator),
        "eager torch.normal chain, no fixed pattern": lambda: eager_plain(plain, light, generator),
        "raw(exact=True)": lambda: plain.raw(light, generator=generator),
        "raw(exact=False), eager fallback": lambda: plain.raw(light, generator=generator, exact=False),
        f"raw(exact=False), compiled, normals by {threads} thread(s)": lambda: fast.raw(
            light, generator=generator, exact=False, threads=threads),
        "floor: normal numbers alone": lambda: normal(light.shape, [generator]),
        "floor: memory alone (copy)": lambda: spare.copy_(light),
    }


def sensor(bench: Bench) -> None:
    """Times the noise of a 12.3 Mpixel frame."""
    pixels = CROP[2] * CROP[3]
    calls = contenders(bench.threads)
    bench.compare(f"sensor noise, {pixels / 1e6:.1f} Mpixel", calls, next(iter(calls)), floor=(
        f"{24 * pixels / 1e6:.0f} MB for the compiled chain (light, two maps and normals read; normals and raw written), "
        "and one normal number per pixel; both are timed alone above"))


if __name__ == "__main__":
    benches(__doc__ or "", [sensor])

"""Light to numbers: the electron-level sensor, per raw pixel and binned, with a gradient.

Everything here is drawn **as the camera sees the scene**. Where `readout.turn` says that the aperture's image is
upside down, the sensor reads the same pixels out turned by 180 degrees; the model therefore turns its colour
filters and fixed patterns into the scene's orientation, and `in_sensor_order` turns a raw frame into what the wire
carries, which `optics_sim.sensor.readout` turns back. Deliberately not here: optics, and the Pi's integer readout.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from optics_sim.design import Exposure, Readout, Sensor
from optics_sim.errors import PrivcamError
from optics_sim.sensor.chain import Level, compiled_chain, gaussian_chain, normal, spawn
from optics_sim.sensor.fixed_pattern import gain_errors, offset_errors_e
from optics_sim.sensor.moments import clipped_moments
from optics_sim.sensor.planning import quantum_efficiencies
from optics_sim.sensor.readout import colours, selected

POISSON_BELOW_E = 20.0  # above it a Gaussian's skewness error is under 1/sqrt(20); below, Poisson is drawn
ROUNDING_VARIANCE_DN2 = 1.0 / 12.0
_SMALLEST_VARIANCE_DN2 = 1e-6  # keeps the gradient of its root finite where every pixel is saturated


class SensorModel(nn.Module):
    """A sensor, its exposure and its readout, for tensors of photons per raw pixel and second.

    All noise comes from the generator passed in. Buffers hold the fixed pattern and follow `.to(device)`; nothing
    is learned. `compiled=True` runs the Gaussian chain of `raw` in one pass over memory (same bits, needs a compiler).
    Raises PrivcamError for a crop outside the sensor or a plane the sensor does not have.
    """

    response: Tensor
    offset_e: Tensor
    count: Tensor
    gain_error_sum: Tensor
    offset_sum_e: Tensor
    colour_sensitivity: Tensor

    def __init__(self, sensor: Sensor, exposure: Exposure, readout: Readout, *, compiled: bool = False) -> None:
        super().__init__()
        self.sensor, self.exposure, self.spec, self.compiled = sensor, exposure, readout, compiled
        _check_crop(sensor, readout)
        efficiency = np.array(quantum_efficiencies(sensor), np.float32) * np.float32(exposure.exposure_s)
        pixels = _pixels(sensor.model_dump_json(exclude={"sources"}), readout.model_dump_json(exclude={"shift", "black_level_dn"}))
        self._keep("colour_sensitivity", efficiency[list(pixels.summed), None, None])
        self._keep("response", efficiency[pixels.colour] * (1 + pixels.gain_error))
        self._keep("offset_e", pixels.offset_e)
        self._keep("count", pixels.counts)
        self._keep("gain_error_sum", pixels.gain_error_sum)
        self._keep("offset_sum_e", pixels.offset_sum_e)
        self._row_weight = pixels.row_weight

    @property
    def gain_dn_per_e(self) -> float:
        """DN per electron at the exposure's analogue gain."""
        return self.sensor.gain_dn_per_e * self.exposure.analogue_gain

    @torch.no_grad()
    def raw(self, irradiance: Tensor, *, generator: torch.Generator, exact: bool = True, threads: int = 1) -> Tensor:
        """Returns raw DN [..., rows, columns], integer-valued floats, black level included, as the camera sees the scene.

        `irradiance`: photons/px/s over the readout's crop. Electrons are Poisson below a mean of 20 and Gaussian above;
        `exact=False` takes Gaussian everywhere and shares one normal number between shot and read noise (fast).
        `threads` splits the normal numbers over that many generators seeded from the one given.
        Noise: shot and dark current (Poisson), PRNU, DSNU, one draw per row, read, full well, gain, rounding, clip.
        """
        self._check(irradiance, self.spec.crop[2:], "crop")
        row_e = torch.randn((*irradiance.shape[:-1], 1), generator=generator, device=irradiance.device, dtype=irradiance.dtype)
        row_e = row_e * self.sensor.row_noise_e
        generators = [generator] if threads == 1 else spawn(generator, threads)
        noise = normal(irradiance.shape, generators, dtype=irradiance.dtype)
        if exact:
            return self._exact(irradiance, row_e, noise, generator)
        chain = compiled_chain() if self.compiled else gaussian_chain
        level, half = irradiance.new_tensor(self._level()), irradiance.new_tensor(0.5)
        return chain(irradiance, self.response, self.offset_e, row_e, noise, level, half)

    def binned(self, irradiance: Tensor, *, generator: torch.Generator, exact: bool = False) -> Tensor:
        """Returns the sum over each bin of (raw - black level) [..., h, w], at code resolution, with a gradient.

        `irradiance`: photons/px/s of each code pixel, shared by its raw pixels. mean + sqrt(variance) * z with the moments
        of `raw` and z standard normal; `exact=True` takes z from a Poisson draw of the bin's electrons (the sum of
        Poisson numbers is Poisson), which matters below about 20 electrons per bin. The gradient goes through mean and
        variance. A row's noise is one draw for all code pixels of that row, as on the sensor.
        """
        mean, variance, row_sigma = self.binned_moments(irradiance)
        z = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        row = torch.randn((*mean.shape[:-1], 1), generator=generator, device=mean.device, dtype=mean.dtype)
        if exact:
            z = self._poisson_scores(irradiance, variance, z, generator)
        return mean + torch.sqrt(variance) * z + row_sigma * row

    def binned_moments(self, irradiance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns mean and variance of `binned` without row noise, and the row noise's sigma, each [..., h, w].

        Each colour saturates by itself: its pixels' electrons are censored at the full well, then, with read noise, at
        the converter's clip. PRNU and DSNU enter as the bin's own sums, to first order around the colour's mean.
        """
        self._check(irradiance, self.spec.shape, "code")
        electrons = irradiance.unsqueeze(-3) * self.colour_sensitivity
        dark_e = self.sensor.dark_current_e_per_s * self.exposure.exposure_s
        mean_e, variance_e, well, converter = self._pixel_moments(electrons + dark_e)
        lit_e = well * electrons * self.gain_error_sum
        mean_dn = (self.count * mean_e + converter * (lit_e + self.offset_sum_e)).sum(-3) * self.gain_dn_per_e
        black_dn = (self.sensor.black_level_dn - self.spec.black_level_dn) * self.count.sum(0)
        spread = (self.count * variance_e + (well * converter**2) * lit_e).clamp_min(0)
        rounding = ROUNDING_VARIANCE_DN2 * (self.count * converter.detach()).sum(-3)
        variance_dn2 = spread.sum(-3) * self.gain_dn_per_e**2 + rounding.clamp_min(_SMALLEST_VARIANCE_DN2)
        share = (self.count * converter).sum(-3) / self.count.sum(0)
        return mean_dn + black_dn, variance_dn2, share * (self._row_weight * self.sensor.row_noise_e * self.gain_dn_per_e)

    def code(self, binned: Tensor) -> Tensor:
        """Returns the code [..., h, w] on the int8 grid, -128 to 127, of a bin sum: the readout's integer arithmetic.

        Bit for bit what `optics_sim.sensor.readout` makes of the same sums. The gradient goes straight through the
        rounding (Bengio et al. 2013) and is zero where the code is clipped.
        """
        shift = self.spec.shift
        half = (1 << shift) >> 1
        whole = binned.detach().round().to(torch.int64)
        hard = (((whole + half) >> shift).clamp(0, 255) - 128).to(binned.dtype)
        soft = (binned / 2**shift).clamp(0, 255)
        return hard + (soft - soft.detach())

    def forward(self, irradiance: Tensor, *, generator: torch.Generator) -> Tensor:
        """Returns the code [..., h, w] of photons/px/s at code resolution: what training sees."""
        return self.code(self.binned(irradiance, generator=generator))

    def bin_raw(self, raw: Tensor) -> Tensor:
        """Returns the sum over each bin of (raw - the readout's black level) [..., h, w] of raw as the camera sees it."""
        self._check(raw, self.spec.crop[2:], "crop")
        rows, columns = self.spec.shape
        chosen = torch.from_numpy(as_seen(selected(self.spec, self.sensor.cfa), self.spec)).to(raw.device)
        lifted = (raw.double() - self.spec.black_level_dn) * chosen
        return lifted.reshape(*raw.shape[:-2], rows, self.spec.bin[0], columns, self.spec.bin[1]).sum((-3, -1))

    def in_sensor_order(self, raw: Tensor) -> Tensor:
        """Returns raw as the sensor reads it out: turned by 180 degrees when the readout will turn it back."""
        return raw.flip((-2, -1)) if self.spec.turn else raw

    def _exact(self, irradiance: Tensor, row_e: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        level = self._level()
        mean = (irradiance * self.response).add_(level.dark_e).clamp_min_(0)
        electrons = noise.mul_(mean.sqrt()).add_(mean)
        few = mean < POISSON_BELOW_E
        if few.any():
            electrons[few] = torch.poisson(mean[few], generator=generator)
        electrons.clamp_(0, level.full_well_e).add_(self.offset_e).add_(row_e)
        electrons.add_(mean.normal_(generator=generator), alpha=self.sensor.read_noise_e)
        return electrons.mul_(level.gain_dn_per_e).add_(level.black_level_dn + 0.5).floor_().clamp_(0, level.maximum_dn)

    def _pixel_moments(self, mean_e: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One pixel's mean and variance in electrons, and how much of a change gets past the well and the converter."""
        level = self._level()
        converter_e = (level.maximum_dn - level.black_level_dn) / level.gain_dn_per_e
        held, spread, well = clipped_moments(mean_e, mean_e.clamp_min(0), level.full_well_e)
        mean, variance, converter = clipped_moments(held, spread + level.read_variance_e2, converter_e)
        return mean, variance, well, converter

    def _poisson_scores(self, irradiance: Tensor, variance: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """Standard scores of one Poisson draw of each bin's electrons with its read and rounding noise added."""
        with torch.no_grad():
            dark_e = self.sensor.dark_current_e_per_s * self.exposure.exposure_s
            light = irradiance.unsqueeze(-3) * self.colour_sensitivity
            expected = (light * (self.count + self.gain_error_sum) + dark_e * self.count).sum(-3).clamp_min(0)
            deviation = torch.poisson(expected, generator=generator) - expected
            pixels = self.count.sum(0)
            other = pixels * (self.sensor.read_noise_e**2 + ROUNDING_VARIANCE_DN2 / self.gain_dn_per_e**2)
            total = (expected + other).sqrt()
            return (deviation + other.sqrt() * z) / total

    def _level(self) -> Level:
        return Level(
            dark_e=self.sensor.dark_current_e_per_s * self.exposure.exposure_s,
            read_variance_e2=self.sensor.read_noise_e**2,
            full_well_e=self.sensor.full_well_e,
            gain_dn_per_e=self.gain_dn_per_e,
            black_level_dn=self.sensor.black_level_dn,
            maximum_dn=2.0**self.sensor.bit_depth - 1,
        )

    def _keep(self, name: str, values: NDArray[Any]) -> None:
        self.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)

    def _check(self, tensor: Tensor, shape: tuple[int, ...], which: str) -> None:
        if tensor.ndim < 2 or tuple(tensor.shape[-2:]) != tuple(shape):
            raise PrivcamError(f"the tensor is not at {which} resolution", got=tuple(tensor.shape), allowed=tuple(shape),
                               todo="give one value per pixel of the readout's " + which)


class _Pixels(NamedTuple):
    """What a sensor's raw pixels are and how they fall into code pixels, whatever the exposure; as the camera sees them."""

    summed: tuple[int, ...]  # colours that the readout sums
    colour: NDArray[Any]
    gain_error: NDArray[Any]
    offset_e: NDArray[Any]
    counts: NDArray[Any]  # [colour, h, w], as the two sums after it
    gain_error_sum: NDArray[Any]
    offset_sum_e: NDArray[Any]
    row_weight: float


@lru_cache(maxsize=4)
def _pixels(sensor_json: str, readout_json: str) -> _Pixels:
    """Returns the pixels of a sensor and a readout (without shift and black level); kept, for cameras are built again and again."""
    sensor = Sensor.model_validate_json(sensor_json)
    readout = Readout.model_validate({"shift": 0, "black_level_dn": 0, **json.loads(readout_json)})
    top, left, height, width = readout.crop
    colour = as_seen(colours(sensor.cfa, (height, width), (top, left)), readout).astype(np.uint8)
    gain_error, offset_e = (as_seen(draw(sensor, readout.crop), readout) for draw in (gain_errors, offset_errors_e))
    chosen = as_seen(selected(readout, sensor.cfa), readout)
    summed = tuple(index for index in range(3) if (chosen & (colour == index)).any())
    planes = [chosen & (colour == index) for index in summed]
    row_counts = chosen[:, : readout.bin[1]].sum(axis=1)[: readout.bin[0]].astype(np.float64)
    counts, gain_sum, offset_sum = (np.stack([_binned(readout, values * plane) for plane in planes])
                                    for values in (1, gain_error, offset_e))
    return _Pixels(summed, colour, gain_error, offset_e, counts, gain_sum, offset_sum, float(np.sqrt((row_counts**2).sum())))


def as_seen(sensor_order: NDArray[Any], readout: Readout) -> NDArray[Any]:
    """Returns values of raw pixels as the camera sees the scene: turned by 180 degrees where the readout turns."""
    return np.ascontiguousarray(sensor_order[::-1, ::-1] if readout.turn else sensor_order)


def _binned(readout: Readout, values: NDArray[Any]) -> NDArray[np.float64]:
    rows, columns = readout.shape
    total: NDArray[np.float64] = values.astype(np.float64).reshape(rows, readout.bin[0], columns, readout.bin[1]).sum(axis=(1, 3))
    return total


def _check_crop(sensor: Sensor, readout: Readout) -> None:
    top, left, height, width = readout.crop
    if top < 0 or left < 0 or top + height > sensor.shape[0] or left + width > sensor.shape[1]:
        raise PrivcamError("the readout's crop leaves the sensor", got=readout.crop, allowed=sensor.shape,
                           todo="choose (top, left, height, width) inside the sensor")

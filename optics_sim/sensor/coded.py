"""Coded exposure at electron level: a clip of light in, one binned image out.

An exposure is divided over the slots of a clip. A sensor whose shutter follows the code adds the electrons of the open
slots in the pixel and reads once; every other one reads a frame per slot and the open frames are added after the
converter, with the noise of each (`optics_sim.coding.realised_by` says which it is and why). A closed slot collects
nothing. Deliberately not here: the codes as data (`optics_sim.coding`) and learning them (`optics_sim.sensor.learned_coding`).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from optics_sim.coding import Coding, Realisation, coding_bits, realised_by
from optics_sim.compiled import compiled
from optics_sim.design import Exposure, Readout, Sensor
from optics_sim.errors import PrivcamError
from optics_sim.sensor.model import SensorModel

LARGE = 1 << 20
"""Clip pixels in all frames together from which the compiled kernels are worth their compilation."""


class LearnedBits(Protocol):
    """What a learnable code offers: its tile of bits [slots, rows, columns], with a gradient, and itself as data."""

    def __call__(self) -> Tensor:
        """Returns the bits of the tile, exactly 0 or 1."""

    def to_coding(self) -> Coding:
        """Returns the code as plain data."""


class CodedExposure(nn.Module):
    """The exposure of a sensor through a code, for clips of photons per raw pixel and second at code resolution.

    `learned` takes the coding's place while a code is trained. All noise comes from the generator passed in.
    """

    fixed_bits: Tensor | None

    def __init__(self, coding: Coding, sensor: Sensor, exposure: Exposure, readout: Readout, learned: LearnedBits | None = None) -> None:
        super().__init__()
        self.coding, self.shape = coding, readout.shape
        self.learned: LearnedBits | None = learned
        self.realisation: Realisation = realised_by(coding, sensor.shutter)
        self.reads_once = self.realisation.how == "one_exposure"
        part = exposure if self.reads_once else exposure.model_copy(update={"exposure_s": exposure.exposure_s / coding.slots})
        self.sensor = SensorModel(sensor, part, readout)
        fixed = None if learned is not None else torch.from_numpy(coding_bits(coding, readout.shape))
        self.register_buffer("fixed_bits", fixed, persistent=False)

    def bits(self) -> Tensor:
        """Returns the bits [slots, h, w] on the code-pixel grid, 1 = open; with a gradient where they are learned."""
        if self.fixed_bits is not None:
            return self.fixed_bits
        return tiled(cast(LearnedBits, self.learned)(), self.shape)

    def binned(self, irradiance: Tensor, *, generator: torch.Generator, bits: Tensor | None = None) -> Tensor:
        """Returns one image [..., h, w] of a clip [..., slots, h, w]: the sum over each bin of (raw - black level).

        `irradiance`: photons/px/s in each slot. One exposure: the mean light of the exposure, closed slots being dark,
        is what the sensor sees, for a pixel's moments depend on the electrons of the exposure alone; dark current runs
        from reset to reading, whatever the code. Sum of frames: each slot is a reading of its own, and only that slot's
        dark current comes with it. `bits` overrules this code's own (a warm-up's random ones).
        Raises PrivcamError for a clip that has not one frame per slot.
        """
        self._check(irradiance)
        bits = self.bits() if bits is None else bits
        if self.reads_once:
            return self.sensor.binned(coded_sum(irradiance, bits) / self.coding.slots, generator=generator)
        return coded_sum(self.sensor.binned(irradiance, generator=generator), bits)

    def moments(self, irradiance: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and variance of `binned` for each pixel [..., h, w], row noise included."""
        self._check(irradiance)
        bits = self.bits()
        if self.reads_once:
            mean, variance, row = self.sensor.binned_moments(coded_sum(irradiance, bits) / self.coding.slots)
            return mean, variance + row.square()
        mean, variance, row = self.sensor.binned_moments(irradiance)
        return coded_sum(mean, bits), coded_sum(variance + row.square(), bits)

    def _check(self, irradiance: Tensor) -> None:
        if irradiance.ndim < 3 or irradiance.shape[-3] != self.coding.slots:
            raise PrivcamError("a coded exposure needs one frame for each slot", got=tuple(irradiance.shape),
                               allowed=f"[..., {self.coding.slots}, rows, columns]",
                               todo="cut or resample the clip, or change `coding.slots`")


def tiled(block: Tensor, shape: tuple[int, int]) -> Tensor:
    """Returns a block [slots, rows, columns] repeated from the top left over a grid, cut at its edges."""
    repeats = [-(-size // period) for size, period in zip(shape, block.shape[-2:], strict=True)]
    return block.repeat(1, *repeats)[:, : shape[0], : shape[1]]


def per_open_slot(image: Tensor, bits: Tensor) -> Tensor:
    """Returns a coded image [..., h, w] (black level at 0) divided by each pixel's number of open slots: its mean open frame.

    As an input of recognisers: the noise of a pixel that was open briefly grows as its light does. A pixel that never opens
    stays as it is.

    Reference: SnapPix (DAC 2025, arXiv 2504.04535), per-pixel normalisation.
    """
    return image / bits.sum(0).clamp_min(1)


def first_guess(measurement: Tensor, bits: Tensor) -> Tensor:
    """Returns the clip [..., slots, H, W] of least energy that agrees with a measurement [..., H, W], M^T y / sum_t M_t.

    0 where nothing was open. Raises PrivcamError for bits of another size.
    """
    if bits.ndim != 3 or tuple(bits.shape[-2:]) != tuple(measurement.shape[-2:]):
        raise PrivcamError("the bits do not belong to this measurement", got=f"{tuple(bits.shape)}, {tuple(measurement.shape)}",
                           allowed="bits [slots, H, W], measurements [..., H, W]", todo="cut the code as the image was cut")
    return bits * per_open_slot(measurement, bits).unsqueeze(-3)


# --- the sum over the slots -----------------------------------------------------------------------
def coded_sum(clip: Tensor, bits: Tensor) -> Tensor:
    """Returns sum_t bits_t * clip_t, [..., h, w] of clips [..., slots, h, w] and bits [slots, h, w], with both gradients.

    Large clips on the CPU take one compiled pass over memory forward and one backward; the numbers are those of the
    eager sum within float rounding.
    """
    if clip.device.type != "cpu" or clip.numel() < LARGE or clip.dtype != torch.float32:
        return _weighted(clip, bits)
    flat = clip.reshape(-1, *clip.shape[-3:]).contiguous()
    return _fast(_weighted)(flat, bits.contiguous()).reshape(*clip.shape[:-3], *clip.shape[-2:])


def _weighted(clip: Tensor, bits: Tensor) -> Tensor:
    return (clip * bits).sum(-3)


_fast = cache(partial(compiled, varied=True))

"""Scalar diffraction in free space, differentiable: band-limited angular spectrum, and a direct sum to test it.

Fields are complex [..., row, column] samples of pitch `pitch_m`, in the convention exp(-i omega t): a wave running
towards +z is exp(+i k z). Deliberately not here: masks, pixels, PSFs (`psf`).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from optics_sim.errors import PrivcamError


def angular_spectrum(field: Tensor, pitch_m: float, wavelength_m: float, distance_m: float,
                     padding: int | None = None) -> Tensor:
    """Returns the field [..., row, column] after `distance_m` of free space, on the same grid.

    The spectrum of the zero-padded field is multiplied by exp(i k_z z), cut where that phase would be undersampled on
    the padded grid. `padding` is the number of zeros added along each axis; by default as many as the field has
    samples, which makes the (linear) convolution exact on the returned window. Evanescent waves are dropped.
    The common phase exp(i k z) is left out.
    Raises PrivcamError for a pitch, wavelength or distance that is not positive.
    Reference: Matsushima and Shimobaba, "Band-limited angular spectrum method for numerical simulation of free-space
    propagation in far and near fields", Optics Express 17 (2009) 19662, eq. 7, 13 and 20.
    """
    _positive(pitch_m=pitch_m, wavelength_m=wavelength_m, distance_m=distance_m)
    rows, columns = field.shape[-2:]
    size = tuple(fast_length(n + (n if padding is None else padding)) for n in (rows, columns))
    transfer = transfer_function((size[0], size[1]), pitch_m, wavelength_m, distance_m, None, field.device)
    spectrum = torch.fft.fft2(field.to(torch.promote_types(field.dtype, torch.complex64)), s=size)
    return torch.fft.ifft2(spectrum * transfer.to(spectrum.dtype))[..., :rows, :columns]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is cached outlives the caller's mode
def transfer_function(shape: tuple[int, int], pitch_m: float, wavelength_m: float, distance_m: float,
                      spread_m: float | None, device: torch.device) -> Tensor:
    """Returns the transfer function of free space, complex128 [row, column] in FFT order, cached.

    Light that walks sideways by more than `spread_m` is cut; without it by more than half the grid, which is the
    limit of Matsushima and Shimobaba (2009), eq. 13: their tan(angle) = 1 / (2 delta_u z) is half a period over z.
    The phase is taken relative to exp(i k z) and computed in float64: k z is some 1e4 rad.
    """
    frequencies = [torch.fft.fftfreq(n, pitch_m, dtype=torch.float64) for n in shape]
    keep = torch.ones(shape, dtype=torch.bool)
    for axis, (frequency, n) in enumerate(zip(frequencies, shape, strict=True)):
        walk_m = n * pitch_m / 2 if spread_m is None else spread_m
        limit = math.sin(math.atan2(walk_m, distance_m)) / wavelength_m
        keep &= (frequency.abs() <= limit).reshape((-1, 1) if axis == 0 else (1, -1))
    transverse = wavelength_m**2 * (frequencies[0][:, None] ** 2 + frequencies[1][None, :] ** 2)
    keep &= transverse < 1
    # sqrt(1 - t) - 1 = -t / (1 + sqrt(1 - t)), without the cancellation
    root = torch.sqrt(torch.clamp(1 - transverse, min=0))
    phase = -2 * math.pi / wavelength_m * distance_m * transverse / (1 + root)
    return torch.polar(keep.double(), phase).to(device)


def rayleigh_sommerfeld(field: Tensor, pitch_m: float, wavelength_m: float, distance_m: float,
                        y_m: Tensor, x_m: Tensor, block: int = 64) -> Tensor:
    """Returns the field [len(y_m), len(x_m)], complex128, at points of a plane behind an aperture: a direct sum.

    Every sample of `field` [row, column], centred on the axis, is a source of area pitch**2. No FFT, no periodicity,
    no small-angle approximation: slow, and there to check the fast path. The common phase exp(i k z) is left out.
    Reference: Goodman, "Introduction to Fourier Optics", 3rd ed., eq. 3-40 (first Rayleigh-Sommerfeld solution, with
    its 1/r term kept).
    """
    _positive(pitch_m=pitch_m, wavelength_m=wavelength_m, distance_m=distance_m)
    rows, columns = field.shape
    source_y, source_x = (torch.arange(n, dtype=torch.float64, device=field.device) * pitch_m - (n - 1) / 2 * pitch_m
                          for n in (rows, columns))
    amplitude, k = field.to(torch.complex128), 2 * math.pi / wavelength_m
    result = torch.empty(len(y_m), len(x_m), dtype=torch.complex128, device=field.device)
    dx2 = (x_m.double()[:, None] - source_x) ** 2
    for start in range(0, len(y_m), block):
        dy2 = (y_m.double()[start:start + block, None] - source_y) ** 2
        for column in range(len(x_m)):
            lateral2 = dy2[:, :, None] + dx2[column]
            r = torch.sqrt(lateral2 + distance_m**2)
            excess = lateral2 / (r + distance_m)  # r - z
            kernel = torch.polar(distance_m / r**2, k * excess) * torch.complex(1 / r, torch.full_like(r, -k))
            result[start:start + block, column] = (kernel * amplitude).sum((1, 2)) * pitch_m**2 / (2 * math.pi)
    return result


def fast_length(minimum: int) -> int:
    """Returns the smallest length from `minimum` on that FFTs are quick at (factors 2, 3 and 5)."""
    return int(next_fast_len(minimum, real=True))


def _positive(**lengths: float) -> None:
    wrong = {name: value for name, value in lengths.items() if not value > 0}
    if wrong:
        raise PrivcamError("propagation needs positive lengths", got=wrong, allowed="metres above 0", todo="check the units")

"""One ADMM loop for lensless inversion with total variation and nonnegativity, and its full-size colour form.

Instead of the six primal and dual variables it keeps four states, each one pass over memory:
q = eta / mu2 - u, z = mu1 x - xi, s = rho / mu3 - w, and the scene v. With d = D v (the differences) and
h = mu1 H v, one iteration is
    q <- clamp(2 d + q, -tau / mu2, tau / mu2) - d
    z <- (2 h - z + y) mu1 / (mask + mu1) + z - h
    s <- s + v - relu(2 v + s)
    v <- F^-1 [ (F(-mu3 s - mu2 D^T q) + conj(H) F z) / (mu1 |H|^2 + mu2 |D|^2 + mu3) ]
so that H v comes out of the same spectrum: four real transforms in two batched calls. On large grids the two
elementwise parts are compiled, and each is one pass over memory.

Reference: Boyd et al., Distributed optimization via ADMM (2011), sec. 3; Antipa et al., DiffuserCam, Optica 5
(2018), eqs. 8 to 10.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from optics_sim.compiled import compiled
from optics_sim.errors import PrivcamError
from optics_sim.optics.convolution import Grid, Shape, forward_transform, inverse_transform, psf_spectrum


@dataclass(frozen=True)
class AdmmWeights:
    """Penalties mu1 (data), mu2 (differences) and mu3 (nonnegativity) of the three splittings."""

    data: float
    difference: float
    positive: float


LENSLESSPICAM = AdmmWeights(data=1e-6, difference=1e-5, positive=4e-5)
"""The constants of DiffuserCam's tutorial and of LenslessPiCam 1.0.8, for PSFs of unit norm."""

LARGE = 1 << 20
"""Grid points in all planes together from which a compiled pass is worth its compilation."""


def solve_admm(
    data: Tensor, spectrum: Tensor, grid: Grid, weights: AdmmWeights, tau: float, iterations: int,
    *, confine: bool = True,
) -> Tensor:
    """Returns scenes [..., H, W] >= 0 of measurements laid in the corner of their FFT grid.

    `data` [..., ny, nx] is zero outside the measured part, `spectrum` that of `psf_spectrum`. `confine` holds
    the scene to its frame with no penalty on the step across its edge; without it light may come from
    anywhere on the grid (as in LenslessPiCam).
    """
    limits, support = _limits(data, grid, tau / weights.difference, confine)
    q_rows, q_columns, s = (torch.zeros_like(data) for _ in range(3))
    v, h = torch.zeros_like(data), torch.zeros_like(data)
    pair = torch.zeros(2, *data.shape, dtype=data.dtype, device=data.device)  # (r, z)
    gain = torch.full(grid.fft, 1.0, dtype=data.dtype, device=data.device)
    gain[: grid.output[0], : grid.output[1]] = weights.data / (1 + weights.data)
    inverse, through = _filters(spectrum, grid, weights, data)
    conjugate = spectrum.conj().resolve_conj()
    advance, right_side = _passes(data.device.type == "cpu" and data.numel() >= LARGE)
    for _ in range(iterations):
        advance(v, h, q_rows, q_columns, s, pair[1], data, gain, limits, support)
        right_side(pair[0], q_rows, q_columns, s, weights.difference, weights.positive)
        v, h = _solve(pair, conjugate, inverse, through, grid)
    return v[..., : grid.scene[0], : grid.scene[1]].clamp_min(0)


def _limits(data: Tensor, grid: Grid, limit: float, confine: bool) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
    """Returns the bounds of q along rows and columns, and the scene's frame on the grid."""
    if not confine:
        everywhere = data.new_full((1, 1), limit)
        return (everywhere, everywhere), None
    inside = data.new_zeros(grid.fft)
    inside[: grid.scene[0], : grid.scene[1]] = 1
    bounds = [limit * inside * inside.roll(1, axis) for axis in (-2, -1)]
    for axis in (-2, -1):
        if grid.fft[axis] == grid.scene[axis]:
            bounds[axis].narrow(axis, 0, 1).zero_()
    return (bounds[0], bounds[1]), inside


def _filters(spectrum: Tensor, grid: Grid, weights: AdmmWeights, data: Tensor) -> tuple[Tensor, Tensor]:
    """Returns 1 / (mu1 |H|^2 + mu2 |D|^2 + mu3), real, and mu1 H."""
    kernel = data.new_zeros(grid.fft)
    for row, column, value in ((0, 0, 4.0), (0, 1, -1.0), (0, -1, -1.0), (1, 0, -1.0), (-1, 0, -1.0)):
        kernel[row % grid.fft[0], column % grid.fft[1]] += value
    differences = torch.fft.rfft2(kernel).real.clamp_min(0)
    power = spectrum.real.square() + spectrum.imag.square()
    return 1.0 / (weights.data * power + weights.difference * differences + weights.positive), weights.data * spectrum


def _solve(pair: Tensor, conjugate: Tensor, inverse: Tensor, through: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Returns v and h = mu1 H v from (r, z)."""
    transforms = forward_transform(pair, grid)
    torch.addcmul(transforms[0], conjugate, transforms[1], out=transforms[0])
    transforms[0].mul_(inverse)
    torch.mul(through, transforms[0], out=transforms[1])
    result = inverse_transform(transforms, grid, grid.fft)
    return result[0], result[1]


@cache
def _passes(large: bool) -> tuple[Callable[..., None], Callable[..., None]]:
    """Returns `_advance` and `_right_side`, compiled for large grids.

    Together they would be one pass, which would work out each neighbour's q again.
    """
    return (compiled(_advance), compiled(_right_side)) if large else (_advance, _right_side)


def _advance(
    v: Tensor, h: Tensor, q_rows: Tensor, q_columns: Tensor, s: Tensor, z: Tensor, data: Tensor, gain: Tensor,
    limits: tuple[Tensor, Tensor], support: Tensor | None,
) -> None:
    """Moves q, z and s one iteration on, in place."""
    for axis, q, limit in ((-2, q_rows, limits[0]), (-1, q_columns, limits[1])):
        difference = v.roll(1, axis).sub_(v)
        q.add_(difference, alpha=2).clamp_(-limit, limit).sub_(difference)
    step = torch.sub(data, z).add_(h, alpha=2)
    z.sub_(h).addcmul_(gain, step)
    positive = torch.add(s, v, alpha=2).clamp_min_(0)
    s.add_(v).sub_(positive if support is None else positive.mul_(support))


def _right_side(r: Tensor, q_rows: Tensor, q_columns: Tensor, s: Tensor, mu2: float, mu3: float) -> None:
    """Writes r = -mu3 s - mu2 D^T q."""
    total = q_rows + q_columns
    r.copy_(total.sub_(q_rows.roll(-1, -2)).sub_(q_columns.roll(-1, -1)).mul_(mu2).sub_(s, alpha=mu3))


def admm_full(
    measurement: Tensor, psf: Tensor, iterations: int = 100, *, weights: AdmmWeights = LENSLESSPICAM, tau: float = 1e-4,
) -> Tensor:
    """Returns scenes [..., C, H, W] >= 0 of full-size colour measurements, by LenslessPiCam's ADMM.

    `psf` [C, H, W] has the measurement's size. The grid is twice that, so nothing wraps, and the unmeasured
    surroundings may hold light. Equal to LenslessPiCam 1.0.8 for even sides (for odd ones that places the PSF
    one pixel beside its centre h // 2; we keep the centre). Raises PrivcamError when the sizes differ.
    """
    if measurement.shape[-3:] != psf.shape[-3:]:
        raise PrivcamError("measurement and PSF must have one size", got=f"{tuple(measurement.shape)}, {tuple(psf.shape)}",
                           allowed="[..., C, H, W] and [C, H, W]", todo="crop or resize one of them")
    grid = _double_grid((int(psf.shape[-2]), int(psf.shape[-1])))
    data = measurement.new_zeros(*measurement.shape[:-2], *grid.fft)
    data[..., : grid.output[0], : grid.output[1]] = measurement
    return solve_admm(data, psf_spectrum(psf, grid), grid, weights, tau, iterations, confine=False)


def _double_grid(shape: Shape) -> Grid:
    from scipy.fft import next_fast_len

    fft = next_fast_len(2 * shape[0] - 1, real=True), next_fast_len(2 * shape[1] - 1, real=True)
    return Grid(shape, shape, shape, fft, (shape[0] // 2, shape[1] // 2))

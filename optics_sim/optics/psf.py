"""The point spread function: what a mask, or a lens, makes of one point, on the grid of code pixels.

A PSF carries energy: its sum is the light let through relative to the fully open aperture. It is drawn as the camera
sees the scene, so it is the pattern turned by 180 degrees and scaled by M = 1 + d/D. Deliberately not here: the
convolution with a scene, and patterns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from optics_sim.design import BlackOptics, CameraDesign, DefocusOptics, LenslessOptics
from optics_sim.errors import PrivcamError
from optics_sim.optics import turned
from optics_sim.optics.lens import defocus_psf
from optics_sim.optics.patterns import transmission as pattern_transmission
from optics_sim.optics.printing import levels, printed
from optics_sim.optics.propagation import fast_length, transfer_function

ALIGNED = 1e-9  # relative: a cell's shadow this close to the code pixel is taken as the code pixel
SLACK = 0.99  # of the padding that the grid's very finest frequency would need: buys quicker FFT sizes


def lensless_psf(transmission: Tensor, optics: LenslessOptics, code_pitch_m: float, *, propagation: str | None = None,
                 margin: int = 0, oversample: int = 8) -> Tensor:
    """Returns the PSF [h, w] of a mask on code pixels, float32, differentiable in `transmission` [r, c].

    h and w are the code pixels that hold the geometric shadow, plus `margin` on each side for diffracted light. The
    grid is centred on the axis. Light is integrated over the code pixel and averaged over the wavelengths. With a `mount` the grid has
    an even number of code pixels more than the mask has cells, enough for the shifted and turned shadow.

    `geometric` is the scaled shadow, area-exact; where the cell's shadow is the code pixel it is the turned pattern
    divided by the number of cells. `wave` is diffraction: sqrt(printed transmission) at `oversample` samples per cell,
    angular spectrum, squared modulus. Against 32 samples per cell (default geometry)
    the relative L2 error at 8 samples is 1.1 % for a random mask of 30 % (2.3 % for a pinhole), at 4 it is 2.3 % (5 %);
    ray optics is 37 % off. A point at D is a plane wave over z' = d D / (d + D), magnified by M (the Fresnel scaling
    theorem; the tests hold it against a spherical wave). The sum is the mean
    printed transmission less what falls beyond the margin (under 0.2 % at margin 2 of the default geometry).

    The wave gradient at a cell that is exactly 0 or 1 is the difference between the cell clear and the cell opaque
    (to 2 % for sharp printing; 9 % for an edge blur of 3 um, 29 % for 8 um), because the derivative of sqrt at 0 is
    infinite and a binary cell can only flip; between 0 and 1 it is the derivative.
    Raises PrivcamError for a shape other than `optics.cells` or a bad option.
    """
    mode = optics.propagation if propagation is None else propagation
    _check(transmission, optics, code_pitch_m, mode, margin, oversample)
    blurred = optics.printing.edge_blur_m > 0
    shadow_m = optics.cell_m * optics.magnification
    if abs(shadow_m / code_pitch_m - 1) < ALIGNED:
        shadow_m = code_pitch_m
    size = tuple(math.ceil(n * shadow_m / code_pitch_m - ALIGNED * n) + 2 * margin for n in transmission.shape)
    grid = _Grids.of(optics, code_pitch_m, (size[0], size[1]), margin)
    if mode == "wave":
        psf = _wave(transmission, optics, shadow_m / code_pitch_m, grid, oversample)
    else:
        fine = oversample if blurred else 1
        light = printed(transmission, optics.printing, optics.cell_m, fine)
        psf = grid.integrated(light, shadow_m / code_pitch_m / fine) / light.numel()
    return torch.flip(psf, (0, 1))


def design_psf(design: CameraDesign, *, propagation: str | None = None, margin: int = 0, oversample: int = 8,
               device: torch.device | str = "cpu") -> Tensor:
    """Returns the PSF [h, w] of a design's optics on its code pixels, whichever kind they are.

    The identity camera's is one pixel of 1, the black one's one pixel of 0.
    """
    optics = design.optics
    if isinstance(optics, LenslessOptics):
        pattern = torch.from_numpy(pattern_transmission(optics.pattern, optics.cells, optics.cell_m)).to(device)
        return lensless_psf(pattern, optics, design.code_pitch_m, propagation=propagation, margin=margin, oversample=oversample)
    if isinstance(optics, DefocusOptics):
        return defocus_psf(optics, design.code_pitch_m, device)
    return torch.full((1, 1), 0.0 if isinstance(optics, BlackOptics) else 1.0, device=device)


@dataclass(frozen=True)
class _Grids:
    """The code pixels of a PSF, `size`; `reach`, at least as large, the window that holds their light as seen from the mask.

    `centre` (y, x, code pixels) and `turn` place the mask's shadow on them; `aligned` where there is nothing to place.
    """

    size: tuple[int, int]
    reach: tuple[int, int]
    centre: tuple[float, float]
    turn: float
    aligned: bool

    @classmethod
    def of(cls, optics: LenslessOptics, code_pitch_m: float, size: tuple[int, int], margin: int) -> _Grids:
        """Returns the grids for an aligned shadow that needs `size`, its margin included."""
        mount = optics.mount
        if mount is None:
            return cls(size, size, (0.0, 0.0), 0.0, True)
        cosine, sine = abs(math.cos(mount.rotation_rad)), abs(math.sin(mount.rotation_rad))
        height, width = (n - 2 * margin for n in size)
        turned_size = (height * cosine + width * sine, width * cosine + height * sine)
        y, x = (at * optics.magnification / code_pitch_m for at in mount.shift_m)
        beyond = max((needed - cells) / 2 + abs(at) for needed, cells, at in zip(turned_size, optics.cells, (y, x), strict=True))
        more = max(0, math.ceil(beyond - ALIGNED * max(size))) + margin
        rows, columns = (n + 2 * more for n in optics.cells)
        return cls((rows, columns), _seen_from_mask((rows, columns), cosine, sine, math.hypot(y, x)), (y, x), mount.rotation_rad,
                   y == x == mount.rotation_rad == 0)

    def integrated(self, light: Tensor, sample_in_code: float) -> Tensor:
        """Returns the light of a grid of samples on the code pixels."""
        if self.aligned:
            return _on_code_pixels(light, sample_in_code, self.size)
        return _on_turned_pixels(light, turned.Placing(sample_in_code, self.centre, self.turn), self.size)


def _seen_from_mask(size: tuple[int, int], cosine: float, sine: float, away: float) -> tuple[int, int]:
    rows, columns = size[0] * cosine + size[1] * sine, size[1] * cosine + size[0] * sine
    return math.ceil(rows + 2 * away), math.ceil(columns + 2 * away)


# --- wave -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Grid:
    """One axis of the fine grid: the mask's samples at `offset` in a period of `period`, of which `window` are looked at."""

    samples: int
    offset: int
    window: int
    period: int
    spread: int

    @classmethod
    def of(cls, samples: int, sample_in_code: float, code_pixels: int, walk: int) -> _Grid:
        offset = max(0, math.ceil((code_pixels / sample_in_code - samples) / 2 - 1e-6))
        spread = min(walk, samples + offset)  # light that walks further leaves the window from wherever it starts
        window = samples + 2 * offset
        period = fast_length(max(window, math.ceil(SLACK * (samples + offset + spread))))
        return cls(samples, offset, window, period, spread)


def _wave(transmission: Tensor, optics: LenslessOptics, cell_in_code: float, grid: _Grids, oversample: int) -> Tensor:
    pitch_m = optics.cell_m / oversample
    reach_m = optics.mask_to_sensor_m / optics.magnification  # z' = d D / (d + D)
    walk = _walk(max(optics.wavelengths_m), pitch_m, reach_m)
    rows, columns = (_Grid.of(n * oversample, cell_in_code / oversample, s, walk)
                     for n, s in zip(transmission.shape, grid.reach, strict=True))
    transfer = _transfer(rows, columns, pitch_m, optics.wavelengths_m, reach_m, transmission.device)
    field = F.pad(_amplitude(transmission, optics, oversample),
                  (columns.offset, columns.period - columns.samples - columns.offset,
                   rows.offset, rows.period - rows.samples - rows.offset))
    waves = torch.fft.ifft2(torch.fft.fft2(field) * transfer)[:, :rows.window, :columns.window]
    light = _Intensity.apply(waves) / (len(optics.wavelengths_m) * rows.samples * columns.samples)
    psf = grid.integrated(light, cell_in_code / oversample)
    if transmission.requires_grad and torch.is_grad_enabled():
        psf = psf + _flip_gradient(transmission, optics, cell_in_code, grid)
    return psf


def _walk(wavelength_m: float, pitch_m: float, reach_m: float) -> int:
    # Samples that light at the grid's finest frequency, sin(angle) = wavelength / (2 pitch), walks sideways.
    sine = min(wavelength_m / (2 * pitch_m), 0.999)
    return math.ceil(sine / math.sqrt(1 - sine**2) * reach_m / pitch_m)


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # what is cached outlives the caller's mode
def _transfer(rows: _Grid, columns: _Grid, pitch_m: float, wavelengths_m: tuple[float, ...], reach_m: float,
              device: torch.device) -> Tensor:
    spread_m = max(rows.spread, columns.spread) * pitch_m
    every = [transfer_function((rows.period, columns.period), pitch_m, w, reach_m, spread_m, device) for w in wavelengths_m]
    return torch.stack(every).to(torch.complex64)


def _amplitude(transmission: Tensor, optics: LenslessOptics, oversample: int) -> Tensor:
    printing = optics.printing
    if printing.edge_blur_m > 0:
        fine = printed(transmission, printing, optics.cell_m, oversample)
        return _BinarySqrt.apply(fine, printing.opaque_transmission, printing.clear_transmission, True)
    cells = levels(transmission, printing)
    sharp = _BinarySqrt.apply(cells, printing.opaque_transmission, printing.clear_transmission, False)
    return sharp.repeat_interleave(oversample, 0).repeat_interleave(oversample, 1)


class _Intensity(torch.autograd.Function):
    """Sum over the first axis of |waves|^2, ten times quicker than torch's reduction over (real, imaginary)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, waves: Tensor) -> Tensor:
        ctx.save_for_backward(waves)
        return (waves.real.square() + waves.imag.square()).sum(0)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        (waves,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return waves * (2 * gradients[0])


class _BinarySqrt(torch.autograd.Function):
    """sqrt whose slope at the film's two levels (or everywhere, `secant`) is that of the line between them."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, light: Tensor, opaque: float, clear: float, secant: bool) -> Tensor:
        root = light.clamp(min=0).sqrt()
        between = 1 / (opaque**0.5 + clear**0.5)
        chord = torch.full_like(light, between)
        slope = chord if secant else torch.where(_at_level(light, opaque, clear), chord, 0.5 / root)
        ctx.save_for_backward(slope)
        return root

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * slope, None, None, None


def _at_level(light: Tensor, opaque: float, clear: float) -> Tensor:
    return (light <= opaque + 1e-6) | (light >= clear - 1e-6)


def _flip_gradient(transmission: Tensor, optics: LenslessOptics, cell_in_code: float, grid: _Grids) -> Tensor:
    # Zero in value. A cell of own field g in a field u changes |u|^2 by 2 Re(u* g) + |g|^2 when it opens and, seen from
    # open, by 2 Re(u* g) - |g|^2: the slope of sqrt alone gives the first term, this adds the second, without which a
    # closed cell in the dark would never learn to open.
    printing = optics.printing
    step = printing.clear_transmission**0.5 - printing.opaque_transmission**0.5
    state = transmission.detach()
    weight = torch.where((state <= 1e-6) | (state >= 1 - 1e-6), 1 - 2 * state, torch.zeros_like(state)) * step**2
    change = weight * (transmission - state)
    kernel = _lone_cell(optics.cell_m, optics.magnification, optics.mask_to_sensor_m, optics.wavelengths_m, transmission.device)
    reach = kernel.shape[-1] // 2
    spread = F.conv2d(change[None, None], kernel.to(change.dtype), padding=2 * reach)[0, 0]
    return grid.integrated(spread, cell_in_code) / transmission.numel()


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _lone_cell(cell_m: float, magnification: float, mask_to_sensor_m: float, wavelengths_m: tuple[float, ...],
               device: torch.device) -> Tensor:
    """Returns where the light of one clear cell goes, [1, 1, n, n] shares on the grid of shadows of cells."""
    reach, oversample = 3, 16
    pitch_m, reach_m = cell_m / oversample, mask_to_sensor_m / magnification
    grid = _Grid.of(oversample, 1 / oversample, 1 + 2 * reach, _walk(max(wavelengths_m), pitch_m, reach_m))
    field = torch.zeros(grid.period, grid.period, device=device)
    field[grid.offset:grid.offset + oversample, grid.offset:grid.offset + oversample] = 1
    waves = torch.fft.ifft2(torch.fft.fft2(field) * _transfer(grid, grid, pitch_m, wavelengths_m, reach_m, device))
    light = waves[:, :grid.window, :grid.window].abs().square().mean(0) / oversample**2
    return _on_code_pixels(light, 1 / oversample, (1 + 2 * reach, 1 + 2 * reach))[None, None]


# --- code pixels ----------------------------------------------------------------------------------
def _on_code_pixels(light: Tensor, sample_in_code: float, size: tuple[int, int]) -> Tensor:
    rows, columns = (_overlap(n, sample_in_code, s, light.device) for n, s in zip(light.shape, size, strict=True))
    return rows.to(light.dtype) @ light @ columns.to(light.dtype).T


def _on_turned_pixels(light: Tensor, at: turned.Placing, size: tuple[int, int]) -> Tensor:
    """Returns what `optics_sim.optics.turned.on_pixels` does, differentiable in the light."""
    framed = F.pad(light.double(), (1, 1, 1, 1))
    running = framed.cumsum(1) - framed
    along, down = (_walked(framed, running, walk) for walk in turned.walks((light.shape[0], light.shape[1]), at, size))
    return (along[:-1] + down[1:].T - along[1:] - down[:-1].T).to(light.dtype)


def _walked(framed: Tensor, running: Tensor, walk: turned.Walk) -> Tensor:
    row, column, corner = (torch.from_numpy(index).to(framed.device) for index in (walk.row, walk.column, walk.corner))
    part, rise = (torch.from_numpy(values).to(framed.device) for values in (walk.part, walk.rise))
    total = F.pad(((running[row, column] + part * framed[row, column]) * rise).cumsum(1), (1, 0))
    return total.gather(1, corner).diff(dim=1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _overlap(samples: int, sample_in_code: float, code_pixels: int, device: torch.device) -> Tensor:
    """Returns the share [code pixel, sample] of each sample's width that lies on each code pixel; both grids centred."""
    left = (torch.arange(samples, dtype=torch.float64) - samples / 2) * sample_in_code
    edge = torch.arange(code_pixels, dtype=torch.float64)[:, None] - code_pixels / 2
    inside = torch.minimum(left + sample_in_code, edge + 1) - torch.maximum(left, edge)
    share = (inside / sample_in_code).clamp(0, 1)
    nearest = share.round()
    return torch.where((share - nearest).abs() < 1e-9, nearest, share).float().to(device)


def _check(transmission: Tensor, optics: LenslessOptics, code_pitch_m: float, mode: str, margin: int, oversample: int) -> None:
    if tuple(transmission.shape) != tuple(optics.cells):
        raise PrivcamError("the mask does not have the optics' cells", got=tuple(transmission.shape),
                           allowed=tuple(optics.cells), todo="set `optics.cells` to the mask's shape")
    if mode not in ("wave", "geometric"):
        raise PrivcamError("unknown propagation", got=mode, allowed="wave, geometric", todo="check the spelling")
    if margin < 0 or oversample < 1 or code_pitch_m <= 0:
        raise PrivcamError("the PSF's grid is not one", got=f"margin {margin}, oversample {oversample}, pitch {code_pitch_m}",
                           allowed="margin >= 0, oversample >= 1, code_pitch_m > 0", todo="check the arguments")

"""The linear map of every shift-invariant camera: scene convolved with PSF, its adjoint and its gradients.

One scheme serves all four modes. The scene lies in the top left corner of an FFT grid, the PSF lies there
rolled back by `start`, and the result is then again in the top left corner: valid needs a grid of the scene's
own size (what wraps round never reaches the valid part), same one and a half times it, full the sum of both.

Deliberately not here: units of light, magnification, the turn of an aperture's image (`psf` comes turned).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import scipy.fft
import torch
import torch.nn.functional as F
from torch import Tensor

from optics_sim.design import Convolution
from optics_sim.errors import PrivcamError
from optics_sim.optics import strips
from optics_sim.optics.strips import Shape

LARGE_GRID = 1 << 20
"""FFT grid points per plane from which strips that stay in the cache are faster on a CPU than whole planes."""


@dataclass(frozen=True)
class Grid:
    """Where scene, PSF and result lie on the FFT grid of one convolution; all shapes are (rows, columns)."""

    scene: Shape
    psf: Shape
    output: Shape
    fft: Shape
    start: Shape

    @property
    def large(self) -> bool:
        """Whether one plane is large enough to be taken in strips on a CPU."""
        return self.fft[0] * self.fft[1] >= LARGE_GRID

    @property
    def rough(self) -> bool:
        """Whether a side has a large prime factor (circular only), where float32 transforms lose accuracy."""
        return any(n != scipy.fft.next_fast_len(n, real=True) for n in self.fft)


def output_shape(scene_shape: Shape, psf_shape: Shape, mode: Convolution) -> Shape:
    """Returns the (rows, columns) of the convolution of a scene with a PSF.

    Raises PrivcamError where the PSF does not fit into the scene (valid, circular) and for an unknown mode.
    """
    return grid_of(scene_shape, psf_shape, mode).output


@lru_cache(maxsize=256)
def grid_of(scene_shape: Shape, psf_shape: Shape, mode: Convolution) -> Grid:
    """Returns the FFT grid on which one convolution is exact; errors as in `output_shape`."""
    _check(scene_shape, psf_shape, mode)
    rows, columns = (_axis(scene, psf, mode) for scene, psf in zip(scene_shape, psf_shape, strict=True))
    output, fft, start = zip(rows, columns, strict=True)
    return Grid(scene_shape, psf_shape, output, fft, start)


def _axis(scene: int, psf: int, mode: Convolution) -> tuple[int, int, int]:
    """Returns (output length, FFT length, start of the output in the full convolution) along one axis."""
    if mode == "circular":
        return scene, scene, psf // 2
    if mode == "valid":
        return scene - psf + 1, scipy.fft.next_fast_len(scene, real=True), psf - 1
    if mode == "same":
        return scene, scipy.fft.next_fast_len(scene + psf // 2, real=True), psf // 2
    return scene + psf - 1, scipy.fft.next_fast_len(scene + psf - 1, real=True), 0


def _check(scene_shape: Shape, psf_shape: Shape, mode: str) -> None:
    if mode not in ("valid", "same", "full", "circular"):
        raise PrivcamError("unknown convolution mode", got=mode, allowed="valid, same, full, circular",
                           todo="set optics.convolution in the design")
    if min(*scene_shape, *psf_shape) < 1:
        raise PrivcamError("scene and PSF must not be empty", got=f"scene {scene_shape}, PSF {psf_shape}")
    larger = any(p > s for s, p in zip(scene_shape, psf_shape, strict=True))
    if mode in ("valid", "circular") and larger:
        raise PrivcamError(f"the PSF is larger than the scene, which leaves no {mode} convolution",
                           got=f"scene {tuple(scene_shape)}, PSF {tuple(psf_shape)}",
                           allowed="PSF at most as large as the scene along each axis",
                           todo="give a larger scene, a smaller PSF, or use `same` or `full`")


# --- transforms -----------------------------------------------------------------------------------
def forward_transform(values: Tensor, grid: Grid) -> Tensor:
    """Returns the half spectrum [..., ny, nx // 2 + 1] of real values padded with zeros to the grid."""
    if grid.rough and values.dtype == torch.float32:
        return torch.fft.rfft2(values.double(), s=grid.fft).to(torch.complex64)
    if _by_strips(values, grid):
        return strips.transform(values, grid.fft)
    return torch.fft.rfft2(values, s=grid.fft)


def inverse_transform(spectrum: Tensor, grid: Grid, shape: Shape) -> Tensor:
    """Returns the top left corner of `shape` of the inverse transform; rows outside it are never computed."""
    rows, columns = shape
    if grid.rough and spectrum.dtype == torch.complex64:
        return torch.fft.irfft2(spectrum.to(torch.complex128), s=grid.fft)[..., :rows, :columns].float()
    if _by_strips(spectrum, grid):
        return strips.inverse(spectrum, grid.fft, shape)
    half = torch.fft.ifft(spectrum, dim=-2)[..., :rows, :]
    return torch.fft.irfft(half, n=grid.fft[1], dim=-1)[..., :columns]


def filtered(values: Tensor, kernel: Tensor, grid: Grid, *, turned: bool = False) -> Tensor:
    """Returns scenes [..., H, W] seen through the PSF of a `psf_spectrum`; `turned`: measurements sent back."""
    shape = grid.scene if turned else grid.output
    if _by_strips(values, grid):
        return strips.product(values, None, kernel, grid.fft, shape, turned=turned, keep=False)[0]
    return inverse_transform(forward_transform(values, grid) * (kernel.conj() if turned else kernel), grid, shape)


def _by_strips(values: Tensor, grid: Grid) -> bool:
    return grid.large and not grid.rough and values.device.type == "cpu"


def psf_spectrum(psf: Tensor, grid: Grid) -> Tensor:
    """Returns the half spectrum of a PSF placed so that the result of a product starts at the grid's corner."""
    placed = psf if _fits(grid) else _folded(psf, grid)
    if _by_strips(psf, grid):
        return strips.transform(placed, grid.fft, grid.start)
    padded = F.pad(placed, (0, grid.fft[1] - placed.shape[-1], 0, grid.fft[0] - placed.shape[-2]))
    return forward_transform(torch.roll(padded, (-grid.start[0], -grid.start[1]), (-2, -1)), grid)


def _fits(grid: Grid) -> bool:
    return grid.psf[0] <= grid.fft[0] and grid.psf[1] <= grid.fft[1]


def _folded(psf: Tensor, grid: Grid) -> Tensor:
    """Returns a PSF longer than the grid, wrapped onto it (a `same` crop never sees the part that collides)."""
    rows, columns = (-(-size // fft) for size, fft in zip(grid.psf, grid.fft, strict=True))
    padded = F.pad(psf, (0, columns * grid.fft[1] - grid.psf[1], 0, rows * grid.fft[0] - grid.psf[0]))
    return padded.unflatten(-2, (rows, grid.fft[0])).unflatten(-1, (columns, grid.fft[1])).sum(dim=(-4, -2))


def _unfolded(unrolled: Tensor, grid: Grid) -> Tensor:
    """Returns the adjoint of the placement, from a gradient on the grid with the roll undone."""
    if not _fits(grid):
        rows, columns = (-(-size // fft) for size, fft in zip(grid.psf, grid.fft, strict=True))
        unrolled = unrolled.repeat(*(1,) * (unrolled.ndim - 2), rows, columns)
    return unrolled[..., : grid.psf[0], : grid.psf[1]]


def _psf_gradient(gradient: Tensor, slope: Tensor | None, spectrum: Tensor, ctx: Any) -> Tensor:
    """Returns the gradient to the PSF, summed over the batch before its one inverse transform; overwrites `slope`."""
    grid, leading = ctx.grid, tuple(ctx.psf_shape[:-2])
    if slope is None:
        held = grid.psf if _fits(grid) else grid.fft
        return _unfolded(strips.correlation(gradient, spectrum, leading, grid.fft, held, grid.start, turned=ctx.turned), grid)
    product = spectrum * slope.conj_physical_()  # conjugated in place, and the sum back: no copy of the scenes' spectrum
    product = product.sum_to_size(*leading, *product.shape[-2:])
    if not ctx.turned:
        product = product.conj_physical_()
    return _unfolded(torch.roll(inverse_transform(product, grid, grid.fft), grid.start, (-2, -1)), grid)


class _Product(torch.autograd.Function):
    """Crop of the inverse transform of a product of spectra; gradients stay in the Fourier domain.

    Either factor may come transformed: values or their spectrum, a PSF or its kernel.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor | None, spectrum: Any, psf: Tensor | None, kernel: Any, grid: Grid, turned: bool
    ) -> Tensor:
        ctx.grid, ctx.turned = grid, turned
        ctx.values_shape, ctx.psf_shape = (None if t is None else t.shape for t in (values, psf))
        given = values if values is not None else spectrum
        ctx.strips, shape = _by_strips(given, grid), grid.scene if turned else grid.output
        if psf is not None:
            kernel = psf_spectrum(psf, grid)
        if ctx.strips:
            result, spectrum = strips.product(values, spectrum, kernel, grid.fft, shape, turned=turned,
                                              keep=ctx.needs_input_grad[2])
        else:
            spectrum = spectrum if values is None else forward_transform(values, grid)
            result = inverse_transform(spectrum * (kernel.conj() if turned else kernel), grid, shape)
        ctx.save_for_backward(spectrum if ctx.needs_input_grad[2] else None, kernel if ctx.needs_input_grad[0] else None)
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None, None]:
        spectrum, kernel = ctx.saved_tensors
        grid, to_values, to_psf = ctx.grid, None, None
        slope = None if ctx.strips else forward_transform(gradient, grid)
        if ctx.needs_input_grad[0]:
            shape = grid.output if ctx.turned else grid.scene
            if slope is None:
                to_values = strips.product(gradient, None, kernel, grid.fft, shape, turned=not ctx.turned, keep=False)[0]
            else:
                to_values = inverse_transform(slope * (kernel if ctx.turned else kernel.conj()), grid, shape)
            to_values = to_values.sum_to_size(ctx.values_shape)
        if ctx.needs_input_grad[2]:
            to_psf = _psf_gradient(gradient, slope, spectrum, ctx)
        return to_values, None, to_psf, None, None, None


# --- the operator ---------------------------------------------------------------------------------
def convolve(scene: Tensor, psf: Tensor, mode: Convolution) -> Tensor:
    """Returns the convolution [..., *output_shape] of scenes [..., H, W] with a PSF [..., h, w].

    A true convolution (the PSF turned by 180 degrees slides over the scene), differentiable to both. Leading
    axes broadcast: one PSF for a batch, or a PSF per colour. A delta at [h // 2, w // 2] is the identity in
    `same` and `circular` for every parity; `valid` keeps what no scene border touches, `full` everything.

    Raises PrivcamError as `output_shape` does.
    """
    grid = grid_of(_shape(scene), _shape(psf), mode)
    return _Product.apply(scene, None, psf, None, grid, False)


def adjoint(measurement: Tensor, psf: Tensor, scene_shape: Shape, mode: Convolution) -> Tensor:
    """Returns the transposed operator's result [..., H, W], differentiable to both arguments.

    By definition <convolve(scene), measurement> = <scene, adjoint(measurement)>.

    Raises PrivcamError where the measurement is not what such a scene and PSF give.
    """
    grid = grid_of((scene_shape[0], scene_shape[1]), _shape(psf), mode)
    if _shape(measurement) != grid.output:
        raise PrivcamError("the measurement does not belong to this scene and PSF", got=_shape(measurement),
                           allowed=grid.output, todo="check scene_shape and the convolution mode")
    return _Product.apply(measurement, None, psf, None, grid, True)


@dataclass(frozen=True)
class SceneSpectrum:
    """Scenes already transformed: a training set whose scenes do not change pays for that once.

    `spectrum[index]` picks scenes along the first axis; `spectrum.convolve(psf)` equals `convolve(scenes, psf,
    mode)` for PSFs of the shape it was made for, differentiable to the PSF only.
    """

    values: Tensor
    grid: Grid

    def __getitem__(self, index: int | slice | Tensor) -> SceneSpectrum:
        return SceneSpectrum(self.values[index], self.grid)

    def __len__(self) -> int:
        return len(self.values)

    def convolve(self, psf: Tensor) -> Tensor:
        """Returns the convolution [..., *output_shape]; PrivcamError for a PSF of another shape."""
        if _shape(psf) != self.grid.psf:
            raise PrivcamError("these scenes were transformed for another PSF", got=_shape(psf), allowed=self.grid.psf,
                               todo="make a new scene_spectrum for this PSF's shape")
        return _Product.apply(None, self.values, psf, None, self.grid, False)


def scene_spectrum(scene: Tensor, psf_shape: Shape, mode: Convolution) -> SceneSpectrum:
    """Returns the spectra of scenes [..., H, W], for many convolutions with PSFs of one shape."""
    grid = grid_of(_shape(scene), (psf_shape[0], psf_shape[1]), mode)
    return SceneSpectrum(forward_transform(scene.detach(), grid), grid)


@dataclass(frozen=True)
class PsfSpectrum:
    """A PSF already transformed, for many scenes: one camera simulated over a data set, one known PSF.

    `spectrum.convolve(scene)` equals `convolve(scene, psf, mode)` for scenes of the shape it was made for,
    differentiable to the scene only; `spectrum.adjoint(measurement)` is its transpose.
    """

    kernel: Tensor
    grid: Grid

    def convolve(self, scene: Tensor) -> Tensor:
        """Returns the convolution [..., *output_shape]; PrivcamError for a scene of another shape."""
        return self._applied(scene, self.grid.scene, False)

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Returns the transposed operator's result [..., H, W]; PrivcamError for another measurement's shape."""
        return self._applied(measurement, self.grid.output, True)

    def _applied(self, values: Tensor, expected: Shape, turned: bool) -> Tensor:
        if _shape(values) != expected:
            raise PrivcamError("this PSF was transformed for another shape", got=_shape(values), allowed=expected,
                               todo="make a new transformed_psf for this shape")
        return _Product.apply(values, None, None, self.kernel, self.grid, turned)


def transformed_psf(psf: Tensor, scene_shape: Shape, mode: Convolution) -> PsfSpectrum:
    """Returns a PSF [..., h, w] transformed for scenes of one shape; errors as in `output_shape`."""
    grid = grid_of((scene_shape[0], scene_shape[1]), _shape(psf), mode)
    return PsfSpectrum(psf_spectrum(psf.detach(), grid), grid)


def convolve_reference(scene: Tensor, psf: Tensor, mode: Convolution) -> Tensor:
    """Returns what `convolve` returns for one PSF [h, w], by direct summation (slow; the tests' yardstick)."""
    grid = grid_of(_shape(scene), _shape(psf), mode)
    (h, w), (top, left) = grid.psf, grid.start
    planes = scene.reshape(-1, 1, *grid.scene)
    if mode == "circular":
        planes = F.pad(planes, (w - 1 - left, left, h - 1 - top, top), mode="circular")
    else:
        bottom, right = (o + s - n for o, s, n in zip(grid.output, grid.start, grid.scene, strict=True))
        planes = F.pad(planes, (w - 1 - left, right, h - 1 - top, bottom))
    return F.conv2d(planes, psf.flip(-2, -1)[None, None]).reshape(*scene.shape[:-2], *grid.output)


def _shape(image: Tensor) -> Shape:
    return int(image.shape[-2]), int(image.shape[-1])

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

LARGE_GRID = 1 << 20
"""FFT grid points per plane from which pocketfft is faster than torch's CPU transforms (MKL)."""

Shape = tuple[int, int]


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
        """Whether one plane is large enough for the multi-threaded CPU transforms."""
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
    rows, columns = grid.fft
    if grid.large and values.device.type == "cpu":
        workers = torch.get_num_threads()
        half = scipy.fft.rfft(values.detach().numpy(), n=columns, axis=-1, workers=workers)
        return torch.from_numpy(scipy.fft.fft(half, n=rows, axis=-2, workers=workers, overwrite_x=True))
    return torch.fft.rfft2(values, s=(rows, columns))


def inverse_transform(spectrum: Tensor, grid: Grid, shape: Shape) -> Tensor:
    """Returns the top left corner of `shape` of the inverse transform; rows outside it are never computed."""
    rows, columns = shape
    if grid.rough and spectrum.dtype == torch.complex64:
        return torch.fft.irfft2(spectrum.to(torch.complex128), s=grid.fft)[..., :rows, :columns].float()
    if grid.large and spectrum.device.type == "cpu":
        workers = torch.get_num_threads()
        half = scipy.fft.ifft(spectrum.detach().numpy(), axis=-2, workers=workers)[..., :rows, :]
        return torch.from_numpy(scipy.fft.irfft(half, n=grid.fft[1], axis=-1, workers=workers)[..., :columns])
    half = torch.fft.ifft(spectrum, dim=-2)[..., :rows, :]
    return torch.fft.irfft(half, n=grid.fft[1], dim=-1)[..., :columns]


def psf_spectrum(psf: Tensor, grid: Grid) -> Tensor:
    """Returns the half spectrum of a PSF placed so that the result of a product starts at the grid's corner."""
    padded = F.pad(psf, (0, grid.fft[1] - psf.shape[-1], 0, grid.fft[0] - psf.shape[-2])) if _fits(grid) else _folded(psf, grid)
    return forward_transform(torch.roll(padded, (-grid.start[0], -grid.start[1]), (-2, -1)), grid)


def _fits(grid: Grid) -> bool:
    return grid.psf[0] <= grid.fft[0] and grid.psf[1] <= grid.fft[1]


def _folded(psf: Tensor, grid: Grid) -> Tensor:
    """Returns a PSF longer than the grid, wrapped onto it (a `same` crop never sees the part that collides)."""
    rows, columns = (-(-size // fft) for size, fft in zip(grid.psf, grid.fft, strict=True))
    padded = F.pad(psf, (0, columns * grid.fft[1] - grid.psf[1], 0, rows * grid.fft[0] - grid.psf[0]))
    return padded.unflatten(-2, (rows, grid.fft[0])).unflatten(-1, (columns, grid.fft[1])).sum(dim=(-4, -2))


def _psf_of(spectrum: Tensor, grid: Grid) -> Tensor:
    """Returns the adjoint of `psf_spectrum`: the PSF-sized part of a gradient's spectrum."""
    unrolled = torch.roll(inverse_transform(spectrum, grid, grid.fft), grid.start, (-2, -1))
    if not _fits(grid):
        rows, columns = (-(-size // fft) for size, fft in zip(grid.psf, grid.fft, strict=True))
        unrolled = unrolled.repeat(*(1,) * (unrolled.ndim - 2), rows, columns)
    return unrolled[..., : grid.psf[0], : grid.psf[1]]


class _Product(torch.autograd.Function):
    """Crop of the inverse transform of a product of spectra; gradients stay in the Fourier domain.

    The gradient to the PSF is summed over the batch before its one inverse transform.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor | None, spectrum: Any, psf: Tensor, grid: Grid, turned: bool) -> Tensor:
        ctx.grid, ctx.turned, ctx.psf_shape = grid, turned, psf.shape
        if values is not None:
            ctx.values_shape = values.shape
            spectrum = forward_transform(values, grid)
        kernel = psf_spectrum(psf, grid)
        ctx.save_for_backward(spectrum, kernel)
        return inverse_transform(spectrum * (kernel.conj() if turned else kernel), grid,
                                 grid.scene if turned else grid.output)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        spectrum, kernel = ctx.saved_tensors
        grid, to_values, to_psf = ctx.grid, None, None
        slope = forward_transform(gradient, grid)
        if ctx.needs_input_grad[0]:
            product = slope * (kernel if ctx.turned else kernel.conj())
            to_values = inverse_transform(product, grid, grid.output if ctx.turned else grid.scene)
            to_values = to_values.sum_to_size(ctx.values_shape)
        if ctx.needs_input_grad[2]:
            product = spectrum * slope.conj() if ctx.turned else spectrum.conj() * slope
            product = product.sum_to_size(*ctx.psf_shape[:-2], *product.shape[-2:])
            to_psf = _psf_of(product, grid)
        return to_values, None, to_psf, None, None


# --- the operator ---------------------------------------------------------------------------------
def convolve(scene: Tensor, psf: Tensor, mode: Convolution) -> Tensor:
    """Returns the convolution [..., *output_shape] of scenes [..., H, W] with a PSF [..., h, w].

    A true convolution (the PSF turned by 180 degrees slides over the scene), differentiable to both. Leading
    axes broadcast: one PSF for a batch, or a PSF per colour. A delta at [h // 2, w // 2] is the identity in
    `same` and `circular` for every parity; `valid` keeps what no scene border touches, `full` everything.

    Raises PrivcamError as `output_shape` does.
    """
    grid = grid_of(_shape(scene), _shape(psf), mode)
    return _Product.apply(scene, None, psf, grid, False)


def adjoint(measurement: Tensor, psf: Tensor, scene_shape: Shape, mode: Convolution) -> Tensor:
    """Returns the transposed operator's result [..., H, W], differentiable to both arguments.

    By definition <convolve(scene), measurement> = <scene, adjoint(measurement)>.

    Raises PrivcamError where the measurement is not what such a scene and PSF give.
    """
    grid = grid_of((scene_shape[0], scene_shape[1]), _shape(psf), mode)
    if _shape(measurement) != grid.output:
        raise PrivcamError("the measurement does not belong to this scene and PSF", got=_shape(measurement),
                           allowed=grid.output, todo="check scene_shape and the convolution mode")
    return _Product.apply(measurement, None, psf, grid, True)


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
        return _Product.apply(None, self.values, psf, self.grid, False)


def scene_spectrum(scene: Tensor, psf_shape: Shape, mode: Convolution) -> SceneSpectrum:
    """Returns the spectra of scenes [..., H, W], for many convolutions with PSFs of one shape."""
    grid = grid_of(_shape(scene), (psf_shape[0], psf_shape[1]), mode)
    return SceneSpectrum(forward_transform(scene.detach(), grid), grid)


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

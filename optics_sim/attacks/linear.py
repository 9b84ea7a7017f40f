"""Known-PSF inversions: what an attacker who holds the design recovers without any learning.

Kerckhoffs's rule: measurement, PSF and mode are known. Every attack takes measurements [n, h, w] and returns
scenes [n, H, W] >= 0 in the units of the scene. Regularisation weights are relative: to the mean squared
singular value of a circular camera with this PSF (the PSF's energy), and to the measurement's own scale, so
that one default serves a pinhole and an open aperture.

Deliberately not here: learned decoders, and the colour ADMM equal to LenslessPiCam's (`admm_full`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from optics_sim.attacks.admm import AdmmWeights, solve_admm
from optics_sim.design import Convolution
from optics_sim.errors import PrivcamError
from optics_sim.optics.convolution import Grid, Shape, filtered, forward_transform, grid_of, inverse_transform, psf_spectrum

DENSE_LIMIT = 2048
"""Unknowns or measurements up to which `tikhonov` factorises the system instead of iterating."""
TV_WEIGHTS = AdmmWeights(data=1e-2, difference=3e-2, positive=1e-2)
"""Penalties of `admm_tv` for unit-energy PSFs and scenes of mean one half."""


@dataclass(frozen=True)
class LinearCamera:
    """The camera's matrix A for one PSF and mode, its PSF transformed once."""

    spectrum: Tensor
    grid: Grid
    energy: float
    mode: Convolution

    def forward(self, scene: Tensor) -> Tensor:
        """Returns A x, measurements [..., h, w] of scenes [..., H, W]."""
        return filtered(scene, self.spectrum, self.grid)

    def adjoint(self, measurement: Tensor) -> Tensor:
        """Returns A^T y, [..., H, W]."""
        return filtered(measurement, self.spectrum, self.grid, turned=True)

    def gram(self, scene: Tensor) -> Tensor:
        """Returns A^T A x, [..., H, W]."""
        return self.adjoint(self.forward(scene))

    @property
    def largest(self) -> Tensor:
        """An upper bound of the largest squared singular value (the crops of a circulant never exceed it)."""
        return self.spectrum.abs().square().amax()


def linear_camera(psf: Tensor, scene_shape: Shape, mode: Convolution) -> LinearCamera:
    """Returns the camera's matrix for a PSF [h, w]; PrivcamError for a PSF that passes no light or does not fit."""
    grid = grid_of((scene_shape[0], scene_shape[1]), (int(psf.shape[-2]), int(psf.shape[-1])), mode)
    energy = float(psf.square().sum())
    if not energy > 0 or not torch.isfinite(psf).all():
        raise PrivcamError("this PSF cannot be inverted", got=f"energy {energy}", allowed="finite, not all zero",
                           todo="give the attack a PSF that passes light")
    return LinearCamera(psf_spectrum(psf, grid), grid, energy, mode)


def _camera_of(measurement: Tensor, psf: Tensor, scene_shape: Shape, mode: Convolution) -> LinearCamera:
    camera = linear_camera(psf, scene_shape, mode)
    if tuple(measurement.shape[-2:]) != camera.grid.output:
        raise PrivcamError("the measurement does not belong to this scene and PSF", got=tuple(measurement.shape[-2:]),
                           allowed=camera.grid.output, todo="check scene_shape and the convolution mode")
    return camera


# --- closed forms ---------------------------------------------------------------------------------
def wiener(measurement: Tensor, psf: Tensor, scene_shape: Shape, mode: Convolution, noise_to_signal: float = 3.0) -> Tensor:
    """Returns scenes [n, H, W] >= 0 by division in the frequency domain.

    The scene is taken as an even grey plus a deviation. The grey's measurement, known exactly even at the
    border, is subtracted, so that the unmeasured surroundings may be taken as zero; the contrast of the
    deviation, which `noise_to_signal` (relative to the PSF's energy) dims, is fitted to the measurement, except
    in `valid`, where the light that the border hides would be made up for by contrast. For what the border
    costs `valid` and `same` a few units serve best; circular and full bear 1e-3.

    Reference: N. Wiener, Extrapolation, Interpolation, and Smoothing of Stationary Time Series (1949).
    """
    camera = _camera_of(measurement, psf, scene_shape, mode)
    grey, rest = _grey_and_rest(measurement, camera)
    deviation = _divided(rest, camera, noise_to_signal * camera.energy)
    if mode == "valid":
        return (grey + deviation).clamp_min(0)
    simulated = camera.forward(deviation)
    power = simulated.square().sum((-2, -1), keepdim=True)
    contrast = (simulated * rest).sum((-2, -1), keepdim=True) / power.clamp_min(torch.finfo(power.dtype).tiny)
    return (grey + contrast * deviation).clamp_min(0)


def _divided(measurement: Tensor, camera: LinearCamera, shift: float) -> Tensor:
    """Returns conj(P) Y / (|P|^2 + shift), back in space."""
    power = camera.spectrum.abs().square() + shift
    return inverse_transform(forward_transform(measurement, camera.grid) * camera.spectrum.conj() / power, camera.grid,
                             camera.grid.scene)


def _grey_and_rest(measurement: Tensor, camera: LinearCamera) -> tuple[Tensor, Tensor]:
    """Returns the even radiance [..., 1, 1] that explains a measurement best, and what it leaves unexplained."""
    white = camera.forward(measurement.new_ones(camera.grid.scene))
    grey = (white * measurement).sum((-2, -1), keepdim=True) / white.square().sum()
    return grey, measurement - grey * white


def tikhonov(measurement: Tensor, psf: Tensor, scene_shape: Shape, mode: Convolution, weight: float = 1e-2) -> Tensor:
    """Returns scenes [n, H, W] >= 0: the minimum of |A x - y|^2 + weight * energy * |x - grey|^2, then clamped.

    `grey` is the even scene that explains the measurement best. With few measurements the system is solved on
    their side, x = grey + A^T (A A^T + w)^-1 (y - A grey): the regularised solution nearest to it. The smaller
    side is factorised once up to 2048 unknowns, otherwise conjugate gradients serve.
    """
    camera = _camera_of(measurement, psf, scene_shape, mode)
    shift = weight * camera.energy
    grey, rest = _grey_and_rest(measurement, camera)
    if mode == "circular":
        return (grey + _divided(rest, camera, shift)).clamp_min(0)
    wide = _count(camera.grid.output) <= _count(camera.grid.scene)
    solution = _solved(camera, rest if wide else camera.adjoint(rest), shift, wide)
    return (grey + (camera.adjoint(solution) if wide else solution)).clamp_min(0)


def _count(shape: Shape) -> int:
    return shape[0] * shape[1]


def _solved(camera: LinearCamera, target: Tensor, shift: float, wide: bool) -> Tensor:
    """Returns (A A^T + shift)^-1 target when wide, (A^T A + shift)^-1 target otherwise."""
    shape = camera.grid.output if wide else camera.grid.scene

    def normal(values: Tensor) -> Tensor:
        return camera.forward(camera.adjoint(values)) if wide else camera.gram(values)

    size = _count(shape)
    if size > DENSE_LIMIT:
        return _conjugate_gradients(lambda values: normal(values) + shift * values, target)
    unit = torch.eye(size, dtype=target.dtype, device=target.device)
    matrix = normal(unit.unflatten(1, shape)).flatten(1).double()
    matrix = 0.5 * (matrix + matrix.T)
    matrix.diagonal().add_(shift)
    flat = target.flatten(-2).reshape(-1, size).double()
    return torch.cholesky_solve(flat.T, torch.linalg.cholesky(matrix)).T.to(target.dtype).reshape(target.shape)


def _conjugate_gradients(
    normal: Callable[[Tensor], Tensor], target: Tensor, iterations: int = 200, tolerance: float = 1e-5
) -> Tensor:
    """Returns the solution of a positive definite system, each image of the batch with its own step lengths."""
    solution, residual = torch.zeros_like(target), target.clone()
    direction = residual.clone()
    power = residual.square().sum((-2, -1), keepdim=True)
    limit = tolerance**2 * power
    for _ in range(iterations):
        image = normal(direction)
        step = power / (direction * image).sum((-2, -1), keepdim=True).clamp_min(torch.finfo(power.dtype).tiny)
        solution = solution + step * direction
        residual = residual - step * image
        following = residual.square().sum((-2, -1), keepdim=True)
        if bool((following <= limit).all()):
            break
        direction = residual + following / power.clamp_min(torch.finfo(power.dtype).tiny) * direction
        power = following
    return solution


# --- iterations -----------------------------------------------------------------------------------
def fista(
    measurement: Tensor, psf: Tensor, scene_shape: Shape, mode: Convolution, iterations: int = 100, weight: float = 0.0
) -> Tensor:
    """Returns scenes [n, H, W] >= 0 that minimise |A x - y|^2 + weight * energy * |x|^2, by accelerated gradients.

    PSFs may have leading axes that broadcast against the measurement's (a PSF per colour).

    Reference: Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sci. 2 (2009),
    eqs. 4.1 to 4.3, constant step 1 / L.
    """
    camera = _camera_of(measurement, psf, scene_shape, mode)
    shift = weight * camera.energy
    step = 1.0 / (camera.largest + shift)
    scene = measurement.new_zeros(*measurement.shape[:-2], *camera.grid.scene)
    ahead, momentum = scene, 1.0
    for _ in range(iterations):
        slope = camera.adjoint(camera.forward(ahead) - measurement) + shift * ahead
        following = (ahead - step * slope).clamp_min(0)
        grown = 0.5 * (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5)
        ahead = torch.lerp(scene, following, 1.0 + (momentum - 1.0) / grown)
        scene, momentum = following, grown
    return scene


def admm_tv(
    measurement: Tensor, psf: Tensor, scene_shape: Shape, mode: Convolution, iterations: int = 100, weight: float = 1e-2
) -> Tensor:
    """Returns scenes [n, H, W] >= 0 that minimise |A x - y|^2 / 2 + weight * TV(x), TV anisotropic.

    `weight` counts for a PSF of unit energy and scenes of mean one half; each image is brought to that scale
    and back. The scene is black outside its frame, and the step across the frame's edge is free of penalty.

    Reference: Boyd et al., Distributed optimization via ADMM (2011), sec. 3; the splitting of Antipa et al.,
    DiffuserCam, Optica 5 (2018), eqs. 8 to 10, with a support constraint of our own.
    """
    camera = _camera_of(measurement, psf, scene_shape, mode)
    grid, norm = camera.grid, camera.energy**0.5
    level = 2.0 * measurement.mean((-2, -1), keepdim=True) / psf.sum()
    level = torch.where(level > 0, level, torch.ones_like(level))
    data = measurement.new_zeros(*measurement.shape[:-2], *grid.fft)
    data[..., : grid.output[0], : grid.output[1]] = measurement / (level * norm)
    return level * solve_admm(data, camera.spectrum / norm, grid, TV_WEIGHTS, weight, iterations)


def data_residual(scene: Tensor, measurement: Tensor, psf: Tensor, mode: Convolution) -> Tensor:
    """Returns |A x - y| / |y| per image [...]: how far a recovered scene is from explaining what was measured."""
    shape = (int(scene.shape[-2]), int(scene.shape[-1]))
    difference = _camera_of(measurement, psf, shape, mode).forward(scene) - measurement
    return torch.linalg.vector_norm(difference, dim=(-2, -1)) / torch.linalg.vector_norm(measurement, dim=(-2, -1))


# --- wrong keys -----------------------------------------------------------------------------------
def wrong_cells(transmission: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Returns a binary pattern [rows, columns] with round(fraction * cells) cells flipped, at least one.

    The key of an attacker who knows the mask almost. Raises PrivcamError for a pattern that is not binary or a
    fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise PrivcamError("the fraction of wrong cells is out of range", got=fraction, allowed="above 0, at most 1",
                           todo="0.01 and 0.05 are the table's")
    if not torch.isin(transmission, transmission.new_tensor([0, 1])).all():
        raise PrivcamError("cells can only be flipped in a binary pattern", got=f"values {transmission.unique()[:5].tolist()}",
                           allowed="0 and 1", todo="threshold the transmission first")
    count = max(1, round(fraction * transmission.numel()))
    chosen = torch.randperm(transmission.numel(), generator=generator, device=generator.device)[:count]
    flipped = transmission.flatten().clone()
    chosen = chosen.to(flipped.device)
    flipped[chosen] = 1 - flipped[chosen]
    return flipped.reshape(transmission.shape)

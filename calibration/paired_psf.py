"""The PSF of a lensless camera from pairs: what a lens camera beside it saw, and what it captured itself.

One PSF must explain all pairs: capture_i = crop(psf * scene_i) / scale_i, least squares over psf >= 0, with the light that
falls beside the sensor left out and not wrapped round. Exposures that nobody wrote down are one free scale for each pair.
Weight, tone and reach are chosen by how well pairs that were held out of the training pairs are predicted.
Deliberately not here: reading files (`optics_sim.data.diffusercam`), and recovering scenes (`optics_sim.attacks.linear`).

Reference: Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sci. 2 (2009), eqs. 4.1 to
4.3, constant step; model of Antipa et al., DiffuserCam, Optica 5 (2018), eq. 3 (crop of a convolution).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from calibration import likeness
from calibration.likeness import Likeness
from calibration.refusals import refuse
from optics_sim.errors import PrivcamError

Plane = NDArray[np.float32]
MIN_PAIRS = 3
ALIKE = 0.999  # correlation from which two scenes count as one
SCALES_EVERY = 10  # iterations between two fits of the exposures


@dataclass(frozen=True, eq=False)
class Pair:
    """`scene` [row, column] >= 0: the lens camera's picture, linear in light. `capture` [row, column]: of the same size, dark off.

    Both as the camera sees the scene (upright, not mirrored).
    """

    scene: NDArray[np.floating]
    capture: NDArray[np.floating]


@dataclass(frozen=True)
class Settings:
    """How a PSF is fitted.

    `reach`: sides of the PSF over those of the capture (1 to 2; light may come from beside the frame's centre by half of it).
    `weight`: of |psf|^2, relative to the largest squared singular value. `tone`: exponent that makes the lens picture linear.
    """

    reach: float = 1.0
    weight: float = 1e-4
    tone: float = 1.0
    iterations: int = 60
    nonnegative: bool = True


@dataclass(frozen=True, eq=False)
class PairedPsf:
    """`psf` [h, w], both odd, centre at [h // 2, w // 2], in capture units per unit of lens picture.

    `scales` [n]: what each training capture was multiplied by, mean 1. `held_out`: the likeness of every training pair as
    predicted by a PSF of the others, with its controls; empty where nothing was held out.
    """

    psf: Plane
    scales: NDArray[np.float64]
    settings: Settings
    held_out: tuple[Likeness, ...] = ()

    def predict(self, scene: NDArray[np.floating]) -> Plane:
        """Returns the capture [row, column] that a lens picture of that size should give."""
        shape = (int(scene.shape[0]), int(scene.shape[1]))
        grid = _Grid(shape, (int(self.psf.shape[0]), int(self.psf.shape[1])))
        return grid.through(grid.spectrum(_toned(scene, self.settings)), grid.spectrum(self.psf))

    def likeness(self, pair: Pair) -> Likeness:
        """Returns how well a pair that was not trained on is predicted, with the flipped and shifted controls."""
        return likeness.of_model(self.predict, pair.scene, pair.capture)


def measure(pairs: Sequence[Pair], candidates: Sequence[Settings] = (Settings(),), parts: int = 3) -> PairedPsf:
    """Returns the PSF of all pairs with the settings that predict held-out pairs best, and how well they do.

    The pairs are dealt into `parts`; each is predicted by the others under every candidate, and the least mean residual wins.
    Raises PrivcamError where the pairs cannot carry a PSF, or where there are no candidates.
    """
    refuse(check(pairs))
    if not candidates or not 2 <= parts <= len(pairs):
        raise PrivcamError("nothing to choose settings by", got=f"{len(candidates)} candidates, {parts} parts",
                           allowed=f"at least 1, and 2 to {len(pairs)}", todo="give candidates, and no more parts than pairs")
    trials = [(_held_out(pairs, settings, parts), settings) for settings in candidates]
    found, best = min(trials, key=lambda trial: float(np.mean([one.score.residual for one in trial[0]])))
    whole = fit(pairs, best)
    return PairedPsf(whole.psf, whole.scales, best, found)


def _held_out(pairs: Sequence[Pair], settings: Settings, parts: int) -> tuple[Likeness, ...]:
    found: dict[int, Likeness] = {}
    for part in range(parts):
        psf = fit([pair for i, pair in enumerate(pairs) if i % parts != part], settings)
        found.update({i: psf.likeness(pairs[i]) for i in range(part, len(pairs), parts)})
    return tuple(found[i] for i in range(len(pairs)))


def check(pairs: Sequence[Pair]) -> list[PrivcamError]:
    """Returns every reason why the pairs cannot carry a PSF."""
    if len(pairs) < MIN_PAIRS:
        return [PrivcamError("too few pairs", got=len(pairs), allowed=f"at least {MIN_PAIRS}", todo="take more scenes with the same rig")]
    shapes = {picture.shape for pair in pairs for picture in (pair.scene, pair.capture)}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        return [PrivcamError("the pictures of the pairs differ in size", got=sorted(shapes), allowed="one size [row, column]",
                             todo="bring lens pictures and captures to one size, one plane each")]
    found = []
    for i, pair in enumerate(pairs):
        if not (np.isfinite(pair.scene).all() and np.isfinite(pair.capture).all()) or pair.scene.min() < 0:
            found.append(PrivcamError(f"pair {i}: not light", got="negative or not finite", allowed="lens picture >= 0, all finite",
                                      todo="take the dark frame off the capture only; clip the lens picture at 0"))
        elif np.ptp(pair.scene) == 0 or np.ptp(pair.capture) == 0:
            found.append(PrivcamError(f"pair {i}: no contrast", got="one value everywhere", todo="take this pair again, lights on"))
    return found or _repeats(pairs)


def _repeats(pairs: Sequence[Pair]) -> list[PrivcamError]:
    table = np.corrcoef([pair.scene.ravel() for pair in pairs])
    twins = [(int(i), int(j)) for i, j in np.argwhere(np.triu(table, 1) > ALIKE)]
    return [PrivcamError(f"pairs {i} and {j} show one scene", got=f"correlation {table[i, j]:.4f}", allowed=f"at most {ALIKE}",
                         todo="leave one out: a repeated scene would be held out and trained on at once") for i, j in twins]


def fit(pairs: Sequence[Pair], settings: Settings) -> PairedPsf:
    """Returns the PSF of all pairs under one choice of settings, nothing held out. Raises PrivcamError for a wrong setting."""
    if not 0 < settings.reach <= 2 or settings.weight < 0 or settings.tone <= 0 or settings.iterations < 1:
        raise PrivcamError("these settings fit nothing", got=settings, allowed="reach up to 2, weight >= 0, tone > 0, iterations >= 1")
    problem = _Problem.of(pairs, settings)
    psf: Plane = np.zeros(problem.grid.psf, np.float32)
    ahead = psf
    scales, momentum = np.ones(len(pairs), np.float32), 1.0
    shift = np.float32(settings.weight * problem.largest)
    step = np.float32(1 / (problem.largest * (1 + settings.weight)))
    for iteration in range(settings.iterations):
        predicted = problem.predicted(ahead)
        if iteration % SCALES_EVERY == SCALES_EVERY - 1:
            scales = problem.scales(predicted)
        slope = problem.back(predicted - scales[:, None, None] * problem.captures)
        slope += shift * ahead
        slope *= step
        following = ahead - slope
        if settings.nonnegative:
            following = following.clip(min=0)
        grown = 0.5 * (1 + (1 + 4 * momentum**2) ** 0.5)
        ahead = (following + (momentum - 1) / grown * (following - psf)).astype(np.float32)
        psf, momentum = following, grown
    return PairedPsf(psf, scales.astype(float), settings)


def _toned(scene: NDArray[np.floating], settings: Settings) -> Plane:
    return (scene.astype(np.float32) ** settings.tone).astype(np.float32)


@dataclass(frozen=True)
class _Grid:
    """Sizes of a scene and a PSF, and the transforms between them: long enough that nothing wraps round."""

    scene: tuple[int, int]
    psf: tuple[int, int]

    @cached_property
    def size(self) -> tuple[int, int]:
        rows, columns = (fft.next_fast_len(s + p - 1, real=True) for s, p in zip(self.scene, self.psf, strict=True))
        return rows, columns

    @property
    def window(self) -> tuple[slice, slice]:
        rows, columns = (slice(p // 2, p // 2 + s) for s, p in zip(self.scene, self.psf, strict=True))
        return rows, columns

    def spectrum(self, picture: Plane) -> NDArray[np.complex64]:
        return fft.rfft2(picture, self.size)

    def through(self, scenes: NDArray[np.complex64], psf: NDArray[np.complex64]) -> Plane:
        return fft.irfft2(scenes * psf, self.size)[(..., *self.window)]


@dataclass(frozen=True, eq=False)
class _Problem:
    """The linear map from a PSF to all captures."""

    grid: _Grid
    scenes: NDArray[np.complex64]
    captures: Plane

    @staticmethod
    def of(pairs: Sequence[Pair], settings: Settings) -> _Problem:
        captures = np.stack([pair.capture for pair in pairs]).astype(np.float32)
        rows, columns = captures.shape[1:]
        grid = _Grid((rows, columns), (_odd(settings.reach * rows), _odd(settings.reach * columns)))
        return _Problem(grid, grid.spectrum(np.stack([_toned(pair.scene, settings) for pair in pairs])), captures)

    @cached_property
    def largest(self) -> float:
        """Returns a bound of the largest squared singular value: that without the crop."""
        return float((np.abs(self.scenes) ** 2).sum(axis=0).max())

    def predicted(self, psf: Plane) -> Plane:
        """Returns the captures [n, row, column] of a PSF."""
        return self.grid.through(self.scenes, self.grid.spectrum(psf))

    def back(self, captures: Plane) -> Plane:
        """Returns the transpose of `predicted`, [h, w]."""
        laid = np.zeros((len(captures), *self.grid.size), np.float32)
        laid[(slice(None), *self.grid.window)] = captures
        gathered = (fft.rfft2(laid) * self.scenes.conj()).sum(axis=0)
        return fft.irfft2(gathered, self.grid.size)[: self.grid.psf[0], : self.grid.psf[1]]

    def scales(self, predicted: Plane) -> Plane:
        """Returns by what each capture is multiplied to equal its prediction best, mean 1; all 1 where one is not above 0."""
        found = (predicted * self.captures).sum((1, 2)) / (self.captures**2).sum((1, 2))
        return (found / found.mean()).astype(np.float32) if (found > 0).all() else np.ones_like(found)


def _odd(side: float) -> int:
    return int(side) // 2 * 2 + 1

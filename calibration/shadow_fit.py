"""Least squares of a mask's mounting to images of point sources, and the covariance of what it finds.

The amounts of each image's `Basis` are solved for in every step (variable projection). What is left then is no noise but what
the model misses, so the errors come from the residuals themselves: a jackknife over blocks of the mask, whose diffraction
travels with them through every image, and one over images, whose places between the code pixels and angles differ; both are added.
A bias that all blocks and images share shows in neither: pixels as coarse as the mask's cells draw a shadow towards themselves. It
is a constant here (`COMMON_PX`), from simulated cameras, and added for shift and turn.
Deliberately not here: frames (`calibration.point_source`), where to start (`calibration.shadow_start`), what a result means
(`calibration.geometry`).

References: Kaufman, "A variable projection method for solving separable nonlinear least squares problems", BIT 15 (1975) 49;
Cameron, Gelbach and Miller, "Robust inference with multiway clustering", J. Business & Economic Statistics 29 (2011) 238, eq. 2.11,
less its last term, which only narrows, and with the jackknife of MacKinnon and White (1985) in its linear step for the plain sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from calibration.mask_model import MaskModel, Mounting, Pose, Source, pose
from calibration.shadow_basis import Basis
from optics_sim.errors import PrivcamError

Array = NDArray[np.float64]
BLOCK_CELLS = 4  # side of a mask block that the jackknife leaves out
REWEIGHED = 2  # steps after which the weights change; then they stay
MOST_STEPS = 12
SMALL_STEP = 0.25  # of the standard error from residuals taken as independent: a step below it is the last
LARGEST_LAST_STEP = 1.0  # of the same, where none was that small: pixels enter and leave a shadow, and steps stop shrinking
COMMON_PX = 0.004  # code pixels: standard error of all images' shadows in common, measured on simulated cameras with diffraction
NAMES = ("mask to sensor", "shift y", "shift x", "rotation", "source distance error", "source zero y", "source zero x", "source roll")
SCALES = (1e-3, 1e-4, 1e-4, 1e-2, 1e-2, 1e-3, 1e-3, 1e-2)  # of the same, in m and rad: what one unit of the solver is
MOUNTING = NAMES[:4]


@dataclass(frozen=True, eq=False)
class Spot:
    """One point source as seen: light on code pixels [row, column] (any unit), as the camera sees it, and its noise's variance.

    `position_m` (y, x) and `distance_m` are those of the rig.
    """

    image: Array
    variance: Array
    position_m: tuple[float, float]
    distance_m: float


class Solution(NamedTuple):
    """What was found: parameters by `NAMES` in m and rad, standard errors of the free ones, and what the model misses.

    `misfit`: rms residual of each image over its standard deviation.
    """

    values: dict[str, float]
    errors: dict[str, float]
    misfit: list[float]


class _Part(NamedTuple):
    residual: Array
    jacobian: Array


def mounting_of(values: dict[str, float]) -> Mounting:
    """Returns the mounting among the parameters."""
    return Mounting(values["mask to sensor"], (values["shift y"], values["shift x"]), values["rotation"])


def source_of(values: dict[str, float], position_m: tuple[float, float], distance_m: float) -> Source:
    """Returns where the source was, the rig's own zero, roll and distance error put in."""
    (y, x), cosine, sine = position_m, np.cos(values["source roll"]), np.sin(values["source roll"])
    at = (cosine * y + sine * x + values["source zero y"], cosine * x - sine * y + values["source zero x"])
    return Source((float(at[0]), float(at[1])), distance_m + values["source distance error"])


class ShadowFit:
    """The least-squares problem of some spots; `free` names the parameters to find, the others stay as they are at the start."""

    def __init__(self, model: MaskModel, spots: Sequence[Spot], free: Sequence[str]) -> None:
        self.model, self.spots = model, spots
        self.free = [name for name in NAMES if name in free]
        self._scale = np.array([SCALES[NAMES.index(name)] for name in self.free])
        self._weights = [np.full(spot.image.shape, 1 / float(np.var(spot.image))) for spot in spots]
        shape = (spots[0].image.shape[0], spots[0].image.shape[1])
        self._bare, self._whole = Basis(model, shape, 1, 0, False), Basis(model, shape)

    def solve(self, start: dict[str, float]) -> Solution:
        """Returns the solution near a start: the bare shadow first, then steps with all that an image is made of."""
        rough = self._roughly(start)
        for _ in range(REWEIGHED):
            parts = self._parts(rough, self._whole)
            rough = self._moved(rough, self._step(parts)[0])
            self._reweigh(parts)
        at, smallest, nearest = np.zeros(len(self.free)), np.inf, np.zeros(len(self.free))
        tried: list[Array] = []
        steps: list[Array] = []
        for _ in range(MOST_STEPS):
            parts = self._parts(self._moved(rough, at), self._whole)
            step, error = self._step(parts)
            if (size := float(np.abs(step / error).max())) < smallest:
                smallest, nearest = size, at
            if size < SMALL_STEP:
                break
            tried, steps = [*tried[-2:], at], [*steps[-2:], step]
            at = _accelerated(tried, steps, error)
        if smallest > LARGEST_LAST_STEP:
            raise PrivcamError("the fit does not settle", got=f"{MOST_STEPS} steps, the smallest {smallest:.1f} standard errors",
                               allowed=f"below {LARGEST_LAST_STEP:g}", todo="take more places; check that the film is the design's")
        values = self._moved(rough, nearest)
        parts = self._parts(values, self._whole)
        return self._solution(values, parts, self._step(parts)[0])

    def _moved(self, values: dict[str, float], by: Array) -> dict[str, float]:
        return values | {name: values[name] + float(d) for name, d in zip(self.free, by * self._scale, strict=True)}

    def _roughly(self, start: dict[str, float]) -> dict[str, float]:
        found = least_squares(lambda x: np.concatenate([p.residual for p in self._parts(self._moved(start, x), self._bare)]),
                              np.zeros(len(self.free)), method="lm", xtol=1e-4, ftol=1e-4,
                              jac=lambda x: np.concatenate([p.jacobian for p in self._parts(self._moved(start, x), self._bare)]))
        values = self._moved(start, found.x)
        self._reweigh(self._parts(values, self._bare))
        return values

    def _step(self, parts: list[_Part]) -> tuple[Array, Array]:
        """Returns the Gauss-Newton step and the standard errors that independent residuals would give, in the solver's units."""
        jacobian, residual = np.concatenate([p.jacobian for p in parts]), np.concatenate([p.residual for p in parts])
        square = np.linalg.pinv(jacobian.T @ jacobian)
        return -square @ (jacobian.T @ residual), np.sqrt(np.diag(square) * float(residual @ residual) / len(residual))

    def _parts(self, values: dict[str, float], basis: Basis) -> list[_Part]:
        """Returns (whitened residual [pixels], its Jacobian [pixels, free]) of each spot, the amounts solved for."""
        return [self._part(values, basis, spot, np.sqrt(weight).ravel()) for spot, weight in zip(self.spots, self._weights, strict=True)]

    def _pose(self, values: dict[str, float], spot: Spot) -> Array:
        at = pose(mounting_of(values), source_of(values, spot.position_m, spot.distance_m), self.model.code_pitch_m)
        return np.array([at.magnification, at.rotation_rad, *at.centre])

    def _part(self, values: dict[str, float], basis: Basis, spot: Spot, root: Array) -> _Part:
        at = self._pose(values, spot)
        columns, moved = basis.slopes(Pose(at[0], at[1], (at[2], at[3])))
        span, triangle = np.linalg.qr(columns * root[:, None])
        target = spot.image.ravel() * root
        within = span.T @ target
        change = moved(np.linalg.lstsq(triangle, within, rcond=1e-10)[0]) * root[:, None]
        change -= span @ (span.T @ change)
        return _Part(target - span @ within, -change @ self._pose_slopes(values, spot, at))

    def _pose_slopes(self, values: dict[str, float], spot: Spot, at: Array) -> Array:
        """Returns the change of the pose with each free parameter, per unit of the solver [4, free]."""
        small = 1e-4
        return np.stack([(self._pose(values | {name: values[name] + small * scale}, spot) - at) / small
                         for name, scale in zip(self.free, self._scale, strict=True)], axis=1)

    def _reweigh(self, parts: list[_Part]) -> None:
        """Gives each pixel the variance of its noise and of what the model misses, the latter alike within a spot."""
        for i, (spot, part) in enumerate(zip(self.spots, parts, strict=True)):
            left = part.residual.reshape(spot.image.shape) / np.sqrt(self._weights[i])
            missed = max(float(np.mean(left**2 - spot.variance)), 1e-9 * float(np.var(spot.image)))
            self._weights[i] = 1 / (spot.variance + missed)

    # --- errors -----------------------------------------------------------------------------------
    def _solution(self, values: dict[str, float], parts: list[_Part], step: Array) -> Solution:
        """Returns the solution one step on; the step itself counts as an error."""
        blocks = [self._blocks(values, spot) for spot in self.spots]
        images = [np.full(spot.image.size, i) for i, spot in enumerate(self.spots)]
        variance = jackknife(parts, blocks) + jackknife(parts, images)
        common = self._common()
        errors = {name: float(np.hypot(np.sqrt(v + last**2) * scale, common.get(name, 0.0)))
                  for name, v, last, scale in zip(self.free, variance, step, self._scale, strict=True)}
        misfit = [float(np.sqrt(np.mean(part.residual**2 / weight.ravel())) / np.std(spot.image))
                  for part, weight, spot in zip(parts, self._weights, self.spots, strict=True)]
        return Solution(self._moved(values, step), errors, misfit)

    def _common(self) -> dict[str, float]:
        """Returns the standard errors of shift (m) and turn (rad) that `COMMON_PX` makes, the turn's at the mask's rms radius."""
        shift_m = COMMON_PX * self.model.code_pitch_m
        side_m = self.model.sample_m * np.array(self.model.light.shape)
        return {"shift y": shift_m, "shift x": shift_m, "rotation": shift_m / float(np.sqrt((side_m**2).sum() / 12))}

    def _blocks(self, values: dict[str, float], spot: Spot) -> NDArray[np.int64]:
        """Returns which block of the mask throws its shadow on each pixel; what is beyond belongs to the outermost blocks."""
        magnification, rotation, *centre = self._pose(values, spot)
        scale = self.model.cell_m * magnification / self.model.code_pitch_m
        dy, dx = np.meshgrid(*(np.arange(n) + 0.5 - n / 2 - c for n, c in zip(spot.image.shape, centre, strict=True)), indexing="ij")
        cosine, sine = np.cos(rotation), np.sin(rotation)
        on_mask = (cosine * dy - sine * dx, sine * dy + cosine * dx)
        cells = [n // self.model.samples_per_cell for n in self.model.light.shape]
        down, across = (np.clip(at.ravel() / scale + n / 2, 0, n - 1) // BLOCK_CELLS for at, n in zip(on_mask, cells, strict=True))
        return (down * cells[1] + across).astype(np.int64)


def _accelerated(tried: list[Array], steps: list[Array], unit: Array) -> Array:
    """Returns the next point after steps that shrink slowly, from up to three points (Anderson 1965, type II)."""
    if len(tried) < 2:
        return tried[-1] + steps[-1]
    points, moves = np.diff(tried, axis=0).T, np.diff(steps, axis=0).T
    shares = np.linalg.lstsq(moves / unit[:, None], steps[-1] / unit, rcond=1e-3)[0]
    return np.asarray(tried[-1] + steps[-1] - (points + moves) @ shares)


def jackknife(parts: Sequence[_Part], clusters: Sequence[NDArray[np.int64]]) -> Array:
    """Returns the variances [parameters] of a least-squares solution from leaving out one cluster of residuals at a time."""
    jacobian, residual = np.concatenate([p.jacobian for p in parts]), np.concatenate([p.residual for p in parts])
    member = np.unique(np.concatenate(clusters), return_inverse=True)[1]
    whole, order = jacobian.T @ jacobian, np.argsort(member, kind="stable")
    moves = []
    for part in np.split(order, np.flatnonzero(np.diff(member[order])) + 1):
        own, left = jacobian[part], residual[part]
        moves.append(np.linalg.pinv(whole - own.T @ own) @ (own.T @ left))
    return np.asarray((len(moves) - 1) / len(moves) * (np.array(moves) ** 2).sum(0))

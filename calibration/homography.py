"""The homography from points on a screen to where a camera sees them, with the covariance of its entries and of mapped points.

Normalised direct linear transform to begin with, then least squares of the distance in the picture.
Deliberately not here: finding the dots in a picture, and lens distortion.

Reference: Hartley and Zisserman, Multiple View Geometry (2nd ed., 2004), alg. 4.2 (normalised DLT) and sec. 5.2 (covariance
by back-propagation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import least_squares

from calibration.intervals import SPREAD_PER_MAD
from calibration.refusals import refuse
from optics_sim.errors import PrivcamError

Array = NDArray[np.float64]
MIN_POINTS = 6  # 4 fix the eight numbers; the others measure how well
FLATTEST = 0.05  # smaller over larger extent of the points, below which they count as one line
WEAKEST = 1e-4  # eighth over first singular value of the normalised system
OUTLIER = 5.0  # robust standard deviations of the residuals


@dataclass(frozen=True, eq=False)
class Homography:
    """`matrix` [3, 3] maps (y, x, 1) of the screen to the picture, up to scale; it has norm 1.

    `covariance` [9, 9] of its entries, row by row. `residual_px`: rms distance along one axis, of the degrees of freedom.
    `freedom`: how many of those there were.
    """

    matrix: Array
    covariance: Array
    residual_px: float
    freedom: int

    def __call__(self, points: Array) -> Array:
        """Returns where points [..., 2] (y, x) of the screen are seen, [..., 2]."""
        return _mapped(self.matrix, points)

    def covariance_at(self, points: Array) -> Array:
        """Returns the covariance [..., 2, 2] of mapped points [..., 2] that comes from the homography's own error."""
        slope = _slope(self.matrix, points)
        return slope @ self.covariance @ slope.swapaxes(-1, -2)

    def reach_95(self) -> float:
        """Returns by what a standard error is multiplied for a 95 % interval (Student's t)."""
        return float(stats.t.ppf(0.975, self.freedom))

    def inverse(self) -> Homography:
        """Returns the map from the picture to the screen; its residual stays in pixels of the picture."""
        back: Array = np.linalg.inv(self.matrix).astype(np.float64)
        norm = float(np.linalg.norm(back))
        slope = -np.kron(back, back.T)  # d vec(H^-1) = -(H^-1 kron H^-T) d vec(H), row by row
        unit = (back / norm).reshape(9)
        slope = (np.eye(9) - np.outer(unit, unit)) @ slope / norm
        return Homography(back / norm, slope @ self.covariance @ slope.T, self.residual_px, self.freedom)


def check(screen: Array, seen: Array) -> list[PrivcamError]:
    """Returns every reason why the points do not fix a homography."""
    if screen.shape != seen.shape or screen.ndim != 2 or screen.shape[-1] != 2:
        return [PrivcamError("screen and picture do not have one point each", got=f"{screen.shape}, {seen.shape}", allowed="[n, 2] both",
                             todo="give (y, x) of the same dots in the same order")]
    if len(screen) < MIN_POINTS:
        return [PrivcamError("too few points", got=len(screen), allowed=f"at least {MIN_POINTS}", todo="show more dots")]
    if not (np.isfinite(screen).all() and np.isfinite(seen).all()):
        return [PrivcamError("points are not finite", got="NaN or infinity", todo="leave dots out that were not found")]
    found = [fault for name, points in (("screen", screen), ("picture", seen)) for fault in _spread(name, points)]
    return found or _weak(screen, seen)


def _spread(name: str, points: Array) -> list[PrivcamError]:
    apart = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if apart[0] == 0 or apart[1] / apart[0] < FLATTEST:
        return [PrivcamError(f"{name}: the points lie on one line", got=f"{apart[1] / max(apart[0], 1e-300):.3g} as wide as long",
                             allowed=f"at least {FLATTEST:g}", todo="spread the dots over the screen in both directions")]
    distinct = len(np.unique(points, axis=0))
    if distinct < MIN_POINTS:
        return [PrivcamError(f"{name}: repeated points", got=f"{distinct} distinct", allowed=f"at least {MIN_POINTS}",
                             todo="show dots at different places")]
    return []


def _weak(screen: Array, seen: Array) -> list[PrivcamError]:
    """Degenerate sets that are not one line, such as all points but one on a line, leave more than one homography."""
    singular = np.linalg.svd(_system(_normal(screen)[0], _normal(seen)[0]), compute_uv=False)
    if singular[7] / singular[0] >= WEAKEST:
        return []
    return [PrivcamError("the points do not fix one homography", got=f"singular values {singular[7] / singular[0]:.2g} apart",
                         allowed=f"at least {WEAKEST:g}", todo="no more than half of the dots may lie on one line: show a grid")]


def fit(screen: Array, seen: Array) -> Homography:
    """Returns the homography from dots [n, 2] (y, x) of the screen to where they are seen [n, 2], in any units.

    Raises PrivcamError for points that do not fix it, and for dots far from where all others say.
    """
    screen, seen = np.asarray(screen, float), np.asarray(seen, float)
    refuse(check(screen, seen))
    (from_screen, screen_scaling), (from_seen, seen_scaling) = _normal(screen), _normal(seen)
    begin = np.linalg.svd(_system(from_screen, from_seen))[2][-1].reshape(3, 3)
    found = least_squares(lambda h: (_mapped(h.reshape(3, 3), from_screen) - from_seen).ravel(), begin.ravel(), method="lm",
                          xtol=1e-12, ftol=1e-12, jac=lambda h: _slope(h.reshape(3, 3), from_screen).reshape(-1, 9))
    _refuse_outliers(found.fun.reshape(-1, 2))
    matrix = found.x.reshape(3, 3)
    freedom = 2 * len(screen) - 8
    variance = float((found.fun**2).sum()) / freedom
    covariance = variance * np.linalg.pinv(found.jac.T @ found.jac, rcond=1e-10, hermitian=True)  # its null space is the scale
    whole = np.linalg.inv(seen_scaling) @ matrix @ screen_scaling
    slope = np.kron(np.linalg.inv(seen_scaling), screen_scaling.T)
    norm = float(np.linalg.norm(whole)) * (1 if whole[2, 2] >= 0 else -1)
    unit = (whole / norm).reshape(9)
    slope = (np.eye(9) - np.outer(unit, unit)) @ slope / norm
    return Homography(whole / norm, slope @ covariance @ slope.T, variance**0.5 / float(seen_scaling[0, 0]), freedom)


def _refuse_outliers(residuals: Array) -> None:
    apart = np.abs(residuals).max(axis=1)
    spread = SPREAD_PER_MAD * float(np.median(np.abs(residuals)))
    wrong = np.flatnonzero(apart > OUTLIER * max(spread, 1e-9))
    if len(wrong):
        furthest = float(apart[wrong].max()) / max(spread, 1e-9)
        raise PrivcamError("dots are not where the others say", got=f"dots {wrong[:8].tolist()}, {furthest:.0f} standard deviations off",
                           allowed=f"{OUTLIER:g}", todo="check the order of the dots, and leave out those that were found wrongly")


def _normal(points: Array) -> tuple[Array, Array]:
    """Returns points with mean 0 and mean distance sqrt 2, and the matrix [3, 3] that makes them so."""
    centre = points.mean(axis=0)
    scale = 2**0.5 / float(np.linalg.norm(points - centre, axis=1).mean())
    return scale * (points - centre), np.array([[scale, 0, -scale * centre[0]], [0, scale, -scale * centre[1]], [0, 0, 1]])


def _system(screen: Array, seen: Array) -> Array:
    """Returns the matrix [2 n, 9] whose null vector is the homography."""
    ones = np.concatenate([screen, np.ones((len(screen), 1))], axis=1)
    none = np.zeros_like(ones)
    return np.concatenate([np.concatenate([ones, none, -seen[:, :1] * ones], axis=1),
                           np.concatenate([none, ones, -seen[:, 1:] * ones], axis=1)])


def _mapped(matrix: Array, points: Array) -> Array:
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return moved[..., :2] / moved[..., 2:]


def _slope(matrix: Array, points: Array) -> Array:
    """Returns the derivative [..., 2, 9] of mapped points to the matrix's entries, row by row."""
    whole = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    moved = whole @ matrix.T
    slope = np.zeros((*points.shape[:-1], 2, 9))
    slope[..., 0, 0:3] = slope[..., 1, 3:6] = whole / moved[..., 2:]
    slope[..., 6:9] = -(moved[..., :2] / moved[..., 2:] ** 2)[..., None] * whole[..., None, :]
    return slope

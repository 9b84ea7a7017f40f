"""The matrices of a separable lensless camera (FlatCam) from patterns on a screen: capture = left @ scene @ right.T.

`plan` lists the patterns: every row of a Hadamard matrix as stripes along one axis, each as what is lit where it is +1 and where
it is -1. A stripe pattern h 1^T gives (left h)(right 1)^T, a matrix of rank 1; all patterns of one axis share the other factor,
which is found from them together. `fit` says how much of the light is outside rank 1, and refuses a mask that is not separable.
Deliberately not here: where the screen is (`calibration.homography`), one PSF for all of the scene (`calibration.psf`).

Reference: Asif et al., FlatCam, IEEE Trans. Comput. Imaging 3 (2017): calibration by separable patterns and SVD, Tikhonov
inverse. The factor that patterns share is fitted jointly here; there it is taken pattern by pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from calibration.intervals import Estimate
from calibration.refusals import SIGNIFICANCE, refuse
from optics_sim.errors import PrivcamError

Array = NDArray[np.float64]
Axis = Literal["rows", "columns"]
MIN_FRAMES = 2
RANK_ONE_LIMIT = 0.02  # of the responses' energy that may lie outside rank 1
LEAST_SNR = 3.0  # of the weakest response: rms over its standard error
STEADY = 0.02  # relative change of the whole light between the two halves of the patterns


@dataclass(frozen=True)
class Stripes:
    """One pattern to show: lit (1) where row `index` of the Hadamard matrix of `size` has `sign`, along `axis`; else dark (0).

    `rows` means that the brightness changes from row to row.
    """

    axis: Axis
    index: int
    sign: Literal[1, -1]
    size: int

    def line(self) -> Array:
        """Returns the pattern along its axis [size], 0 or 1."""
        return (hadamard(self.size)[self.index] == self.sign).astype(float)

    def picture(self, shape: tuple[int, int]) -> Array:
        """Returns the scene [row, column] to show, 0..1."""
        line = self.line()
        return np.broadcast_to(line[:, None] if self.axis == "rows" else line[None, :], shape).copy()


def plan(shape: tuple[int, int]) -> list[Stripes]:
    """Returns the patterns for a scene of (rows, columns), in the order to show them; one of them is dark: the background.

    Raises PrivcamError for sides that are no powers of two, of which Hadamard matrices are made here.
    """
    for side in shape:
        if side < 2 or side & (side - 1):
            larger = tuple(2 ** int(np.ceil(np.log2(max(s, 2)))) for s in shape)
            raise PrivcamError("no Hadamard patterns of this size", got=shape, allowed="powers of two",
                               todo=f"show a scene of {larger} and leave the rest unused")
    return [Stripes(axis, index, sign, size) for axis, size in (("rows", shape[0]), ("columns", shape[1]))  # type: ignore[arg-type]
            for index in range(size) for sign in (1, -1)]


@dataclass(frozen=True, eq=False)
class Separable:
    """`left` [capture rows, scene rows] and `right` [capture columns, scene columns], in DN per unit of scene when multiplied.

    `left_error`, `right_error`: standard errors of their entries. `outside`: part of the responses' energy outside rank 1, noise
    taken off, of the lit screen or of all other patterns, whichever is larger.
    The two matrices are known up to a factor that one may hand the other; both are of equal norm.
    `centred`: row and column means are taken off, of captures too.
    """

    left: Array
    right: Array
    left_error: Array
    right_error: Array
    outside: Estimate
    centred: bool

    def capture(self, scene: Array) -> Array:
        """Returns what a scene [row, column] should give, background off (and centred, where these matrices are)."""
        return self.left @ scene @ self.right.T

    def recover(self, capture: Array, weight: float = 1e-3) -> Array:
        """Returns the scene [row, column] of a capture with its background off, by the Tikhonov inverse.

        `weight` is relative to the largest squared singular value of the whole map. Raises PrivcamError for another size.
        """
        if capture.shape != (len(self.left), len(self.right)):
            raise PrivcamError("the capture does not fit the matrices", got=capture.shape, allowed=(len(self.left), len(self.right)),
                               todo="crop it as the calibration frames were")
        u, s, vt = np.linalg.svd(self.left, full_matrices=False)
        p, t, qt = np.linalg.svd(self.right, full_matrices=False)
        products = np.outer(s, t)
        seen = u.T @ (centred(capture) if self.centred else capture) @ p
        return vt.T @ (products * seen / (products**2 + weight * products.max() ** 2)) @ qt


def centred(capture: Array) -> Array:
    """Returns a capture less its row and column means: what a mask of 0 and 1 adds to that of -1 and 1 is nearly even along one axis.

    Reference: Asif et al., FlatCam (2017).
    """
    return capture - capture.mean(-1, keepdims=True) - capture.mean(-2, keepdims=True) + capture.mean((-2, -1), keepdims=True)


def check(shots: Sequence[Stripes], frames: Sequence[NDArray[np.integer]], saturation_dn: float) -> list[PrivcamError]:
    """Returns every reason why the frames of a plan cannot carry the matrices, before any fit."""
    if len(shots) != len(frames) or len({stack.shape for stack in frames}) != 1 or frames[0].ndim != 3:
        return [PrivcamError("frames do not fit the plan", got=f"{len(frames)} stacks, shapes {sorted({s.shape for s in frames})[:3]}",
                             allowed=f"{len(shots)} of one shape [n, row, column]", todo="give one stack for each pattern, in its order")]
    if len(frames[0]) < MIN_FRAMES:
        return [PrivcamError("too few frames", got=len(frames[0]), allowed=f"at least {MIN_FRAMES}",
                             todo="repeat each pattern: noise is measured")]
    found = []
    clipped = [i for i, stack in enumerate(frames) if (stack >= saturation_dn).any()]
    if clipped:
        found.append(PrivcamError("saturated patterns", got=f"{len(clipped)}, the first is {shots[clipped[0]]}", allowed="none",
                                  todo="expose for less long; the pattern that is lit all over is the brightest"))
    for axis in ("rows", "columns"):
        found.extend(_unsteady(axis, [(s, f) for s, f in zip(shots, frames, strict=True) if s.axis == axis]))
    return found


def _unsteady(axis: str, shown: Sequence[tuple[Stripes, NDArray[np.integer]]]) -> list[PrivcamError]:
    """Each pattern and its negative add up to the screen lit all over, and must do so all along."""
    dark = next(stack for shot, stack in shown if shot.index == 0 and shot.sign == -1).mean()
    lit = next(stack for shot, stack in shown if shot.index == 0 and shot.sign == 1).mean() - dark
    sums = {shot.index: 0.0 for shot, _ in shown}
    for shot, stack in shown:
        sums[shot.index] += float(stack.mean()) - float(dark)
    off = {index: value / lit - 1 for index, value in sums.items() if index} if lit > 0 else {0: -1.0}
    worst = max(off, key=lambda index: abs(off[index]))
    if abs(off[worst]) <= STEADY:
        return []
    return [PrivcamError(f"{axis}: pattern {worst} and its negative do not add up to the lit screen", got=f"{off[worst]:+.1%}",
                         allowed=f"{STEADY:.0%}", todo="let the screen warm up, keep other light out, check the order of the frames")]


def fit(shots: Sequence[Stripes], frames: Sequence[NDArray[np.integer]], *, saturation_dn: float, centre: bool = False,
        limit: float = RANK_ONE_LIMIT) -> Separable:
    """Returns the matrices from the frames [n, row, column] of each pattern in the order of `plan`.

    `centre` takes row and column means off, as a mask (a b^T + 1) / 2 with a and b of -1 and 1 needs; of the scene's own row and
    column means little is left then. Raises PrivcamError with the figure
    where more than `limit` of the energy is outside rank 1, and where frames are saturated, unsteady or too dark.
    """
    refuse(check(shots, frames, saturation_dn))
    axes = [_responses(axis, shots, frames, centre) for axis in ("rows", "columns")]
    factors = [_joint(responses if axis == 0 else responses.transpose(0, 2, 1)) for axis, (responses, _) in enumerate(axes)]
    outside = _outside(axes, factors)
    if outside.value - SIGNIFICANCE * outside.error > limit:
        raise PrivcamError("the mask is not separable", got=f"{outside.value:.1%} of the responses' energy is outside rank 1",
                           allowed=f"{limit:.1%}", todo="turn the mask until its axes are the sensor's; an outer product of -1 and 1 cut "
                           "as 0 and 1 needs centre=True; measure a mask that is not separable as a PSF")
    return _separable(axes, factors, outside, centre)


def _responses(axis: str, shots: Sequence[Stripes], frames: Sequence[NDArray[np.integer]], centre: bool) -> tuple[Array, Array]:
    """Returns (responses to +1/-1 patterns [size, row, column], variance of each of their pixels [row, column])."""
    own = [(shot, stack) for shot, stack in zip(shots, frames, strict=True) if shot.axis == axis]
    size = own[0][0].size
    responses, variance = np.zeros((size, *own[0][1].shape[1:])), np.zeros(own[0][1].shape[1:])
    for shot, stack in own:
        responses[shot.index] += shot.sign * stack.mean(axis=0)
        variance += stack.var(axis=0, ddof=1) / len(stack)
    return (centred(responses) if centre else responses), variance / size


def _joint(responses: Array) -> tuple[Array, Array]:
    """Returns (factor of each response [size, n], unit factor that all share [m]) of responses [size, n, m].

    The lit screen, pattern 0, has no part in the shared factor: its light would outweigh what all others say.
    """
    gram = np.einsum("krc,krd->cd", responses[1:], responses[1:])
    shared = np.linalg.eigh(gram)[1][:, -1]
    return responses @ shared, shared


def _outside(axes: Sequence[tuple[Array, Array]], factors: Sequence[tuple[Array, Array]]) -> Estimate:
    """Returns the larger share of energy outside rank 1: of the lit screen, or of all other patterns together."""
    groups = (slice(0, 1), slice(1, None))
    return max((_energy_outside(axes, factors, patterns) for patterns in groups), key=lambda estimate: estimate.value)


def _energy_outside(axes: Sequence[tuple[Array, Array]], factors: Sequence[tuple[Array, Array]], patterns: slice) -> Estimate:
    whole = excess = spread = 0.0
    for (responses, variance), (own, _) in zip(axes, factors, strict=True):
        size, pixels = len(responses[patterns]), variance.size
        noise = size * float(variance.sum()) * (1 - len(own[0]) / pixels)  # the factors take up the rest
        inside = float((own[patterns] ** 2).sum())
        excess += float((responses[patterns] ** 2).sum()) - inside - noise
        spread += 2 * size * float((variance**2).sum()) + noise**2 / (len(responses) * pixels)
        whole += inside
    return Estimate(excess / whole, float(np.sqrt(spread)) / whole)


def _separable(axes: Sequence[tuple[Array, Array]], factors: Sequence[tuple[Array, Array]], outside: Estimate, centre: bool) -> Separable:
    (by_rows, row_variance), (by_columns, column_variance) = axes
    (of_left, right_shared), (of_right, left_shared) = factors
    # the lit screen belongs to both axes: left 1 = |left 1| left_shared, right 1 = |right 1| right_shared
    lit = (by_rows[0] + by_columns[0]) / 2
    product = float(left_shared @ lit @ right_shared)
    scale = max(abs(product), float(np.finfo(float).tiny)) ** -0.5
    left, right = (scale * own.T @ hadamard(len(own)) / len(own) for own in (of_left, of_right))
    spread = (np.sqrt(row_variance @ right_shared**2), np.sqrt(column_variance.T @ left_shared**2))
    errors = [scale * np.broadcast_to((s / len(own) ** 0.5)[:, None], m.shape)
              for s, own, m in zip(spread, (of_left, of_right), (left, right), strict=True)]
    balance = float(np.sqrt(np.linalg.norm(right) / np.linalg.norm(left)))
    weak = min(float(np.sqrt((m**2).mean() / (e**2).mean())) for m, e in zip((left, right), errors, strict=True))
    if weak < LEAST_SNR:
        raise PrivcamError("too dark", got=f"matrices {weak:.1f} times their standard errors", allowed=f"{LEAST_SNR:g} times",
                           todo="expose for longer, or take more frames of each pattern")
    left = left * (1 if product >= 0 else -1)  # each factor's sign is free, that of their product is not
    return Separable(left * balance, right / balance, errors[0] * balance, errors[1] / balance, outside, centre)

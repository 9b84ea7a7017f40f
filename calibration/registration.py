"""Where a PSF lies on another: shift below a pixel, magnification and brightness, each with its standard error.

A coarse search by cross-correlation, then Gauss-Newton on the weighted residual.
Deliberately not here: which PSFs belong together (`calibration.psf`).

Reference: Baker and Matthews, Lucas-Kanade 20 years on, Int. J. Comput. Vis. 56 (2004), forwards additive algorithm, here with
magnification and brightness and with weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import affine_transform, binary_erosion, gaussian_filter, spline_filter

from calibration.intervals import Estimate
from calibration.ladder import HdrImage
from optics_sim.errors import PrivcamError

Array = NDArray[np.float64]
STEPS = 20
CONVERGED_PX = 1e-3
NUDGE_PX = 0.02  # for derivatives
SMOOTH_PX = 1.0  # blur of both pictures: else interpolation, which smooths noise most half-way between pixels, draws there
MARGIN_PX = 4  # round defects and edges that has no say
COARSE_STEP = 0.02  # between the magnifications that the coarse search tries


@dataclass(frozen=True, eq=False)
class Registration:
    """image(x) = gain * reference((x - c - shift) / magnification + c), c the centre of the picture; x in pixels (row, column).

    `covariance` [4, 4] of (gain, row shift, column shift, magnification). `correlation`: of the image with the reference put in
    its place, both blurred by 1 px, what noise alone takes away from it made good.
    """

    gain: float
    shift_px: tuple[float, float]
    magnification: float
    covariance: Array
    correlation: Estimate

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Returns the four numbers with their errors."""
        values = (self.gain, *self.shift_px, self.magnification)
        errors = np.sqrt(np.diag(self.covariance))
        return {name: Estimate(value, float(error)) for name, value, error in
                zip(("gain", "row", "column", "magnification"), values, errors, strict=True)}


def warped(picture: Array, shift_px: tuple[float, float], magnification: float = 1.0) -> Array:
    """Returns a picture magnified about its centre and shifted, by cubic splines; brightness per pixel is kept, not its sum."""
    return _drawn(spline_filter(picture.astype(float), order=3), np.array([1.0, *shift_px, magnification]))


@dataclass(frozen=True, eq=False)
class _Smooth:
    """A picture blurred, its splines, and the variance of its pixels before and after the blur."""

    values: Array
    splines: Array
    pixel_variance: Array
    variance: Array
    sound: NDArray[np.bool_]

    @staticmethod
    def of(picture: HdrImage, magnification: float = 1.0) -> _Smooth:
        """Blurs so that a picture that is magnified after it has the blur of one that is not."""
        smooth_px = SMOOTH_PX / magnification
        values = gaussian_filter(np.where(picture.sound, picture.rate_e_s, 0.0), smooth_px)
        own = np.where(picture.sound, picture.variance, 0.0)
        blurred = gaussian_filter(own, smooth_px / 2**0.5) / (4 * np.pi * smooth_px**2)  # the square of a Gaussian is one too
        return _Smooth(values, spline_filter(values, order=3), own, blurred, picture.sound)


def register(reference: HdrImage, image: HdrImage, *, span: float = 0.0) -> Registration:
    """Returns how `image` lies on `reference`; magnifications from 1 - span to 1 + span are searched (0: near 1).

    Raises PrivcamError for pictures of two sizes, or where the search does not settle.
    """
    if reference.rate_e_s.shape != image.rate_e_s.shape:
        raise PrivcamError("PSFs of two sizes", got=f"{reference.rate_e_s.shape}, {image.rate_e_s.shape}", allowed="one crop",
                           todo="crop them alike")
    below, above = _Smooth.of(reference), _Smooth.of(image)
    found = _coarse(below.values, above.values, span)
    inside = _inside(below, above, found)
    for _ in range(STEPS):
        below = _Smooth.of(reference, float(found[3]))
        step, covariance = _step(below, above, inside, found)
        found = found + step
        if not np.isfinite(found).all() or not 0.3 < found[3] < 3:
            break
        if np.abs(step[1:3]).max() < CONVERGED_PX:
            shift = (float(found[1]), float(found[2]))
            return Registration(float(found[0]), shift, float(found[3]), covariance, _correlation(below, above, inside, found))
    raise PrivcamError("the PSFs do not lie on each other", got=f"shift {found[1]:.2f}, {found[2]:.2f} px, magnification {found[3]:.3f} "
                       "and still moving", todo="check that both are of one mask, and take them with more light")


def _coarse(reference: Array, image: Array, span: float) -> Array:
    """Returns (gain, row, column, magnification) to begin with."""
    target = fft.rfft2(image - image.mean())
    best, start = -np.inf, np.ones(4)
    steps = int(np.ceil(span / COARSE_STEP))
    for magnification in 1 + COARSE_STEP * np.arange(-steps, steps + 1):
        candidate = warped(reference, (0, 0), magnification)
        apart = candidate - candidate.mean()
        surface = fft.irfft2(target * fft.rfft2(apart).conj(), image.shape) / np.linalg.norm(apart)
        row, column = np.unravel_index(int(surface.argmax()), surface.shape)
        if surface[row, column] > best:
            best = float(surface[row, column])
            shift = [(at + side // 2) % side - side // 2 for at, side in zip((row, column), image.shape, strict=True)]
            start = np.array([best / np.linalg.norm(apart), *shift, magnification], float)
    return start


def _inside(reference: _Smooth, image: _Smooth, at: Array) -> NDArray[np.bool_]:
    """Returns the pixels that compare sound light with sound light, whatever the last steps do."""
    known = (_placed(np.where(reference.sound, 1.0, 0.0), at, "constant") > 0.99) & image.sound
    return np.asarray(binary_erosion(known, iterations=MARGIN_PX))


def _step(reference: _Smooth, image: _Smooth, inside: NDArray[np.bool_], at: Array) -> tuple[Array, Array]:
    """Returns the Gauss-Newton step of (gain, row, column, magnification), and the covariance; wider where the PSFs differ."""
    gain = at[0]
    model = _drawn(reference.splines, at)
    basis = np.stack([model, *(gain * _slope(reference.splines, at, which) for which in (1, 2, 3))])
    drawn_variance = _placed(reference.variance, at)
    noise = image.variance + gain**2 * drawn_variance
    weight = np.where(inside, 1 / noise, 0.0)
    residual = image.values - gain * model
    normal, right = np.einsum("irc,rc,jrc->ij", basis, weight, basis), np.einsum("irc,rc,rc->i", basis, weight, residual)
    diluted = float((weight * drawn_variance).sum())  # the reference's noise is in the basis and in the residual alike
    normal[0, 0] -= diluted
    right[0] += gain * diluted
    spread = np.stack([gaussian_filter(one * weight, SMOOTH_PX) for one in basis])
    pixel_noise = image.pixel_variance + gain**2 * _placed(reference.pixel_variance, at)
    middle = np.einsum("irc,rc,jrc->ij", spread, pixel_noise, spread)
    surprise = float((weight * residual**2).sum()) / max(int(inside.sum()), 1)
    inverse = np.linalg.inv(normal)
    return inverse @ right, inverse @ middle @ inverse * max(surprise, 1.0)


def _drawn(filtered: Array, at: Array) -> Array:
    centre = (np.array(filtered.shape) - 1) / 2
    return affine_transform(filtered, np.full(2, 1 / at[3]), centre - (centre + at[1:3]) / at[3], order=3, mode="constant", prefilter=False)


def _slope(filtered: Array, at: Array, which: int) -> Array:
    """Returns the derivative of the drawn reference to one number; of the splines themselves, lest noise make steps too long."""
    reach = NUDGE_PX if which < 3 else NUDGE_PX / max(filtered.shape)
    nudge = reach * np.eye(4)[which]
    return (_drawn(filtered, at + nudge) - _drawn(filtered, at - nudge)) / (2 * reach)


def _placed(values: Array, at: Array, mode: str = "nearest") -> Array:
    """Returns values of the reference where it lies now, by linear interpolation."""
    centre = (np.array(values.shape) - 1) / 2
    return affine_transform(values, np.full(2, 1 / at[3]), centre - (centre + at[1:3]) / at[3], order=1, mode=mode)


def _correlation(reference: _Smooth, image: _Smooth, inside: NDArray[np.bool_], at: Array) -> Estimate:
    model, taken = _drawn(reference.splines, at)[inside], image.values[inside]
    a, b, va, vb = model - model.mean(), taken - taken.mean(), _placed(reference.variance, at)[inside], image.variance[inside]
    powers = float((a**2).sum() - va.sum()), float((b**2).sum() - vb.sum())
    if min(powers) <= 0:
        return Estimate(0.0, 1.0)
    scale = (powers[0] * powers[1]) ** 0.5
    alike = 4 * np.pi * SMOOTH_PX**2  # pixels that the blur gives one noise
    return Estimate(float((a * b).sum()) / scale, float(np.sqrt(alike * (a**2 * vb + b**2 * va + va * vb).sum())) / scale)

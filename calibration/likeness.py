"""How like a capture a prediction is, never without what a wrong scene would score: flipped, turned and shifted controls.

Correlation of raw pixels is no measure of a lensless camera: its captures are so smooth that a scene turned upside down
predicts them almost as well. Two measures can tell: the residual against that of a control, and the correlation after the
smooth part is taken off (high-passed).
Deliberately not here: which model predicts (`calibration.paired_psf` is one).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from optics_sim.errors import PrivcamError

Image = NDArray[np.floating]
FLIPS: Mapping[str, tuple[int, ...]] = {"flipped up-down": (0,), "flipped left-right": (1,), "turned": (0, 1)}
SHIFTED = "shifted"
SHIFT_PART = 8  # the shifted control is moved by this part of each side, round the edge
SMOOTH_PX = 2.0  # standard deviation of the Gaussian whose result the high pass takes off


@dataclass(frozen=True)
class Score:
    """`residual`: |capture - a prediction| / |capture| with the best single a. `correlation`: of both, high-passed."""

    residual: float
    correlation: float


@dataclass(frozen=True)
class Likeness:
    """The score of a prediction and of its controls: the same by a wrong scene."""

    score: Score
    controls: Mapping[str, Score]

    @property
    def residual_ratio(self) -> float:
        """Returns the residual over that of the best flipped control, infinite where that has none; below 1 the orientation is seen."""
        best = min(self.controls[name].residual for name in FLIPS)
        return self.score.residual / best if best > 0 else float("inf")

    @property
    def beats_controls(self) -> bool:
        """Returns whether the high-passed correlation is above that of every control."""
        return all(self.score.correlation > control.correlation for control in self.controls.values())


def of_model(predict: Callable[[Image], Image], scene: Image, capture: Image, *, smooth_px: float = SMOOTH_PX) -> Likeness:
    """Returns how like `capture` the model's prediction of `scene` is, and of the flipped, turned and shifted scene.

    `predict` maps a scene [row, column] to a capture [row, column] of any exposure: its scale is fitted, for the controls
    likewise. Raises PrivcamError as `score` does.
    """
    controls = {name: score(predict(wrong), capture, smooth_px=smooth_px) for name, wrong in _wrong(scene).items()}
    return Likeness(score(predict(scene), capture, smooth_px=smooth_px), controls)


def of_pictures(simulated: Image, real: Image, *, smooth_px: float = SMOOTH_PX) -> Likeness:
    """Returns how like a real capture a simulated one is, with the simulated one flipped, turned and shifted as controls."""
    return of_model(lambda picture: picture, simulated, real, smooth_px=smooth_px)


def score(prediction: Image, capture: Image, *, smooth_px: float = SMOOTH_PX) -> Score:
    """Returns the score of one prediction. Raises PrivcamError for pictures of two sizes, not finite, or without contrast."""
    if prediction.shape != capture.shape or capture.ndim != 2:
        raise PrivcamError("prediction and capture are not two pictures of one size", got=f"{prediction.shape}, {capture.shape}",
                           allowed="[row, column] both", todo="compare one plane of equal crop and binning")
    if not (np.isfinite(prediction).all() and np.isfinite(capture).all()):
        raise PrivcamError("prediction or capture is not finite", got="NaN or infinity", todo="leave such pixels out before comparing")
    return Score(residual(prediction, capture), correlation(high_passed(prediction, smooth_px), high_passed(capture, smooth_px)))


def residual(prediction: Image, capture: Image) -> float:
    """Returns |capture - a prediction| / |capture|, a by least squares; 1 for a prediction that is 0 everywhere."""
    p, y = prediction.astype(float), capture.astype(float)
    power = float((p * p).sum())
    scale = float((p * y).sum()) / power if power > 0 else 0.0
    return float(np.linalg.norm(y - scale * p) / np.linalg.norm(y))


def high_passed(picture: Image, smooth_px: float = SMOOTH_PX) -> NDArray[np.float64]:
    """Returns a picture less its Gaussian smoothing, mirrored at the edges."""
    whole = picture.astype(float)
    return whole - gaussian_filter(whole, smooth_px, mode="reflect")


def correlation(a: Image, b: Image) -> float:
    """Returns Pearson's correlation of two pictures. Raises PrivcamError where one has no contrast."""
    x, y = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(x) * np.linalg.norm(y))
    if scale == 0:
        raise PrivcamError("a picture without contrast correlates with nothing", got=f"{np.ptp(a):g}, {np.ptp(b):g}", allowed="above 0",
                           todo="give pictures that were exposed to a scene")
    return float((x * y).sum()) / scale


def _wrong(scene: Image) -> dict[str, Image]:
    shift = tuple(max(side // SHIFT_PART, 1) for side in scene.shape)
    return {**{name: np.flip(scene, axes) for name, axes in FLIPS.items()}, SHIFTED: np.roll(scene, shift, (0, 1))}

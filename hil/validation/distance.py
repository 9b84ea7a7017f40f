"""How far captured frames are from what a twin says they should be: sums of each code pixel, never without wrong scenes as controls.

A twin has no detail finer than a code pixel, and a sensor's colour filters are alike in every raw frame, whatever it shows: sums of
the raw pixels of each code pixel are compared, black level off, with the twin's noiseless ones. No frame here had a part in making
either twin: every residual is a held-out one.
Deliberately not here: the scores (`calibration.likeness`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.likeness import FLIPS, SHIFTED, Image, Likeness, of_model
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign
from optics_sim.learning.seeds import numpy_generator
from optics_sim.learning.train import Labelled
from optics_sim.report.resampling import Sample, grouped_mean

FLIPPED = "flipped"


def noiseless(design: CameraDesign) -> Callable[[Image], Image]:
    """Returns the function from a scene [H, W] to a design's mean sums [h, w] of DN above black, without any noise."""
    camera = PrivacyCamera.from_design(design)

    @torch.no_grad()
    def predict(scene: Image) -> Image:
        light = camera.relative_irradiance(torch.from_numpy(np.ascontiguousarray(scene, np.float32)))
        moments = camera.sensor.binned_moments(light * design.exposure.white_photons_per_px_s)
        return moments[0].double().numpy()

    return predict


def distance_samples(twin: CameraDesign, people: Labelled, sums: NDArray[np.int64], seed: int) -> list[Sample]:
    """Returns how like captured sums [n, h, w] of scenes a twin's are, and its controls', people resampled.

    `distance/correlation` (high-passed; 1 is alike), `distance/residual` (0 is alike), each of the flipped control that is most
    like and of the shifted one, the share of pictures whose correlation beats every control, and the light captured over the twin's.
    """
    predict, labels = noiseless(twin), people.labels.cpu().numpy()
    scenes = people.scenes.cpu().numpy()
    found = [of_model(predict, scene, capture.astype(np.float64)) for scene, capture in zip(scenes, sums, strict=True)]
    values = _values(found)
    values["distance/light"] = [float(capture.sum() / predict(scene).sum()) for scene, capture in zip(scenes, sums, strict=True)]
    return [grouped_mean(name, np.array(each, np.float64), labels, numpy_generator(seed, "enrolled")) for name, each in values.items()]


def _values(found: list[Likeness]) -> dict[str, list[float]]:
    flipped = [[one.controls[name] for name in FLIPS] for one in found]
    return {
        "distance/correlation": [one.score.correlation for one in found],
        f"distance/correlation/{FLIPPED}": [max(score.correlation for score in each) for each in flipped],
        f"distance/correlation/{SHIFTED}": [one.controls[SHIFTED].correlation for one in found],
        "distance/beats_controls": [float(one.beats_controls) for one in found],
        "distance/residual": [one.score.residual for one in found],
        f"distance/residual/{FLIPPED}": [min(score.residual for score in each) for each in flipped],
        f"distance/residual/{SHIFTED}": [one.controls[SHIFTED].residual for one in found],
    }

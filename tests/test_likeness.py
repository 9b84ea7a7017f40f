"""Likeness: a right prediction scores above its controls, a mirrored one does not, whatever the exposure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from calibration import likeness
from calibration.likeness import FLIPS, of_model, of_pictures, residual, score
from optics_sim.errors import PrivcamError


def scene_and_psf(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scene = gaussian_filter(rng.random((40, 60)), 2)
    return (scene - scene.min()) ** 2, gaussian_filter(rng.random((21, 21)) ** 8, 1)


def test_the_right_scene_beats_its_controls_and_the_wrong_ones_do_not():
    scene, psf = scene_and_psf()
    def predict(s):
        return fftconvolve(s, psf, "same")
    capture = predict(scene) * 7
    right = of_model(predict, scene, capture)
    assert right.score.residual < 1e-6 and right.score.correlation > 0.999
    assert right.beats_controls and right.residual_ratio < 1e-4
    for axes in FLIPS.values():
        wrong = of_model(predict, np.flip(scene, axes), capture)
        assert not wrong.beats_controls and wrong.residual_ratio > 1
    assert not of_model(predict, np.roll(scene, (-5, -7), (0, 1)), capture).beats_controls


def test_raw_correlation_cannot_tell_a_turned_scene_but_the_high_pass_can():
    """The captures of a smooth light are alike; what the high pass leaves is not."""
    rows, columns = np.mgrid[-1:1:40j, -1:1:60j]
    texture = gaussian_filter(np.random.default_rng(1).normal(0, 0.1, (40, 60)), 1)
    capture, turned = (s + 1 - (rows**2 + columns**2) / 3 for s in (texture, texture[::-1, ::-1]))
    assert likeness.correlation(capture, turned) > 0.9
    assert score(turned, capture).correlation < 0.5


def test_pictures_are_compared_with_their_own_mirror_images():
    scene, _ = scene_and_psf(2)
    noise = np.random.default_rng(3).normal(0, 0.01, scene.shape)
    found = of_pictures(scene, scene + noise)
    assert found.beats_controls and found.residual_ratio < 0.6
    assert set(found.controls) == {*FLIPS, "shifted"}


def test_residual_fits_the_exposure_and_nothing_else():
    y = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert residual(y / 9, y) == pytest.approx(0, abs=1e-12)
    assert residual(np.zeros((2, 2)), y) == 1
    assert residual(np.ones((2, 2)), y) == pytest.approx(np.sqrt(1 - 10**2 / (4 * 30)))


def test_guards():
    scene, _ = scene_and_psf()
    with pytest.raises(PrivcamError, match="one size"):
        score(scene, scene[1:])
    with pytest.raises(PrivcamError, match="not finite"):
        score(np.full_like(scene, np.nan), scene)
    with pytest.raises(PrivcamError, match="without contrast"):
        score(np.ones_like(scene), scene)

"""Separable calibration: known matrices come back within their error bars and recover a scene; a mask that is not separable is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from calibration.separable import Separable, Stripes, centred, fit, plan
from optics_sim.errors import PrivcamError
from optics_sim.optics.patterns import mls

SCENE, SENSOR, BLACK, SATURATION = (16, 32), (44, 60), 60.0, 4095.0


def matrix(rows: int, columns: int, code: np.ndarray) -> np.ndarray:
    """A mask's shadow: each scene line moves the (slightly blurred) code by one pixel."""
    long = gaussian_filter(np.resize(code, rows + columns).astype(float), 0.4)
    return toeplitz(long[columns - 1:columns - 1 + rows], long[columns - 1::-1])


CODE = np.sign(mls(5) - 0.1)  # -1 and 1
LEFT, RIGHT = matrix(SENSOR[0], SCENE[0], CODE > 0), matrix(SENSOR[1], SCENE[1], CODE[::-1] > 0)


def exact(scene: np.ndarray) -> np.ndarray:
    return 3.0 * LEFT @ scene @ RIGHT.T


def shown(capture, rng: np.random.Generator, count: int = 3, noise: float = 2.0, glow: float = 40.0) -> list[np.ndarray]:
    """Frames of every pattern: `glow` is light of the room."""
    stacks = []
    for shot in plan(SCENE):
        light = capture(shot.picture(SCENE))
        raw = BLACK + glow + light + rng.normal(0, noise, (count, *light.shape))
        stacks.append(np.clip(np.rint(raw), 0, SATURATION).astype(np.uint16))
    return stacks


def calibrated(seed: int = 0, capture=exact, **options) -> Separable:
    return fit(plan(SCENE), shown(capture, np.random.default_rng(seed)), saturation_dn=SATURATION, **options)


def test_patterns_are_hadamard_lines_and_their_negatives():
    shots = plan(SCENE)
    assert len(shots) == 2 * (16 + 32) and len(set(shots)) == len(shots)
    assert Stripes("rows", 0, 1, 16).picture(SCENE).all() and not Stripes("rows", 0, -1, 16).picture(SCENE).any()
    rows, columns = Stripes("rows", 5, 1, 16).picture(SCENE), Stripes("columns", 5, 1, 32).picture(SCENE)
    assert (rows == rows[:, :1]).all() and (columns == columns[:1]).all()
    assert rows.mean() == columns.mean() == 0.5
    with pytest.raises(PrivcamError, match=r"\(16, 32\)"):
        plan((13, 20))


def test_known_matrices_come_back_within_their_error_bars():
    found = calibrated()
    truth = np.sqrt(3.0) * LEFT, np.sqrt(3.0) * RIGHT
    ratio = np.sqrt(np.linalg.norm(truth[1]) / np.linalg.norm(truth[0]))
    sign = np.sign((found.left * truth[0]).sum())
    pulls = [(sign * found.left - truth[0] * ratio) / found.left_error, (sign * found.right - truth[1] / ratio) / found.right_error]
    for pull in pulls:
        assert 0.93 <= (np.abs(pull) < 1.96).mean() <= 0.97
    scene = np.random.default_rng(5).random(SCENE)
    np.testing.assert_allclose(found.capture(scene), exact(scene), rtol=0.01)
    assert found.outside.interval[0] <= 0 <= found.outside.interval[1] and found.outside.value < 1e-3


def test_a_scene_is_recovered_and_its_mirror_image_is_not_it():
    scene = gaussian_filter(np.random.default_rng(6).random(SCENE), 1)
    capture = exact(scene) + np.random.default_rng(7).normal(0, 0.5, SENSOR)
    seen = calibrated().recover(capture, weight=1e-5)
    assert np.corrcoef(seen.ravel(), scene.ravel())[0, 1] > 0.95
    assert all(np.corrcoef(seen.ravel(), np.flip(scene, axes).ravel())[0, 1] < 0.5 for axes in (0, 1, (0, 1)))
    with pytest.raises(PrivcamError, match="does not fit"):
        calibrated().recover(capture[1:])


def binary_mask(scene: np.ndarray) -> np.ndarray:
    """A mask of (code code^T + 1) / 2, code -1 and 1: the 1 lets each scene point light all of the sensor, a little less at its sides."""
    of_code = matrix(SENSOR[0], SCENE[0], CODE) @ scene @ matrix(SENSOR[1], SCENE[1], CODE[::-1]).T
    sides = [1 - 0.02 * np.linspace(-1, 1, n) ** 2 for n in SENSOR]
    return 1.5 * (of_code + scene.sum() * np.outer(*sides))


def test_a_mask_of_zeros_and_ones_is_separable_only_when_centred():
    with pytest.raises(PrivcamError, match="not separable"):
        calibrated(capture=binary_mask)
    found = calibrated(capture=binary_mask, centre=True)
    scene = gaussian_filter(np.random.default_rng(8).random(SCENE), 1)
    assert np.corrcoef(found.capture(scene).ravel(), centred(binary_mask(scene)).ravel())[0, 1] > 0.995
    seen = found.recover(binary_mask(scene), weight=1e-5)
    assert np.corrcoef(centred(seen).ravel(), centred(scene).ravel())[0, 1] > 0.9  # of rows and columns that are even, little is left


def test_a_mask_that_is_not_separable_is_refused_with_the_figure():
    psf = np.random.default_rng(9).random((29, 29)) ** 4

    def capture(scene: np.ndarray) -> np.ndarray:
        return 3 * fftconvolve(scene, psf, "full")[:SENSOR[0], :SENSOR[1]]

    with pytest.raises(PrivcamError, match=r"not separable; got: \d+\.\d% of the responses"):
        calibrated(capture=capture)


def test_refusals():
    rng, shots = np.random.default_rng(10), plan(SCENE)
    good = shown(exact, rng)

    def refused(frames, match: str, saturation: float = SATURATION) -> None:
        with pytest.raises(PrivcamError, match=match):
            fit(shots, frames, saturation_dn=saturation)

    refused(good[:-1], "do not fit the plan")
    refused([stack[:1] for stack in good], "too few frames")
    refused(good, "saturated", saturation=300.0)
    refused(shown(lambda scene: exact(scene) / 3000, rng), "add up|too dark")
    swapped = [*good[:4], good[6], good[5], good[4], *good[7:]]
    refused([stack if i != 8 else np.rint(stack * 1.2).astype(np.uint16) for i, stack in enumerate(swapped)], "do not add up")

"""The PSF of a camera from pairs: a known one is found again, and a real diffuser camera's predicts captures it never saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from calibration.paired_psf import Pair, Settings, check, fit, measure
from optics_sim.attacks.linear import fista
from optics_sim.data.diffusercam import RealPair, load_pairs
from optics_sim.errors import PrivcamError

LARGEST_RATIO = 0.6  # of the held-out residual to that of the best flipped control
LEAST_FOLDS = 8  # of ten that must be below it; in all ten the high-passed correlation is above every control
TONES = (1.0, 1.4, 1.8)


# --- a known camera -------------------------------------------------------------------------------
def known_psf(rng: np.random.Generator) -> np.ndarray:
    psf = np.zeros((25, 41))
    psf[6:19, 10:31] = gaussian_filter(rng.random((13, 21)) ** 10, 0.7)
    return psf / psf.sum() * 0.3


def known_pairs(count: int, rng: np.random.Generator, psf: np.ndarray, tone: float = 1.0) -> list[Pair]:
    pairs = []
    for _ in range(count):
        light = np.pad(rng.random((16, 28)), ((4, 4), (6, 6)))
        capture = fftconvolve(light, psf, "same") * rng.uniform(0.7, 1.4) + rng.normal(0, 2e-4, light.shape)
        pairs.append(Pair(light ** (1 / tone), capture))
    return pairs


def test_a_known_psf_is_found_again_with_its_place_and_the_exposures():
    rng = np.random.default_rng(0)
    psf = known_psf(rng)
    pairs = known_pairs(8, rng, psf)
    found = fit(pairs, Settings(reach=1.0, weight=1e-6, iterations=300))
    inside = found.psf[: psf.shape[0], : psf.shape[1]]
    grown = np.zeros(found.psf.shape)
    off = [(a - b) // 2 for a, b in zip(found.psf.shape, psf.shape, strict=True)]
    grown[off[0]:off[0] + psf.shape[0], off[1]:off[1] + psf.shape[1]] = psf
    assert inside.min() >= 0
    assert np.corrcoef(found.psf.ravel(), grown.ravel())[0, 1] > 0.95
    exact = [fftconvolve(pair.scene, psf, "same") for pair in pairs]
    scales = np.array([(e * p.capture).sum() / (p.capture**2).sum() for e, p in zip(exact, pairs, strict=True)])
    np.testing.assert_allclose(found.scales, scales / scales.mean(), rtol=5e-3)


def test_the_tone_of_the_lens_picture_is_chosen_by_pairs_held_out():
    rng = np.random.default_rng(1)
    psf = known_psf(rng)
    *pairs, last = known_pairs(9, rng, psf, tone=1.8)
    found = measure(pairs, [Settings(tone=tone) for tone in TONES])
    assert found.settings.tone == 1.8
    assert len(found.held_out) == 8 and all(one.beats_controls for one in found.held_out)
    assert found.likeness(last).beats_controls and found.likeness(last).residual_ratio < LARGEST_RATIO


def test_pairs_of_two_rigs_predict_no_better_than_their_controls():
    """Captures dealt to the wrong scenes: the method must not find what is not there."""
    rng = np.random.default_rng(2)
    psf = known_psf(rng)
    pairs = known_pairs(8, rng, psf)
    dealt = [Pair(pair.scene, pairs[i - 1].capture) for i, pair in enumerate(pairs)]
    held_out = measure(dealt).held_out
    assert np.mean([one.residual_ratio for one in held_out]) > 0.95
    assert not all(one.beats_controls for one in held_out)


def test_refusals():
    rng = np.random.default_rng(3)
    pairs = known_pairs(4, rng, known_psf(rng))
    assert not check(pairs)
    with pytest.raises(PrivcamError, match="too few pairs"):
        measure(pairs[:2])
    with pytest.raises(PrivcamError, match="differ in size"):
        measure([*pairs, Pair(pairs[0].scene[1:], pairs[0].capture)])
    with pytest.raises(PrivcamError, match="not light"):
        measure([*pairs[:3], replace(pairs[3], scene=pairs[3].scene - 1)])
    with pytest.raises(PrivcamError, match="no contrast"):
        measure([*pairs[:3], replace(pairs[3], capture=np.zeros_like(pairs[3].capture))])
    with pytest.raises(PrivcamError, match="pairs 0 and 4 show one scene"):
        measure([*pairs, pairs[0]])
    with pytest.raises(PrivcamError, match="nothing to choose"):
        measure(pairs, parts=5)
    with pytest.raises(PrivcamError, match="fit nothing"):
        fit(pairs, Settings(reach=3))


# --- real light -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def real(real_data: Path) -> list[RealPair]:
    pytest.importorskip("av", reason="16-bit colour PNG needs PyAV")
    return load_pairs(real_data / "lensless" / "diffusercam_pairs")


def others(pairs: list[Pair], i: int) -> list[Pair]:
    return [pair for j, pair in enumerate(pairs) if j != i]


@pytest.mark.data
def test_nine_real_pairs_predict_the_tenth(real):
    """All ten folds, with the default settings: nothing is chosen by fold, or by the pair held out."""
    pairs = [Pair(*pair.gray()) for pair in real]
    assert len(pairs) == 10
    found = [fit(others(pairs, i), Settings()).likeness(pair) for i, pair in enumerate(pairs)]
    assert sum(one.residual_ratio <= LARGEST_RATIO for one in found) >= LEAST_FOLDS
    assert all(one.beats_controls for one in found)


@pytest.mark.data
@pytest.mark.slow
def test_nine_real_pairs_with_settings_chosen_among_them_predict_the_tenth_better(real):
    pairs = [Pair(*pair.gray()) for pair in real]
    candidates = [Settings(reach=1.6, tone=tone) for tone in TONES]
    for i, pair in enumerate(pairs):
        found = measure(others(pairs, i), candidates).likeness(pair)
        assert found.residual_ratio <= LARGEST_RATIO and found.beats_controls
        assert found.score.residual < fit(others(pairs, i), Settings()).likeness(pair).score.residual


@pytest.mark.data
def test_the_lens_picture_of_a_pair_held_out_is_recovered(real):
    """A PSF that was never photographed opens a capture it was not fitted to; turned or mirrored, the picture does not fit."""
    pairs = [Pair(*pair.gray()) for pair in real]
    psf = fit(others(pairs, 3), Settings(reach=1.6, tone=1.4, iterations=100))
    capture = torch.from_numpy(pairs[3].capture)
    seen = fista(capture, torch.from_numpy(psf.psf), tuple(capture.shape), "same", iterations=100, weight=1e-3).numpy()
    lens = pairs[3].scene ** 1.4
    def likeness(picture):
        return np.corrcoef(seen.ravel(), picture.ravel())[0, 1]
    assert likeness(lens) > 0.8
    assert all(likeness(np.flip(lens, axes)) < 0.6 for axes in ((0,), (1,), (0, 1)))


def test_loader_guards(tmp_path: Path):
    from PIL import Image
    pytest.importorskip("av", reason="16-bit colour PNG needs PyAV")
    entry = '{"name": "a", "lensed": "a.png", "diffuser": "b.png", "diffuser_scale": 1, "diffuser_offset": 0}'
    with pytest.raises(PrivcamError, match="cannot read"):
        load_pairs(tmp_path)
    (tmp_path / "pairs.json").write_text(f'{{"pairs": [{entry}]}}')
    with pytest.raises(PrivcamError, match="cannot read"):
        load_pairs(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save(tmp_path / name)
    with pytest.raises(PrivcamError, match=r"got: .*b\.png: rgb24"):
        load_pairs(tmp_path)

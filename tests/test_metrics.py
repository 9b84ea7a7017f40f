"""Measures of images, scores and masks, against independent code and against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal
from skimage import metrics as peer
from skimage.measure import blur_effect

from optics_sim.errors import PrivcamError
from optics_sim.report import metrics

FLOAT64_SUMS = 1e-9  # a few thousand float64 additions
PUBLISHED_BLUR = 1e-6


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def scenes(rng):
    noise = rng.random((4, 40, 37))
    return np.clip(0.6 * signal.convolve(noise, np.ones((1, 5, 5)) / 25, mode="same") + 0.3 * noise, 0, 1)


def test_psnr_is_20_db_for_a_tenth_and_infinite_for_equal(scenes):
    assert metrics.psnr(scenes, scenes + 0.1) == pytest.approx([20.0] * 4, abs=FLOAT64_SUMS)
    assert metrics.psnr(255 * scenes, 255 * scenes + 25.5, data_range=255) == pytest.approx([20.0] * 4, abs=FLOAT64_SUMS)
    assert np.isinf(metrics.psnr(scenes, scenes)).all()


def test_ssim_equals_scikit_image(scenes, rng):
    noisy = np.clip(scenes + 0.1 * rng.standard_normal(scenes.shape), 0, 1)
    ours = metrics.ssim(scenes, noisy)
    for value, a, b in zip(ours, scenes, noisy, strict=True):
        theirs = peer.structural_similarity(a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        assert value == pytest.approx(theirs, abs=FLOAT64_SUMS)
    assert metrics.ssim(scenes, scenes) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("bins", [16, 100, 256])
def test_nmi_equals_scikit_image_also_on_bin_edges(scenes, rng, bins):
    eight_bit = np.round(scenes * 64) / 64  # values that fall exactly on edges
    other = np.round((scenes + 0.05 * rng.standard_normal(scenes.shape)) * 255) / 255
    ours = metrics.nmi(eight_bit, other, bins=bins)
    theirs = [peer.normalized_mutual_information(a, b, bins=bins) for a, b in zip(eight_bit, other, strict=True)]
    assert ours == pytest.approx(theirs, abs=FLOAT64_SUMS)


def test_nmi_is_two_for_a_relabelled_image_and_one_for_a_constant(scenes):
    grey = np.round(scenes * 50) / 50
    assert metrics.nmi(grey, 1 - 0.5 * grey, bins=400) == pytest.approx([2.0] * 4)
    assert metrics.nmi(grey, np.full_like(grey, 0.3)).tolist() == [1.0] * 4
    assert metrics.nmi(np.zeros((1, 9, 9)), np.ones((1, 9, 9))).tolist() == [1.0]


def test_nmi_bias_of_independent_noise_is_as_the_docstring_says(rng):
    values = metrics.nmi(rng.random((4, 63, 63)), rng.random((4, 63, 63)))
    assert values.mean() == pytest.approx(1.33, abs=0.05)


def test_blurriness_equals_scikit_image_and_rises_with_blur(scenes):
    ours = metrics.crete_roffet(scenes)
    assert ours == pytest.approx([blur_effect(s, h_size=11) for s in scenes], abs=PUBLISHED_BLUR)
    blurred = signal.convolve(scenes, np.ones((1, 7, 7)) / 49, mode="same")
    assert (metrics.crete_roffet(blurred) > ours).all()
    assert metrics.crete_roffet(np.full((8, 8), 0.4)).tolist() == [1.0]


def test_auc_counts_pairs_and_halves_ties(rng):
    scores, same = rng.integers(0, 6, 80), rng.random(80) < 0.4
    alike, unlike = scores[same][:, None], scores[~same][None, :]
    brute = np.mean((alike > unlike) + 0.5 * (alike == unlike))
    assert metrics.roc_auc(scores, same) == pytest.approx(brute, abs=FLOAT64_SUMS)
    assert metrics.roc_auc(np.zeros(80), same) == 0.5
    assert metrics.roc_auc(same, same) == 1.0


def test_equal_error_rate_of_known_scores():
    same = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    assert metrics.eer([9, 8, 7, 3, 4, 2, 1, 0], same) == pytest.approx(0.25)
    assert metrics.eer(same, same) == 0.0
    assert metrics.eer(~same, same) == 1.0
    assert metrics.eer(np.ones(8), same) == 0.5


def test_rank1_finds_the_nearest_and_is_at_chance_when_embeddings_carry_nothing(rng):
    people = np.repeat(np.arange(5), 2)
    clear = np.eye(5)[people]
    assert metrics.rank1(clear, people, 3 * clear + 0.01, people) == 1.0
    assert metrics.rank1(np.zeros((10, 4)), people, np.zeros((10, 4)), people) == pytest.approx(1 / 5)
    assert metrics.rank1(np.ones((10, 4)), people, np.ones((10, 4)), people) == pytest.approx(1 / 5)


def test_open_share_and_light():
    assert metrics.aperture_ratio([[1, 0], [0, 0]]) == 0.25
    assert metrics.light_throughput(np.full((4, 4), 1 / 32)) == 0.5


def _operator(psf, scene_shape, mode):
    deltas = np.eye(scene_shape[0] * scene_shape[1]).reshape(-1, *scene_shape)
    return np.stack([signal.convolve2d(d, psf, mode=mode).ravel() for d in deltas], axis=1)


@pytest.mark.parametrize("mode", ["valid", "full"])
@pytest.mark.parametrize("psf_shape", [(3, 4), (6, 5), (1, 1)])
def test_condition_number_equals_a_dense_svd(rng, mode, psf_shape):
    psf = rng.random(psf_shape)
    singular = np.linalg.svd(_operator(psf, (9, 8), mode), compute_uv=False)
    assert metrics.condition_number(psf, (9, 8), mode) == pytest.approx(singular[0] / singular[-1], rel=1e-6)


def test_condition_number_circular():
    assert metrics.condition_number([[1.0]], (8, 8), "circular") == pytest.approx(1.0)
    assert metrics.condition_number([[1.0, 0.5]], (8, 8), "circular") == pytest.approx(1.5 / 0.5)
    assert np.isinf(metrics.condition_number([[1.0, 1.0]], (8, 8), "circular"))
    assert np.isinf(metrics.condition_number(np.zeros((3, 3)), (8, 8), "valid"))


def test_pareto_front_and_hypervolume():
    points = [(0, 3), (1, 2), (0.5, 1), (2, 1), (2, 0.5), (1, 2)]
    assert metrics.pareto_front(points).tolist() == [0, 1, 3]
    assert metrics.hypervolume_2d(points, (0, 0)) == pytest.approx(1 * 2 + 1 * 1)
    assert metrics.hypervolume_2d([(-1, 5), (1, 1)], (0, 0)) == pytest.approx(1)
    assert metrics.hypervolume_2d([(-1, -1)], (0, 0)) == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.psnr(np.zeros((2, 4, 4)), np.zeros((3, 4, 4))),
        lambda: metrics.psnr(np.zeros((4, 4)), np.zeros((4, 4)), data_range=0),
        lambda: metrics.psnr(np.full((4, 4), np.nan), np.zeros((4, 4))),
        lambda: metrics.psnr(np.zeros(4), np.zeros(4)),
        lambda: metrics.ssim(np.zeros((10, 40)), np.zeros((10, 40))),
        lambda: metrics.nmi(np.zeros((4, 4)), np.zeros((4, 4)), bins=1),
        lambda: metrics.crete_roffet(np.zeros((3, 9))),
        lambda: metrics.roc_auc([1.0, 2.0], [True, True]),
        lambda: metrics.roc_auc([1.0, np.nan], [True, False]),
        lambda: metrics.eer([1.0], [True, False]),
        lambda: metrics.rank1(np.zeros((2, 3)), [0], np.zeros((1, 3)), [0]),
        lambda: metrics.condition_number(np.ones((9, 9)), (8, 8)),
        lambda: metrics.condition_number(np.ones((2, 2)), (8, 8), "same"),
        lambda: metrics.condition_number(np.ones((2, 2)), (80, 80)),
        lambda: metrics.pareto_front(np.zeros((0, 2))),
        lambda: metrics.hypervolume_2d([(np.nan, 1)], (0, 0)),
    ],
)
def test_guards(call):
    with pytest.raises(PrivcamError) as caught:
        call()
    assert caught.value.allowed and caught.value.todo

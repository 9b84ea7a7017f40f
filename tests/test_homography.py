"""Screen geometry: a known homography comes back within its covariance, and dots that do not fix one are refused."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.homography import Homography, check, fit
from optics_sim.errors import PrivcamError

TRUTH = np.array([[0.9, 0.1, 30.0], [-0.05, 1.1, 12.0], [2e-4, -3e-4, 1.0]])
GRID = np.stack(np.meshgrid(np.linspace(0, 500, 5), np.linspace(0, 800, 7), indexing="ij"), -1).reshape(-1, 2)
PROBES = np.array([[0.0, 0.0], [250.0, 400.0], [490.0, 790.0], [600.0, 900.0]])


def truly(points: np.ndarray) -> np.ndarray:
    moved = np.concatenate([points, np.ones((len(points), 1))], 1) @ TRUTH.T
    return moved[:, :2] / moved[:, 2:]


def test_exact_dots_give_the_exact_homography():
    found = fit(GRID, truly(GRID))
    np.testing.assert_allclose(found.matrix / found.matrix[2, 2], TRUTH, rtol=1e-9)
    np.testing.assert_allclose(found(PROBES), truly(PROBES), rtol=1e-9)
    np.testing.assert_allclose(found.inverse()(truly(PROBES)), PROBES, atol=1e-6)
    assert found.residual_px < 1e-9


def test_intervals_of_mapped_points_cover_the_truth_as_often_as_they_say():
    rng, inside, back = np.random.default_rng(0), [], []
    for _ in range(150):
        found = fit(GRID, truly(GRID) + rng.normal(0, 0.4, GRID.shape))
        off = np.abs(found(PROBES) - truly(PROBES))
        inside.append(off <= found.reach_95() * np.sqrt(np.diagonal(found.covariance_at(PROBES), axis1=-2, axis2=-1)))
        inverse, pixels = found.inverse(), truly(PROBES)
        off = np.abs(inverse(pixels) - PROBES)
        back.append(off <= found.reach_95() * np.sqrt(np.diagonal(inverse.covariance_at(pixels), axis1=-2, axis2=-1)))
    assert 0.93 <= np.mean(inside) <= 0.97
    assert 0.93 <= np.mean(back) <= 0.97


def test_the_residual_is_the_noise_of_the_dots():
    rng = np.random.default_rng(1)
    found = [fit(GRID, truly(GRID) + rng.normal(0, 0.4, GRID.shape)).residual_px for _ in range(50)]
    assert np.mean(np.square(found)) == pytest.approx(0.16, rel=0.1)


def test_the_result_does_not_depend_on_units():
    rng = np.random.default_rng(2)
    seen = truly(GRID) + rng.normal(0, 0.4, GRID.shape)
    metres = fit(GRID * 1e-4 + 7, seen)
    np.testing.assert_allclose(metres(PROBES * 1e-4 + 7), fit(GRID, seen)(PROBES), rtol=1e-7)
    np.testing.assert_allclose(metres.covariance_at(PROBES * 1e-4 + 7), fit(GRID, seen).covariance_at(PROBES), rtol=1e-3)


def refused(screen: np.ndarray, seen: np.ndarray, match: str) -> None:
    with pytest.raises(PrivcamError, match=match):
        fit(screen, seen)


def test_degenerate_sets_are_refused():
    assert not check(GRID, truly(GRID))
    refused(GRID[:5], truly(GRID[:5]), "too few")
    refused(GRID, truly(GRID)[:-1], "one point each")
    refused(GRID[:7], truly(GRID[:7]), "one line")
    repeated = GRID[[0, 6, 34, 28, 0, 6, 34, 28]]
    refused(repeated, truly(repeated), "repeated points")
    all_but_one = np.concatenate([GRID[:7], GRID[20:21]])
    refused(all_but_one, truly(all_but_one), "do not fix|one line")
    refused(np.where(GRID == 0, np.nan, GRID), truly(GRID), "not finite")


def test_dots_in_the_wrong_order_are_named():
    seen = truly(GRID) + np.random.default_rng(3).normal(0, 0.2, GRID.shape)
    seen[[10, 11]] = seen[[11, 10]]
    refused(GRID, seen, "dots are not where the others say")


def test_a_homography_is_plain_data():
    found = Homography(np.eye(3), np.zeros((9, 9)), 0.0, 4)
    np.testing.assert_array_equal(found(PROBES), PROBES)

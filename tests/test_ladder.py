"""Exposure ladder: saturation is found and kept out, a known picture comes back within its variances, with its energy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.intervals import Estimate
from calibration.ladder import Rung, SensorNoise, Trial, check, combine, rungs_from, search
from calibration.stacks import Level
from optics_sim.errors import PrivcamError

GAIN, DARK_NOISE_E, BLACK, BITS = 0.25, 4.0, 64, 10
SENSOR = SensorNoise(GAIN, float(np.hypot(GAIN * DARK_NOISE_E, 12**-0.5)), 2**BITS - 1)
LIMITS = {"black_dn": BLACK, "saturation_dn": 1023.0, "shortest_s": 1e-5, "longest_s": 10.0}


def picture(seed: int = 0) -> np.ndarray:
    """Electrons per second over four decades."""
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(1, 5, (40, 50))


def frames(rate: np.ndarray, exposure_s: float, count: int, rng: np.random.Generator) -> np.ndarray:
    electrons = rng.poisson(rate * exposure_s, (count, *rate.shape)) + rng.normal(0, DARK_NOISE_E, (count, *rate.shape))
    return np.clip(np.rint(BLACK + GAIN * electrons), 0, 2**BITS - 1).astype(np.uint16)


def rung(rate: np.ndarray, exposure_s: float, rng: np.random.Generator, glow: float = 50.0, count: int = 6) -> Rung:
    """`glow`: electrons per second that are there with the source off."""
    return Rung(Level(exposure_s, None, frames(rate + glow, exposure_s, count, rng)),
                Level(exposure_s, 0.0, frames(np.full_like(rate, glow), exposure_s, count, rng)))


def ladder(rate: np.ndarray, seed: int = 1) -> list[Rung]:
    rng = np.random.default_rng(seed)
    return [rung(rate, t, rng) for t in rungs_from(0.03, longest_s=10, step=4)]


@pytest.mark.parametrize("brightest", [50.0, 3e3, 1e6, 3e7])
def test_the_search_ends_just_below_saturation(brightest: float):
    trials: list[Trial] = []
    while (exposure := search(trials, **LIMITS)) is not None:
        trials.append(Trial(exposure, min(BLACK + GAIN * brightest * exposure, 1023.0)))
        assert len(trials) < 20
    fill = (trials[-1].peak_dn - BLACK) / (1023 - BLACK)
    assert 0.7 <= fill <= 0.95 or (fill < 0.7 and trials[-1].exposure_s == 10)
    assert all(LIMITS["shortest_s"] <= trial.exposure_s <= LIMITS["longest_s"] for trial in trials)


def test_the_search_comes_down_from_a_saturated_start():
    trials = [Trial(1.0, 1023)]
    while (exposure := search(trials, **LIMITS)) is not None:
        trials.append(Trial(exposure, min(BLACK + GAIN * 1e6 * exposure, 1023.0)))
    assert 0.7 <= (trials[-1].peak_dn - BLACK) / (1023 - BLACK) <= 0.95


def test_the_search_gives_up_with_what_to_do():
    with pytest.raises(PrivcamError, match="dim the point source"):
        search([Trial(1e-5, 1023)], **LIMITS)
    with pytest.raises(PrivcamError, match="brighten"):
        search([Trial(10.0, 66)], **LIMITS)


def test_rungs_climb():
    assert rungs_from(0.01, longest_s=1.0, step=4) == [0.01, 0.04, 0.16, 0.64]
    with pytest.raises(PrivcamError, match="no ladder"):
        rungs_from(0.01, longest_s=1.0, step=1)


def test_a_known_picture_comes_back_within_its_variances():
    rate = picture()
    found = combine(ladder(rate), SENSOR)
    pull = (found.rate_e_s - rate) / np.sqrt(found.variance)
    assert abs(pull.mean()) < 0.1  # no bias from choosing rungs
    assert 0.93 < pull.std() < 1.07
    assert found.rungs.min() >= 1 and found.rungs.max() == 5
    bright = rate > 8e4
    assert (found.rungs[bright] == 1).all()
    assert abs(pull[rate < 100].mean()) < 0.25


def test_the_ladder_reaches_where_one_exposure_does_not():
    rate = picture()
    rungs = ladder(rate)
    faint = rate < 30
    alone = (rungs[0].light.mean_image - rungs[0].background.mean_image) / (GAIN * 0.03)
    found = combine(rungs, SENSOR)
    assert np.abs(found.rate_e_s - rate)[faint].mean() < 0.1 * np.abs(alone - rate)[faint].mean()


def test_the_sum_is_the_fraction_of_light_let_through():
    rate = picture(3)
    open_total = Estimate(float(rate.sum()) / 0.4, float(rate.sum()) * 0.002)
    psf, through = combine(ladder(rate), SENSOR).through(open_total)
    low, high = through.interval
    assert low < 0.4 < high and high - low < 0.01
    assert psf.sum() == pytest.approx(through.value)
    with pytest.raises(PrivcamError, match="no light"):
        combine(ladder(rate), SENSOR).through(Estimate(0.0, 0.0))


def test_totals_cover_the_truth_as_often_as_they_say():
    inside = 0
    for seed in range(40):
        rate = 10 ** np.random.default_rng(seed).uniform(1, 4.5, (16, 16))
        low, high = combine(ladder(rate, 100 + seed), SENSOR).total.interval
        inside += low <= rate.sum() <= high
    assert inside >= 35  # of 40 at 95 %: fewer has probability 1.4 %


def test_a_pixel_that_is_hot_with_the_source_off_is_named_and_left_out():
    rate = picture()
    rungs = ladder(rate)
    for one in rungs:
        one.light.frames[:, 5, 6] = one.background.frames[:, 5, 6] = 1023
    found = combine(rungs, SENSOR)
    assert not found.sound[5, 6] and found.sound.sum() == rate.size - 1
    assert found.rate_e_s[5, 6] == 0 and np.isfinite(found.total.error)


def test_refusals():
    rate, rng = picture(), np.random.default_rng(5)
    good = ladder(rate)
    assert not check(good, SENSOR)
    with pytest.raises(PrivcamError, match="too few rungs"):
        combine(good[:1], SENSOR)
    with pytest.raises(PrivcamError, match="out of order"):
        combine(good[::-1], SENSOR)
    with pytest.raises(PrivcamError, match="shortest rung is saturated"):
        combine(good[1:], SENSOR)
    with pytest.raises(PrivcamError, match="too dark"):
        combine([rung(rate / 1e3, t, rng) for t in (0.03, 0.12)], SENSOR)
    with pytest.raises(PrivcamError, match="background of another exposure"):
        combine([good[0], Rung(good[1].light, good[2].background)], SENSOR)
    with pytest.raises(PrivcamError, match="rungs 1 and 2 disagree"):
        combine([*good[:2], rung(rate * 0.8, 0.48, rng)], SENSOR)
    with pytest.raises(PrivcamError, match="not raw pictures"):
        combine([good[0], replace(good[1], light=replace(good[1].light, frames=good[1].light.frames.astype(float)))], SENSOR)
    flicker = np.concatenate([frames(rate * share, 0.03, 1, rng) for share in (1, 0.9, 1.1, 0.95, 1.05, 1)])
    with pytest.raises(PrivcamError, match="flickering"):
        combine([replace(good[0], light=replace(good[0].light, frames=flicker)), *good[1:]], SENSOR)

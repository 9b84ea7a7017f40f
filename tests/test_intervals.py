"""Intervals cover what they say, verdicts follow from them, and the shuffled control is chance."""

from __future__ import annotations

import numpy as np
import pytest

from optics_sim.errors import PrivcamError
from optics_sim.report import intervals
from optics_sim.report.metrics import roc_auc

TRIALS = 600
COVERS = (0.93, 0.97)  # 95 % within 2.2 standard errors of 600 trials: sqrt(.95 * .05 / 600) = 0.9 points


def _coverage(trial, truth, trials=TRIALS):
    rng = np.random.default_rng(11)
    found = [trial(rng) for _ in range(trials)]
    return np.mean([low <= truth <= high for low, high in found])


def test_bootstrap_of_a_mean_covers():
    share = _coverage(lambda rng: intervals.bootstrap_mean(rng.normal(1.0, 2.0, 25), rng, 400), 1.0)
    assert COVERS[0] <= share <= COVERS[1]


def _people(rng, people=12, pictures=10):
    person = np.repeat(np.arange(people), pictures)
    return rng.normal(0, 1, people)[person] + rng.normal(0, 1, people * pictures), person


def test_bootstrap_over_people_covers_and_over_pictures_does_not():
    share = _coverage(lambda rng: intervals.bootstrap_by_group(*_people(rng), rng, 400), 0.0)
    naive = _coverage(lambda rng: intervals.bootstrap_mean(_people(rng)[0], rng, 400), 0.0)
    assert COVERS[0] <= share <= COVERS[1]
    assert naive < 0.75  # pictures of one person are not independent: what the grouping is for


def test_wilson_covers_and_equals_published_values():
    share = np.mean([_coverage(lambda rng, p=p: intervals.wilson(rng.binomial(60, p), 60), p, 2000) for p in (0.5, 0.7, 0.9)])
    assert COVERS[0] <= share <= COVERS[1]
    assert intervals.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert intervals.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_t_interval_over_seeds_covers_with_three():
    share = _coverage(lambda rng: intervals.across_seeds(rng.normal(0.5, 0.1, 3)), 0.5, 2000)
    assert COVERS[0] <= share <= COVERS[1]
    assert intervals.across_seeds([0.5]) is None


def _verification(rng, people=15, spread=1.0):
    """All pairs of 3 pictures each of 15 people; scores depend on both people, as those of embeddings do."""
    person = np.repeat(np.arange(people), 3)
    picture = rng.normal(0, 1, people)[person] + rng.normal(0, spread, len(person))
    a, b = np.triu_indices(len(person), 1)
    return -np.abs(picture[a] - picture[b]), person[a] == person[b], np.stack([person[a], person[b]], axis=1)


def test_auc_interval_over_people_covers_where_pairs_do_not():
    truth = np.mean([roc_auc(*_verification(np.random.default_rng(s))[:2]) for s in range(400)])
    share = _coverage(lambda rng: intervals.auc_interval(*_verification(rng), rng, 200), truth, 200)
    assert 0.915 <= share <= 0.985  # 95 % within 2.2 standard errors of 200 trials
    scores, same, people = _verification(np.random.default_rng(1))
    low, high = intervals.auc_interval(scores, same, people, np.random.default_rng(2))
    apart = intervals.auc_interval(scores, same, np.arange(len(scores)), np.random.default_rng(2))
    assert high - low > 1.3 * (apart[1] - apart[0])
    assert low < roc_auc(scores, same) < high


def _seeded(rng, seeds=3, people=10, shared=True, spread=0.3):
    person = np.repeat(np.arange(people), 8)
    hard = rng.normal(0, 1.0, people)
    values = [rng.normal(0, spread) + (hard if shared else rng.normal(0, 1.0, people))[person] + rng.normal(0, 1, len(person))
              for _ in range(seeds)]
    return values, [person if shared else person + 100 * seed for seed in range(seeds)]


@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_seeds_and_people_together_cover_whichever_dominates(spread):
    share = _coverage(lambda rng: intervals.combine(*_seeded(rng, spread=spread), rng, 400), 0.0)
    assert COVERS[0] <= share <= 0.985


def _seeds_resampled(rng, spread, repeats=400):
    """The obvious interval, not ours: percentiles of the mean over seeds and people, both drawn with replacement."""
    values, people = _seeded(rng, spread=spread)
    means = np.stack([np.bincount(person, value) / np.bincount(person) for value, person in zip(values, people, strict=True)])
    weights = rng.multinomial(means.shape[1], np.full(means.shape[1], 1 / means.shape[1]), size=repeats) / means.shape[1]
    chosen = rng.integers(len(means), size=(repeats, len(means)))
    return np.quantile(np.take_along_axis(weights @ means.T, chosen, axis=1).mean(1), (0.025, 0.975))


def test_resampling_three_seeds_covers_too_little():
    """Why seeds get Student's t: of 27 draws of three seeds one is the smallest thrice, so the ends are the extremes."""
    share = {spread: _coverage(lambda rng, spread=spread: _seeds_resampled(rng, spread), 0.0) for spread in (0.05, 1.0, 3.0)}
    assert 0.75 - 0.04 <= share[3.0] <= 0.82  # 1 - 2 / 2^3 = 0.75 where seeds are all there is
    assert share[3.0] < share[1.0] < share[0.05] < COVERS[1]


def test_bounds_clip():
    values, people = _seeded(np.random.default_rng(5), spread=1.0)
    assert intervals.combine(values, people, np.random.default_rng(0), bounds=(-0.1, 0.1)) == (-0.1, 0.1)


def test_the_same_people_under_three_seeds_are_not_three_times_the_people():
    values, people = _seeded(np.random.default_rng(5), people=20, spread=0.01)
    low, high = intervals.combine(values, people, np.random.default_rng(0))
    renamed = [p + 100 * seed for seed, p in enumerate(people)]
    narrow = intervals.combine(values, renamed, np.random.default_rng(0))
    assert high - low > 1.2 * (narrow[1] - narrow[0])


def test_one_seed_is_the_interval_over_people_and_one_person_has_none():
    values, person = _people(np.random.default_rng(1))
    alone = intervals.combine([values], [person], np.random.default_rng(0))
    plain = intervals.bootstrap_by_group(values, person, np.random.default_rng(0))
    assert alone == pytest.approx(plain, abs=0.05 * (plain[1] - plain[0]))  # widened by scale, not by tail
    assert intervals.combine([[1.0, 2.0]], [[0, 0]], np.random.default_rng(0)) is None
    assert intervals.bootstrap_by_group([1.0, 2.0], [0, 0], np.random.default_rng(0)) is None
    assert intervals.auc_interval([1.0, 2.0], [True, False], [0, 0], np.random.default_rng(0)) is None


def test_paired_difference_is_narrower_than_unpaired_and_decides():
    rng = np.random.default_rng(4)
    hard = rng.normal(0, 1, 40)
    a, b = hard + 0.3 + 0.1 * rng.normal(size=40), hard + 0.1 * rng.normal(size=40)
    assert intervals.verdict(*intervals.difference(a, b, rng)) == "held"
    assert intervals.verdict(*intervals.difference(b, a, rng)) == "not held"
    assert intervals.verdict(*intervals.difference(a, b, rng), margin=0.3) == "undecided"
    assert intervals.difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]) == pytest.approx((1.0, 1.0))
    assert intervals.difference(a, b, rng, groups=np.zeros(40)) is None


def test_verdict_includes_touching_zero_as_undecided():
    assert intervals.verdict(0.0, 0.1) == "undecided"
    assert intervals.verdict(-0.1, 0.0) == "undecided"


def test_shuffled_control_is_chance_and_a_working_attack_lies_outside():
    people = np.repeat(np.arange(6), 5)
    embedding = np.random.default_rng(0).normal(size=30) * 0.1 + people

    def attack(labels):
        a, b = np.triu_indices(30, 1)
        return roc_auc(-np.abs(embedding[a] - embedding[b]), labels[a] == labels[b])

    low, high = intervals.shuffled_interval(attack, people, np.random.default_rng(1))
    assert low < 0.5 < high < attack(people)


def test_same_generator_same_interval():
    values = np.arange(9.0)
    first = intervals.bootstrap_mean(values, np.random.default_rng(7))
    assert first == intervals.bootstrap_mean(values, np.random.default_rng(7))


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: intervals.bootstrap_mean([], rng),
        lambda rng: intervals.bootstrap_mean([1.0, np.nan], rng),
        lambda rng: intervals.bootstrap_by_group([1.0, 2.0], [0], rng),
        lambda rng: intervals.wilson(3, 2),
        lambda rng: intervals.wilson(0, 0),
        lambda rng: intervals.auc_interval([1.0, 2.0], [True], [0, 1], rng),
        lambda rng: intervals.auc_interval([1.0, 2.0], [True, False], np.zeros((2, 3)), rng),
        lambda rng: intervals.combine([[1.0]], [], rng),
        lambda rng: intervals.combine([], [], rng),
        lambda rng: intervals.difference([1.0], [1.0, 2.0], rng),
        lambda rng: intervals.difference([1.0, 2.0], [1.0, 2.0], groups=[0, 1]),
        lambda rng: intervals.verdict(float("nan"), 1.0),
        lambda rng: intervals.verdict(1.0, 0.0),
        lambda rng: intervals.shuffled_interval(lambda labels: 0.0, [1, 2], rng, 1),
    ],
)
def test_guards(call):
    with pytest.raises(PrivcamError) as caught:
        call(np.random.default_rng(0))
    assert caught.value.allowed and caught.value.todo

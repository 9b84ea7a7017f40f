"""How far a number may be trusted: intervals over people and seeds, and verdicts on orderings.

People, not pictures or pairs, are what is drawn at random from the world, so people are what is resampled.
An interval is `(low, high)`, or None where the data cannot give one (a single person, a single seed).
The generator is always an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from optics_sim.errors import PrivcamError

Interval = tuple[float, float]
Verdict = Literal["held", "not held", "undecided"]
Generator = np.random.Generator
REPEATS = 2000


def bootstrap_mean(values: ArrayLike, rng: Generator, repeats: int = REPEATS, *, level: float = 0.95) -> Interval | None:
    """Returns the bootstrap interval of the mean of independent values [n]; None for n = 1."""
    sample = _vector(values)
    return bootstrap_by_group(sample, np.arange(len(sample)), rng, repeats, level=level)


def bootstrap_by_group(
    values: ArrayLike, groups: ArrayLike, rng: Generator, repeats: int = REPEATS, *, level: float = 0.95
) -> Interval | None:
    """Returns the cluster-bootstrap interval of the mean of values [n]; None for a single group.

    Whole groups (people) are drawn with replacement, so that many pictures of one person count as one person.
    The percentiles are widened for few groups ("expanded percentile"), without which 10 people would cover
    about 90 % instead of 95 %.

    Reference: Hesterberg, The American Statistician 69(4), 2015 (expanded percentile interval);
    Davison and Hinkley, Bootstrap Methods, 1997, section 3.8 (groups).
    """
    sample, index, count = _grouped(values, groups)
    if count < 2:
        return None
    sums, sizes = np.bincount(index, sample, count), np.bincount(index, minlength=count)
    weights = _draws(rng, count, repeats)
    return _percentiles((weights @ sums) / (weights @ sizes), level, count)


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Returns Wilson's score interval of a proportion of `n` independent trials.

    Reference: Wilson, JASA 22, 1927; Agresti and Coull, The American Statistician 52(2), 1998.
    """
    if n < 1 or not 0 <= successes <= n:
        raise PrivcamError("not a count of successes", got=f"{successes} of {n}", allowed="0 <= successes <= n, n >= 1",
                           todo="leave the interval out where there are no trials")
    z = float(stats.norm.ppf(0.5 + level / 2))
    share, centre = successes / n, (successes + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(n * share * (1 - share) + z * z / 4)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def auc_interval(
    scores: ArrayLike, same: ArrayLike, groups: ArrayLike, rng: Generator, repeats: int = 1000, *, level: float = 0.95
) -> Interval | None:
    """Returns the interval of the ROC area, bootstrapped over people (never over pairs); None for one person.

    `groups` [n, 2] names both people of a pair (or [n], the one person it is about). A person drawn k times brings
    k copies: a pair of two people weighs k_a k_b, a pair within one person k_a. Draws without both kinds of pair
    are skipped.

    Reference: Owen, Annals of Applied Statistics 1(2), 2007 (pigeonhole bootstrap of data with two labels).
    """
    values, is_same = _vector(scores), np.asarray(same).astype(bool)
    people = np.asarray(groups)
    if is_same.shape != values.shape or people.shape not in ((len(values),), (len(values), 2)):
        raise PrivcamError("scores, same and groups do not match", got=f"{values.shape}, {is_same.shape}, {people.shape}",
                           allowed="[n], [n], [n, 2] (or [n])", todo="name both people of every pair")
    names, index = np.unique(people, return_inverse=True)
    index = index.reshape(len(values), -1)
    if len(names) < 2 or is_same.all() or not is_same.any():
        return None
    levels, rank = np.unique(values, return_inverse=True)
    areas = [_weighted_auc(_pair_weights(w, index), is_same, rank, len(levels)) for w in _draws(rng, len(names), repeats)]
    kept = np.array([area for area in areas if area is not None])
    return _percentiles(kept, level, len(names)) if len(kept) else None


def across_seeds(values: ArrayLike, *, level: float = 0.95) -> Interval | None:
    """Returns Student's t interval of the mean over seeds [n]; None for one seed."""
    sample = _vector(values)
    if len(sample) < 2:
        return None
    half = float(stats.t.ppf(0.5 + level / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample)))
    return float(sample.mean()) - half, float(sample.mean()) + half


def combine(
    per_seed_values: Sequence[ArrayLike], per_seed_groups: Sequence[ArrayLike], rng: Generator, repeats: int = REPEATS,
    *, level: float = 0.95, bounds: Interval | None = None,
) -> Interval | None:
    """Returns the interval of the mean over seeds of a seed's mean: seeds and, within them, people are drawn anew.

    People are resampled. Seeds are too few to resample (three seeds can be drawn in 10 ways; where their spread
    dominates, percentiles of them cover about 80 % instead of 95 %),
    so their part is drawn from Student's t with the spread of the seeds' means. A person who occurs in
    several seeds is *one* person, drawn once for all of them: the same 10 people under 3 seeds are 10 people, not 30.
    (Name them differently, e.g. "seed/person", where they are different people; their spread then counts in both
    parts, so the interval is conservative.) One seed: people only; one person: seeds only; None when there is one of
    each. `bounds` clips a measure that has bounds, e.g. (0, 1).

    Reference: Owen, Annals of Applied Statistics 1(2), 2007 (two labels resampled apart); we put Student's
    t in place of resampling for the seeds.
    """
    if len(per_seed_values) != len(per_seed_groups) or not len(per_seed_values):
        raise PrivcamError("values and groups differ in their number of seeds",
                           got=f"{len(per_seed_values)} and {len(per_seed_groups)}", allowed="one group list per seed",
                           todo="pass both per seed")
    flat = np.concatenate([_vector(values) for values in per_seed_values])
    seed_of = np.repeat(np.arange(len(per_seed_values)), [len(_vector(values)) for values in per_seed_values])
    sample, person, people = _grouped(flat, np.concatenate([np.asarray(groups) for groups in per_seed_groups]))
    seeds = len(per_seed_values)
    if people < 2 and seeds < 2:
        return None
    seed_means = np.bincount(seed_of, sample) / np.bincount(seed_of)
    drawn = np.full(repeats, seed_means.mean())
    if people > 1:
        drawn = _people_part(sample, person * seeds + seed_of, people, seeds, _draws(rng, people, repeats), level)
    if seeds > 1:
        drawn = drawn + rng.standard_t(seeds - 1, repeats) * seed_means.std(ddof=1) / np.sqrt(seeds)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    least, most = bounds or (-np.inf, np.inf)
    return max(least, float(low)), min(most, float(high))


def difference(
    a: ArrayLike, b: ArrayLike, rng: Generator | None = None, *, groups: ArrayLike | None = None, repeats: int = REPEATS,
    level: float = 0.95,
) -> Interval | None:
    """Returns the interval of the mean of the paired differences a - b; None for one pair (or one group).

    With a generator: bootstrap over `groups` (people), or over the pairs when there are none. Without: Student's t,
    for a handful of seeds.
    """
    first, second = _vector(a), _vector(b)
    if first.shape != second.shape:
        raise PrivcamError("paired values differ in number", got=f"{len(first)} and {len(second)}", allowed="one length",
                           todo="pair the values (same people, same seeds) first")
    if rng is None:
        if groups is not None:
            raise PrivcamError("groups need a generator to be resampled", got="rng=None", allowed="np.random.Generator",
                               todo="pass rng, or average each group first")
        return across_seeds(first - second, level=level)
    return bootstrap_by_group(first - second, np.arange(len(first)) if groups is None else groups, rng, repeats, level=level)


def verdict(low: float, high: float, *, margin: float = 0.0) -> Verdict:
    """Returns whether "the difference is above `margin`" held, given the interval of the difference.

    `held` when all of the interval is above, `not held` when all is below, else `undecided`.
    """
    if not low <= high:
        raise PrivcamError("not an interval", got=(low, high), allowed="low <= high", todo="check for NaN")
    if low > margin:
        return "held"
    return "not held" if high < margin else "undecided"


def shuffled_interval(
    score_fn: Callable[[NDArray[Any]], float], labels: ArrayLike, rng: Generator, repeats: int = 200, *, level: float = 0.95
) -> Interval:
    """Returns the interval of the same attack with people shuffled: what it scores when there is nothing to find.

    `score_fn(labels)` is run with the labels permuted; the interval holds the middle `level` of those scores, taken
    outwards to the next score. The control of every attack: on a black camera it must lie inside.
    """
    originals = np.asarray(labels)
    if repeats < 2:
        raise PrivcamError("too few shuffles for an interval", got=repeats, allowed="2 or more", todo="shuffle more often")
    scores = np.array([score_fn(originals[rng.permutation(len(originals))]) for _ in range(repeats)])
    low = float(np.quantile(scores, (1 - level) / 2, method="lower"))
    return low, float(np.quantile(scores, (1 + level) / 2, method="higher"))


# --- helpers --------------------------------------------------------------------------------------
def _vector(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) == 0 or not np.isfinite(sample).all():
        raise PrivcamError("an interval needs finite values [n]", got=f"shape {sample.shape}", allowed="n >= 1, no NaN",
                           todo="drop what has no value and state how many")
    return sample


def _grouped(values: ArrayLike, groups: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp], int]:
    sample, names = _vector(values), np.asarray(groups)
    if names.shape != sample.shape:
        raise PrivcamError("values and groups differ in number", got=f"{sample.shape} and {names.shape}",
                           allowed="one group per value", todo="name the person of every value")
    found, index = np.unique(names, return_inverse=True)
    return sample, index, len(found)


def _draws(rng: Generator, count: int, repeats: int) -> NDArray[np.float64]:
    """How often each of `count` units is drawn, [repeats, count]."""
    return rng.multinomial(count, np.full(count, 1.0 / count), size=repeats).astype(np.float64)


def _people_part(
    sample: NDArray[np.float64], cell: NDArray[np.intp], people: int, seeds: int, draws: NDArray[np.float64], level: float
) -> NDArray[np.float64]:
    """The mean over seeds under each draw of people [repeats], its spread widened for few people."""
    sums = np.bincount(cell, sample, people * seeds).reshape(people, seeds)
    sizes = np.bincount(cell, minlength=people * seeds).reshape(people, seeds)
    total, size = draws @ sums, draws @ sizes
    means = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
    filled = (size > 0).sum(axis=1)
    drawn = means.sum(axis=1)[filled > 0] / filled[filled > 0]
    widening = _expanded_tail_z(level, people) / stats.norm.ppf((1 - level) / 2)
    resampled = drawn[np.arange(len(draws)) % len(drawn)]
    return drawn.mean() + widening * (resampled - drawn.mean())


def _expanded_tail_z(level: float, units: int) -> float:
    return float(np.sqrt(units / (units - 1)) * stats.t.ppf((1 - level) / 2, units - 1))


def _percentiles(drawn: NDArray[np.float64], level: float, units: int) -> Interval:
    tail = float(stats.norm.cdf(_expanded_tail_z(level, units)))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _pair_weights(drawn: NDArray[np.float64], index: NDArray[np.intp]) -> NDArray[np.float64]:
    first, last = index[:, 0], index[:, -1]
    return np.where(first == last, drawn[first], drawn[first] * drawn[last])


def _weighted_auc(weights: NDArray[np.float64], same: NDArray[np.bool_], rank: NDArray[np.intp], levels: int) -> float | None:
    alike = np.bincount(rank, weights * same, levels)
    unlike = np.bincount(rank, weights * ~same, levels)
    total = alike.sum() * unlike.sum()
    return float((alike * (unlike.cumsum() - unlike / 2)).sum() / total) if total > 0 else None

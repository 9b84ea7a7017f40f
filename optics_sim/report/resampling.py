"""A number with its bootstrap replicates, so that seeds and people can be combined and rows compared in pairs.

Replicate b of every sample of one seed was made with the same resampled people, so the difference of two rows
is resampled in pairs. What is stored is plain JSON.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from optics_sim.measure import Measure, Source

REPEATS = 200
COMBINED = 2000


class Sample(BaseModel):
    """One number of one seed: value, unit, how many originals, bootstrap replicates over people, and its control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None
    unit: str = "1"
    n: int | None = None
    replicates: tuple[float, ...] = ()
    shuffled: tuple[float, float] | None = None
    source: Source = "simulated"
    note: str = ""

    def measure(self) -> Measure:
        """Returns the number with the 95 % interval of its replicates (none where it has none)."""
        return combined([self])


def sample(name: str, value: float | None, replicates: Sequence[float] | NDArray[np.float64] = (), *, unit: str = "1",
           n: int | None = None, shuffled: tuple[float, float] | None = None, note: str = "") -> Sample:
    """Returns a sample with its replicates rounded to what a report can show."""
    return Sample(name=name, value=None if value is None else float(value), unit=unit, n=n, shuffled=shuffled, note=note,
                  replicates=tuple(round(float(r), 5) for r in replicates))


def grouped_mean(name: str, values: NDArray[np.float64], groups: NDArray[np.int64], rng: np.random.Generator, *,
                 unit: str = "1") -> Sample:
    """Returns the mean of values [n] with replicates that resample whole groups (people), not single images."""
    _, ids = np.unique(groups, return_inverse=True)
    count = int(ids.max()) + 1
    sums, sizes = np.bincount(ids, values, count), np.bincount(ids, minlength=count)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=REPEATS)
    return sample(name, float(np.mean(values)), (weights @ sums) / (weights @ sizes), unit=unit, n=len(values))


def combined(seeds: Sequence[Sample]) -> Measure:
    """Returns the mean over seeds and its interval, from people drawn anew and the spread of the seeds; n is one seed's."""
    present = [s for s in seeds if s.value is not None]
    first = seeds[0]
    if not present:
        return Measure(name=first.name, value=None, unit=first.unit, source=first.source, note=first.note)
    spread = _resampled(present)
    limits = None if spread is None else (float(np.quantile(spread, 0.025)), float(np.quantile(spread, 0.975)))
    kind = f"95 % bootstrap over {len(present)} seed{'s' if len(present) > 1 else ''} and people"
    return Measure(name=first.name, value=float(np.mean([s.value for s in present])), unit=first.unit, interval=limits,
                   interval_kind=kind, n=max((s.n or 0 for s in present), default=0) or None, source=first.source, note=first.note)


def difference(first: Sequence[Sample], second: Sequence[Sample], name: str) -> Measure:
    """Returns mean(first) - mean(second) over the seeds both have, resampled in pairs (same seeds, same people)."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.value is not None and b.value is not None]
    deltas = [sample(name, (a.value or 0.0) - (b.value or 0.0), np.subtract(a.replicates, b.replicates), unit=a.unit, n=a.n)
              for a, b in pairs]
    return combined(deltas) if deltas else Measure(name=name, value=None)


def _resampled(seeds: Sequence[Sample]) -> NDArray[np.float64] | None:
    """Draws of the mean over seeds: people drawn anew, and the seeds' own spread from Student's t.

    Seeds are too few to resample (three can be drawn in ten ways); see `intervals.combine`. Each seed drew its people
    independently, so the draws of all seeds are pooled around their means and not averaged: the same people under three
    seeds are not three times as many people.
    """
    if any(len(s.replicates) < 2 for s in seeds):
        return None
    values = np.array([s.value for s in seeds], dtype=float)
    people = np.concatenate([np.asarray(s.replicates) - np.mean(s.replicates) for s in seeds]) + values.mean()
    rng = np.random.default_rng(0)  # the resampling of a report is part of its definition
    drawn = people[rng.integers(len(people), size=COMBINED)]
    if len(seeds) > 1:
        drawn = drawn + rng.standard_t(len(seeds) - 1, COMBINED) * values.std(ddof=1) / np.sqrt(len(seeds))
    return np.asarray(drawn)

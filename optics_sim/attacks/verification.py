"""Verification: are two pictures of the same person? Scores of people the attacker never saw, with both controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optics_sim.errors import PrivcamError

SCORE_BINS = 2000  # AUC is computed on scores rounded to this many levels; the rounding is below 1e-3
REPEATS = 200


@dataclass(frozen=True)
class Verification:
    """AUC and rank-1 over all pairs, bootstrap replicates over people, and the interval with people shuffled."""

    auc: float
    auc_replicates: NDArray[np.float64]
    rank1: float
    rank1_replicates: NDArray[np.float64]
    shuffled_auc: tuple[float, float]
    shuffled_rank1: tuple[float, float]
    images: int
    people: int


def cosine_scores(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the cosine similarity [n, n] of embeddings [n, d]; a zero embedding is similar to nothing."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = embeddings / np.maximum(lengths, 1e-12)
    return np.asarray(unit @ unit.T, dtype=np.float64)


def verify(scores: NDArray[np.float64], labels: NDArray[np.int64], rng: np.random.Generator,
           shuffles: int = REPEATS) -> Verification:
    """Returns the verification result of a score matrix [n, n] over images of people `labels` [n].

    Every unordered pair counts. People, not pairs, are resampled: pairs share people. Replicate b uses the same
    people for every attack with the same `rng` seed and labels, so differences between attacks are paired.
    Raises PrivcamError with fewer than two people or nobody with two images.
    """
    people, ids = np.unique(labels, return_inverse=True)
    if len(people) < 2 or np.bincount(ids).max() < 2:
        raise PrivcamError("verification needs at least two people and someone with two images",
                           got=f"{len(people)} people, {len(labels)} images", todo="give more people or images")
    levels = _levels(scores)
    weights = _drawn_people(ids, rng)
    hits = _nearest_is_same(scores, ids)
    shuffled = [rng.permutation(ids) for _ in range(shuffles)]
    shuffled_aucs = [_auc(levels, order, np.ones(len(people))) for order in shuffled]
    shuffled_ranks = [_nearest_is_same(scores, order).mean() for order in shuffled]
    return Verification(
        auc=_auc(levels, ids, np.ones(len(people))), auc_replicates=np.array([_auc(levels, ids, w) for w in weights]),
        rank1=float(hits.mean()), rank1_replicates=np.array([np.average(hits, weights=w[ids] + 1e-12) for w in weights]),
        shuffled_auc=interval(shuffled_aucs), shuffled_rank1=interval(shuffled_ranks), images=len(labels), people=len(people))


def interval(values: object) -> tuple[float, float]:
    """Returns the central 95 % of values."""
    low, high = np.nanquantile(np.asarray(values, dtype=float), (0.025, 0.975))
    return float(low), float(high)


def _drawn_people(ids: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns how often each person is drawn [REPEATS, people]; draws without both kinds of pair are drawn again.

    Of four people, three draws in two hundred are one person four times.
    """
    count, several = int(ids.max()) + 1, np.bincount(ids) > 1
    weights = rng.multinomial(count, np.full(count, 1 / count), size=REPEATS).astype(float)
    while (useless := ((weights > 0).sum(1) < 2) | (weights[:, several].sum(1) == 0)).any():
        weights[useless] = rng.multinomial(count, np.full(count, 1 / count), size=int(useless.sum()))
    return weights


def _levels(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    low, high = scores.min(), scores.max()
    return np.asarray(np.round((scores - low) / max(high - low, 1e-12) * (SCORE_BINS - 1)), dtype=np.int64)


def _auc(levels: NDArray[np.int64], ids: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Weighted Mann-Whitney AUC over unordered pairs; a same-person pair weighs w, a different one w_a * w_b."""
    first, second = np.triu_indices(len(ids), 1)
    same = ids[first] == ids[second]
    flat = levels[first, second]
    weight = np.where(same, weights[ids[first]], weights[ids[first]] * weights[ids[second]])
    positive = np.bincount(flat[same], weight[same], SCORE_BINS)
    negative = np.bincount(flat[~same], weight[~same], SCORE_BINS)
    if positive.sum() == 0 or negative.sum() == 0:
        return float("nan")
    below = np.cumsum(negative) - negative
    return float((positive * (below + 0.5 * negative)).sum() / positive.sum() / negative.sum())


def _nearest_is_same(scores: NDArray[np.float64], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    return (ids[others.argmax(1)] == ids).astype(float)

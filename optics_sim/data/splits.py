"""Splits that keep pictures and people apart: what trains, what chooses, what is measured, who attacks whom."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.faces import FaceSet
from optics_sim.errors import PrivcamError

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Picture numbers of the three parts, each sorted; no picture, and no copy of one, is in two parts."""

    train: Indices
    validation: Indices
    test: Indices


def split_images(
    labels: NDArray[np.int64],
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    *,
    rng: np.random.Generator,
    images: NDArray[Any] | None = None,
) -> Split:
    """Returns the split of pictures into train, validation and test, person by person.

    Each person has at least one picture in every part whose fraction is above 0. When `images` are given,
    byte-identical pictures go into one part together, even when they lie under different people.
    PrivcamError when a person has too few different pictures, or the fractions do not sum to 1.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or fractions[0] <= 0:
        raise PrivcamError("not the fractions of a split", got=fractions, allowed="train above 0, none below 0, sum 1",
                           todo="give e.g. (0.7, 0.1, 0.2)")
    copies = duplicate_groups(images) if images is not None else np.arange(len(labels))
    part = np.full(len(labels), -1, dtype=np.int64)
    for person in np.unique(labels):
        _assign(part, copies, np.flatnonzero(labels == person), np.asarray(fractions), int(person), rng)
    return Split(*(np.flatnonzero(part == number) for number in range(3)))


def duplicate_groups(images: NDArray[Any]) -> Indices:
    """Returns, for each picture, the number of the first picture with the same bytes, int64 [n]."""
    first: dict[bytes, int] = {}
    digests = (hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest() for image in images)
    return np.array([first.setdefault(digest, index) for index, digest in enumerate(digests)], dtype=np.int64)


def split_people(n_people: int, fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Returns (people, the others), sorted; the first holds `fraction` of them, and both at least one."""
    if n_people < 2 or not 0 < fraction < 1:
        raise PrivcamError("cannot split these people in two", got=f"{n_people} people, fraction {fraction}",
                           allowed="2 people or more, a fraction between 0 and 1", todo="add people or change the fraction")
    size = min(max(round(n_people * fraction), 1), n_people - 1)
    order = rng.permutation(n_people)
    return np.sort(order[:size]), np.sort(order[size:])


def verification_pairs(
    labels: NDArray[np.int64], n_pairs: int, rng: np.random.Generator
) -> tuple[Indices, Indices, NDArray[np.bool_]]:
    """Returns (i, j, same): half pairs of one person, half of two, shuffled, no pair twice, i different from j.

    Pairs are spread evenly over people, so that who has many pictures does not decide the figure.
    PrivcamError when there are not enough different pairs.
    """
    n_same = n_pairs // 2
    same = _same_pairs(labels, rng)
    counts = np.unique(labels, return_counts=True)[1].astype(np.int64)
    available = (len(labels) ** 2 - int((counts**2).sum())) // 2
    if n_pairs < 2 or len(same) < n_same or available < n_pairs - n_same:
        raise PrivcamError("not enough different pairs for a verification test", got=f"{n_pairs} pairs wanted",
                           allowed=f"2 to {2 * min(len(same), available)}", todo="ask for fewer pairs or add pictures")
    different = _different_pairs(labels, n_pairs - n_same, available, rng)
    pairs = np.concatenate([same[:n_same], different])
    order = rng.permutation(n_pairs)
    return pairs[order, 0], pairs[order, 1], order < n_same


def enrolled_and_outsiders(
    face_set: FaceSet, enrolled: int, rng: np.random.Generator | None = None
) -> tuple[FaceSet, FaceSet]:
    """Returns (the enrolled, everybody else): the people with the most pictures, or chosen at random by `rng`.

    The enrolled are whom the camera is to recognise; privacy is measured on the others.
    PrivcamError when nobody would be left outside.
    """
    total = len(face_set.people)
    if not 1 <= enrolled < total:
        raise PrivcamError(f"cannot enrol {enrolled} people of {face_set.name} and keep outsiders", got=enrolled,
                           allowed=f"1 to {total - 1}", todo="enrol fewer people, or take the outsiders from another data set")
    order = np.argsort(-face_set.counts, kind="stable") if rng is None else rng.permutation(total)
    return face_set.select_people(order[:enrolled]), face_set.select_people(np.sort(order[enrolled:]))


def attacker_and_victims(
    outsiders: FaceSet, victim_fraction: float, rng: np.random.Generator
) -> tuple[FaceSet, FaceSet]:
    """Returns (whom the attacker may learn from, whom the attack is measured on): two sets of people, disjoint."""
    victims, attacker = split_people(len(outsiders.people), victim_fraction, rng)
    return outsiders.select_people(attacker), outsiders.select_people(victims)


def _assign(part: Indices, copies: Indices, mine: Indices, fractions: NDArray[np.float64], person: int,
            rng: np.random.Generator) -> None:
    """Fills `part` for one person's pictures, group of copies by group, always where most is missing."""
    groups = rng.permutation(np.unique(copies[mine][part[mine] < 0]))
    targets = fractions * len(mine)
    held = np.bincount(part[mine][part[mine] >= 0], minlength=3)
    needed = [number for number in range(3) if fractions[number] > 0 and held[number] == 0]
    if len(groups) < len(needed):
        raise PrivcamError(f"person {person} has too few different pictures for a split", got=len(np.unique(copies[mine])),
                           allowed=f"{int((fractions > 0).sum())} or more", todo="add pictures or leave this person out")
    for group in groups:
        members = np.flatnonzero(copies == group)
        missing = np.where(fractions > 0, targets - held, -np.inf)
        chosen = needed.pop() if needed else int(np.argmax(missing))
        part[members] = chosen
        held[chosen] += np.isin(members, mine).sum()


def _same_pairs(labels: NDArray[np.int64], rng: np.random.Generator) -> Indices:
    """Returns every pair of one person [m, 2], ordered so that any beginning is spread evenly over people."""
    pairs: list[Indices] = [np.empty((0, 2), np.int64)]
    ranks: list[NDArray[np.float64]] = [np.empty(0)]
    for person in np.unique(labels):
        mine = np.flatnonzero(labels == person)
        first, second = np.triu_indices(len(mine), 1)
        pairs.append(np.stack([mine[first], mine[second]], axis=1))
        ranks.append(np.asarray(rng.permutation(len(first)) + rng.random(), dtype=np.float64))
    return np.concatenate(pairs)[np.argsort(np.concatenate(ranks), kind="stable")]


def _different_pairs(labels: NDArray[np.int64], count: int, available: int, rng: np.random.Generator) -> Indices:
    if 2 * count > available:
        first, second = np.triu_indices(len(labels), 1)
        other = np.flatnonzero(labels[first] != labels[second])
        chosen = rng.permutation(other)[:count]
        return np.stack([first[chosen], second[chosen]], axis=1)
    members = [np.flatnonzero(labels == person) for person in np.unique(labels)]
    found: dict[tuple[int, int], None] = {}
    misses = 0
    while len(found) < count:
        one, two = rng.choice(len(members), 2, replace=False)
        pair = sorted((int(rng.choice(members[one])), int(rng.choice(members[two]))))
        misses += (pair[0], pair[1]) in found
        found[pair[0], pair[1]] = None
        if misses > 20 * count:  # a few people hold nearly all pictures: take from all pairs instead
            return _different_pairs(labels, count, 0, rng)
    return np.array(list(found), dtype=np.int64)

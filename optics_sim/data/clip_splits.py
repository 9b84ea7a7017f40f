"""Splits of clips: actions on people never seen, identities on takes never seen, and what an encoder may learn from.

Deliberately not here: attackers' outsiders (`splits`), cutting of windows (`recordings`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optics_sim.data.clips import ClipSet
from optics_sim.data.splits import Indices, duplicate_groups
from optics_sim.errors import PrivcamError

_FOLDS, _PARTS = 81, 82  # streams of the seed
HELD_OUT = 1 / 3  # of the trials, or of the actions, at least one


@dataclass(frozen=True, eq=False)
class ClipSplit:
    """Clip numbers of every part, each sorted.

    `train`, `validation`, `test`: for the action, no actor in two of them. `identity_train`, `identity_test`: for
    the identity attack, the same actors in both, no take in two of them; `note` says what was held out.
    `encoder_train`: clips of the train actors that are not in `identity_test`.
    """

    train: Indices
    validation: Indices
    test: Indices
    identity_train: Indices
    identity_test: Indices
    encoder_train: Indices
    note: str


def split_clips(clips: ClipSet, seed: int, *, folds: int = 5, validation: float = 0.2) -> ClipSplit:
    """Returns the split of a seed.

    The actors lie in one order for `folds` seeds in a row, and each of these seeds tests the next block of it: seeds
    0 to folds - 1 test every actor once. `validation` is the fraction of the other actors that chooses models,
    at least one. For the identity attack a third of the trials is held out where every actor has two or
    more, else a third of the actions. PrivcamError when there are fewer than 3 actors, when no action or trial can
    be held out, or when an action is done by nobody of a part.
    """
    _check(clips, seed, folds, validation)
    rng = np.random.default_rng([_PARTS, seed])
    test_actors = _fold(len(np.unique(clips.actors)), seed, folds)
    others = rng.permutation(np.setdiff1d(np.arange(len(np.unique(clips.actors))), test_actors))
    present = np.unique(clips.actors)
    n_validation = min(max(round(len(others) * validation), 1), len(others) - 1)
    parts = [np.flatnonzero(np.isin(clips.actors, present[actors]))
             for actors in (others[n_validation:], others[:n_validation], test_actors)]
    held, note = _held_out(clips, rng)
    train, chosen, test = parts
    _check_actions(clips, train, test)
    split = ClipSplit(train, chosen, test, np.flatnonzero(~held), np.flatnonzero(held), train[~held[train]], note)
    _check_identities(clips, split)
    return split


def _check(clips: ClipSet, seed: int, folds: int, validation: float) -> None:
    actors = len(np.unique(clips.actors))
    if actors < 3:
        raise PrivcamError(f"{clips.name} has too few actors for a split by actor", got=actors, allowed="3 or more",
                           todo="add actors: one each is needed to train, choose and test")
    if folds < 2 or not 0 < validation < 1 or seed < 0:
        raise PrivcamError("not a split of clips", got=f"seed {seed}, {folds} folds, validation {validation}",
                           allowed="seed 0 or more, 2 folds or more, a fraction between 0 and 1", todo="change the numbers")
    copies = duplicate_groups(clips.clips)
    across = np.flatnonzero(clips.takes[copies] != clips.takes)
    if len(across):
        raise PrivcamError(f"{clips.name} holds the same clip in two recordings", got=f"clips {copies[across[0]]} and {across[0]}",
                           allowed="every clip once", todo="remove the copies")


def _fold(actors: int, seed: int, folds: int) -> Indices:
    """Returns the actors a seed tests, sorted; at least two are left where 3 is all there are."""
    blocks = min(folds, actors)
    order = np.random.default_rng([_FOLDS, seed // blocks]).permutation(actors)
    return np.sort(np.array_split(order, blocks)[seed % blocks])[: actors - 2]


def _held_out(clips: ClipSet, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Returns (bool [n]: held out for the identity test, in words what was).

    Trials are other takes of everything an actor does. Where an actor has one only, an action is the
    only thing that can be another take; takes with several actions are never split.
    """
    trials = [np.unique(clips.trials[clips.actors == actor]) for actor in np.unique(clips.actors)]
    if min(len(own) for own in trials) >= 2:
        return _held_trials(clips, rng)
    actions = np.unique(clips.actions)
    several = [take for take in np.unique(clips.takes) if len(np.unique(clips.actions[clips.takes == take])) > 1]
    if len(actions) < 2 or several:
        raise PrivcamError(f"{clips.name} has nothing to hold out for an identity test", got=f"{len(actions)} actions, one trial",
                           allowed="two trials of every actor, or two actions, each a recording of its own", todo="record people twice")
    held = np.sort(rng.permutation(actions)[: _share(len(actions))])
    return np.isin(clips.actions, held), "identity test: held-out action " + ", ".join(clips.action_names[action] for action in held)


def _held_trials(clips: ClipSet, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    held = np.zeros(len(clips), dtype=bool)
    common = set.intersection(*(set(clips.trials[clips.actors == actor].tolist()) for actor in np.unique(clips.actors)))
    fixed = rng.permutation(sorted(common))
    for actor in np.unique(clips.actors):
        own = np.unique(clips.trials[clips.actors == actor])
        chosen = fixed[: _share(len(own))] if len(common) >= 2 else rng.permutation(own)[: _share(len(own))]
        held |= (clips.actors == actor) & np.isin(clips.trials, chosen)
    which = f"trials {', '.join(map(str, sorted(np.unique(clips.trials[held]).tolist())))}" if len(common) >= 2 else "trials of each actor"
    return held, f"identity test: held-out {which}"


def _share(count: int) -> int:
    return min(max(round(count * HELD_OUT), 1), count - 1)


def _check_actions(clips: ClipSet, train: Indices, test: Indices) -> None:
    lacking = np.setdiff1d(clips.actions[test], clips.actions[train])
    if len(lacking):
        raise PrivcamError(f"no actor left to train on does what is tested in {clips.name}", got=[clips.action_names[a] for a in lacking],
                           allowed="every action by an actor of each part", todo="use another seed, or leave the action out")


def _check_identities(clips: ClipSet, split: ClipSplit) -> None:
    unseen = np.setdiff1d(clips.actors[split.identity_test], clips.actors[split.identity_train])
    if len(unseen) or not len(split.encoder_train):
        raise PrivcamError(f"an actor of {clips.name} does only what is held out", got=[clips.actor_names[a] for a in unseen],
                           allowed="every actor in both parts", todo="use another seed, or leave the actor out")

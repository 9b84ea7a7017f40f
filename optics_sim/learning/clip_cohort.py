"""Who is in an experiment on clips: whose actions train and test, and which recordings an attacker knows.

Actions are tested on actors never seen; identities on other recordings of the same people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from optics_sim.clip_experiment import ClipExperiment
from optics_sim.data.clip_splits import split_clips
from optics_sim.data.clips import ClipSet
from optics_sim.learning.clips import Clips

PARTS = ("train", "validation", "test", "encoder_train", "identity_train", "identity_test")


@dataclass(frozen=True)
class ClipCohort:
    """Scene clips of every part; `encoder_train` numbers its own actors from 0, `identity` says what an actor is."""

    name: str
    kind: str
    action_names: tuple[str, ...]
    actor_names: tuple[str, ...]
    identity: str
    train: Clips
    validation: Clips
    test: Clips
    encoder_train: Clips
    identity_train: Clips
    identity_test: Clips
    note: str

    def to(self, device: torch.device | str) -> ClipCohort:
        """Returns the same cohort on a device."""
        return replace(self, **{part: getattr(self, part).to(device) for part in PARTS})


def gather_clips(clips: ClipSet, experiment: ClipExperiment, scene: tuple[int, int]) -> ClipCohort:
    """Returns the cohort of an experiment, its actors and held-out recordings drawn from the seed."""
    split = split_clips(clips, experiment.seed)
    everything = Clips(torch.from_numpy(clips.gray(scene, experiment.frames)), torch.from_numpy(clips.actions),
                       torch.from_numpy(clips.actors), torch.from_numpy(clips.takes))
    parts = {part: everything.take(torch.from_numpy(getattr(split, part))) for part in PARTS}
    parts["encoder_train"] = _renumbered(parts["encoder_train"])
    counts = ", ".join(f"{part.replace('_', ' ')} {len(parts[part])}" for part in PARTS)
    note = f"{clips.kind} clips of {clips.name}: {counts}; {split.note}. Identity means {clips.identity}. {clips.note}"
    return ClipCohort(clips.name, clips.kind, clips.action_names, clips.actor_names, clips.identity, **parts, note=note)


def _renumbered(clips: Clips) -> Clips:
    return replace(clips, actors=torch.unique(clips.actors, return_inverse=True)[1])

"""Who is who in an experiment: the enrolled, the attacker's people, the victims, and pictures of yet other people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from optics_sim.data.faces import FaceSet
from optics_sim.data.splits import attacker_and_victims, enrolled_and_outsiders, split_images
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Experiment
from optics_sim.learning.seeds import numpy_generator
from optics_sim.learning.train import Labelled


@dataclass(frozen=True)
class Populations:
    """People who never meet: `enrolled` are the camera's users, `attacker` people the attacker has pictures of,
    `victims` people nobody trained on, `plain` pictures of other people that the attacker passes through the camera.
    `attributes` (of a `labels.csv`): name -> (of the attacker's pictures, of the victims'), -1 where not known.
    """

    attacker: Labelled
    victims: Labelled
    plain: Tensor
    attributes: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Populations:
        """Returns the same populations on a device."""
        moved = {name: (known.to(device), asked.to(device)) for name, (known, asked) in self.attributes.items()}
        return Populations(self.attacker.to(device), self.victims.to(device), self.plain.to(device), moved)


@dataclass(frozen=True)
class Cohort:
    """Everybody in one experiment; nobody, and no picture, is in two places.

    `train`, `validation` and `test` are pictures of the enrolled; `populations` are the others.
    """

    name: str
    people: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled
    populations: Populations
    note: str

    def to(self, device: torch.device | str) -> Cohort:
        """Returns the same cohort on a device."""
        return Cohort(self.name, self.people, self.train.to(device), self.validation.to(device), self.test.to(device),
                      self.populations.to(device), self.note)

    def thinned(self, per_person: int) -> Cohort:
        """Returns the cohort with at most `per_person` test pictures of each of the enrolled, and as many of each victim."""
        test, others = self.test, self.populations
        kept = _first_of_each(others.victims.labels, per_person)
        attributes = {name: (known, asked[kept]) for name, (known, asked) in others.attributes.items()}
        thinned = replace(others, victims=others.victims.take(kept), attributes=attributes)
        note = f"{self.note} At most {per_person} pictures of each of the enrolled and of each victim are judged."
        return replace(self, test=test.take(_first_of_each(test.labels, per_person)), populations=thinned, note=note)


def gather(faces: FaceSet, experiment: Experiment, scene: tuple[int, int], others: Sequence[FaceSet] = ()) -> Cohort:
    """Returns the cohort of an experiment, drawn from its seed.

    The `experiment.enrolled` largest people of `faces` are enrolled. Outsiders are its other people; where everybody
    is enrolled they come from the first of `others`, which are other people's data sets. Outsiders split into the
    attacker's people and the victims; the attacker's own pictures (`plain`) are its people and the rest of `others`.
    Raises PrivcamError when nobody is left to attack.
    """
    rng = numpy_generator(experiment.seed, "cohort")
    if experiment.enrolled < len(faces.people):
        enrolled, outsiders = enrolled_and_outsiders(faces, experiment.enrolled)
        rest = list(others)
    elif experiment.enrolled == len(faces.people) and others:
        enrolled, outsiders, rest = faces, others[0], list(others[1:])
    else:
        raise PrivcamError("nobody is left to measure privacy on",
                           got=f"{experiment.enrolled} enrolled of {len(faces.people)}",
                           allowed="fewer enrolled than people, or other people's data sets",
                           todo="lower `enrolled` or give --others")
    split = split_images(enrolled.labels, experiment.split, rng=rng, images=enrolled.images)
    attacker, victims = attacker_and_victims(outsiders, experiment.judging.victim_fraction, rng)
    victims = victims.select_images(_few_of_each(victims, experiment.judging.images_per_victim, rng))
    scenes = torch.from_numpy(enrolled.gray(scene))
    everyone = Labelled(scenes, torch.from_numpy(enrolled.labels))
    plain = np.concatenate([attacker.gray(scene), *(other.gray(scene) for other in rest)])
    return Cohort(
        name=faces.name, people=enrolled.people, train=everyone.take(torch.from_numpy(split.train)),
        validation=everyone.take(torch.from_numpy(split.validation)), test=everyone.take(torch.from_numpy(split.test)),
        populations=Populations(_labelled(attacker, scene), _labelled(victims, scene), torch.from_numpy(rng.permutation(plain)),
                                _attributes(attacker, victims)),
        note=_note(faces, enrolled, attacker, victims, rest, len(plain)))


def _attributes(attacker: FaceSet, victims: FaceSet) -> dict[str, tuple[Tensor, Tensor]]:
    shared = [name for name in attacker.attributes if name in victims.attributes]
    return {name: (torch.from_numpy(attacker.attributes[name]), torch.from_numpy(victims.attributes[name])) for name in shared}


def _labelled(faces: FaceSet, scene: tuple[int, int]) -> Labelled:
    return Labelled(torch.from_numpy(faces.gray(scene)), torch.from_numpy(faces.labels))


def _few_of_each(faces: FaceSet, count: int, rng: np.random.Generator) -> np.ndarray:
    order = rng.permutation(len(faces))
    chosen = [order[faces.labels[order] == person][:count] for person in range(len(faces.people))]
    return np.sort(np.concatenate(chosen))


def _first_of_each(labels: Tensor, count: int) -> Tensor:
    return torch.cat([torch.nonzero(labels == person).flatten()[:count] for person in labels.unique()]).sort().values


def _note(faces: FaceSet, enrolled: FaceSet, attacker: FaceSet, victims: FaceSet, rest: list[FaceSet], plain: int) -> str:
    others = "" if not rest else " and of " + ", ".join(other.name for other in rest)
    return (f"{faces.kind} people of {faces.name}: {len(enrolled.people)} enrolled ({len(enrolled)} pictures); outsiders of "
            f"{victims.name}: the attacker has {len(attacker.people)} people, {len(victims.people)} others are the victims "
            f"({len(victims)} pictures attacked); decoder pairs are drawn from {plain} pictures of the attacker's people"
            f"{others}.")

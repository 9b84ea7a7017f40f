"""What is shown to the camera: a run's pictures as stimuli, the plan of their shots, and who is on each.

`labels.json` beside the plan names part, number and person of every shot, in its order. Deliberately not here: taking
(`hil.session`), and which people there are (`optics_sim.learning.cohort`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from optics_sim.design import CameraDesign, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.learning.cohort import Cohort
from optics_sim.learning.train import Labelled
from optics_sim.plain import Plain
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Picture

LABELS, PICTURES = "labels.json", "pictures"
Part = Literal["test", "victims", "attacker"]


class ShownPicture(Plain):
    """One picture of the plan: `number` counts within its part, `person` is the part's label."""

    part: Part
    number: int
    person: int

    @property
    def file(self) -> str:
        """Its file, below the session's folder."""
        return f"{PICTURES}/{self.part}-{self.number:05d}.npy"


@dataclass(frozen=True)
class Showing:
    """A plan and who is on each of its shots; the scenes of each part [n, H, W] with their labels.

    `attacker_pictures`: which of the attacker's pictures are those of its part.
    """

    plan: Plan
    shown: tuple[ShownPicture, ...]
    parts: dict[Part, Labelled]
    attacker_pictures: Tensor

    def rows_of(self, part: Part) -> slice:
        """Returns which of the plan's shots are of a part: they lie together."""
        at = [index for index, picture in enumerate(self.shown) if picture.part == part]
        return slice(at[0], at[-1] + 1) if at else slice(0, 0)


def prepare(cohort: Cohort, design: CameraDesign, folder: Path, *, attack_pictures: int = 0) -> Showing:
    """Returns what is to be shown, after its pictures and labels were written into the session's folder.

    All test pictures of the enrolled, all pictures of the victims, and some of the attacker's people where these are to train on
    captures too. Exposed as the design says. Raises PrivcamError for pictures that no rig can show.
    """
    others = cohort.populations
    chosen = _evenly(others.attacker.labels, attack_pictures)
    parts: dict[Part, Labelled] = {"test": cohort.test, "victims": others.victims, "attacker": others.attacker.take(chosen)}
    shown = tuple(ShownPicture(part=part, number=number, person=int(person))
                  for part, people in parts.items() for number, person in enumerate(people.labels.tolist()))
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    for picture, scene in zip(shown, _scenes(parts), strict=True):
        _write(folder / picture.file, scene)
    settings = CaptureSettings(exposure_s=design.exposure.exposure_s, analogue_gain=design.exposure.analogue_gain)
    plan = Plan(shots=tuple(Shot(stimulus=Picture(file=picture.file), settings=settings) for picture in shown)).pinned(folder)
    labels = {"plan": plan.digest, "people": list(cohort.people), "shots": [picture.model_dump(mode="json") for picture in shown]}
    write_atomically(folder / LABELS, (json.dumps(labels, indent=1) + "\n").encode())
    return Showing(plan, shown, parts, chosen)


def _evenly(people: Tensor, count: int) -> Tensor:
    """Returns which at most `count` pictures to take of people [n]: the first of each, then the second of each, and so on."""
    labels = people.cpu().numpy()
    nth = np.array([np.count_nonzero(labels[:index] == label) for index, label in enumerate(labels)])
    return people.new_tensor(np.lexsort((labels, nth))[:count].tolist(), dtype=torch.long)


def _scenes(parts: dict[Part, Labelled]) -> Iterator[Tensor]:
    for people in parts.values():
        yield from people.scenes


def _write(file: Path, scene: Tensor) -> None:
    held = scene.detach().cpu().numpy()
    if held.min() < 0 or held.max() > 1:
        raise PrivcamError("a picture that no rig can show", got=f"{held.min():g} to {held.max():g}", allowed="radiance 0 to 1",
                           todo="scale the pictures to white")
    stream = io.BytesIO()
    np.save(stream, held)
    if not file.is_file() or file.read_bytes() != stream.getvalue():
        write_atomically(file, stream.getvalue())

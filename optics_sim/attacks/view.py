"""The threat model as a type: an attacker sees what is in its view and nothing else.

By Kerckhoffs's rule the design is in every view unless an attack is about not knowing it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign
from optics_sim.learning.cohort import Populations
from optics_sim.learning.train import all_codes


@dataclass(frozen=True)
class View:
    """What an attacker holds.

    `codes` [n, h, w] of the victims; the `design` (mask and all); `pairs` of codes and scenes of *other* people;
    `labelled` codes of other people with who they are. None means: not known to this attacker.
    """

    codes: Tensor
    design: CameraDesign | None = None
    pairs: tuple[Tensor, Tensor] | None = None
    labelled: tuple[Tensor, Tensor] | None = None


def victims_view(camera: PrivacyCamera, populations: Populations, generator: torch.Generator) -> View:
    """Returns the strongest view: victims' codes, the design, and codes of the attacker's own people and pictures."""
    return View(
        codes=all_codes(camera, populations.victims.scenes, generator),
        design=camera.design,
        pairs=(all_codes(camera, populations.plain, generator), populations.plain),
        labelled=(all_codes(camera, populations.attacker.scenes, generator), populations.attacker.labels),
    )

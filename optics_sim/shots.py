"""A plan of shots: what to show, how to expose, how often. A calibration asks by one, a capture session carries it out.

Deliberately not here: showing (`hil/rigs/`), taking (`hil/session.py`), and why a calibration wants these shots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.plain import Plain, sha256_of, toml_of, wrong_field
from optics_sim.stimulus import Picture, Stimulus

PAGE = "docs/bench.md"


class Shot(Plain):
    """Some frames of one stimulus, all exposed alike."""

    stimulus: Stimulus = Field(description="what the camera is to see")
    settings: CaptureSettings = Field(description="how to expose")
    count: int = Field(1, ge=1, description="frames")


class Plan(Plain):
    """Shots in the order in which they are taken."""

    shots: tuple[Shot, ...] = Field(min_length=1, description="in the order in which they are taken")

    @classmethod
    def load(cls, file: Path) -> Self:
        """Returns the plan of a TOML file; PrivcamError when it is not one."""
        try:
            return cls.model_validate(toml_of(file)).pinned(file.parent)
        except FileNotFoundError:
            raise PrivcamError("no plan of shots", got=str(file), todo=f"write one: see {PAGE}") from None
        except ValidationError as error:
            raise wrong_field(error, f"{file}: ", PAGE) from None

    def pinned(self, folder: Path) -> Self:
        """Returns the plan with the hash of each picture's file; PrivcamError where one is not there or not the one that is meant."""
        return self.model_copy(update={"shots": tuple(
            shot.model_copy(update={"stimulus": shot.stimulus.pinned(folder)}) if isinstance(shot.stimulus, Picture) else shot
            for shot in self.shots)})

    @property
    def frames(self) -> int:
        """How many frames all shots have together."""
        return sum(shot.count for shot in self.shots)

    @property
    def digest(self) -> str:
        """The hexadecimal SHA-256 of what is planned: two files that say the same have the same."""
        return sha256_of(self.model_dump(mode="json"))

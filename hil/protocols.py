"""What the bench asks of things with wires, whatever they are made of.

Deliberately not here: any of the things (`hil/devices/`, `hil/cameras/`, `hil/rigs/`), and what a frame and a stimulus are (`optics_sim`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.measure import Source
from optics_sim.plain import Plain
from optics_sim.stimulus import Stimulus


@dataclass(frozen=True)
class DeviceInfo:
    """What an encoder device says of itself; `digest` (hexadecimal SHA-256) names the design whose encoder it runs.

    `source` is "emulated" or "physical" and is carried into every number that its codes give.
    """

    board: str
    build: str
    digest: str
    frame_bytes: int
    code_bytes: int
    firmware_version: str
    source: Source


class EncoderDevice(Protocol):
    """Something that computes codes from frames: a microcontroller on a line, or a stand-in for one."""

    @property
    def info(self) -> DeviceInfo:
        """Returns what the device says of itself."""
        ...

    def encode(self, clip: NDArray[np.int8]) -> NDArray[np.int8]:
        """Returns codes [n, code_bytes] of a clip [T, ...] of int8 frames; n is T less the frames that give no code yet.

        Each clip begins anew: no frame of an earlier one has any effect.
        """
        ...


class Camera(Protocol):
    """Something that takes frames: a simulated world, a sensor on a wire, or frames that were stored."""

    @property
    def info(self) -> CameraInfo:
        """Returns what the camera says of itself."""
        ...

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        """Returns `count` frames, each exposed as `settings` say, as near as the sensor can; a frame says what applied.

        Frames exposed before the settings applied, or begun before the first one was asked for, are never among them. Index and
        timestamp rise from frame to frame, over all calls; a frame that was dropped is a gap in the index, and `count` counts
        frames that came.
        Raises PrivcamError, at the latest with the first frame asked for, where the camera cannot have these settings, and
        with any frame where the camera gives none any more: it never waits for ever.
        """
        ...


class RigInfo(Plain):
    """What a rig says of itself; `source` says whether what it shows is there, or where it is made up."""

    name: str = Field(description="for people: the port, the screen, the program")
    source: Source = Field(description="of what is shown")


class Shown(Plain):
    """How a rig knows that a stimulus is there: it goes into the journal with each frame of it."""

    rig: RigInfo
    proof: str = Field(description="what was looked at, in words")


class Rig(Protocol):
    """Something that shows: a display, a person with a lens cap, or a line of code that changes a simulated world."""

    @property
    def info(self) -> RigInfo:
        """Returns what the rig says of itself."""
        ...

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns why this rig cannot show a stimulus and what to do instead, or None; nothing is shown."""
        ...

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the stimulus is really there: a frame that begins after it shows it from its first photon.

        What was shown before has no part in it. Raises PrivcamError where the rig cannot show it, or cannot prove it.
        """
        ...

    def confirm(self) -> None:
        """Returns where what was shown last is still there, as far as the rig can tell; raises PrivcamError where it is not."""
        ...

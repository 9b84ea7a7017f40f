"""What the bench asks of things with wires, whatever they are made of.

Deliberately not here: any of the things (`hil/devices/`, `hil/cameras/`), and what a frame is (`optics_sim/frame.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.measure import Source


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

        Frames exposed before the settings applied are never among them. Index and timestamp rise from frame to frame, over
        all calls; a frame that was dropped is a gap in the index, and `count` counts frames that came.
        Raises PrivcamError, at the latest with the first frame asked for, where the camera cannot have these settings, and
        with any frame where the camera gives none any more: it never waits for ever.
        """
        ...


@dataclass(frozen=True, eq=False)
class Stimulus:
    """Something to be shown to a camera: linear radiance relative to white, [row, column], with a name."""

    name: str
    radiance: NDArray[np.floating]


class Rig(Protocol):
    """Something that shows: a display, a person with a lens cap, or a line of code that changes a simulated world."""

    def show(self, stimulus: Stimulus) -> None:
        """Returns when the stimulus is really there: a frame that begins after it shows it from its first photon."""
        ...

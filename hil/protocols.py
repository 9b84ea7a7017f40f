"""What the bench asks of things with wires, whatever they are made of.

Deliberately not here: any of the things (`hil/devices/`), and cameras and rigs, which have no second maker yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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

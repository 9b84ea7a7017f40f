"""What the agent and its client say to each other, as plain data, and a frame as the bytes between them.

A frame travels as one line of JSON, its `Head`, and then its NPY file. The head is sealed, names the request that it answers, and
holds the hash of the pixels: what was cut, damaged, or meant for another request is seen. Deliberately not here: HTTP, on either
side (`app.py`, `client.py`).
"""

from __future__ import annotations

import hashlib
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from hil.capture_set.journal import Entry
from hil.capture_set.npy import npy_bytes, raw_of
from hil.protocols import RigInfo
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.plain import Plain, sha256_of

SERVICE: Literal["privcam agent"] = "privcam agent"
BOOT_HEADER = "Privcam-Boot"
LARGEST_NUMBER = 2**62
MOST_FRAMES = 1_000_000
LENT = r"^[0-9a-f]{64}\.(npy|png)$"  # a picture's file is named by its hash
TOKEN = r"^[A-Za-z0-9_-]{32,128}$"


class Refusal(Plain):
    """Why something was not done, and what to do."""

    what: str = Field(description="what is wrong")
    got: str | None = Field(None, description="what was asked")
    allowed: str | None = Field(None, description="what can be asked")
    todo: str = Field("", description="what to do")

    @classmethod
    def of(cls, error: PrivcamError) -> Self:
        """Returns the parts of an error."""
        got, allowed = (None if part is None else str(part) for part in (error.got, error.allowed))
        return cls(what=error.what, got=got, allowed=allowed, todo=error.todo)

    @property
    def error(self) -> PrivcamError:
        """Returns the error, with the same text."""
        return PrivcamError(self.what, got=self.got, allowed=self.allowed, todo=self.todo)


class AgentInfo(Plain):
    """What an agent says to everybody."""

    service: Literal["privcam agent"] = Field(SERVICE, description="what answers here")
    api: Literal[1] = Field(1, description="of these messages")
    version: str = Field(description="of privcam there")
    boot: str = Field(description="a new one each time the agent is started; every answer has it as header Privcam-Boot")
    held: bool = Field(description="whether somebody has a session")
    silent_s: float = Field(description="a session from which nothing is heard for so long may be taken over")


class Passed(Plain):
    """Frames that a client has already, of a camera that replays."""

    settings: CaptureSettings
    count: int = Field(ge=1, le=MOST_FRAMES)


class Opening(Plain):
    """What a client asks of a session."""

    who: str = Field(min_length=1, max_length=200, description="for others, who then know whom to ask")
    occasion: int = Field(0, ge=0, le=LARGEST_NUMBER, description="a simulated camera's noise is new in each")
    passed: tuple[Passed, ...] = Field((), max_length=10_000, description="a camera that replays goes on after these")


class Opened(Plain):
    """What stands on the agent's table, which was opened for this session alone."""

    boot: str = Field(description="of the agent")
    camera: CameraInfo
    replays: bool = Field(description="whether its frames were taken before")
    rig: RigInfo | None = Field(description="what shows there, if anything does")
    design: str = Field(description="digest of the camera's design, where the agent's bench has one")
    passed_sha256: str = Field("", description="of the last frame that was passed over")


class CaptureRequest(Plain):
    """What a client wants of the camera."""

    settings: CaptureSettings
    count: int = Field(ge=1, le=MOST_FRAMES)


class Begun(Plain):
    """A capture that frames can be asked of."""

    number: int
    count: int


class Refusable(Plain):
    """Why the rig cannot show a stimulus; None where it can."""

    refusal: Refusal | None


class Waiting(Plain):
    """Not done yet: ask the same again."""

    waiting_for: str


class Head(Plain):
    """What a frame's bytes begin with. `confirmed`: what the agent's rig shows was still there after the exposure."""

    boot: str
    capture: int
    place: int
    confirmed: bool
    entry: Entry
    seal: str = ""

    def sealed(self) -> Self:
        """Returns the same head with its seal."""
        return self.model_copy(update={"seal": sha256_of(self.model_dump(mode="json", exclude={"seal"}))})


def frame_bytes(frame: Frame, *, boot: str, capture: int, place: int, confirmed: bool) -> bytes:
    """Returns a frame as it travels; PrivcamError where its metadata are no JSON."""
    pixels = npy_bytes(frame.raw)
    entry = Entry.of(frame, number=place, session=0, sha256=hashlib.sha256(pixels).hexdigest())
    head = Head(boot=boot, capture=capture, place=place, confirmed=confirmed, entry=entry).sealed()
    return head.model_dump_json().encode() + b"\n" + pixels


def read_frame(body: bytes, shape: tuple[int, int]) -> tuple[Head, NDArray[np.uint16]]:
    """Returns head and raw [row, column] of a frame that travelled; PrivcamError where it is not as it was sent."""
    line, _, pixels = body.partition(b"\n")
    try:
        head = Head.model_validate_json(line)
    except ValidationError:
        raise _damaged("its head cannot be read") from None
    if head.sealed().seal != head.seal:
        raise _damaged("its head was changed")
    if hashlib.sha256(pixels).hexdigest() != head.entry.sha256:
        raise _damaged(f"other pixels than were sent, {len(pixels)} bytes")
    return head, raw_of(pixels, shape)


def _damaged(how: str) -> PrivcamError:
    return PrivcamError("a frame came damaged", got=how, todo="look after the line to the agent")

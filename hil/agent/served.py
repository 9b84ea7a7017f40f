"""The bench of the agent while a session has it: opened for it, used in one thread, closed after it.

Deliberately not here: what is on the bench (the caller opens it), who may use it (`door.py`), and HTTP.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

from hil.agent.wire import LENT, CaptureRequest, Opened, Opening, Passed, Refusal, frame_bytes
from hil.capture_set.npy import npy_digest
from hil.protocols import Camera, Rig, Shown
from optics_sim.errors import PrivcamError
from optics_sim.frame import Frame
from optics_sim.stimulus import Picture, Stimulus

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class OnTable:
    """What a session gets: a camera, what shows to it, the digest of the camera's design, and whether its frames were taken before."""

    camera: Camera
    rig: Rig | None
    design: str
    replays: bool


class OpenTable(Protocol):
    """Opens the bench anew. `occasion` counts how often one was opened: a simulated camera's noise is new in each.

    `pictures` is the folder of the files that the client lends.
    """

    def __call__(self, occasion: int, pictures: Path) -> AbstractContextManager[OnTable]:
        """Returns the bench, open while a block runs."""
        ...


class Served:
    """One bench, for one session at a time. A frame is taken when it is asked for, as from a camera on one's own table."""

    def __init__(self, open_table: OpenTable, boot: str) -> None:
        self._open_table, self._boot = open_table, boot
        self._stack = ExitStack()
        self._table: OnTable | None = None
        self._frames: Iterator[Frame] = iter(())
        self._shown = False
        self._pictures = Path()

    def open(self, asked: Opening) -> Opened:
        """Returns what is on the bench, opened anew; PrivcamError where it does not open."""
        self.close()
        try:
            self._pictures = Path(self._stack.enter_context(TemporaryDirectory(prefix="privcam-agent-")))
            table = self._stack.enter_context(self._open_table(asked.occasion, self._pictures))
        except (OSError, ImportError) as error:
            raise PrivcamError("the agent's bench does not open", got=error, todo="look after the machine that the agent runs on") from None
        self._table = table
        last = _passed_over(table, asked.passed)
        return Opened(boot=self._boot, camera=table.camera.info, replays=table.replays, rig=None if table.rig is None else table.rig.info,
                      design=table.design, passed_sha256=last)

    def close(self) -> None:
        """Closes the bench, where one is open."""
        self._frames, self._table, self._shown = iter(()), None, False
        self._stack.close()

    def begin(self, asked: CaptureRequest) -> None:
        """Ends the capture before and begins another; nothing is exposed yet."""
        self._frames = iter(self._there().camera.capture(asked.settings, asked.count))

    def take(self, capture: int, place: int) -> bytes:
        """Returns the next frame as it travels, after the rig confirmed what it shows; PrivcamError where either fails."""
        table = self._there()
        frame = _guarded(lambda: next(self._frames, None))
        if frame is None:
            raise PrivcamError("the capture has ended", got=f"frame {place}", todo="begin a new one")
        if confirmed := table.rig is not None and self._shown:
            self.confirm()
        return frame_bytes(frame, boot=self._boot, capture=capture, place=place, confirmed=confirmed)

    def lend(self, name: str, content: bytes) -> None:
        """Keeps a picture's file, whose name says its hash, until the session ends."""
        self._there()
        if hashlib.sha256(content).hexdigest() != PurePath(name).stem:
            raise PrivcamError("a picture that came damaged", got=hashlib.sha256(content).hexdigest(), allowed=name, todo="send it again")
        _guarded(lambda: (self._pictures / name).write_bytes(content))

    def refusal(self, stimulus: Stimulus) -> Refusal | None:
        """Returns why the rig cannot show a stimulus, or None."""
        refused = _elsewhere(stimulus) or self._rig().refusal(stimulus)
        return None if refused is None else Refusal.of(refused)

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the stimulus is there."""
        self._shown = False
        if (refused := _elsewhere(stimulus)) is not None:
            raise refused
        rig = self._rig()
        shown = _guarded(lambda: rig.show(stimulus))
        self._shown = True
        return shown

    def confirm(self) -> None:
        """Raises PrivcamError where what was shown last is not there any more."""
        _guarded(self._rig().confirm)

    def _there(self) -> OnTable:
        if self._table is None:
            raise PrivcamError("the agent's bench is not open", todo="open a session")
        return self._table

    def _rig(self) -> Rig:
        if (rig := self._there().rig) is None:
            raise PrivcamError("the agent has no rig", todo="name one in its bench.toml, or show with a rig of your own")
        return rig


def _passed_over(table: OnTable, passed: Sequence[Passed]) -> str:
    """Lets stored frames go by that the client has already; returns the hash of the last one's pixels, "" where there are none."""
    if passed and not table.replays:
        raise PrivcamError("only stored frames can be passed over", got=table.camera.info.name, todo="leave `passed` out")
    last = ""
    for some in passed:
        for frame in table.camera.capture(some.settings, some.count):
            last = npy_digest(frame.raw)
    return last


def _elsewhere(stimulus: Stimulus) -> PrivcamError | None:
    """Returns why a picture's file is not looked for: a client reads and writes no others than those it lends."""
    if not isinstance(stimulus, Picture) or re.fullmatch(LENT, stimulus.file):
        return None
    return PrivcamError("a picture that was not lent", got=stimulus.file, allowed="its SHA-256 and .npy or .png", todo="lend it first")


def _guarded(act: Callable[[], Answer]) -> Answer:
    """Returns what an act returns; a device that fails is told as every other refusal is."""
    try:
        return act()
    except OSError as error:
        raise PrivcamError("the agent's bench failed", got=error, todo="look after its cables; run the same command again") from None

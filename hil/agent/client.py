"""The PC's side of the agent: one session, which goes on when the agent is started anew.

It is then opened again, what was shown is shown again, and a camera that replays goes on after the frames that came. Deliberately not
here: HTTP and connections that break (`line.py`); cameras and rigs (`hil/cameras/remote.py`, `hil/rigs/remote.py`).
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hil.agent.line import Line, Restarted, read
from hil.agent.wire import AgentInfo, CaptureRequest, Head, Opened, Opening, Passed, Refusable, read_frame
from hil.protocols import Shown
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.plain import Plain
from optics_sim.stimulus import Picture, Stimulus

STARTS_IN_A_ROW = 5  # of the agent without a frame between them: then nobody waits for another
DAMAGED_IN_A_ROW = 20
_OCCASIONS = 2**32  # those of one session's openings lie so far apart
_SESSION = "/v1/session"

Answer = TypeVar("Answer")


class RemoteAgent:
    """A session with the agent at `url`; use in a `with`. `pictures` and `occasion` are those of `Bench.open`.

    Connections that break are made anew for `patience_s`, in which no answer came whole; an agent that says nothing for `silence_s`
    counts as such (it answers every 5 s, however long a thing takes). `restarts`, `asked_again` count what went wrong.
    """

    def __init__(self, url: str, *, pictures: Path = Path(), occasion: int = 0, patience_s: float = 60.0, silence_s: float = 20.0,
                 clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self.restarts = self._damaged = 0
        self.confirmed = False  # whether the agent's rig confirmed the frame that came last, and nobody has asked for it yet
        self._url, self._pictures, self._occasion = url, pictures, occasion
        self._make_line = partial(Line, url, patience_s=patience_s, silence_s=silence_s, clock=clock, sleep=sleep)
        self._open_line: Line | None = None
        self._opened: Opened | None = None
        self._number = 0
        self._shown: Stimulus | None = None
        self._lent: set[str] = set()
        self._passed: list[Passed] = []
        self._last_sha256 = ""
        self._asked: CaptureSettings | None = None

    def __enter__(self) -> Self:
        self._open_line = self._make_line(secrets.token_urlsafe(32))
        try:
            read(AgentInfo, self._ask("GET", "/v1/agent"))
            self._opened = self._open()
        except BaseException:
            self._open_line.close(_SESSION)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._line().close(_SESSION)
        self._open_line = self._opened = None

    @property
    def asked_again(self) -> int:
        """Returns how often something was asked again."""
        return self._damaged + self._line().asked_again

    @property
    def opened(self) -> Opened:
        """Returns what is on the agent's table."""
        if self._opened is None:
            raise PrivcamError("the agent's session is not open", todo="use it inside `with`")
        return self._opened

    def steady(self, act: Callable[[], Answer]) -> Answer:
        """Returns what an act returns; where the agent was started anew meanwhile, its session is opened again before another try."""
        for _ in range(STARTS_IN_A_ROW):
            try:
                return act()
            except Restarted:
                self._reopen()
        raise _falling()

    def begin(self, settings: CaptureSettings, count: int) -> int:
        """Returns the number of a capture that is begun."""
        number, self._asked = self._next_number(), settings
        self._ask("PUT", f"/v1/captures/{number}", CaptureRequest(settings=settings, count=count))
        return number

    def frame(self, capture: int, place: int) -> tuple[Head, NDArray[np.uint16]]:
        """Returns a frame of a capture as it left the agent: one that came otherwise is asked for again."""
        for _ in range(DAMAGED_IN_A_ROW):
            body = self._ask("GET", f"/v1/captures/{capture}/frames/{place}")
            try:
                head, raw = read_frame(body, self.opened.camera.shape)
            except PrivcamError as error:
                damage = error
            else:
                if (head.boot, head.capture, head.place) == (self._line().boot, capture, place):
                    self._came(head)
                    return head, raw
                damage = PrivcamError("a frame of another request", got=f"{head.capture}, {head.place}", allowed=f"{capture}, {place}")
            self._damaged += 1
        raise damage

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the agent's rig shows a stimulus; an agent that is started anew later shows it again by itself."""
        self._shown, self.confirmed = None, False
        shown = self.steady(lambda: self._show(stimulus))
        self._shown = stimulus
        return shown

    def confirm(self) -> None:
        """Raises PrivcamError where what was shown is not there, or where the agent was started anew and nobody knows."""
        try:
            self._ask("PUT", f"/v1/confirmed/{self._next_number()}")
        except Restarted:
            raise PrivcamError("the agent was started anew after this frame: nobody knows what was shown", got=self._url,
                               todo="run the same command again: the frame is taken anew") from None

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns why the agent's rig cannot show a stimulus, or None."""
        if isinstance(stimulus, Picture):
            try:
                stimulus.pinned(self._pictures)
            except PrivcamError as error:
                return error
        refusal = read(Refusable, self.steady(lambda: self._about("POST", "/v1/refusal", stimulus))).refusal
        return None if refusal is None else refusal.error

    def _show(self, stimulus: Stimulus) -> Shown:
        return read(Shown, self._about("PUT", f"/v1/shown/{self._next_number()}", stimulus))

    def _about(self, method: str, path: str, stimulus: Stimulus) -> bytes:
        """Returns the answer to a request about a stimulus, whose file, if it has one, is lent first."""
        if isinstance(stimulus, Picture):
            stimulus = self._lend(stimulus)
        return self._ask(method, path, stimulus)

    def _lend(self, picture: Picture) -> Picture:
        """Returns a picture as the agent knows it, by its hash alone, after its file is there."""
        sha256 = picture.pinned(self._pictures).sha256
        name = sha256 + (".npy" if picture.file.endswith(".npy") else ".png")
        if name not in self._lent:
            self._ask("PUT", f"/v1/pictures/{name}", (self._pictures / picture.file).read_bytes())
            self._lent.add(name)
        return Picture(file=name, sha256=sha256)

    def _came(self, head: Head) -> None:
        """Notes a frame: what an agent that is started anew has to go on after."""
        self.confirmed, self._last_sha256 = head.confirmed, head.entry.sha256
        if not self.opened.replays or self._asked is None:
            return
        if self._passed and self._passed[-1].settings == self._asked:
            self._passed[-1] = Passed(settings=self._asked, count=self._passed[-1].count + 1)
        else:
            self._passed.append(Passed(settings=self._asked, count=1))

    def _open(self) -> Opened:
        opening = Opening(who=f"{platform.node()}, process {os.getpid()}", occasion=self._occasion + _OCCASIONS * self.restarts,
                          passed=tuple(self._passed))
        opened = read(Opened, self._ask("PUT", _SESSION, opening))
        self._line().boot = opened.boot
        return opened

    def _reopen(self) -> None:
        """Opens the session with the agent that was started anew; PrivcamError where its camera is not the one of before."""
        before = self.opened
        for _ in range(STARTS_IN_A_ROW):
            self._line().boot, self.confirmed, self._lent = "", False, set()
            self.restarts += 1
            try:
                opened = self._open()
                if opened != before.model_copy(update={"boot": opened.boot, "passed_sha256": opened.passed_sha256}):
                    raise PrivcamError("the agent was started anew with another bench", got=opened.camera, allowed=before.camera,
                                       todo="put the bench back, or take another folder")
                if self._passed and opened.passed_sha256 != self._last_sha256:
                    raise PrivcamError("the agent's stored frames are no longer those of before", todo="take another folder")
                if self._shown is not None:
                    self._show(self._shown)
            except Restarted:
                continue
            self._opened = opened
            return
        raise _falling()

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _line(self) -> Line:
        if self._open_line is None:
            raise PrivcamError("the agent's session is not open", todo="use it inside `with`")
        return self._open_line

    def _ask(self, method: str, path: str, said: Plain | bytes | None = None) -> bytes:
        return self._line().ask(method, path, said)


def _falling() -> PrivcamError:
    return PrivcamError("the agent falls each time it is started", got=f"{STARTS_IN_A_ROW} starts in a row", todo="look at its terminal")

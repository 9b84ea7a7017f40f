"""What a session may ask of the agent, in which order, and that what is asked twice is done once.

Captures, shows and confirmations are numbered by the client. The same number asks for the same thing again; a higher one begins anew.
A frame is kept until the next one, or another capture, is asked for. Deliberately not here: who asks (`door.py`), what is done
(`served.py`), and HTTP (`app.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from hil.agent.door import Door, Refused
from hil.agent.once import NotYet, Once
from hil.agent.served import Served
from hil.agent.wire import AgentInfo, Begun, CaptureRequest, Opened, Opening, Refusable
from hil.protocols import Shown
from optics_sim.stimulus import Stimulus


@dataclass
class _Capture:
    """The capture that was begun last; `place` is that of the frame that is kept, -1 before the first."""

    number: int
    count: int
    place: int = -1


class Desk:
    """All requests of the agent's clients; each but `info` needs the token of the session."""

    def __init__(self, info: AgentInfo, door: Door, once: Once, served: Served) -> None:
        self._info, self._door, self._once, self._served = info, door, once, served
        self._opening: Opening | None = None
        self._numbers: dict[str, tuple[int, object]] = {}
        self._capture: _Capture | None = None

    @property
    def info(self) -> AgentInfo:
        """Returns what the agent says to everybody."""
        return self._info.model_copy(update={"held": self._door.held})

    async def open(self, token: str, asked: Opening) -> Opened:
        """Returns what is on the bench of a session that begins, or that has begun with this token and the same words."""
        if self._door.claim(token, asked.who):
            self._once.forget()
            self._opening, self._numbers, self._capture = asked, {}, None
        with self._door.inside(token):
            if self._opening != asked:
                raise Refused(409, "this session was opened with other words", got=asked.who, todo="take a new token")
            try:
                return await self._once.do(("open",), lambda: self._served.open(asked))
            except NotYet:
                raise
            except BaseException:
                self._door.leave()
                raise

    async def close(self, token: str) -> None:
        """Ends the session and closes its bench; where that takes its time, the agent is free already."""
        with self._door.inside(token):
            self._once.forget()
            self._door.leave()
            await self._once.do(("close",), self._served.close)

    async def begin(self, token: str, number: int, asked: CaptureRequest) -> Begun:
        """Returns when a capture is begun; the one before it, and its frame that was kept, are gone."""
        with self._door.inside(token):
            if self._is_new("capture", number, asked):
                self._capture = _Capture(number, asked.count)
            await self._once.do(("capture", number), lambda: self._served.begin(asked))
            return Begun(number=number, count=asked.count)

    async def frame(self, token: str, number: int, place: int) -> bytes:
        """Returns a frame of the capture that was begun last, as it travels: the one that is kept, or the next, which replaces it."""
        with self._door.inside(token):
            capture = self._asked_capture(number, place)
            if place > capture.place:
                self._once.forget("capture", number, capture.place)
                capture.place = place
            return await self._once.do(("capture", number, place), lambda: self._served.take(number, place))

    async def lend(self, token: str, name: str, content: bytes) -> None:
        """Keeps a picture's file until the session ends."""
        with self._door.inside(token):
            await self._once.do(("lend", name), lambda: self._served.lend(name, content))
            self._once.forget("lend", name)

    async def show(self, token: str, number: int, stimulus: Stimulus) -> Shown:
        """Returns when a stimulus is shown."""
        with self._door.inside(token):
            self._is_new("show", number, stimulus)
            return await self._once.do(("show", number), lambda: self._served.show(stimulus))

    async def confirm(self, token: str, number: int) -> None:
        """Returns where what was shown last is still there; PrivcamError where it is not."""
        with self._door.inside(token):
            self._is_new("confirm", number, None)
            await self._once.do(("confirm", number), self._served.confirm)

    async def refusal(self, token: str, stimulus: Stimulus) -> Refusable:
        """Returns why the rig cannot show a stimulus, or None."""
        with self._door.inside(token):
            answer = Refusable(refusal=await self._once.do(("refusal", stimulus), lambda: self._served.refusal(stimulus)))
            self._once.forget("refusal", stimulus)
            return answer

    def stop(self) -> None:
        """Returns after the bench is closed; nothing can be asked then."""
        self._once.close(self._served.close)

    def _is_new(self, kind: str, number: int, asked: object) -> bool:
        """Returns whether a numbered request is another than the last of its kind, whose answer is then dropped.

        Refused (409) where its number is that of another, or of one that is over.
        """
        last, before = self._numbers.get(kind, (-1, None))
        if number < last or (number == last and asked != before):
            raise Refused(409, f"a {kind} of this number was asked for before", got=number, allowed=f"above {last}")
        if number == last:
            return False
        self._once.forget(kind)
        self._numbers[kind] = (number, asked)
        return True

    def _asked_capture(self, number: int, place: int) -> _Capture:
        """Returns the capture that a frame is asked of; Refused where it has no such frame to give."""
        capture = self._capture
        if capture is None or number > capture.number:
            raise Refused(404, "no such capture", got=number, todo="begin it first")
        if number < capture.number:
            raise Refused(410, "this capture is over", got=number, allowed=capture.number, todo="begin a new one")
        if place >= capture.count:
            raise Refused(404, "no such frame in this capture", got=place, allowed=f"below {capture.count}")
        if place < capture.place:
            raise Refused(410, "this frame was acknowledged", got=place, allowed=f"{capture.place} or the next")
        if place > capture.place + 1 or (place > capture.place >= 0 and not self._once.done("capture", number, capture.place)):
            raise Refused(409, "frames come one after the other", got=place, allowed=f"at most {max(capture.place, 0)} now")
        return capture

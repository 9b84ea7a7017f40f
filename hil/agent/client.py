"""The PC's side of the agent: one session, whose requests are asked again until they are answered whole.

All requests may be asked twice: the agent does each once. An agent that was started anew is noticed by its boot's name: the session is
opened again, what was shown is shown again, and a camera that replays goes on after the frames that came. Deliberately not here:
cameras and rigs (`hil/cameras/remote.py`, `hil/rigs/remote.py`).
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hil.agent.wire import (
    BOOT_HEADER,
    SERVICE,
    AgentInfo,
    CaptureRequest,
    Head,
    Opened,
    Opening,
    Passed,
    Refusable,
    Refusal,
    read_frame,
)
from hil.protocols import Shown
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.plain import Plain
from optics_sim.stimulus import Picture, Stimulus

STARTS_IN_A_ROW = 5  # of the agent without a frame between them: then nobody waits for another
DAMAGED_IN_A_ROW = 20
_PAUSES_S = (0.0, 0.05, 0.2, 0.5, 1.0)  # before asking again, the last one from then on
_OCCASIONS = 2**32  # those of one session's openings lie so far apart
_ACCEPTED = 202
_GOODBYE_S = 2.0

Answer = TypeVar("Answer")
Said = TypeVar("Said", bound=Plain)


class Restarted(Exception):
    """The agent that answers is not the one that was asked before."""


class RemoteAgent:
    """A session with the agent at `url`; use in a `with`. `pictures` and `occasion` are those of `Bench.open`.

    Connections that break are made anew for `patience_s`, in which no answer came whole; an agent that says nothing for `silence_s`
    counts as such (it answers every 5 s, however long a thing takes). `restarts`, `asked_again` count what went wrong.
    """

    def __init__(self, url: str, *, pictures: Path = Path(), occasion: int = 0, patience_s: float = 60.0, silence_s: float = 20.0,
                 clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep) -> None:
        self.restarts = self.asked_again = 0
        self.confirmed = False  # whether the agent's rig confirmed the frame that came last, and nobody has asked for it yet
        self._url, self._pictures, self._occasion, self._patience_s, self._silence_s = (
            url, pictures, occasion, patience_s, silence_s)
        self._clock, self._sleep = clock, sleep
        self._http: httpx.Client | None = None
        self._opened: Opened | None = None
        self._boot = ""
        self._number = 0
        self._shown: Stimulus | None = None
        self._lent: set[str] = set()
        self._passed: list[Passed] = []
        self._last_sha256 = ""
        self._asked: CaptureSettings | None = None

    def __enter__(self) -> Self:
        self._token = secrets.token_urlsafe(32)
        self._http = httpx.Client(base_url=_checked(self._url), trust_env=False, timeout=httpx.Timeout(self._silence_s),
                                  headers={"Authorization": f"Bearer {self._token}"})
        try:
            self._check_service()
            self._opened = self._open()
        except BaseException:
            self._http.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._patience_s = min(self._patience_s, _GOODBYE_S)
        with suppress(PrivcamError, Restarted):  # a session that was left is taken over once it is silent
            self._ask("DELETE", "/v1/session")
        self._client().close()
        self._http = self._opened = None

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
            body = self._ask("GET", f"/v1/captures/{capture}/frames/{place}").content
            try:
                head, raw = read_frame(body, self.opened.camera.shape)
            except PrivcamError as error:
                damage = error
            else:
                if (head.boot, head.capture, head.place) == (self._boot, capture, place):
                    self._came(head)
                    return head, raw
                damage = PrivcamError("a frame of another request", got=f"{head.capture}, {head.place}", allowed=f"{capture}, {place}")
            self.asked_again += 1
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
        refusal = _read(Refusable, self.steady(lambda: self._about("POST", "/v1/refusal", stimulus))).refusal
        return None if refusal is None else refusal.error

    def _show(self, stimulus: Stimulus) -> Shown:
        return _read(Shown, self._about("PUT", f"/v1/shown/{self._next_number()}", stimulus))

    def _about(self, method: str, path: str, stimulus: Stimulus) -> httpx.Response:
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

    def _check_service(self) -> None:
        info = _read(AgentInfo, self._ask("GET", "/v1/agent"))
        if info.service != SERVICE:
            raise _stranger(self._url, info.service)

    def _open(self) -> Opened:
        opening = Opening(who=f"{platform.node()}, process {os.getpid()}", occasion=self._occasion + _OCCASIONS * self.restarts,
                          passed=tuple(self._passed))
        opened = _read(Opened, self._ask("PUT", "/v1/session", opening))
        self._boot = opened.boot
        return opened

    def _reopen(self) -> None:
        """Opens the session with the agent that was started anew; PrivcamError where its camera is not the one of before."""
        before = self.opened
        for _ in range(STARTS_IN_A_ROW):
            self._boot, self.confirmed, self._lent = "", False, set()
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

    def _ask(self, method: str, path: str, said: Plain | bytes | None = None) -> httpx.Response:
        """Returns an answer that came whole; PrivcamError for a refusal and where none comes, Restarted where another agent answers."""
        content = said.model_dump_json().encode() if isinstance(said, Plain) else said
        headers = {} if content is None else {"Content-Type": "application/json" if isinstance(said, Plain) else "application/octet-stream"}
        until_s, tries = self._clock() + self._patience_s, 0
        while True:
            try:
                answer = self._client().request(method, path, content=content, headers=headers)
            except httpx.TransportError as error:
                if self._clock() >= until_s:
                    raise PrivcamError("the agent does not answer", got=f"{self._url}: {error or type(error).__name__}",
                                       todo="look whether `privcam agent` runs there, and `ssh -L` here; run the same command again"
                                       ) from None
                self._sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
                tries, self.asked_again = tries + 1, self.asked_again + 1
                continue
            self._check_boot(answer)
            if answer.status_code != _ACCEPTED:
                return _granted(answer)
            until_s, tries = self._clock() + self._patience_s, 0

    def _check_boot(self, answer: httpx.Response) -> None:
        boot = answer.headers.get(BOOT_HEADER)
        if boot is None:
            raise _stranger(self._url, f"{answer.status_code} {answer.text[:80]}")
        if self._boot and boot != self._boot:
            raise Restarted

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _client(self) -> httpx.Client:
        if self._http is None:
            raise PrivcamError("the agent's session is not open", todo="use it inside `with`")
        return self._http


def _checked(url: str) -> httpx.URL:
    with suppress(httpx.InvalidURL):
        if (parsed := httpx.URL(url)).scheme in ("http", "https") and parsed.host:
            return parsed
    raise PrivcamError("no agent's address", got=url, allowed="e.g. http://127.0.0.1:8765", todo="mend `url` in bench.toml")


def _granted(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    raise _read(Refusal, answer).error


def _read(kind: type[Said], answer: httpx.Response) -> Said:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise PrivcamError("the agent speaks otherwise", got=f"{answer.status_code}: {error.errors()[0]['msg']}",
                           todo="use the same version of privcam on both machines") from None


def _stranger(url: str, got: Any) -> PrivcamError:
    return PrivcamError("no privcam agent answers there", got=f"{url}: {got}", todo="check the port, and the one that ssh -L leads to")


def _falling() -> PrivcamError:
    return PrivcamError("the agent falls each time it is started", got=f"{STARTS_IN_A_ROW} starts in a row", todo="look at its terminal")

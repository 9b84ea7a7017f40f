"""Asking an agent over HTTP until it answers: broken connections are made anew, and who answers is looked at each time.

Every request may be asked twice: the agent does it once. Deliberately not here: what is asked, and what to do about an agent that was
started anew (`client.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import httpx
from pydantic import ValidationError

from hil.agent.wire import BOOT_HEADER, Refusal
from optics_sim.errors import PrivcamError
from optics_sim.plain import Plain

_PAUSES_S = (0.0, 0.05, 0.2, 0.5, 1.0)  # before asking again, the last one from then on
_ACCEPTED = 202
_GOODBYE_S = 2.0

Said = TypeVar("Said", bound=Plain)


class Restarted(Exception):
    """The agent that answers is not the one that was asked before."""


class Line:
    """A line to the agent at `url`, for the session of a token; open from the start, until `close`.

    `boot` is the name of the agent that must answer; while it is "", any may. `asked_again` counts what broke.
    """

    def __init__(self, url: str, token: str, *, patience_s: float, silence_s: float, clock: Callable[[], float],
                 sleep: Callable[[float], None]) -> None:
        self.boot = ""
        self.asked_again = 0
        self._url, self._patience_s, self._clock, self._sleep = url, patience_s, clock, sleep
        self._http = httpx.Client(base_url=_checked(url), trust_env=False, timeout=httpx.Timeout(silence_s),
                                  headers={"Authorization": f"Bearer {token}"})

    def close(self, path: str) -> None:
        """Ends the session, by a last request, and the line; a session that is left so is taken over once it is silent."""
        self._patience_s = min(self._patience_s, _GOODBYE_S)
        with suppress(PrivcamError, Restarted):
            self.ask("DELETE", path)
        self._http.close()

    def ask(self, method: str, path: str, said: Plain | bytes | None = None) -> bytes:
        """Returns an answer that came whole; PrivcamError for a refusal and where none comes, Restarted where another agent answers."""
        content = said.model_dump_json().encode() if isinstance(said, Plain) else said
        headers = {} if content is None else {"Content-Type": "application/json" if isinstance(said, Plain) else "application/octet-stream"}
        until_s, tries = self._clock() + self._patience_s, 0
        while True:
            try:
                answer = self._http.request(method, path, content=content, headers=headers)
            except httpx.TransportError as error:
                if self._clock() >= until_s:
                    raise self._no_answer(error) from None
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
            raise PrivcamError("no privcam agent answers there", got=f"{self._url}: {answer.status_code} {answer.text[:80]}",
                               todo="check the port, and the one that ssh -L leads to")
        if self.boot and boot != self.boot:
            raise Restarted

    def _no_answer(self, error: httpx.TransportError) -> PrivcamError:
        return PrivcamError("the agent does not answer", got=f"{self._url}: {error or type(error).__name__}",
                            todo="look whether `privcam agent` runs there, and `ssh -L` here; run the same command again")


def _checked(url: str) -> httpx.URL:
    with suppress(httpx.InvalidURL):
        if (parsed := httpx.URL(url)).scheme in ("http", "https") and parsed.host:
            return parsed
    raise PrivcamError("no agent's address", got=url, allowed="e.g. http://127.0.0.1:8765", todo="mend `url` in bench.toml")


def _granted(answer: httpx.Response) -> bytes:
    if answer.is_success:
        return answer.content
    raise read(Refusal, answer.content).error


def read(kind: type[Said], content: bytes) -> Said:
    """Returns what an agent said; PrivcamError where it says it otherwise."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise PrivcamError("the agent speaks otherwise", got=f"{error.errors()[0]['msg']}: {content[:80]!r}",
                           todo="use the same version of privcam on both machines") from None

"""Who may speak to the agent: one session at a time, named by a token that its client made up.

All of it runs in the server's one event loop. Deliberately not here: what a session does (`desk.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from optics_sim.errors import PrivcamError


class Refused(PrivcamError):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, what: str, *, got: object = None, allowed: object = None, todo: str = "") -> None:
        super().__init__(what, got=got, allowed=allowed, todo=todo)
        self.status = status


@dataclass
class _Holder:
    token: str
    who: str
    heard_s: float
    busy: int = 0


class Door:
    """The session that holds the agent, if any. After `silent_s` without a request, on `clock` (seconds), another may take it over."""

    def __init__(self, silent_s: float, clock: Callable[[], float]) -> None:
        self.silent_s = silent_s
        self._clock = clock
        self._holder: _Holder | None = None

    @property
    def held(self) -> bool:
        """Whether somebody has a session."""
        return self._holder is not None

    def claim(self, token: str, who: str) -> bool:
        """Returns whether a new session begins; False for the one that is there. Refused (409) while another's is not silent."""
        holder = self._holder
        if holder is not None and _same(holder.token, token):
            return False
        if holder is not None and (left_s := self._left_s(holder)) > 0:
            raise Refused(409, "the agent is taken", got=f"by {holder.who}", allowed="one session at a time",
                          todo=f"end that session; one that is silent can be taken over in {left_s:.0f} s")
        self._holder = _Holder(token, who, self._clock())
        return True

    @contextmanager
    def inside(self, token: str) -> Iterator[None]:
        """Keeps the session from being silent while the block runs; Refused (409) where the token has none."""
        holder = self._holder
        if holder is None or not _same(holder.token, token):
            raise Refused(409, "no session has this token", allowed="the token of the session that holds the agent",
                          todo="open a session; somebody took this one over, or the agent was started anew")
        holder.busy += 1
        try:
            yield
        finally:
            holder.busy -= 1
            holder.heard_s = self._clock()

    def leave(self) -> None:
        """Ends the session that is there."""
        self._holder = None

    def _left_s(self, holder: _Holder) -> float:
        return self.silent_s if holder.busy else self.silent_s - (self._clock() - holder.heard_s)


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())

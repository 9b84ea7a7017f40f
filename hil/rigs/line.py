"""A serial line on which text goes back and forth: written, and read up to a mark, never for ever.

Deliberately not here: opening by name (`hil/devices/ports.py`) and what is said (`raw_repl.py`, `gcode.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from hil.devices.ports import check_url, open_port
from hil.rigs.refuse import not_open
from optics_sim.errors import PrivcamError

_MOST_BYTES = 65536  # nothing that is said here is longer: a board that babbles is not waited for


class Line:
    """A tty, a pseudo-terminal or a socket of this machine; opened by `with`. `whose` names the other end in errors."""

    def __init__(self, url: str, *, baud: int, whose: str, clock: Callable[[], float] = time.monotonic) -> None:
        check_url(url, allow_remote=False)
        self._url, self._baud, self.whose, self._clock = url, baud, whose, clock
        self._port: Any = None
        self._read = b""

    def __enter__(self) -> Self:
        self._port = open_port(self._url, baud=self._baud, allow_remote=False)
        self._read = b""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._port is not None:
            with suppress(OSError):
                self._port.close()
        self._port = None

    def write(self, data: bytes) -> None:
        """Returns when the bytes are on their way; PrivcamError where the line broke."""
        try:
            self._open().write(data)
        except OSError as error:
            raise self._broken(error) from error

    def read_until(self, mark: bytes, timeout_s: float) -> bytes:
        """Returns what comes up to a mark, and without it; PrivcamError where the line broke or the mark does not come in time."""
        deadline = self._clock() + timeout_s
        while mark not in self._read:
            if self._clock() >= deadline or len(self._read) > _MOST_BYTES:
                raise PrivcamError(f"{self.whose} does not answer", got=f"{self._read[-80:]!r} in {timeout_s:g} s",
                                   allowed=f"... {mark!r}", todo="check its power, its cable and its program")
            self._read += self._receive()
        before, _, self._read = self._read.partition(mark)
        return before

    def read_line(self, timeout_s: float) -> str:
        """Returns the next line that is not empty; errors as of `read_until`."""
        deadline = self._clock() + timeout_s
        while not (line := self.read_until(b"\n", max(0.0, deadline - self._clock())).strip()):
            pass
        return line.decode("ascii", "replace")

    def hush(self, quiet_s: float) -> None:
        """Returns when nothing came for a while; what came before is forgotten. PrivcamError where the line broke or never rests."""
        heard = 0
        until = self._clock() + quiet_s
        while self._clock() < until:
            if more := len(self._receive()):
                heard, until = heard + more, self._clock() + quiet_s
            if heard > _MOST_BYTES:
                raise PrivcamError(f"{self.whose} talks without end", got=f"{heard} bytes", todo="check the baud rate")
        self._read = b""

    def _receive(self) -> bytes:
        port = self._open()
        try:
            return bytes(port.read(max(1, port.in_waiting)))
        except (OSError, TypeError) as error:  # pyserial reads from None where its file was closed under it
            raise self._broken(error) from error

    def _open(self) -> Any:
        if self._port is None:
            raise not_open(self.whose)
        return self._port

    def _broken(self, error: Exception) -> PrivcamError:
        return PrivcamError(f"the line to {self.whose} broke", got=error,
                            todo="plug it in again and run the same command: it resumes, and shows again what was shown")

"""MicroPython's raw REPL: a program goes to a board, its output and its error come back.

The protocol is that of the MicroPython documentation ("The MicroPython Interactive Interpreter Mode", raw mode): Ctrl-C stops what
runs, Ctrl-A enters, Ctrl-D runs; the answer is `OK`, the output, 0x04, the error, 0x04, `>`. Deliberately not here: raw-paste
mode and files on a board (mpremote has both).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hil.rigs.line import Line
from optics_sim.errors import PrivcamError

_STOP, _ENTER, _RUN = b"\r\x03\x03", b"\r\x01", b"\x04"
_BANNER = b"raw REPL; CTRL-B to exit\r\n>"
_PIECE, _PIECE_REST_S = 32, 0.005  # boards without flow control have little room for what they have not read
_QUIET_S, _TRY_S = 0.1, 1.0


class RawRepl:
    """A board's interpreter over an open line. `timeout_s` is waited for an answer, `boot_s` for a board that just starts."""

    def __init__(self, line: Line, *, timeout_s: float = 3.0, boot_s: float = 15.0, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._line, self._timeout_s, self._boot_s, self._clock, self._sleep = line, timeout_s, boot_s, clock, sleep

    def enter(self) -> None:
        """Returns when the board waits for programs; PrivcamError where no MicroPython answers."""
        deadline = self._clock() + self._boot_s
        while True:
            self._line.write(_STOP)
            self._line.hush(_QUIET_S)
            self._line.write(_ENTER)
            try:
                self._line.read_until(_BANNER, _TRY_S)
                return
            except PrivcamError as error:
                if self._clock() >= deadline or "answer" not in error.what:
                    raise

    def run(self, program: str) -> str:
        """Returns what a program printed; PrivcamError with the last line of its traceback, or where the board does not answer."""
        data = program.encode() + _RUN
        for start in range(0, len(data), _PIECE):
            self._line.write(data[start:start + _PIECE])
            self._sleep(_PIECE_REST_S)
        before = self._line.read_until(b"OK", self._timeout_s)
        output, trouble = (self._line.read_until(b"\x04", self._timeout_s).decode("utf-8", "replace") for _ in range(2))
        after = self._line.read_until(b">", self._timeout_s)
        if before or after:
            raise PrivcamError(f"{self._line.whose} says more than it was asked", got=repr(before + after),
                               todo="stop the program that runs on it (main.py)")
        if trouble:
            raise PrivcamError(f"{self._line.whose} cannot do this", got=trouble.strip().splitlines()[-1],
                               todo="check the pin and the board in bench.toml")
        return output.strip()

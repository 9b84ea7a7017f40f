"""Asking a person at a terminal, and never for ever. Deliberately not here: what they are asked (`person.py`)."""

from __future__ import annotations

import os
import select
from typing import TextIO

from optics_sim.errors import PrivcamError


class Terminal:
    """A terminal to ask at. Raises PrivcamError where there is none: a program without one has no person to ask."""

    def __init__(self, lines_in: TextIO, lines_out: TextIO) -> None:
        self._in, self._out = lines_in, lines_out

    def __call__(self, text: str, timeout_s: float) -> str:
        """Returns the line that is typed within so many seconds, without its end; what was typed before the question does not count."""
        try:
            descriptor = self._in.fileno()
            there = os.isatty(descriptor)
        except (OSError, ValueError):
            there = False
        if not there:
            raise PrivcamError("there is no terminal to ask a person at", got=text.strip(),
                               todo="run this in a terminal, or choose another rig in bench.toml")
        _forget_typed(descriptor)
        self._out.write(text)
        self._out.flush()
        if not select.select([descriptor], [], [], timeout_s)[0]:
            raise PrivcamError("nobody answers", got=f"{timeout_s:g} s of silence after {text.strip()!r}",
                               todo="run the same command when somebody is there: it resumes")
        line = os.read(descriptor, 4096)
        if not line:
            raise PrivcamError("the terminal was closed", got=text.strip(), todo="run the same command in another: it resumes")
        return line.decode("utf-8", "replace").rstrip("\r\n")


def _forget_typed(descriptor: int) -> None:
    import termios  # here: there is none on Windows

    termios.tcflush(descriptor, termios.TCIFLUSH)

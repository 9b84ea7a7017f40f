"""A lamp on a pin of a board that runs MicroPython: pulse width for its level, or on and off, and the board says what it did.

Nothing is installed on the board. What is proved is that the board has set the pin, not that an LED hangs on it. Deliberately not
here: the interpreter's protocol (`raw_repl.py`).
"""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Literal, NamedTuple, Self

from hil.devices.ports import source_of
from hil.protocols import RigInfo
from hil.rigs.line import Line
from hil.rigs.raw_repl import RawRepl
from hil.rigs.refuse import nothing_shown
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source


class Board(NamedTuple):
    """What a family of boards calls its pins: its programs, with the pin, and how many steps a level has above off."""

    start: str
    level: str
    steps: int


Family = Literal["pwm", "microbit"]
FAMILIES: dict[Family, Board] = {
    "pwm": Board("from machine import Pin, PWM\nlamp = PWM(Pin({pin}))\nlamp.freq(20000)", "lamp.duty_u16({steps})", 65535),
    "microbit": Board("from microbit import pin{pin} as lamp", "lamp.write_digital({steps})", 1),
}
"""`machine.PWM` of the Pico, ESP32 and most boards; the BBC micro:bit, whose pulses of 50 Hz a camera would see, is on or off."""


class MicroPythonLamp:
    """A lamp on pin `pin` of a board at `url`. `source` may claim what a socket leads to, as for a `SerialDevice`."""

    def __init__(self, url: str, *, pin: int, family: Family = "pwm", baud: int = 115200, source: Source | None = None) -> None:
        self._line = Line(url, baud=baud, whose="the lamp's board")
        self._repl = RawRepl(self._line)
        self._pin, self._family, self._board = pin, family, FAMILIES[family]
        self._info = RigInfo(name=f"MicroPython {family} pin {pin}", source=source_of(url, source))
        self._tokens = itertools.count(1)
        self._token: int | None = None

    def __enter__(self) -> Self:
        self._line.__enter__()
        try:
            self._repl.enter()
            self._repl.run(self._board.start.format(pin=self._pin))
        except BaseException:
            self._line.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._token = None
        self._line.__exit__(kind, error, trace)

    @property
    def info(self) -> RigInfo:
        """Returns what drives the lamp."""
        return self._info

    def refusal(self, level: float) -> PrivcamError | None:
        """Returns why the board has no such level, or None."""
        if self._board.steps > 1 or level in (0, 1):
            return None
        return PrivcamError("this board's lamp is on or off", got=level, allowed="0, 1",
                            todo="take a board with machine.PWM for levels between")

    def set_level(self, level: float) -> str:
        """Returns, when the board has set its pin, what it ran."""
        self._token = None
        token = next(self._tokens)
        command = self._board.level.format(steps=round(level * self._board.steps))
        self._expect(f"{command}\nshown = {token}\nprint(shown)", token)
        self._token = token
        return f"the board ran {command}"

    def confirm_level(self) -> None:
        """Raises PrivcamError where the board started anew since, or does not answer."""
        if self._token is None:
            raise nothing_shown()
        self._expect("print(shown)", self._token)

    def _expect(self, program: str, token: int) -> None:
        said = self._repl.run(program)
        if said != str(token):
            raise PrivcamError("the lamp's board answers something else", got=said, allowed=token, todo="let nobody else use the board")

"""A lamp on a lab supply or light source that speaks SCPI, through VISA (pyvisa): serial, USB, LAN.

Commands are those of SCPI 1999, volume 2 (`CURRent` or `VOLTage`, `OUTPut`, `SYSTem:ERRor?`) and of IEEE 488.2 (`*IDN?`, `*CLS`).
After each change the instrument is asked what it has. Deliberately not here: what its light amounts to (`lamp.py`).
"""

from __future__ import annotations

import re
from contextlib import suppress
from types import ModuleType, TracebackType
from typing import Any, Literal, Self

from hil.devices.ports import source_of
from hil.protocols import RigInfo
from hil.rigs.refuse import not_open, nothing_shown
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source

TOLERANCE = 2e-3  # of the full level: what an instrument's steps leave of a number
Quantity = Literal["CURR", "VOLT"]


class ScpiLamp:
    """A lamp whose level is a current or voltage: `full` (A or V) is level 1, 0 is the output switched off.

    `visa` names the VISA library, "@py" being pyvisa-py. A simulator's frames are never "physical"; a pseudo-terminal and a socket of
    this machine are "emulated" unless, for the socket, `source` claims more.
    """

    def __init__(self, resource: str, *, full: float, quantity: Quantity = "CURR", visa: str = "@py", baud: int = 9600,
                 timeout_s: float = 3.0, source: Source | None = None) -> None:
        self._resource, self._full, self._quantity, self._visa = resource, full, quantity, visa
        self._baud, self._timeout_s = baud, timeout_s
        self._info = RigInfo(name=resource, source=_source(resource, visa, source))
        self._manager: Any = None
        self._instrument: Any = None
        self._level: float | None = None

    def __enter__(self) -> Self:
        pyvisa = _pyvisa()
        serial = {"baud_rate": self._baud} if self._resource.upper().startswith("ASRL") else {}
        try:
            self._manager = pyvisa.ResourceManager(self._visa)
            self._instrument = self._manager.open_resource(self._resource, read_termination="\n", write_termination="\n",
                                                           timeout=round(1000 * self._timeout_s), **serial)
        except (pyvisa.errors.Error, OSError, ValueError) as error:
            self._close()
            raise PrivcamError("the instrument does not open", got=f"{self._resource} ({error})", allowed="a VISA resource name",
                               todo="see what `pyvisa-shell` lists; check its cable") from error
        try:
            self._info = self._info.model_copy(update={"name": self._ask("*IDN?")})
            self._tell("*CLS")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._level = None
        self._close()

    @property
    def info(self) -> RigInfo:
        """Returns what the instrument says it is."""
        return self._info

    def refusal(self, level: float) -> PrivcamError | None:
        """Returns None: what the instrument cannot have it says when it is asked for."""
        return None

    def set_level(self, level: float) -> str:
        """Returns, when the instrument says that it has the level, what it said."""
        self._level = None
        if level:
            self._tell(f"{self._quantity} {level * self._full:.6g}")
        self._tell("OUTP ON" if level else "OUTP OFF")
        complaint = self._ask("SYST:ERR?")
        if not re.match(r"[+-]?0\b", complaint):
            raise PrivcamError("the instrument refuses a level", got=complaint, allowed=f"up to {self._full:g}",
                               todo="mend `full` or `quantity` in bench.toml")
        said = self._check(level)
        self._level = level
        return said

    def confirm_level(self) -> None:
        """Raises PrivcamError where the instrument no longer has the level, or does not answer."""
        if self._level is None:
            raise nothing_shown()
        self._check(self._level)

    def _check(self, level: float) -> str:
        output = self._number("OUTP?")
        value = self._number(f"{self._quantity}?") if level else 0.0
        if bool(output) != bool(level) or abs(value - level * self._full) > TOLERANCE * self._full:
            raise PrivcamError("the instrument is not at its level", got=f"{self._quantity} {value:g}, OUTP {output:g}",
                               allowed=f"{self._quantity} {level * self._full:g}, OUTP {int(bool(level))}",
                               todo="look whether it is in local mode or limited")
        return f"{self._quantity} {value:g}, OUTP {output:g}"

    def _number(self, question: str) -> float:
        said = self._ask(question)
        try:
            return {"ON": 1.0, "OFF": 0.0}[said.upper()] if said.upper() in ("ON", "OFF") else float(said)
        except ValueError:
            raise PrivcamError("the instrument answers no number", got=f"{said!r} to {question}", todo="is it the right one?") from None

    def _ask(self, question: str) -> str:
        return str(self._said(lambda instrument: instrument.query(question))).strip()

    def _tell(self, command: str) -> None:
        self._said(lambda instrument: instrument.write(command))

    def _said(self, talk: Any) -> Any:
        if self._instrument is None:
            raise not_open("the instrument")
        try:
            return talk(self._instrument)
        except (_pyvisa().errors.Error, OSError, TypeError, UnicodeDecodeError) as error:  # TypeError: pyserial's file was closed under it
            raise PrivcamError("the line to the instrument broke", got=error,
                               todo="plug it in again and run the same command: it resumes, and shows again what was shown") from error

    def _close(self) -> None:
        for one in (self._instrument, self._manager):
            if one is not None:
                with suppress(_pyvisa().errors.Error, OSError):
                    one.close()
        self._instrument = self._manager = None


def _source(resource: str, visa: str, claimed: Source | None) -> Source:
    if visa.endswith("@sim"):
        if claimed == "physical":
            raise PrivcamError("the source of what is shown", got=f"physical over {visa}", allowed="emulated")
        return "emulated"
    if serial := re.match(r"ASRL(/.+)::INSTR$", resource, re.IGNORECASE):
        return source_of(serial[1], claimed)
    here = re.match(r"TCPIP\d*::(localhost|127\.[\d.]+|\[::1\])::", resource, re.IGNORECASE)
    return source_of("socket://127.0.0.1:1" if here else "/dev/tty", claimed)


def _pyvisa() -> ModuleType:
    try:
        import pyvisa
    except ImportError:
        raise PrivcamError("SCPI instruments need pyvisa", todo='pip install "privcam[rig]"') from None
    module: ModuleType = pyvisa
    return module

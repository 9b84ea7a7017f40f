"""A point source on a stage that speaks G-code (Grbl 1.1, FluidNC): each line is answered, and the stage is asked until it rests.

The protocol is that of Grbl's wiki ("Grbl v1.1 Interface"): one line, then `ok` or `error:N`; `?` gives a status report at once;
`ALARM:N` and a new banner may come at any time. Deliberately not here: streaming ahead, feeds, other machines' dialects.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from hil.devices.ports import source_of
from hil.protocols import RigInfo, Shown
from hil.rigs.line import Line
from hil.rigs.refuse import nothing_shown, other_kind
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source
from optics_sim.stimulus import Point, Stimulus

_RESET, _STATUS = b"\x18", b"?"
_AT_M, _FLAT_M = 10e-6, 1e-4  # how near to its place a stage rests; how near to its plane a source without a third axis is
_BANNER = re.compile(r"Grbl \d")


@dataclass(frozen=True)
class Mounting:
    """Where the source is, in the stage's own machine coordinates (metres): at `axis_m` (X, Y, Z) it is `distance_m` before the camera.

    `right` and `down` are +1 or -1, X and Y running with the camera's x and y or against; `away` is that of Z with the distance, 0
    for a stage without it. The source shines at `level` of a `Point` as soon as the stage is there.
    """

    axis_m: tuple[float, float, float]
    distance_m: float
    right: int = 1
    down: int = 1
    away: int = 0
    level: float = 1.0

    def place_m(self, point: Point) -> tuple[float, float, float]:
        """Returns where the stage must be (X, Y, Z) for a point."""
        x, y, z = self.axis_m
        return x + self.right * point.x_m, y + self.down * point.y_m, z + self.away * (point.distance_m - self.distance_m)


class GcodeStage:
    """A rig that moves a source; use in a `with`. It is reset when it is opened, and finds its home if `home` says so.

    A move, or the way home, may take `travel_s`; other answers `timeout_s`.
    """

    def __init__(self, url: str, mounting: Mounting, *, home: bool = True, baud: int = 115200, travel_s: float = 120.0,
                 timeout_s: float = 3.0, source: Source | None = None, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self._line = Line(url, baud=baud, whose="the stage", clock=clock)
        self._mounting, self._home, self._travel_s, self._timeout_s = mounting, home, travel_s, timeout_s
        self._clock, self._sleep = clock, sleep
        self._info = RigInfo(name="G-code stage", source=source_of(url, source))
        self._place_m: tuple[float, float, float] | None = None

    def __enter__(self) -> Self:
        self._line.__enter__()
        try:
            self._line.write(_RESET)
            while not _BANNER.match(said := self._line.read_line(2 * self._timeout_s)):
                pass
            self._info = self._info.model_copy(update={"name": said.split("[")[0].strip()})
            if self._home:
                self._send("$H", self._travel_s)
            self._send("G21 G90", self._timeout_s)  # millimetres, absolute
        except BaseException:
            self._line.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._place_m = None
        self._line.__exit__(kind, error, trace)

    @property
    def info(self) -> RigInfo:
        """Returns what the stage says it is."""
        return self._info

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns why the stage cannot show a stimulus, or None: it has one source of one level."""
        if not isinstance(stimulus, Point):
            return other_kind("the stage", stimulus, ("point",), "use another rig, or another bench for these shots")
        if stimulus.level != self._mounting.level:
            return PrivcamError("the stage's source has one level", got=stimulus.level, allowed=self._mounting.level,
                                todo="expose longer or shorter instead")
        if not self._mounting.away and abs(stimulus.distance_m - self._mounting.distance_m) > _FLAT_M:
            return PrivcamError("the stage has no third axis", got=f"{stimulus.distance_m:g} m", allowed=f"{self._mounting.distance_m:g} m",
                                todo="move the stage, write its distance into bench.toml, and capture in another session")
        return None

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the stage rests where the source is at the point."""
        self._place_m = None
        if (refused := self.refusal(stimulus)) is not None or not isinstance(stimulus, Point):
            raise refused or nothing_shown()
        place_m = self._mounting.place_m(stimulus)
        x, y, z = (1e3 * value for value in place_m)
        axes = f"X{x:.4f} Y{y:.4f}" + (f" Z{z:.4f}" if self._mounting.away else "")
        self._send(f"G53 G0 {axes}", self._timeout_s)
        self._wait(place_m)
        self._place_m = place_m
        return Shown(rig=self._info, proof=f"the stage rests at machine {axes} mm")

    def confirm(self) -> None:
        """Raises PrivcamError where the stage moved, started anew, or does not answer."""
        if self._place_m is None:
            raise nothing_shown()
        state, at_m = self._status()
        if state != "Idle" or self._distance_m(at_m, self._place_m) > _AT_M:
            place, self._place_m = self._place_m, None
            raise PrivcamError("the stage is no longer where it was", got=f"{state} at {at_m} m", allowed=f"Idle at {place} m",
                               todo="run the same command again: it moves there anew")

    def _wait(self, place_m: tuple[float, float, float]) -> None:
        deadline = self._clock() + self._travel_s
        while True:
            state, at_m = self._status()
            if state == "Idle":
                break
            if state not in ("Run", "Home", "Jog") or self._clock() > deadline:
                raise PrivcamError("the stage does not arrive", got=f"{state} at {at_m} m", allowed=f"Idle at {place_m} m",
                                   todo="look what stops it (door, hold, limit switch)")
            self._sleep(0.05)
        if self._distance_m(at_m, place_m) > _AT_M:
            raise PrivcamError("the stage rests elsewhere", got=f"{at_m} m", allowed=f"{place_m} m", todo="home it; check $130 to $132")

    def _distance_m(self, one: tuple[float, ...], other: tuple[float, ...]) -> float:
        axes = 3 if self._mounting.away else 2
        return max(abs(a - b) for a, b in zip(one[:axes], other[:axes], strict=True))

    def _status(self) -> tuple[str, tuple[float, ...]]:
        self._line.write(_STATUS)
        while not (said := self._heard(self._timeout_s)).startswith("<"):
            pass
        state = re.split(r"[:|>]", said[1:])[0]
        position = re.search(r"\|MPos:([-\d.,]+)", said)
        if position is None:
            raise PrivcamError("the stage does not say its machine position", got=said, allowed="MPos", todo="set $10=1 on it")
        return state, tuple(float(value) / 1e3 for value in position[1].split(","))

    def _send(self, line: str, timeout_s: float) -> None:
        self._line.write(line.encode() + b"\n")
        while (said := self._heard(timeout_s)) != "ok":
            if said.startswith("error:"):
                raise PrivcamError("the stage refuses a command", got=f"{said} to {line}", todo="see Grbl's list of error codes")

    def _heard(self, timeout_s: float) -> str:
        """Returns the next line; an alarm or a new start is never passed over."""
        said = self._line.read_line(timeout_s)
        if said.startswith("ALARM") or _BANNER.match(said):
            self._stop(said)
        return said

    def _stop(self, said: str) -> NoReturn:
        self._place_m = None
        raise PrivcamError("the stage lost its position", got=said, todo="free its way, and run the same command again: it finds home anew")

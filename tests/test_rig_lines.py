"""Rigs on wires, whose cable is pulled: a real MicroPython on an emulated micro:bit, and a fake of Grbl."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fake_lines import Cable, Pty
from grbl_fake import BANNER, GrblFake
from microbit import Microbit, needs
from rig_contract import RigBench, RigContract

from hil.rigs.gcode import GcodeStage, Mounting
from hil.rigs.lamp import LampRig
from hil.rigs.line import Line
from hil.rigs.micropython import MicroPythonLamp
from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Dark, Flat, Light, Pattern, Point

pytestmark = pytest.mark.timeout(120)
OFF, HALF, FULL = Light(level=0.0), Light(level=0.5), Light(level=1.0)


# --- a line ---------------------------------------------------------------------------------------
def test_a_line_waits_so_long_and_no_longer() -> None:
    with Pty(lambda data: b"one\r\n\r\ntwo\n" if data == b"?" else b"") as pty, Line(pty.url, baud=115200, whose="the far end") as line:
        line.write(b"?")
        assert [line.read_line(2), line.read_line(2)] == ["one", "two"]
        with pytest.raises(PrivcamError, match="the far end does not answer"):
            line.read_line(0.05)
        line.write(b"?")
        line.hush(0.1)
        with pytest.raises(PrivcamError, match="does not answer"):
            line.read_line(0.05)
        pty.pull()
        with pytest.raises(PrivcamError, match="the line to the far end broke"):
            line.read_line(2)
    with pytest.raises(PrivcamError, match="the far end is not open"):
        line.write(b"?")


def test_a_line_that_babbles_is_left() -> None:
    with Pty(lambda data: b"x" * 100000) as pty, Line(pty.url, baud=115200, whose="the far end") as line:
        line.write(b"?")
        with pytest.raises(PrivcamError, match="does not answer"):
            line.read_until(b"y", 5)


# --- MicroPython ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def board() -> Iterator[Microbit]:
    with Microbit() as running:
        yield running


@contextmanager
def microbit_lamp(board: Microbit) -> Iterator[tuple[LampRig, Cable]]:
    with Cable(board.port) as cable, LampRig(MicroPythonLamp(cable.url, pin=0, family="microbit")) as rig:
        yield rig, cable


@needs()
class TestMicroPythonOnAnEmulatedBoard(RigContract):
    @pytest.fixture
    def bench(self, board: Microbit) -> Iterator[RigBench]:
        with microbit_lamp(board) as (rig, cable):
            yield RigBench(rig, (FULL, OFF), HALF, board.pin0, cable.pull)


@needs()
def test_a_cable_pulled_from_a_board_is_told_and_plugged_again_it_works(board: Microbit) -> None:
    with Cable(board.port) as cable:
        rig = LampRig(MicroPythonLamp(cable.url, pin=0, family="microbit"))
        with rig:
            rig.show(FULL)
            cable.pull()
            with pytest.raises(PrivcamError, match="the line to the lamp's board broke"):
                rig.show(OFF)
            assert board.pin0(), "the board shines on: what it shows is not what was asked"
            with pytest.raises(PrivcamError, match="nothing is shown"):
                rig.confirm()
        cable.plug()
        with rig:
            rig.show(FULL)
            rig.confirm()
        assert not board.pin0(), "off when it is closed"


@needs()
def test_a_board_that_started_anew_shows_nothing(board: Microbit) -> None:
    with microbit_lamp(board) as (rig, _):
        rig.show(FULL)
        rig._lamp._repl._timeout_s = 0.5
        board.reset()
        with pytest.raises(PrivcamError):
            rig.confirm()
        assert not board.pin0()


@needs()
def test_a_program_that_runs_on_the_board_is_stopped_and_errors_are_the_board_s(board: Microbit) -> None:
    with microbit_lamp(board) as (rig, _):
        repl = rig._lamp._repl
        repl._line.write(b"while True: print('busy')\x04")
    with microbit_lamp(board) as (rig, _):
        rig.show(FULL)
        with pytest.raises(PrivcamError, match="ZeroDivisionError"):
            rig._lamp._repl.run("1/0")
        rig.confirm()
    with Cable(board.port) as cable, pytest.raises(PrivcamError, match="ImportError"), MicroPythonLamp(cable.url, pin=99,
                                                                                                     family="microbit"):
        pass


class ReplFake:
    """A fake raw REPL that keeps a level: it stands in for boards with `machine.PWM`, which no emulator here has."""

    def __init__(self) -> None:
        self.text, self.duty, self.shown = b"", None, None

    def feed(self, data: bytes) -> bytes:
        out = b""
        for byte in data:
            one = bytes([byte])
            if one == b"\x01":
                out, self.text = out + b"raw REPL; CTRL-B to exit\r\n>", b""
            elif one == b"\x04":
                out, self.text = out + b"OK" + self._run(self.text.decode()), b""
            elif one not in b"\x03\r":
                self.text += one
        return out

    def _run(self, program: str) -> bytes:
        if found := re.search(r"lamp\.duty_u16\((\d+)\)", program):
            self.duty = int(found[1])
        if found := re.search(r"shown = (\d+)", program):
            self.shown = found[1]
        return (f"{self.shown}\r\n" if "print" in program else "").encode() + b"\x04\x04>"


class TestPulseWidthOfAFakeBoard(RigContract):
    @pytest.fixture
    def bench(self) -> Iterator[RigBench]:
        fake = ReplFake()
        with Pty(fake.feed) as pty, LampRig(MicroPythonLamp(pty.url, pin=15), ("light", "flat", "dark")) as rig:
            yield RigBench(rig, (Flat(level=0.5), Dark()), Point(y_m=0, x_m=0, distance_m=1), lambda: fake.duty, pty.pull)
            assert rig._lamp._repl is not None and fake.duty in (0, 32768)


def test_a_wrong_answer_of_a_board_is_no_proof() -> None:
    fake = ReplFake()
    with Pty(fake.feed) as pty, LampRig(MicroPythonLamp(pty.url, pin=15)) as rig:
        rig.show(HALF)
        fake.shown = "7"
        with pytest.raises(PrivcamError, match="answers something else"):
            rig.confirm()


def test_silence_is_not_waited_for() -> None:
    with Pty(lambda data: b"") as pty:
        lamp = MicroPythonLamp(pty.url, pin=15)
        lamp._repl._boot_s = 0.0
        with pytest.raises(PrivcamError, match="does not answer"), lamp:
            pass


# --- G-code ---------------------------------------------------------------------------------------
MOUNTING = Mounting(axis_m=(-0.1, -0.15, -0.2), distance_m=0.5, right=1, down=-1, away=-1)
HERE, THERE = Point(y_m=0.02, x_m=0.03, distance_m=0.45), Point(y_m=0.0, x_m=-0.03, distance_m=0.5)


@contextmanager
def stage(fake: GrblFake, **options: Any) -> Iterator[tuple[GcodeStage, Pty]]:
    with Pty(fake.feed) as pty, GcodeStage(pty.url, MOUNTING, timeout_s=0.5, **options) as rig:
        yield rig, pty


class TestStageOnAFakeOfGrbl(RigContract):
    @pytest.fixture
    def bench(self) -> Iterator[RigBench]:
        fake = GrblFake(slow=2)
        with stage(fake) as (rig, pty):
            yield RigBench(rig, (HERE, THERE), Dark(), lambda: dict(fake.position_mm), pty.pull)


def test_the_source_goes_where_the_camera_sees_it() -> None:
    fake = GrblFake()
    with stage(fake) as (rig, _):
        shown = rig.show(HERE)
        assert rig.info.name == "Grbl 1.1h" and "X-70.0000 Y-170.0000 Z-150.0000" in shown.proof
    assert fake.position_mm == {"X": -70.0, "Y": -170.0, "Z": -150.0}
    assert fake.heard == ["$H", "G21 G90", "G53 G0 X-70.0000 Y-170.0000 Z-150.0000"]


def test_a_stage_is_not_there_before_it_rests() -> None:
    fake = GrblFake(slow=3)
    slept: list[float] = []
    with stage(fake, sleep=slept.append) as (rig, _):
        rig.show(HERE)
    assert len(slept) == 3
    with stage(GrblFake(slow=10**6), sleep=lambda seconds: None, travel_s=0.2) as (rig, _), pytest.raises(PrivcamError, match="not arrive"):
        rig.show(HERE)


@pytest.mark.parametrize("stimulus", [Pattern(cells=((1.0,),)), HERE.model_copy(update={"level": 2.0})])
def test_one_source_shows_points_of_one_level(stimulus) -> None:
    rig = GcodeStage("/dev/ttyUSB9", MOUNTING)
    assert rig.refusal(stimulus) is not None and rig.refusal(HERE) is None
    flat = GcodeStage("/dev/ttyUSB9", Mounting(axis_m=(0, 0, 0), distance_m=0.5))
    assert flat.refusal(THERE) is None and flat.refusal(HERE) is not None


def _moved(fake: GrblFake) -> bytes:
    fake.position_mm["X"] += 1
    return b""


def _alarm(fake: GrblFake) -> bytes:
    fake.locked = True
    return b"ALARM:1\r\n"


@pytest.mark.parametrize("happens", [_moved, _alarm, GrblFake.reset], ids=["moved", "alarm", "started anew"])
def test_what_befalls_a_stage_is_found_out(happens: Callable[[GrblFake], bytes]) -> None:
    fake = GrblFake()
    said = [b""]
    with Pty(lambda data: said.pop() + fake.feed(data) if said else fake.feed(data)) as pty, GcodeStage(pty.url, MOUNTING,
                                                                                                       timeout_s=0.5) as rig:
        rig.show(HERE)
        rig.confirm()
        said.append(happens(fake))
        with pytest.raises(PrivcamError, match=r"lost its position|no longer where"):
            rig.confirm()
        with pytest.raises(PrivcamError, match="nothing is shown"):
            rig.confirm()


def test_soft_limits_and_errors_are_told() -> None:
    with stage(GrblFake(travel_mm=100.0)) as (rig, _), pytest.raises(PrivcamError, match=r"lost its position; got: ALARM:2"):
        rig.show(HERE)
    with pytest.raises(PrivcamError, match=r"refuses a command; got: error:9"), stage(GrblFake(), home=False):
        pass
    with pytest.raises(PrivcamError, match="does not answer"), stage(_Silent()):
        pass


class _Silent(GrblFake):
    def feed(self, data: bytes) -> bytes:
        return b""


def test_a_cable_pulled_from_a_stage_is_told_and_plugged_again_it_finds_home() -> None:
    fake = GrblFake()
    with stage(fake) as (rig, pty):
        rig.show(HERE)
        pty.pull()
        with pytest.raises(PrivcamError, match="the line to the stage broke"):
            rig.show(THERE)
    assert BANNER.strip() in fake.reset()
    with stage(fake) as (rig, _):
        rig.show(THERE)
        assert fake.heard[-3:] == ["$H", "G21 G90", "G53 G0 X-130.0000 Y-150.0000 Z-200.0000"]

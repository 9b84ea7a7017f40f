"""A lamp on an instrument that speaks SCPI: pyvisa-sim's, through pyvisa alone and through pyserial, its cable pulled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_lines import Pty
from rig_contract import RigBench, RigContract

from hil.rigs.lamp import LampRig
from hil.rigs.scpi import ScpiLamp
from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Dark, Flat, Light

pytestmark = pytest.mark.timeout(120)
HALF, FULL = Light(level=0.5), Light(level=1.0)
pyvisa = pytest.importorskip("pyvisa", reason="pyvisa is missing: pip install privcam[rig]")
SIMULATOR = Path(__file__).with_name("scpi_supply.yaml")


class Simulated:
    """pyvisa-sim's instrument, as bytes: it stands at the end of a pseudo-terminal where pyvisa-py and pyserial find it."""

    def __init__(self) -> None:
        pytest.importorskip("pyvisa_sim", reason="pyvisa-sim is missing: pip install privcam[test]")
        self._manager = pyvisa.ResourceManager(f"{SIMULATOR}@sim")
        self._instrument = self._manager.open_resource("ASRL1::INSTR", read_termination="\n", write_termination="\n")
        self._text, self._lock = b"", threading.Lock()

    def feed(self, data: bytes) -> bytes:
        *lines, self._text = (self._text + data).split(b"\n")
        return b"".join(self.ask(line.decode()).encode() + b"\n" if line.endswith(b"?") else self.tell(line.decode()) for line in lines)

    def ask(self, question: str) -> str:
        with self._lock:
            return str(self._instrument.query(question))

    def tell(self, command: str) -> bytes:
        with self._lock:
            self._instrument.write(command)
        return b""

    def seen(self) -> tuple[float, bool]:
        on = self.ask("OUTP?").strip() in ("1", "ON")
        return (float(self.ask("CURR?")) if on else 0.0), on


@contextmanager
def supply(full: float = 0.7) -> Iterator[tuple[LampRig, Simulated, Pty]]:
    simulated = Simulated()
    with Pty(simulated.feed) as pty, LampRig(ScpiLamp(f"ASRL{pty.url}::INSTR", full=full), ("light", "dark")) as rig:
        yield rig, simulated, pty


class TestScpiSimulatorOverPyserial(RigContract):
    @pytest.fixture
    def bench(self) -> Iterator[RigBench]:
        with supply() as (rig, simulated, pty):
            yield RigBench(rig, (HALF, Dark()), Flat(level=0.5), simulated.seen, pty.pull)


class TestScpiSimulatorThroughVisaAlone(RigContract):
    @pytest.fixture
    def bench(self) -> Iterator[RigBench]:
        Simulated()
        lamp = ScpiLamp("ASRL1::INSTR", full=0.7, visa=f"{SIMULATOR}@sim")
        with LampRig(lamp) as rig:
            yield RigBench(rig, (HALF, FULL), Dark(), lambda: lamp._ask("CURR?"), lambda: lamp._tell("CURR 0.1"))


def test_what_the_instrument_refuses_is_told() -> None:
    with supply(full=2.0) as (rig, _, _):
        assert rig.info.name == "privcam,simulated lamp supply,0,1"
        assert "CURR 0.4" in rig.show(Light(level=0.2)).proof
        with pytest.raises(PrivcamError, match="instrument refuses"):
            rig.show(FULL)  # 2 A of a supply that gives 1
        with pytest.raises(PrivcamError, match="nothing is shown"):
            rig.confirm()
        rig.show(Light(level=0.1))
        rig.confirm()


def test_a_cable_pulled_from_an_instrument_is_told_and_plugged_again_it_works() -> None:
    simulated = Simulated()
    with Pty(simulated.feed) as pty, LampRig(ScpiLamp(f"ASRL{pty.url}::INSTR", full=0.7)) as rig:
        rig.show(FULL)
        pty.pull()
        with pytest.raises(PrivcamError, match="the line to the instrument broke"):
            rig.show(HALF)
        assert simulated.seen() == (0.7, True), "it shines on: what it shows is not what was asked"
    with Pty(simulated.feed) as pty, LampRig(ScpiLamp(f"ASRL{pty.url}::INSTR", full=0.7)) as rig:
        rig.show(HALF)
        assert simulated.seen() == (0.35, True)
    assert simulated.seen() == (0.0, False)


@pytest.mark.parametrize(("resource", "visa", "claimed", "source"), [
    ("ASRL/dev/ttyUSB0::INSTR", "@py", None, "physical"), ("ASRL/dev/pts/3::INSTR", "@py", None, "emulated"),
    ("TCPIP::127.0.0.1::5025::SOCKET", "@py", None, "emulated"), ("TCPIP0::192.168.0.7::INSTR", "@py", None, "physical"),
    ("TCPIP::127.0.0.1::5025::SOCKET", "@py", "physical", "physical"), ("USB0::1::2::3::INSTR", "x.yaml@sim", None, "emulated")])
def test_what_an_instrument_may_be_called(resource: str, visa: str, claimed: Any, source: str) -> None:
    assert ScpiLamp(resource, full=1, visa=visa, source=claimed).info.source == source


@pytest.mark.parametrize(("resource", "visa", "claimed"), [("USB0::1::2::3::INSTR", "x.yaml@sim", "physical"),
                                                         ("ASRL/dev/pts/3::INSTR", "@py", "physical")])
def test_an_emulated_instrument_cannot_pass_for_a_physical_one(resource: str, visa: str, claimed: Any) -> None:
    with pytest.raises(PrivcamError, match="source"):
        ScpiLamp(resource, full=1, visa=visa, source=claimed)


def test_an_instrument_that_is_not_there_is_told() -> None:
    with pytest.raises(PrivcamError, match="does not open"), ScpiLamp("ASRL/dev/ttyNowhere7::INSTR", full=1):
        pass

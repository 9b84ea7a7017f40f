"""Capture sessions: killed, with cables pulled, resumed; nothing lost but the frame in flight, nothing doubled or mislabelled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_lines import Cable
from microbit import Microbit, needs

from hil.cameras.replay import ReplayCamera
from hil.cameras.simulated import SimulatedCamera
from hil.cameras.world import World
from hil.capture_set.packed import open_set
from hil.protocols import Camera
from hil.rigs.lamp import LampRig
from hil.rigs.micropython import MicroPythonLamp
from hil.rigs.person import PersonRig
from hil.rigs.simulated import SimulatedRig
from hil.session import PACKED, SET, Table, finished_session, occasion, run_session, taken_of
from optics_sim.design import CameraDesign, PinholePattern
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings, Frame
from optics_sim.learning.pipeline import start_design
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Dark, Flat, Light, Pattern, Point

pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")
pytestmark = pytest.mark.timeout(300)
KILLER = Path(__file__).with_name("session_killer.py")
SETTINGS = CaptureSettings(exposure_s=0.004)
PLAN = Plan(shots=(Shot(stimulus=Dark(), settings=SETTINGS, count=2), Shot(stimulus=Flat(level=1.0), settings=SETTINGS, count=3),
                   Shot(stimulus=Dark(), settings=SETTINGS, count=1)))


@pytest.fixture(scope="module")
def design() -> CameraDesign:
    made = start_design(PinholePattern(), (31, 31), (16, 16), bin_px=4)
    return made.replace(**{"exposure.white_photons_per_px_s": 5e7, "optics.propagation": "geometric"})


def table_of(design: CameraDesign, seed: int = 0, **world: Any) -> tuple[Table, World]:
    there = World(**{"scene": np.zeros((31, 31))} | world)
    camera = SimulatedCamera(design, there, generator=torch.Generator().manual_seed(seed))
    return Table(camera, SimulatedRig(there, (31, 31)), design.digest), there


def go(table: Table, folder: Path, plan: Plan = PLAN, tell: Callable[[str], Any] = lambda text: None):
    return run_session(plan, table, folder, clock=lambda: "then", tell=tell)


def bright(frames) -> list[bool]:
    return [float(frame.raw.mean()) > 300 for frame in frames]


class Failing:
    """A camera that does something before it gives its n-th frame."""

    def __init__(self, camera: Camera, frame: int, act: Callable[[], None]) -> None:
        self._camera, self._left, self._act, self.info = camera, frame, act, camera.info

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        for frame in self._camera.capture(settings, count):
            self._left -= 1
            if self._left == 0:
                self._act()
            yield frame


# --- kills ----------------------------------------------------------------------------------------
def killer(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run([sys.executable, str(KILLER), *arguments], capture_output=True, text=True, check=False, timeout=3000,
                          env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_session_loses_the_frame_in_flight_and_labels_all_others_right(tmp_path: Path, kills: int) -> None:
    answer = killer(str(tmp_path), str(kills), "1")
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert result["kills"] == kills and result["openings"] > result["sessions"], "some sessions were resumed"


@pytest.mark.parametrize("spoilt", ["lazy", "late"])
def test_a_session_that_labels_wrong_is_found_out(tmp_path: Path, spoilt: str) -> None:
    answer = killer(str(tmp_path), "10", "1", spoilt)
    assert answer.returncode != 0 and "of white and shows" in answer.stderr


# --- what a session leaves ------------------------------------------------------------------------
def test_a_session_ends_in_a_packed_set_whose_frames_say_what_they_show(design, tmp_path: Path) -> None:
    told: list[str] = []
    table, _ = table_of(design)
    packed = go(table, tmp_path / "out", tell=told.append)
    assert packed.name == str(tmp_path / "out" / PACKED) and packed.damage() == [] and packed.header.design == design.digest
    assert [entry.stimulus for entry in packed.entries] == [shot.stimulus.text for shot in PLAN.shots for _ in range(shot.count)]
    assert bright(packed) == [False, False, True, True, True, False]
    first = taken_of(packed.entries[0].metadata)
    assert first.shown is not None and (first.plan, first.shown.rig.source) == (PLAN.digest, "simulated")
    assert [line for line in told if "shot 2 of 3: flat level 1" in line] and told[-1] == "packing 6 frames"
    assert go(Table(table.camera, None), tmp_path / "out", tell=told.append).journal == packed.journal, "nothing is taken again"


@pytest.mark.parametrize("frame", range(1, 7))
def test_a_session_goes_on_where_it_stopped(design, tmp_path: Path, frame: int) -> None:
    def fail() -> None:
        raise PrivcamError("the camera fell")

    table, _ = table_of(design)
    with pytest.raises(PrivcamError, match="fell"):
        go(replace(table, camera=Failing(table.camera, frame, fail)), tmp_path)
    assert len(open_set(tmp_path / SET)) == frame - 1 and finished_session(PLAN, tmp_path) is None
    assert occasion(tmp_path) == (frame > 1)
    packed = go(table_of(design, seed=1)[0], tmp_path)
    assert bright(packed) == [False, False, True, True, True, False]
    assert [entry.session for entry in packed.entries] == [0] * (frame - 1) + [int(frame > 1)] * (7 - frame)
    assert len({entry.sha256 for entry in packed.entries}) == 6


def test_nothing_is_shown_before_everything_can_be(design, tmp_path: Path) -> None:
    table, world = table_of(design)
    plan = Plan(shots=(*PLAN.shots, Shot(stimulus=Pattern(cells=((0.0,) * 40,)), settings=SETTINGS)))
    with pytest.raises(PrivcamError, match="more cells"):
        go(table, tmp_path / "out", plan)
    assert world.time_s == 0 and not (tmp_path / "out").exists()


def test_a_folder_is_of_one_plan_one_camera_and_one_design(design, tmp_path: Path) -> None:
    def fail() -> None:
        raise PrivcamError("the camera fell")

    table, _ = table_of(design)
    with pytest.raises(PrivcamError, match="fell"):
        go(replace(table, camera=Failing(table.camera, 2, fail)), tmp_path)
    other = Plan(shots=PLAN.shots[::-1])
    with pytest.raises(PrivcamError, match="another session"):
        go(table, tmp_path, other)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(PrivcamError, match="another session; got: frame 0 is of shot 0"):
        go(table, tmp_path, other)
    (tmp_path / "plan.json").unlink()
    with pytest.raises(PrivcamError, match="another camera"):
        go(replace(table, design="0" * 64), tmp_path)
    with pytest.raises(PrivcamError, match="another camera"):
        go(table_of(design.replace(name="another"))[0], tmp_path)
    assert len(go(table, tmp_path)) == 6
    with pytest.raises(PrivcamError, match="another session"):
        go(table, tmp_path, other)


def test_two_sessions_do_not_share_a_folder(design, tmp_path: Path) -> None:
    table, _ = table_of(design)

    def second() -> None:
        with pytest.raises(PrivcamError, match="somebody else"):
            go(table, tmp_path)

    assert len(go(replace(table, camera=Failing(table.camera, 2, second)), tmp_path)) == 6


# --- what is shown ends while it is looked at -----------------------------------------------------
def test_a_frame_whose_stimulus_went_away_is_not_kept(design, tmp_path: Path) -> None:
    table, world = table_of(design)
    with pytest.raises(PrivcamError, match="not as it was shown"):
        go(replace(table, camera=Failing(table.camera, 4, lambda: setattr(world, "light", 0.3))), tmp_path)
    assert len(open_set(tmp_path / SET)) == 3
    assert bright(go(table, tmp_path)) == [False, False, True, True, True, False]


@needs()
@pytest.mark.parametrize("loses_power", [False, True])
@pytest.mark.parametrize("frame", [2, 3, 4])
def test_a_lamp_s_cable_is_pulled_in_the_middle_of_a_session(design, board, tmp_path: Path, frame: int, loses_power: bool) -> None:
    """An emulated board's pin is the light of the simulated world; the cable goes, and with it, or not, the board's power."""
    plan = Plan(shots=tuple(Shot(stimulus=Light(level=level), settings=SETTINGS, count=2) for level in (1.0, 0.0, 1.0)))

    def session(cable: Cable, act: Callable[[], None]):
        camera = table_of(design, scene=lambda time_s: np.full((31, 31), float(board.pin0())))[0].camera
        with LampRig(MicroPythonLamp(cable.url, pin=0, family="microbit")) as rig:
            return go(Table(Failing(camera, frame, act), rig), tmp_path, plan)

    with Cable(board.port) as cable:
        def pulled() -> None:
            cable.pull()
            if loses_power:
                board.reset()

        with pytest.raises(PrivcamError, match="the line to the lamp's board broke"):
            session(cable, pulled)
        stored = open_set(tmp_path / SET)
        assert len(stored) == frame - 1 and stored.damage() == []
        assert bright(stored) == [True, True, False][:frame - 1]
        cable.plug()
        packed = session(cable, lambda: None)
    assert bright(packed) == [True, True, False, False, True, True]
    assert {taken_of(entry.metadata).shown.rig.source for entry in packed.entries} == {"emulated"}


@pytest.mark.parametrize("frame", [2, 3])
def test_an_instrument_s_cable_is_pulled_in_the_middle_of_a_session(design, tmp_path: Path, frame: int) -> None:
    """The output of pyvisa-sim's supply is the light of the simulated world; between them are pyvisa, pyserial and a cable."""
    pytest.importorskip("pyvisa_sim", reason="pyvisa-sim is missing: pip install privcam[test]")
    from fake_lines import Pty
    from test_rig_scpi import Simulated

    from hil.rigs.scpi import ScpiLamp

    simulated = Simulated()
    plan = Plan(shots=tuple(Shot(stimulus=Light(level=level), settings=SETTINGS, count=2) for level in (1.0, 0.0, 0.5)))

    def session(act: Callable[[Pty], None]):
        camera = table_of(design, scene=lambda time_s: np.full((31, 31), simulated.seen()[0] / 0.7))[0].camera
        with Pty(simulated.feed) as pty, LampRig(ScpiLamp(f"ASRL{pty.url}::INSTR", full=0.7)) as rig:
            return go(Table(Failing(camera, frame, lambda: act(pty)), rig), tmp_path, plan)

    with pytest.raises(PrivcamError, match="the line to the instrument broke"):
        session(Pty.pull)
    stored = open_set(tmp_path / SET)
    assert len(stored) == frame - 1 and bright(stored) == [True] * (frame - 1)
    packed = session(lambda pty: None)
    levels = [float(frame.raw.mean()) - packed.header.camera.black_level_dn for frame in packed]
    assert np.array(levels) / levels[0] == pytest.approx([1, 1, 0, 0, 0.5, 0.5], abs=0.05)


def test_long_shots_tell_how_far_they_are(design, tmp_path: Path) -> None:
    told: list[str] = []
    go(table_of(design)[0], tmp_path, Plan(shots=(Shot(stimulus=Dark(), settings=SETTINGS, count=45),)), told.append)
    assert [line.strip() for line in told if "of 45" in line and "shot" not in line] == ["20 of 45", "40 of 45"]


@pytest.fixture(scope="module")
def board() -> Iterator[Microbit]:
    with Microbit() as running:
        yield running


def test_what_a_person_answers_is_kept_with_each_frame(design, tmp_path: Path) -> None:
    table, world = table_of(design)
    asked: list[str] = []

    def hands(text: str, timeout_s: float) -> str:
        asked.append(text)
        world.capped, world.scene = text.startswith("Cap"), np.ones((31, 31))
        return "done, a little late"

    packed = go(replace(table, rig=PersonRig(hands, source="simulated")), tmp_path)
    assert len(asked) == 3 and bright(packed) == [False, False, True, True, True, False]
    assert taken_of(packed.entries[0].metadata).shown.proof == "a person said 'done, a little late'"


# --- frames that were taken before ----------------------------------------------------------------
def test_a_replayed_session_takes_each_stored_frame_once_and_believes_its_label(design, tmp_path: Path) -> None:
    def fail() -> None:
        raise PrivcamError("the disk fell")

    taken = go(table_of(design)[0], tmp_path / "first")
    with pytest.raises(PrivcamError, match="fell"):
        go(Table(Failing(ReplayCamera(taken), 4, fail), None), tmp_path / "again")
    again = go(Table(ReplayCamera(taken), None), tmp_path / "again")
    assert [entry.sha256 for entry in again.entries] == [entry.sha256 for entry in taken.entries]
    assert all(entry.replayed for entry in again.entries)
    wrong = Plan(shots=(Shot(stimulus=Flat(level=1.0), settings=SETTINGS, count=2),))
    with pytest.raises(PrivcamError, match="stored frame shows something else"):
        go(Table(ReplayCamera(taken), None), tmp_path / "wrong", wrong)


def test_nothing_is_labelled_by_a_rig_that_the_camera_cannot_see(design, tmp_path: Path) -> None:
    table, _ = table_of(design)
    with pytest.raises(PrivcamError, match="nothing shows the stimulus"):
        go(replace(table, rig=None), tmp_path / "no rig")
    taken = go(table, tmp_path / "first")
    with pytest.raises(PrivcamError, match="taken before"):
        go(Table(ReplayCamera(taken), table.rig), tmp_path / "rig", Plan(shots=PLAN.shots[:1]))


def test_a_plan_of_points_is_taken(design, tmp_path: Path) -> None:
    spot = Shot(stimulus=Point(y_m=0.0, x_m=0.0, distance_m=design.optics.scene_to_mask_m, level=1.0), settings=SETTINGS)
    assert go(table_of(design)[0], tmp_path, Plan(shots=(spot,))).entries[0].stimulus == spot.stimulus.text

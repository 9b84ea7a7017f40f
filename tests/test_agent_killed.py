"""Sessions over lines that break, to agents that are killed: no frame is lost, doubled, or called what it is not."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from agent_process import AgentProcess, BadLine, remote_bench, replay_bench, simulated_bench, small_design

from hil.bench import Bench
from hil.cameras.simulated import SimulatedCamera
from hil.cameras.world import World
from hil.capture_set.npy import npy_digest
from hil.protocols import Camera
from hil.session import Table, run_session, taken_of
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings, Frame
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Dark, Flat, Light, Pattern, Picture, stimulus_of

pytest.importorskip("httpx", reason="httpx is missing: pip install privcam[remote]")
pytest.importorskip("uvicorn", reason="the agent's server is missing: pip install privcam[agent]")
pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")

from hil.agent.client import RemoteAgent
from hil.cameras.remote import RemoteCamera
from hil.rigs.remote import RemoteRig

pytestmark = pytest.mark.timeout(120)
SHORT = CaptureSettings(exposure_s=0.004)
LEVELS = {Dark(): 0.0, Flat(level=0.2): 0.2, Light(level=0.4): 0.4, Flat(level=0.6): 0.6, Pattern(cells=((0.8,),)): 0.8,
          Flat(level=1.0): 1.0}
TOLERANCE = 0.05  # of a level; levels are 0.2 apart
FRAMES = 60  # in the stored set


@pytest.fixture(scope="module")
def light() -> Iterator[AgentProcess]:
    with AgentProcess.light() as agent:
        yield agent


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    with AgentProcess(replay_bench(tmp_path_factory.mktemp("replay"), camera_of(3), (SHORT,), FRAMES)) as agent:
        yield agent


def camera_of(seed: int) -> SimulatedCamera:
    return SimulatedCamera(small_design(), World(scene=np.full((31, 31), 0.5)), generator=torch.Generator().manual_seed(seed))


# --- one session ----------------------------------------------------------------------------------
def checked(packed) -> None:
    """Each planned frame once, in its order, and what its pixels show is what its label says."""
    assert packed.damage() == []
    plan_order = [(taken_of(one.metadata).number, taken_of(one.metadata).repeat) for one in packed.entries]
    assert plan_order == sorted(set(plan_order))
    assert len({entry.sha256 for entry in packed.entries}) == len(packed)
    assert (np.diff([entry.index for entry in packed.entries]) > 0).all()
    assert (np.diff([entry.timestamp_s for entry in packed.entries]) > 0).all()
    signals = {number: float(frame.raw.mean()) - packed.header.camera.black_level_dn for number, frame in enumerate(packed)}
    white = max(signals.values())
    for number, entry in enumerate(packed.entries):
        assert signals[number] / white == pytest.approx(LEVELS[stimulus_of(entry.stimulus)], abs=TOLERANCE), f"frame {number}"


class Watched:
    """A camera that does something after some frames."""

    def __init__(self, camera: Camera, acts: dict[int, object]) -> None:
        self._camera, self._acts, self._given, self.info = camera, acts, 0, camera.info

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        for frame in self._camera.capture(settings, count):
            yield frame
            self._given += 1
            if self._given in self._acts:
                self._acts[self._given]()


@pytest.mark.parametrize("camera", ["light", pytest.param("simulated", marks=pytest.mark.slow)])
def test_a_session_over_a_bad_line_to_an_agent_that_is_killed_twice_loses_doubles_and_mislabels_nothing(tmp_path: Path, camera) -> None:
    """200 frames; 3 % of the transfers are cut, 1 % of the frames dropped, and the agent is killed at two random moments."""
    dice = random.Random(5)
    plan = Plan(shots=tuple(Shot(stimulus=one, settings=SHORT, count=count) for one, count in
                            zip([*LEVELS] * 2, [20, 13, 17, 20, 11, 19] * 2, strict=True)))
    (tmp_path / "pi").mkdir()
    behind = (AgentProcess.light(drop=0.01) if camera == "light"
              else AgentProcess(simulated_bench(tmp_path / "pi", "drop_probability = 0.01\n")))
    with behind as agent, BadLine(agent, 7, cut=0.03) as line:
        def soon() -> None:
            timers.append(threading.Timer(dice.uniform(0, 0.05), agent.restart))
            timers[-1].start()

        timers: list[threading.Timer] = []
        with Bench.open(remote_bench(tmp_path, line.url)) as bench:
            table = bench.table
            watched = Table(Watched(table.camera, {dice.randrange(20, 90): soon, dice.randrange(110, 160): soon}), table.rig, table.design)
            packed = run_session(plan, watched, tmp_path / "out", clock=lambda: "then", tell=lambda text: None)
            restarts = bench.camera._agent.restarts
        for timer in timers:
            timer.join()
    assert len(packed) == plan.frames == 200 and restarts == len(timers) == 2 and line.cuts > 5
    checked(packed)
    assert {entry.session for entry in packed.entries} == {0}, "one session saw it through"
    moved = [entry.metadata["remote"]["index_moved"] for entry in packed.entries if "remote" in entry.metadata]
    gaps = np.diff([entry.index for entry in packed.entries])
    assert len(set(moved)) == 2 and (gaps > 1).sum() >= 2, "a new start of the agent is a gap"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(5))
def test_many_kills_and_cuts(tmp_path: Path, seed: int) -> None:
    """500 frames; a tenth of the transfers is cut, a tenth damaged, a tenth of the frames dropped, and the agent killed 20 times."""
    dice = random.Random(seed)
    plan = Plan(shots=tuple(Shot(stimulus=dice.choice([*LEVELS]), settings=SHORT, count=10) for _ in range(50)))
    with AgentProcess.light(seed, 0.1) as agent, BadLine(agent, seed, cut=0.1, change=0.1) as line, RemoteAgent(line.url) as client:
        timers: list[threading.Timer] = []

        def soon() -> None:
            timers.append(threading.Timer(dice.uniform(0, 0.03), agent.restart))
            timers[-1].start()

        camera = Watched(RemoteCamera(client), {25 * kill + dice.randrange(20): soon for kill in range(20)})
        packed = run_session(plan, Table(camera, RemoteRig(client)), tmp_path, clock=lambda: "then", tell=lambda text: None)
        restarts = client.restarts
    assert len(packed) == 500 and restarts >= 18 and line.cuts > 50 and line.changes > 30
    checked(packed)


def test_without_showing_again_a_session_stops_at_a_new_start(tmp_path: Path, light: AgentProcess, monkeypatch) -> None:
    """The negative control: what is shown is gone with the agent, and no frame of the dark world is labelled as it."""
    def restart() -> None:
        light.restart()
        monkeypatch.setattr(agent, "_shown", None)

    plan = Plan(shots=(Shot(stimulus=Flat(level=1.0), settings=SHORT, count=5),))
    with BadLine(light) as line, RemoteAgent(line.url) as agent:
        table = Table(Watched(RemoteCamera(agent), {3: restart}), RemoteRig(agent))
        with pytest.raises(PrivcamError, match="nothing is shown"):
            run_session(plan, table, tmp_path / "out", clock=lambda: "then", tell=lambda text: None)


def test_what_was_shown_is_not_confirmed_by_an_agent_that_started_since(light: AgentProcess) -> None:
    with BadLine(light) as line, RemoteAgent(line.url) as agent:
        rig = RemoteRig(agent)
        rig.show(Flat(level=1.0))
        rig.confirm()
        light.restart()
        with pytest.raises(PrivcamError, match="started anew after this frame"):
            rig.confirm()


# --- stored frames --------------------------------------------------------------------------------
def test_stored_frames_come_once_each_whatever_happens_to_line_and_agent(replay: AgentProcess) -> None:
    with RemoteAgent(replay.url) as agent:
        wanted = [npy_digest(frame.raw) for frame in RemoteCamera(agent).capture(SHORT, FRAMES)]
    with BadLine(replay, 1, cut=0.1, change=0.1) as line, RemoteAgent(line.url) as agent:
        camera, came = RemoteCamera(agent), []
        for count in (10, 1, 30, FRAMES - 41):
            for frame in camera.capture(SHORT, count):
                came.append(frame)
                if len(came) in (5, 11, 30):
                    replay.restart()
        assert [npy_digest(frame.raw) for frame in came] == wanted and all(frame.replayed for frame in came)
        assert line.cuts and line.changes and agent.restarts == 3
        assert not any("remote" in frame.metadata for frame in came), "stored frames keep index and clock"


def test_a_replaying_agent_that_started_on_other_frames_is_refused(tmp_path: Path, replay: AgentProcess) -> None:
    with (AgentProcess(replay_bench(tmp_path, camera_of(9), (SHORT,), 5)) as other, BadLine(replay) as line,
          RemoteAgent(line.url) as agent):
        frames = RemoteCamera(agent).capture(SHORT, 5)
        next(frames)
        line._agent = other
        replay.restart()
        with pytest.raises(PrivcamError, match="no longer those of before"):
            next(frames)


def test_a_plan_s_pictures_are_lent_to_the_agent_and_again_to_one_that_starts_anew(tmp_path: Path, light: AgentProcess) -> None:
    (tmp_path / "with space").mkdir()
    np.save(tmp_path / "with space" / "hälf.npy", np.full((1, 1), 0.5))
    half, none = Picture(file="with space/hälf.npy"), Picture(file="none.npy")
    with BadLine(light, 2, cut=0.2) as line, RemoteAgent(line.url, pictures=tmp_path) as agent:
        rig, camera = RemoteRig(agent), RemoteCamera(agent)
        assert rig.refusal(half) is None and "cannot be read" in str(rig.refusal(none))
        assert "is not the picture that is meant" in str(rig.refusal(half.model_copy(update={"sha256": "0" * 64})))
        rig.show(half)
        for _ in range(2):
            assert next(camera.capture(SHORT, 1)).raw.mean() == pytest.approx(camera.info.black_level_dn + 400, abs=1)
            rig.confirm()
            light.restart()
        with pytest.raises(PrivcamError, match="cannot be read"):
            rig.show(none)

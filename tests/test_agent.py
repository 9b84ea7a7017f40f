"""The agent and what talks to it: cut lines, killed agents, second clients; and the contracts of cameras and rigs, over a wire."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from agent_process import REMOTE, AgentProcess, BadLine, replay_bench, simulated_bench, small_design
from camera_contract import CameraBench, CameraContract
from rig_contract import RigBench, RigContract

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

httpx = pytest.importorskip("httpx", reason="httpx is missing: pip install privcam[remote]")
pytest.importorskip("uvicorn", reason="the agent's server is missing: pip install privcam[agent]")
pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")

from hil.agent.client import RemoteAgent  # noqa: E402
from hil.cameras.remote import RemoteCamera  # noqa: E402
from hil.rigs.remote import RemoteRig  # noqa: E402

pytestmark = pytest.mark.timeout(120)
SHORT, LONG = CaptureSettings(exposure_s=0.004), CaptureSettings(exposure_s=0.008, analogue_gain=2)
NEVER = CaptureSettings(exposure_s=100)
LEVELS = {Dark(): 0.0, Flat(level=0.2): 0.2, Light(level=0.4): 0.4, Flat(level=0.6): 0.6, Pattern(cells=((0.8,),)): 0.8,
          Flat(level=1.0): 1.0}
TOLERANCE = 0.05  # of a level; levels are 0.2 apart
FRAMES = 60  # of each settings in the stored set


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    bench = simulated_bench(tmp_path_factory.mktemp("simulated"), "seed = 3\ndrop_probability = 0.5\n")
    with AgentProcess(bench, "--silent-s", "0.5") as agent:
        yield agent


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    world = World(scene=np.full((31, 31), 0.5), drop_probability=0.5)
    camera = SimulatedCamera(small_design(), world, generator=torch.Generator().manual_seed(3))
    with AgentProcess(replay_bench(tmp_path_factory.mktemp("replay"), camera, (SHORT, LONG), FRAMES)) as agent:
        yield agent


def remote_bench(folder: Path, url: str, text: str = REMOTE) -> Path:
    small_design().save(folder / "design")
    (folder / "bench.toml").write_text(text.format(url=url))
    return folder / "bench.toml"


# --- the contracts --------------------------------------------------------------------------------
class TestRemoteSimulatedCamera(CameraContract):
    @pytest.fixture
    def bench(self, simulated: AgentProcess) -> Iterator[CameraBench]:
        with RemoteAgent(simulated.url) as agent:
            agent.show(Flat(level=0.5))
            yield CameraBench(RemoteCamera(agent), (SHORT, LONG), False, NEVER)


class TestRemoteReplayCamera(CameraContract):
    @pytest.fixture
    def bench(self, replay: AgentProcess) -> Iterator[CameraBench]:
        with RemoteAgent(replay.url) as agent:
            yield CameraBench(RemoteCamera(agent), (SHORT, LONG), True, NEVER)


class TestRemoteRig(RigContract):
    @pytest.fixture
    def bench(self, simulated: AgentProcess) -> Iterator[RigBench]:
        with RemoteAgent(simulated.url) as agent:
            camera = RemoteCamera(agent)

            def seen() -> int:
                raw = next(camera.capture(SHORT, 1)).raw
                agent.confirmed = False  # only the agent's own answers are asked for here
                return round((raw.mean() - camera.info.black_level_dn) / 20)

            def spoil() -> None:
                simulated.kill()
                simulated.start()

            with BadLine(simulated) as line:
                agent._client().base_url = line.url
                yield RigBench(RemoteRig(agent), (Flat(level=0.2), Flat(level=0.9)), Pattern(cells=((0.0,) * 40,)), seen, spoil)


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


def test_a_session_over_a_bad_line_to_an_agent_that_is_killed_twice_loses_doubles_and_mislabels_nothing(tmp_path: Path) -> None:
    """200 frames; 3 % of the transfers are cut, 1 % of the frames dropped, and the agent is killed at two random moments."""
    dice = random.Random(5)
    plan = Plan(shots=tuple(Shot(stimulus=one, settings=SHORT, count=count) for one, count in
                            zip([*LEVELS] * 2, [20, 13, 17, 20, 11, 19] * 2, strict=True)))
    (tmp_path / "pi").mkdir()
    with AgentProcess(simulated_bench(tmp_path / "pi", "drop_probability = 0.01\n")) as agent, BadLine(agent, 7, cut=0.03) as line:
        def kill() -> None:
            agent.kill()
            agent.start()

        def soon() -> None:
            timers.append(threading.Timer(dice.uniform(0, 0.05), kill))
            timers[-1].start()

        timers: list[threading.Timer] = []
        with Bench.open(remote_bench(tmp_path, line.url)) as bench:
            table = bench.table
            watched = Table(Watched(table.camera, {dice.randrange(20, 90): soon, dice.randrange(110, 190): soon}), table.rig, table.design)
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

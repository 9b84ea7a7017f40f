"""The agent and what talks to it: the contracts of cameras and rigs, over a wire; second clients; what fails; what is let in.

Lines that break and agents that are killed: test_agent_killed.py.
"""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from agent_process import REMOTE, AgentHere, AgentProcess, BadLine, remote_bench, replay_bench, simulated_bench, small_design
from camera_contract import CameraBench, CameraContract
from rig_contract import RigBench, RigContract

from hil.bench import Bench
from hil.bench_file import BenchFile
from hil.cameras.simulated import SimulatedCamera
from hil.cameras.world import World
from hil.cli import main
from hil.protocols import Camera
from hil.session import run_session
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Dark, Flat, Light, Pattern

httpx = pytest.importorskip("httpx", reason="httpx is missing: pip install privcam[remote]")
pytest.importorskip("uvicorn", reason="the agent's server is missing: pip install privcam[agent]")
pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")

from hil.agent.client import RemoteAgent  # noqa: E402
from hil.agent.line import Restarted  # noqa: E402
from hil.agent.served import OnTable  # noqa: E402
from hil.cameras.remote import RemoteCamera  # noqa: E402
from hil.rigs.remote import RemoteRig  # noqa: E402

pytestmark = pytest.mark.timeout(120)
SHORT, LONG = CaptureSettings(exposure_s=0.004), CaptureSettings(exposure_s=0.008, analogue_gain=2)
NEVER = CaptureSettings(exposure_s=100)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    bench = simulated_bench(tmp_path_factory.mktemp("simulated"), "seed = 3\ndrop_probability = 0.5\n")
    with AgentProcess(bench, "--silent-s", "0.5") as agent:
        yield agent


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    world = World(scene=np.full((31, 31), 0.5), drop_probability=0.5)
    camera = SimulatedCamera(small_design(), world, generator=torch.Generator().manual_seed(3))
    with AgentProcess(replay_bench(tmp_path_factory.mktemp("replay"), camera, (SHORT, LONG), 6)) as agent:
        yield agent


@pytest.fixture(scope="module")
def light() -> Iterator[AgentProcess]:
    with AgentProcess.light(silent_s=0.5) as agent:
        yield agent


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
    def bench(self, light: AgentProcess) -> Iterator[RigBench]:
        with BadLine(light) as line, RemoteAgent(line.url) as agent:
            camera = RemoteCamera(agent)

            def seen() -> int:
                raw = next(camera.capture(SHORT, 1)).raw
                agent.confirmed = False  # only what the agent answers is asked for here
                return round((raw.mean() - camera.info.black_level_dn) / 20)

            yield RigBench(RemoteRig(agent), (Flat(level=0.2), Flat(level=0.9)), Pattern(cells=((0.0,) * 40,)), seen, light.restart)


# --- one session ----------------------------------------------------------------------------------
def test_a_session_over_the_wire_leaves_what_one_at_the_table_leaves(tmp_path: Path) -> None:
    plan = Plan(shots=tuple(Shot(stimulus=one, settings=settings, count=2) for settings in (SHORT, LONG)
                             for one in (Dark(), Flat(level=0.2), Light(level=0.4), Pattern(cells=((0.8,),)))))
    bench = simulated_bench(tmp_path, "seed = 4\ndrop_probability = 0.2\n")
    taken = {}
    with AgentProcess(bench) as agent:
        (tmp_path / "pc").mkdir()
        for name, file in {"simulated": bench, "remote": remote_bench(tmp_path / "pc", agent.url)}.items():
            with Bench.open(file, occasion=2) as opened:
                taken[name] = run_session(plan, opened.table, tmp_path / name, clock=lambda: "then", tell=lambda text: None)
    assert taken["remote"].header == taken["simulated"].header and taken["remote"].journal == taken["simulated"].journal
    assert taken["remote"].header.camera.source == "simulated", "what it is passes through"


# --- one at a time --------------------------------------------------------------------------------
def test_the_second_client_is_refused_until_the_first_is_silent_and_the_first_is_told(light: AgentProcess) -> None:
    with RemoteAgent(light.url) as first:
        refused = pytest.raises(PrivcamError, match=r"the agent is taken; got: by .*process \d+; .*taken over in \d+ s")
        with refused, RemoteAgent(light.url):
            pass
        frames = RemoteCamera(first).capture(SHORT, 5)
        next(frames)
        time.sleep(0.6)
        with RemoteAgent(light.url) as second:
            assert len(list(RemoteCamera(second).capture(SHORT, 2))) == 2
            with pytest.raises(PrivcamError, match="no session has this token"):
                next(frames)
    with RemoteAgent(light.url):
        pass


class Asker:
    """Plain HTTP with a token."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": "Bearer " + "t" * 40}, trust_env=False)

    def put(self, path: str, body: object = None) -> int:
        return self.http.put(path, json=body).status_code

    def frame(self, capture: int, place: int):
        return self.http.get(f"/v1/captures/{capture}/frames/{place}")


def test_a_frame_is_kept_until_the_next_one_is_asked_for(replay: AgentProcess) -> None:
    asker, wanted = Asker(replay.url), {"settings": {"exposure_s": 0.004}, "count": 3}
    assert asker.put("/v1/captures/1", wanted) == 409, "no session"
    for _ in range(2):
        assert asker.put("/v1/session", {"who": "a test"}) == 200
        assert asker.put("/v1/captures/1", wanted) == 200
    first = asker.frame(1, 0)
    assert asker.frame(1, 0).content == first.content and asker.put("/v1/captures/1", wanted) == 200
    assert [asker.frame(*which).status_code for which in ((1, 2), (1, 3), (2, 0), (1, 1))] == [409, 404, 404, 200]
    assert asker.frame(1, 0).status_code == 410, "the next one was asked for"
    assert asker.put("/v1/captures/1", wanted | {"count": 9}) == 409 and asker.put("/v1/session", {"who": "another"}) == 409
    assert asker.put("/v1/captures/2", wanted) == 200 and asker.frame(1, 2).status_code == 410
    assert asker.frame(2, 0).content != first.content
    assert asker.http.delete("/v1/session").status_code == 204 and asker.frame(2, 0).status_code == 409


# --- what fails is told ---------------------------------------------------------------------------
class Slow:
    """A camera whose n-th frame takes its time or fails, and which counts how often it was asked."""

    def __init__(self, *, takes_s: float = 0.0, error: Exception | None = None, metadata: dict | None = None) -> None:
        self.takes_s, self.error, self.metadata, self.exposed = takes_s, error, metadata or {}, 0
        self.info = CameraInfo(name="slow", sensor="none", shape=(4, 6), bit_depth=10, black_level_dn=0, source="emulated")

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        for _ in range(count):
            time.sleep(self.takes_s)
            self.exposed += 1
            if self.error is not None:
                raise self.error
            yield Frame(raw=np.full((4, 6), self.exposed, np.uint16), settings=settings, timestamp_s=float(self.exposed),
                        source="emulated", index=self.exposed, sensor="none", metadata=self.metadata)


def table_of(camera: Camera, closed: list[int] | None = None):
    @contextmanager
    def open_table(occasion: int, pictures: Path):
        yield OnTable(camera, None, "", replays=False)
        if closed is not None:
            closed.append(occasion)
    return open_table


def test_what_takes_longer_than_an_answer_is_asked_for_again_and_done_once() -> None:
    camera, closed = Slow(takes_s=0.3), []
    with AgentHere(table_of(camera, closed)) as here:
        with RemoteAgent(here.url, patience_s=0.2, silence_s=0.2, occasion=7) as agent:
            frames = list(RemoteCamera(agent).capture(SHORT, 3))
            assert agent.asked_again == 0
        assert [int(frame.raw[0, 0]) for frame in frames] == [1, 2, 3] and camera.exposed == 3 and closed == [7]
        with RemoteAgent(here.url, occasion=8):
            pass
        agent = RemoteAgent(here.url, occasion=9).__enter__()
    assert closed == [7, 8, 9], "an agent that ends closes its bench"
    assert agent.opened.camera.source == "emulated"


@pytest.mark.parametrize(("camera", "told"), [
    (Slow(error=PrivcamError("the sensor is cold", got="-40", todo="warm it")), "the sensor is cold; got: -40; what to do: warm it"),
    (Slow(error=OSError(19, "No such device")), "the agent's bench failed.*No such device"),
    (Slow(metadata={"far": float("inf")}), "cannot be written down"),
    (Slow(error=ZeroDivisionError("unthought of")), "a fault of the agent.*unthought of"),
])
def test_a_camera_that_fails_is_told_as_at_one_s_own_table(camera: Camera, told: str) -> None:
    with AgentHere(table_of(camera)) as here, RemoteAgent(here.url) as agent:
        for _ in range(2):
            with pytest.raises(PrivcamError, match=told):
                next(RemoteCamera(agent).capture(SHORT, 1))


def test_a_bench_that_does_not_open_leaves_the_agent_free() -> None:
    broken = [True]

    @contextmanager
    def open_table(occasion: int, pictures: Path):
        if broken.pop():
            raise ModuleNotFoundError("No module named 'torch'")
        yield OnTable(Slow(), None, "", replays=False)

    broken.insert(0, False)
    with AgentHere(open_table) as here:
        with pytest.raises(PrivcamError, match="bench does not open; got: No module named 'torch'"), RemoteAgent(here.url):
            pass
        with RemoteAgent(here.url) as agent, pytest.raises(PrivcamError, match="the agent has no rig"):
            RemoteRig(agent)


def test_an_agent_that_starts_anew_at_every_request_is_given_up() -> None:
    class Falling(RemoteAgent):
        def begin(self, settings: CaptureSettings, count: int) -> int:
            raise Restarted

        def _reopen(self) -> None:
            self.restarts += 1

    with AgentHere(table_of(Slow())) as here, Falling(here.url) as agent, pytest.raises(PrivcamError, match="falls each time"):
        next(RemoteCamera(agent).capture(SHORT, 1))


def test_who_is_not_there_and_who_is_no_agent_is_told(tmp_path: Path) -> None:
    def refusal(url: str) -> str:
        with pytest.raises(PrivcamError) as caught, RemoteAgent(url, patience_s=0.1):
            pass
        return str(caught.value)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        port = other.server_address[1]
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        assert "no privcam agent answers there" in refusal(f"http://127.0.0.1:{port}")
        other.shutdown()
        thread.join()
    assert "the agent does not answer" in refusal(f"http://127.0.0.1:{port}")
    assert all("no agent's address" in refusal(url) for url in ("127.0.0.1", "ftp://127.0.0.1", "http://", "http://x:y"))


# --- what the server lets in ----------------------------------------------------------------------
def test_it_listens_on_loopback_alone_and_needs_no_torch_to_replay(replay: AgentProcess) -> None:
    with RemoteAgent(replay.url) as agent:
        next(RemoteCamera(agent).capture(SHORT, 1))
        maps = Path(f"/proc/{replay.process.pid}/maps")
        sockets = Path("/proc/net/tcp")
        if not maps.exists() or not sockets.exists():
            pytest.skip("no /proc here")
        assert "libpython" in maps.read_text() or "python" in maps.read_text()
        assert "torch" not in maps.read_text()
        listening = {row.split()[1] for row in sockets.read_text().splitlines()[1:] if row.split()[3] == "0A"}
    assert f"0100007F:{replay.port:04X}" in listening and f"00000000:{replay.port:04X}" not in listening


@pytest.mark.parametrize(("headers", "content", "status"), [
    ({"Host": "evil.example"}, b"{}", 421), ({"Host": ""}, b"{}", 421),
    ({}, iter([b"{}"]), 411), ({}, b"{", 422),
    ({}, b'{"who": "\xff"}', 400), ({}, b'{"who": "x", "occasion": 1e400}', 422), ({"Authorization": "Basic eDp5"}, b"{}", 401),
    ({"Authorization": "Bearer \u00e9"}, b"{}", 401), ({}, b'{"who": "x", "more": 1}', 422), ({}, b"[" * 100_000, 400),
])
def test_absurd_requests_are_refused_in_the_house_s_words(replay: AgentProcess, headers, content, status: int) -> None:
    answer = Asker(replay.url).http.put("/v1/session", content=content, headers={
        name: value.encode("latin-1") for name, value in ({"Content-Type": "application/json"} | headers).items()})
    assert answer.status_code == status and set(answer.json()) == {"what", "got", "allowed", "todo"} and answer.json()["what"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(replay: AgentProcess) -> None:
    with socket.create_connection(("127.0.0.1", replay.port)) as line:
        line.sendall(b"PUT /v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n")
        assert line.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("file", ["/etc/hostname", "../bench.toml", "x\0.png", "f" * 64 + ".npy/../x.png", "f" * 64 + ".npy\n"])
def test_a_client_reads_and_writes_no_files_but_those_it_lends(light: AgentProcess, file: str) -> None:
    asker, picture = Asker(light.url), {"kind": "picture", "file": file}
    assert asker.put("/v1/session", {"who": "a test"}) == 200
    assert asker.http.put(f"/v1/pictures/{quote(file, safe='')}", content=b"x").status_code in (404, 422)
    assert asker.http.put("/v1/shown/1", json=picture).json()["what"] == "a picture that was not lent"
    assert asker.http.post("/v1/refusal", json=picture).json()["refusal"]["what"] == "a picture that was not lent"
    damaged = asker.http.put(f"/v1/pictures/{'f' * 64}.npy", content=b"x")
    assert damaged.status_code == 409 and "came damaged" in damaged.json()["what"]
    asker.http.delete("/v1/session")


# --- bench files ----------------------------------------------------------------------------------
def test_a_remote_bench_says_what_does_not_go_together(tmp_path: Path, simulated: AgentProcess, replay: AgentProcess) -> None:
    def refusal(text: str, url: str) -> str:
        with pytest.raises(PrivcamError) as caught, Bench.open(remote_bench(tmp_path, url, text)):
            pass
        return str(caught.value)

    assert "got: remote before" in refusal(REMOTE, replay.url) and "allowed: no rig" in refusal(REMOTE, replay.url)
    without = REMOTE.partition("[rig]")[0]
    assert "got: no rig before" in refusal(without, simulated.url)
    assert "allowed: remote" in refusal(without + '[rig]\nkind = "person"\n', simulated.url)
    assert "simulated before remote" in refusal(without + '[rig]\nkind = "simulated"\n', simulated.url)
    other = small_design().replace(name="another")
    file = remote_bench(tmp_path, simulated.url)
    other.save(tmp_path / "design")
    with pytest.raises(PrivcamError, match="another design"), Bench.open(file):
        pass
    with Bench.open(remote_bench(tmp_path, replay.url, without)) as bench:
        assert bench.rig is None and next(bench.camera.capture(SHORT, 1)).replayed


def test_an_agent_may_leave_the_rig_to_its_client_and_serves_its_own_table(tmp_path: Path, capsys) -> None:
    v4l2 = '[camera]\nkind = "v4l2"\ndevice = "/dev/x"\nsensor = "x"\nshape = [8, 8]\npixel_format = "Y10"\nblack_level_dn = 16\n'
    (tmp_path / "bench.toml").write_text(v4l2)
    assert BenchFile.load(tmp_path / "bench.toml", served=True).rig is None
    with pytest.raises(PrivcamError, match="None before v4l2"):
        BenchFile.load(tmp_path / "bench.toml")
    (tmp_path / "bench.toml").write_text(REMOTE.format(url="http://127.0.0.1:1"))
    assert main(["agent", str(tmp_path / "bench.toml")]) == 2
    assert "its own table" in capsys.readouterr().err
    (tmp_path / "bench.toml").write_text(v4l2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["agent", str(tmp_path / "bench.toml"), "--port", str(taken.getsockname()[1])]) == 2
    assert "the agent gets no such port" in capsys.readouterr().err

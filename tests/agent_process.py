"""An agent in a process of its own that can be killed and started again, and a line to it that cuts transfers at random places."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from hil.capture_set.stored import CaptureSet
from hil.capture_set.writer import CaptureWriter
from hil.protocols import Camera
from optics_sim.design import CameraDesign, PinholePattern
from optics_sim.frame import CaptureSettings
from optics_sim.learning.pipeline import start_design

SIMULATED = 'design = "design/design.toml"\n[camera]\nkind = "simulated"\n{more}[rig]\nkind = "simulated"\n'
REMOTE = 'design = "design/design.toml"\n[camera]\nkind = "remote"\nurl = "{url}"\n[rig]\nkind = "remote"\n'


class AgentProcess:
    """`privcam agent` on a bench file, or another that says its address; use in a `with`. `url` is that of the one that runs now."""

    def __init__(self, bench: Path, *options: str) -> None:
        self._words = ["-m", "hil.cli", "agent", str(bench), "--port", "0", *options]

    @classmethod
    def light(cls, seed: int = 0, drop: float = 0.0, silent_s: float = 60.0) -> Self:
        agent = cls(Path())
        agent._words = [str(Path(__file__).with_name("light_agent.py")), str(seed), str(drop), str(silent_s)]
        return agent

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    def start(self) -> None:
        root = Path(__file__).parents[1]
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen([sys.executable, *self._words], stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
        said = self.process.stdout.readline()
        self.url = re.search(r"http://127\.0\.0\.1:\d+", said)[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def restart(self) -> None:
        self.kill()
        self.start()


class BadLine:
    """A TCP proxy to an agent. Of all transfers (a request and its answer) a share is cut at any byte, or has a byte of it changed."""

    def __init__(self, agent: AgentProcess, seed: int = 0, *, cut: float = 0.0, change: float = 0.0) -> None:
        self._agent, self._dice, self._cut, self._change = agent, random.Random(seed), cut, change
        self.transfers = self.cuts = self.changes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with suppress(OSError), near, socket.create_connection(("127.0.0.1", self._agent.port)) as far:
            while self._transfer(near, far):
                pass

    def _transfer(self, near: socket.socket, far: socket.socket) -> bool:
        """Returns whether a request and its answer went through whole."""
        request = message(near)
        if not request:
            return False
        self.transfers += 1
        fate, in_request = self._dice.random(), self._dice.random() < 0.3
        if fate < self._cut and in_request:
            self.cuts += 1
            far.sendall(request[:self._dice.randrange(len(request) + 1)])
            return False
        far.sendall(request)
        answer = message(far)
        if fate < self._cut:
            self.cuts += 1
            near.sendall(answer[:self._dice.randrange(len(answer) + 1)])
            return False
        body = answer.find(b"\r\n\r\n") + 4
        if self._cut <= fate < self._cut + self._change and len(answer) > body + 1000:
            self.changes += 1
            place = self._dice.randrange(body, len(answer))
            answer = answer[:place] + bytes([answer[place] ^ 4]) + answer[place + 1:]
        near.sendall(answer)
        return bool(answer)


def message(line: socket.socket) -> bytes:
    """Returns one HTTP message; b"" where the line ended before it was whole."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if end and len(body) >= (int(length[1]) if length else 0):
            return data
        if not (more := line.recv(1 << 16)):
            return b""
        data += more


def small_design() -> CameraDesign:
    """A pinhole on 31 x 31 scene pixels; small bins keep the raw frame at 64 x 64."""
    made = start_design(PinholePattern(), (31, 31), (16, 16), bin_px=4)
    return made.replace(**{"exposure.white_photons_per_px_s": 5e7, "optics.propagation": "geometric"})


def simulated_bench(folder: Path, more: str = "") -> Path:
    """Returns the bench.toml, in a new folder, of a simulated camera with more fields."""
    small_design().save(folder / "design")
    (folder / "bench.toml").write_text(SIMULATED.format(more=more))
    return folder / "bench.toml"


def replay_bench(folder: Path, camera: Camera, settings: tuple[CaptureSettings, ...], count: int) -> Path:
    """Returns the bench.toml, in a new folder, of a camera that replays frames taken now."""
    with CaptureWriter.create(folder / "set", camera.info, clock=lambda: "then") as writer:
        for one in settings:
            for frame in camera.capture(one, count):
                writer.add(frame)
        taken: CaptureSet = writer.close()
    (folder / "bench.toml").write_text(f'[camera]\nkind = "replay"\nset = "set"\n# {len(taken)} frames\n')
    return folder / "bench.toml"


class AgentHere:
    """An agent in a thread of this process, on a table that a test opens; it answers "ask again" after 50 ms. Use in a `with`."""

    def __init__(self, open_table, *, boot: str = "b1", silent_s: float = 60.0, port: int = 0) -> None:
        from hil.agent.serve import desk_of, server_of

        self._server = server_of(desk_of(open_table, boot=boot, version="test", silent_s=silent_s, answer_s=0.05))
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def remote_bench(folder: Path, url: str, text: str = REMOTE) -> Path:
    small_design().save(folder / "design")
    (folder / "bench.toml").write_text(text.format(url=url))
    return folder / "bench.toml"

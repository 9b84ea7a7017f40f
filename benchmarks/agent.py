"""What the agent costs: until it answers, until its bench is open, its memory, and a 12-megapixel frame over loopback.

Agent and client run on this machine; the frames are replayed. Run: python -m benchmarks.agent [FRAMES]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hil.agent.client import RemoteAgent
from hil.cameras.remote import RemoteCamera
from hil.capture_set.writer import CaptureWriter
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

SHAPE = (3040, 4056)
SETTINGS = CaptureSettings(exposure_s=0.01)
ROUNDS = 3


def stored(folder: Path, count: int) -> Path:
    """Returns the bench.toml of a camera that replays frames of noise."""
    generator = np.random.default_rng(0)
    info = CameraInfo(name="noise", sensor="imx477", shape=SHAPE, bit_depth=12, black_level_dn=256, source="simulated")
    with CaptureWriter.create(folder / "set", info, clock=lambda: "") as writer:
        for index in range(count):
            raw = generator.integers(0, 2**12, SHAPE, dtype=np.uint16)
            writer.add(Frame(raw=raw, settings=SETTINGS, timestamp_s=float(index), source="simulated", index=index, sensor="imx477"))
        writer.close()
    (folder / "bench.toml").write_text('[camera]\nkind = "replay"\nset = "set"\n')
    return folder / "bench.toml"


def memory_mib(process: int) -> float:
    """Returns the resident memory of a process on Linux."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(bench: Path, count: int) -> str:
    """Returns one round as a line."""
    start_s = time.perf_counter()
    command = [sys.executable, "-m", "hil.cli", "agent", str(bench), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline() if process.stdout is not None else ""
            there_s = time.perf_counter() - start_s
            with RemoteAgent(said.split()[1]) as agent:
                open_s, idle = time.perf_counter() - start_s, memory_mib(process.pid)
                start_s = time.perf_counter()
                for _ in RemoteCamera(agent).capture(SETTINGS, count):
                    pass
                each_s = (time.perf_counter() - start_s) / count
                busy = memory_mib(process.pid)
        finally:
            process.terminate()
    return f"address {there_s:.2f} s, session {open_s:.2f} s, memory {idle:.0f} MiB, then {busy:.0f} MiB, frame {each_s:.3f} s"


if __name__ == "__main__":
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    with tempfile.TemporaryDirectory() as place:
        file = stored(Path(place), frames)
        for _ in range(ROUNDS):
            print(measure(file, frames))

"""Run as a program: writes capture sets in child processes that are killed, and checks what is left. Prints one JSON line.

`capture_killer.py FOLDER careless` does the same to a writer that tells of a frame before the frame is there, which must be found
out. `capture_killer.py FOLDER random KILLS SEED` kills from outside at random moments until there were so many kills;
`capture_killer.py FOLDER step` kills the child before each call that opens or changes a file of the set and before and after each
flush, one after the other.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from hil.capture_set.packed import open_set
from hil.capture_set.writer import CaptureWriter
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

SHAPE = (64, 96)
CAMERA = CameraInfo(name="test", sensor="test", shape=SHAPE, bit_depth=16, black_level_dn=0, source="simulated")


def frame(number: int) -> Frame:
    raw = np.random.default_rng(number).integers(0, 65536, SHAPE).astype(np.uint16)
    return Frame(raw=raw, settings=CaptureSettings(exposure_s=0.01), timestamp_s=number / 10, source="simulated", index=number,
                 sensor="test")


def write(folder: Path, total: int, done: int, maker: type[CaptureWriter]) -> None:
    """Makes or resumes a set, adds frames until it has `total`, telling of each on `done`, and closes it."""
    if closed(folder):
        return
    writer = maker.resume(folder) if (folder / "set.json").exists() else maker.create(folder, CAMERA, clock=lambda: "then")
    with writer:
        while len(writer) < total:
            writer.add(frame(len(writer)))
            os.write(done, b".")
        writer.close()


def closed(folder: Path) -> bool:
    return (folder / "set.json").exists() and open_set(folder).closed


def child(folder: Path, total: int, *, die_at: int | None) -> tuple[int, int]:
    """Returns the process that writes and the end of a pipe that gets a byte for each frame that `add` returned for."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        if die_at is not None:
            sys.addaudithook(_dying_at(die_at, str(folder)))
        write(folder, total, writing, Careless if sys.argv[2] == "careless" else CaptureWriter)
        os._exit(0)
    os.close(writing)
    return process, reading


def _dying_at(step: int, folder: str):
    """Kills at the `step`-th audited change below the folder; `fsync` and `write` raise no audit event and are wrapped."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate") and any(folder in str(value) for value in arguments):
            tick()

    fsync = os.fsync
    os.fsync = lambda descriptor: (tick(), fsync(descriptor), tick())[1]
    return hook


class Careless(CaptureWriter):
    """The negative control: the line first, then the frame."""

    def _write_frame(self, data: bytes) -> None:
        self.late = data

    def _write_line(self, line: bytes) -> None:
        super()._write_line(line)
        super()._write_frame(self.late)


def survivors(folder: Path) -> int:
    """Returns how many frames are there, each the one that was written; raises where the set has any damage."""
    if not (folder / "set.json").exists():
        return 0
    stored = open_set(folder)
    if damage := stored.damage():
        raise SystemExit(f"damage after a kill: {[str(one) for one in damage]}")
    for number, found in enumerate(stored):
        if not np.array_equal(found.raw, frame(number).raw):
            raise SystemExit(f"frame {number} is not the one that was written")
    return len(stored)


def round_(folder: Path, total: int, before: int, *, die_at: int | None, delay_s: float | None) -> tuple[bool, int]:
    """Returns whether the child came to its end, and how many frames are there; exits where a kill lost more than one."""
    process, done = child(folder, total, die_at=die_at)
    if delay_s is not None:
        time.sleep(delay_s)
        os.kill(process, signal.SIGKILL)
    with os.fdopen(done, "rb") as stream:
        told = len(stream.read())
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the writer failed")
    after = survivors(folder)
    if not told <= after - before <= told + 1:
        raise SystemExit(f"{before} frames before, {told} told of, {after} there")
    return os.WIFEXITED(status), after


def main() -> None:
    folder, how = Path(sys.argv[1]), sys.argv[2]
    kills, frames, finished = 0, 0, 0
    if how == "random":
        dice = random.Random(int(sys.argv[4]))
        start = time.monotonic()
        round_(folder / "timed", 40, 0, die_at=None, delay_s=None)
        lasts_s = time.monotonic() - start
        there, name = 0, 0
        while kills < int(sys.argv[3]):
            ended, there = round_(folder / str(name), 40, there, die_at=None, delay_s=dice.uniform(0, lasts_s / 3))
            kills, finished, frames = kills + (not ended), finished + ended, frames + there
            if closed(folder / str(name)):
                there, name = 0, name + 1
    else:
        for resumed in (False, True):
            step, ended = 0, False
            while not ended:
                step += 1
                place = folder / f"{resumed}-{step}"
                before = 0
                if resumed:  # a set with frames and a frame in flight, so that resuming has something to remove and to cut
                    with CaptureWriter.create(place, CAMERA, clock=lambda: "then") as writer:
                        writer.add(frame(0))
                    (place / "frames/000001.npy").write_bytes(b"half")
                    with (place / "journal.jsonl").open("ab") as journal:
                        journal.write(b'{"number":1,')
                    before = 1
                ended, there = round_(place, 3, before, die_at=step, delay_s=None)
                kills, finished, frames = kills + (not ended), finished + ended, frames + there
                if not ended:
                    ended_now, there = round_(place, 3, there, die_at=None, delay_s=None)
                    if not ended_now or there != 3 or not closed(place):
                        raise SystemExit(f"step {step}: the set did not resume")
    print(json.dumps({"kills": kills, "finished": finished, "frames": frames}))  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except PrivcamError as error:
        raise SystemExit(str(error)) from error

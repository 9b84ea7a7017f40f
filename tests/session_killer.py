"""Run as a program: a capture session on a simulated bench in child processes that are killed. Prints one JSON line.

`session_killer.py FOLDER KILLS SEED` kills at random moments until there were so many kills; a session that ends is checked and
followed by a new one. After every kill: what was there is there still, nothing is damaged. At every end: each planned frame once, in
order, and what its pixels show is what its label says. `session_killer.py FOLDER KILLS SEED lazy` does the same with a rig that takes
a stimulus shown last time for shown still, `... late` with a camera that gives a frame begun before; either must be found out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from hil.bench import Bench
from hil.capture_set.packed import open_set
from hil.capture_set.stored import CaptureSet
from hil.protocols import Shown
from hil.session import PACKED, SET, Table, done, occasion, run_session, taken_of
from optics_sim.design import PinholePattern
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings, Frame
from optics_sim.learning.pipeline import start_design
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Dark, Flat, Light, Pattern, stimulus_of

LEVELS = {Dark(): 0.0, Flat(level=0.2): 0.2, Light(level=0.4): 0.4, Flat(level=0.6): 0.6, Pattern(cells=((0.8,),)): 0.8,
          Flat(level=1.0): 1.0}
PLAN = Plan(shots=tuple(Shot(stimulus=one, settings=CaptureSettings(exposure_s=exposure_s), count=3)
                        for exposure_s in (0.004, 0.008) for one in LEVELS))
TOLERANCE = 0.05  # of a level; levels are 0.2 apart


class Lazy:
    """A rig that remembers, in a file, what it showed last, and does not show it again."""

    def __init__(self, rig, file: Path) -> None:
        self.rig, self.file, self.info = rig, file, rig.info

    def refusal(self, stimulus):
        return self.rig.refusal(stimulus)

    def show(self, stimulus) -> Shown:
        if self.file.exists() and self.file.read_text() == stimulus.text:
            return Shown(rig=self.info, proof="it was shown before")
        self.file.write_text(stimulus.text)
        return self.rig.show(stimulus)

    def confirm(self) -> None:
        return


class Late:
    """A camera with a buffer: the first frame of each call was exposed before it."""

    def __init__(self, camera) -> None:
        self.camera, self.info, self.kept = camera, camera.info, None

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        for frame in self.camera.capture(settings, count + (self.kept is None)):
            if self.kept is not None:
                yield self.kept
            self.kept = frame


def session(bench_file: Path, folder: Path, told: int, spoilt: str) -> None:
    """Takes the whole plan, or what is missing of it; a byte goes to `told` for each shot that is begun."""
    with Bench.open(bench_file, occasion=occasion(folder)) as bench:
        table = bench.table
        if spoilt == "lazy":
            table = Table(table.camera, Lazy(table.rig, folder.with_suffix(".shown")), table.design)
        if spoilt == "late":
            table = Table(Late(table.camera), table.rig, table.design)
        run_session(PLAN, table, folder, clock=lambda: "then", tell=lambda text: os.write(told, b".") and None)


def child(bench_file: Path, folder: Path, spoilt: str, delay_s: float) -> tuple[bool, int]:
    """Returns whether a session came to its end before it was killed, and how many lines it told."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            session(bench_file, folder, writing, spoilt)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    until = time.monotonic() + delay_s
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0 and (left_s := until - time.monotonic()) > 0:
        time.sleep(min(left_s, 0.005))
    if not ended[0]:
        os.kill(process, signal.SIGKILL)
        ended = os.waitpid(process, 0)
    with os.fdopen(reading, "rb") as stream:
        told = len(stream.read())
    status = ended[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the session failed")
    return os.WIFEXITED(status), told


def survivors(folder: Path, before: list[str]) -> list[str]:
    """Returns the hashes of the frames that are there; raises where one is gone or changed, or anything is damaged."""
    if not (folder / SET / "set.json").exists():
        hashes: list[str] = []
    else:
        stored = open_set(folder / SET)
        if damage := stored.damage():
            raise SystemExit(f"damage after a kill: {[str(one) for one in damage]}")
        done(PLAN, stored.entries)
        hashes = [entry.sha256 for entry in stored.entries]
    if hashes[:len(before)] != before:
        raise SystemExit("a frame that was there is gone or is another")
    return hashes


def check_end(packed: CaptureSet) -> int:
    """Returns how many times the session was opened; raises where a frame is not there once, in its place, or under a wrong label."""
    if damage := packed.damage():
        raise SystemExit(f"damage at the end: {[str(one) for one in damage]}")
    wanted = [(number, repeat) for number, shot in enumerate(PLAN.shots) for repeat in range(shot.count)]
    if [(taken_of(one.metadata).number, taken_of(one.metadata).repeat) for one in packed.entries] != wanted:
        raise SystemExit("a frame is missing, doubled, or out of order")
    if len({entry.sha256 for entry in packed.entries}) != len(packed):
        raise SystemExit("two frames are the same")
    frames = list(packed)
    signals = [float(frame.raw.mean()) - packed.header.camera.black_level_dn for frame in frames]
    white = {frame.settings.exposure_s: signal for frame, signal in zip(frames, signals, strict=True)}
    # of each exposure the last shot is white, and overwrites the others
    for number, (frame, signal_dn) in enumerate(zip(frames, signals, strict=True)):
        shows, says = signal_dn / white[frame.settings.exposure_s], LEVELS[stimulus_of(frame.stimulus)]
        if abs(shows - says) > TOLERANCE:
            raise SystemExit(f"frame {number} is called {says} of white and shows {shows:.2f}")
    return packed.entries[-1].session + 1


def main() -> None:
    torch.set_num_threads(1)
    folder, kills_wanted, dice = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    spoilt = sys.argv[4] if len(sys.argv) > 4 else ""
    design = start_design(PinholePattern(), (31, 31), (16, 16), bin_px=4)
    design.replace(**{"exposure.white_photons_per_px_s": 5e7, "optics.propagation": "geometric"}).save(folder / "design")
    bench_file = folder / "bench.toml"
    bench_file.write_text('design = "design/design.toml"\n[rig]\nkind = "simulated"\n'
                          '[camera]\nkind = "simulated"\ndrop_probability = 0.1\n')
    start = time.monotonic()
    session(bench_file, folder / "timed", os.open(os.devnull, os.O_WRONLY), spoilt)
    lasts_s = time.monotonic() - start
    check_end(open_set(folder / "timed" / PACKED))
    kills, ends, name, before, openings, idle = 0, 0, 0, [], 0, 0
    while kills < kills_wanted:
        place = folder / str(name)
        ended, _ = child(bench_file, place, spoilt, dice.uniform(0, lasts_s / 3))
        after = survivors(place, before)
        kills, idle = kills + (not ended), idle + (len(after) == len(before))
        before = after
        if ended:
            openings += check_end(open_set(place / PACKED))
            ends, name, before = ends + 1, name + 1, []
    session(bench_file, folder / str(name), os.open(os.devnull, os.O_WRONLY), spoilt)
    survivors(folder / str(name), before)
    openings += check_end(open_set(folder / str(name) / PACKED))
    result = {"kills": kills, "kills_before_a_new_frame": idle, "sessions": ends + 1, "openings": openings,
              "frames": PLAN.frames * (ends + 1)}
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except PrivcamError as error:
        raise SystemExit(str(error)) from error

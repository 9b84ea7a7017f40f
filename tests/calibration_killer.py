"""Run as a program: `privcam calibrate` on a simulated bench in child processes that are killed. Prints one JSON line.

`calibration_killer.py FOLDER KILLS SEED` kills at random moments until there were so many kills; a calibration that ends is checked
and followed by a new one. After every kill: frames that were there are there still, nothing is damaged, and a file that is there
is whole. At every end: each planned frame once, in order, and the camera that was found is the one that was hidden.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from benchmarks.calibration_coverage import bench_file
from benchmarks.geometry_coverage import hidden_camera
from calibration.as_built import Calibration
from hil.calibrate.run import load
from hil.capture_set.packed import open_set
from hil.cli import main as privcam
from hil.session import PACKED, PLAN, SET, done
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.shots import Plan

CAMERA = hidden_camera(4)
WORDS = ["--levels", "12", "--stack", "16", "--repeats", "2"]
PARTS = ("sensor", "mask")


def session(bench: Path, folder: Path) -> int:
    """Returns the exit code of the command."""
    with contextlib.redirect_stdout(io.StringIO()):
        return privcam(["calibrate", str(bench), "--out", str(folder), *WORDS])


def killed(bench: Path, folder: Path, delay_s: float) -> bool:
    """Returns whether the command came to its end before it was killed."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            code = session(bench, folder)
        finally:
            os._exit(code)
    until = time.monotonic() + delay_s
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0 and (left_s := until - time.monotonic()) > 0:
        time.sleep(min(left_s, 0.005))
    if ended[0] == 0:
        os.kill(process, signal.SIGKILL)
        ended = os.waitpid(process, 0)
    if os.WIFEXITED(ended[1]) and os.WEXITSTATUS(ended[1]):
        raise SystemExit("the calibration failed")
    return os.WIFEXITED(ended[1])


def survivors(folder: Path, before: dict[str, list[str]]) -> dict[str, list[str]]:
    """Returns the hashes of each part's frames; raises where one is gone or changed, or a file is not whole."""
    found = {}
    for part in PARTS:
        place = folder / part
        source = next((place / name for name in (PACKED, SET) if (place / name / "set.json").exists() or (place / name).is_file()), None)
        stored = None if source is None else open_set(source)
        if stored is not None:
            if damage := stored.damage():
                raise SystemExit(f"damage after a kill: {[str(one) for one in damage]}")
            done(Plan.model_validate_json((place / PLAN).read_bytes()), stored.entries)
        found[part] = [] if stored is None else [entry.sha256 for entry in stored.entries]
        if found[part][:len(before.get(part, []))] != before.get(part, []):
            raise SystemExit(f"{part}: a frame that was there is gone or is another")
    for file in folder.rglob("*.json"):
        json.loads(file.read_text())
    if (folder / "calibration.json").exists():
        load(folder)
    if (folder / "as_built" / "design.toml").exists():
        CameraDesign.load(folder / "as_built")
    return found


def check_end(folder: Path) -> int:
    """Returns how many frames there are; raises where one is missing, or something else than the hidden camera was found."""
    frames = 0
    for part in PARTS:
        packed, plan = open_set(folder / part / PACKED), Plan.model_validate_json((folder / part / PLAN).read_bytes())
        if done(plan, packed.entries) != plan.frames or len({entry.sha256 for entry in packed.entries}) != plan.frames:
            raise SystemExit(f"{part}: a frame is missing or there twice")
        frames += plan.frames
    found: Calibration = load(folder)
    truth = {"shift y": CAMERA.shift_m[0], "shift x": CAMERA.shift_m[1], "mask to sensor": CAMERA.mask_to_sensor_m}
    for name, true in truth.items():
        low, high = found.mask[name].interval or (0.0, 0.0)
        if not low - (high - low) <= true <= high + (high - low):
            raise SystemExit(f"{name}: {true} was hidden, {low} to {high} was found")
    if abs((found.sensor["gain"].value or 0.0) / CAMERA.design.sensor.gain_dn_per_e - 1) > 0.03:
        raise SystemExit(f"gain: {found.sensor['gain'].value} was found")
    return frames


def main() -> None:
    torch.set_num_threads(1)
    folder, kills_wanted, dice = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    bench = bench_file(CAMERA, folder)
    start = time.monotonic()
    if session(bench, folder / "timed"):
        raise SystemExit("the calibration failed")
    lasts_s = time.monotonic() - start
    frames = check_end(folder / "timed")
    kills, ends, idle, name = 0, 1, 0, 0
    before: dict[str, list[str]] = {}
    while kills < kills_wanted:
        ended = killed(bench, folder / str(name), dice.uniform(0, lasts_s / 2))
        after = survivors(folder / str(name), before)
        kills, idle = kills + (not ended), idle + (after == before)
        before = after
        if ended:
            frames, ends, name, before = frames + check_end(folder / str(name)), ends + 1, name + 1, {}
    if session(bench, folder / str(name)):
        raise SystemExit("the calibration failed")
    survivors(folder / str(name), before)
    result = {"kills": kills, "kills_before_a_new_frame": idle, "calibrations": ends + 1, "frames": frames + check_end(folder / str(name))}
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except PrivcamError as error:
        raise SystemExit(str(error)) from error

"""How often the 95 % intervals of `privcam calibrate` hold the truth of hidden cameras, sensor and mask together, and how wide they are.

Each camera is a bench file whose simulated camera was made otherwise than its design says: the draws of `geometry_coverage.py`, and a
sensor whose gain and read noise are others too. The whole command runs on it: trials, both capture sessions, every fit. A point is
seen through the wave model of `hil/cameras/hidden.py`. One line of JSON for each camera is added to `--cameras-file`.

Run: python -m benchmarks.calibration_coverage [--cameras N] [--minutes M] [--results FILE] [--cameras-file FILE]
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch

from benchmarks.geometry_coverage import ALLOWED, PITCH_M, UNITS, Found, design, hidden_camera, run
from hil.calibrate.run import load
from hil.cameras.hidden import HiddenCamera
from hil.cli import main as privcam

FIRST = 2000  # no camera before it counts: they were looked at while the parts were made
DRAWS = 2027
NOMINAL_GAIN, NOMINAL_READ_NOISE_E = 0.4, 3.0
OF_ALL = {"gain": "%", "read noise": "%", **UNITS}
MOST = {"gain": 1.0, "read noise": 5.0, **ALLOWED}
SHARED = Path("/dev/shm")  # frames are flushed one by one, which a disk takes long for


def bench_file(camera: HiddenCamera, folder: Path) -> Path:
    """Writes the bench of a hidden camera, whose design knows nothing of how it was made, and returns its file."""
    sensor = camera.design.sensor
    nominal = design(camera.seed, camera.design.optics.pattern.open_fraction, NOMINAL_READ_NOISE_E, NOMINAL_GAIN)
    nominal.save(folder / "design")
    made = {"mask_to_sensor_m": camera.mask_to_sensor_m, "shift_m": camera.shift_m, "rotation_rad": camera.rotation_rad,
            "sensor": {"gain_dn_per_e": sensor.gain_dn_per_e, "read_noise_e": sensor.read_noise_e, "fixed_pattern_seed": camera.seed},
            "rig": {"origin_m": camera.rig_origin_m, "distance_m": camera.rig_distance_m, "roll_rad": camera.rig_roll_rad}}
    bench = {"design": "design/design.toml", "rig": {"kind": "simulated"},
             "camera": {"kind": "simulated", "seed": camera.seed, "made": made}}
    file = folder / "bench.toml"
    file.write_text(tomli_w.dumps(bench), encoding="utf-8")
    return file


def take(seed: int) -> dict[str, Any]:
    """Returns one camera's line."""
    torch.set_num_threads(1)
    camera = hidden_camera(seed, DRAWS)
    folder = Path(tempfile.mkdtemp(dir=SHARED if SHARED.is_dir() else None))
    began = time.process_time()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            code = privcam(["calibrate", str(bench_file(camera, folder)), "--out", str(folder / "out")])
        if code:
            raise SystemExit(f"camera {seed} could not be calibrated")
        found = load(folder / "out")
    finally:
        shutil.rmtree(folder)
    took_s = time.process_time() - began
    sensor = camera.design.sensor
    truth = {"gain": (found.sensor["gain"], sensor.gain_dn_per_e, sensor.gain_dn_per_e / 100),
             "read noise": (found.sensor["dark noise"], sensor.read_noise_e, sensor.read_noise_e / 100),
             "mask to sensor": (found.mask["mask to sensor"], camera.mask_to_sensor_m, camera.mask_to_sensor_m / 100),
             "shift y": (found.mask["shift y"], camera.shift_m[0], PITCH_M), "shift x": (found.mask["shift x"], camera.shift_m[1], PITCH_M),
             "rotation": (found.mask["rotation"], float(np.degrees(camera.rotation_rad)), 1.0)}
    line: dict[str, Any] = {"seed": seed, "cpu_s": round(took_s, 1)}
    for name, (figure, true, unit) in truth.items():
        low, high = figure.interval or (np.nan, np.nan)
        one = Found(((low + high) / 2 - true) / unit, (high - low) / 2 / unit)
        line[name] = [round(one.error, 6), round(one.half_width, 6)]
    return line


if __name__ == "__main__":
    run("Calibration of hidden cameras", "calibration_coverage", take, OF_ALL, MOST, "cpu_s", FIRST, "what a camera is")

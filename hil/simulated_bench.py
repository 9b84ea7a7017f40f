"""A bench for those who have none: a simulated camera that was put together badly, its design's mask shifted, turned and too far.

Deliberately not here: what a simulated camera is (`hil/cameras/`), and measuring it (`hil/calibrate/`).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tomli_w

from hil.cameras.made import Made, RigOffset
from optics_sim.design import CameraDesign, LenslessOptics, write_atomically
from optics_sim.errors import PrivcamError

BENCH = "bench.toml"
SHIFT_PX, TURN_RAD, TOO_FAR = (2.5, 4.0), (0.1, 0.15), (1.06, 1.12)  # code pixels along each axis; either way; of the distance
GAIN, READ_NOISE = (0.9, 1.1), (1.0, 1.3)  # of the design's
RIG_ZERO_M, RIG_DISTANCE_M, RIG_ROLL_RAD = 1e-3, 4e-3, 0.02


def badly_made(design: CameraDesign, seed: int) -> Made:
    """Returns how a camera was made that is its design's but for mounting and sensor, drawn from a seed.

    Raises PrivcamError for a design without a mask.
    """
    if not isinstance(design.optics, LenslessOptics):
        raise PrivcamError("only a mask is mounted badly", got=design.optics.kind, allowed="lensless", todo="give a lensless design")
    rng = np.random.default_rng([seed, 5])
    shift = rng.uniform(*SHIFT_PX, 2) * rng.choice([-1, 1], 2) * design.code_pitch_m
    sensor = design.sensor
    return Made(
        mask_to_sensor_m=float(rng.uniform(*TOO_FAR)) * design.optics.mask_to_sensor_m,
        shift_m=(float(shift[0]), float(shift[1])),
        rotation_rad=float(rng.uniform(*TURN_RAD) * rng.choice([-1, 1])),
        sensor={"gain_dn_per_e": float(rng.uniform(*GAIN)) * sensor.gain_dn_per_e,
                "read_noise_e": float(rng.uniform(*READ_NOISE)) * sensor.read_noise_e},
        rig=RigOffset(origin_m=(float(rng.uniform(-RIG_ZERO_M, RIG_ZERO_M)), float(rng.uniform(-RIG_ZERO_M, RIG_ZERO_M))),
                      distance_m=float(rng.uniform(-RIG_DISTANCE_M, RIG_DISTANCE_M)),
                      roll_rad=float(rng.uniform(-RIG_ROLL_RAD, RIG_ROLL_RAD))))


def write_bench(design: Path, folder: Path, seed: int) -> Path:
    """Writes a bench.toml with a badly made camera of a design's file into a folder (made when missing), and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    made = badly_made(CameraDesign.load(design), seed)
    camera = {"kind": "simulated", "seed": seed, "made": made.model_dump(exclude_none=True)}
    bench = {"design": os.path.relpath(design, folder), "camera": camera, "rig": {"kind": "simulated"}}
    file = folder / BENCH
    write_atomically(file, b"# A simulated camera that was made otherwise than its design says.\n" + tomli_w.dumps(bench).encode())
    return file

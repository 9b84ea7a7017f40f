"""How often the geometry's 95 % intervals hold the truth of hidden cameras, and how wide they are.

Each camera is drawn at random: mask, mounting (up to three code pixels off, turned by up to four degrees, ten percent too near or far),
the rig's zero, distance and roll, brightness, noise. Its frames are those of `hil.cameras.hidden`: diffraction of three
wavelengths, cos^4, four samples to a code pixel, none of which the fit has. One line of JSON for each camera is added to
`--cameras-file`, and cameras that are there already are not taken again.

Run: python -m benchmarks.geometry_coverage [--cameras N] [--minutes M] [--results FILE] [--cameras-file FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from calibration.geometry import Geometry, fit, gather, plan
from calibration.point_source import Noise, Session
from hil.cameras.hidden import HiddenCamera
from optics_sim.design import CameraDesign, Exposure, RandomPattern, Readout, Sensor
from optics_sim.optics.patterns import default_lensless

HERE = Path(__file__).parent
FIRST = 6  # cameras before it were looked at while the model and its constants were chosen
DISTANCES_M = (0.2, 0.4)
EXPOSURES_S = (0.004, 0.016)
CODE, SAMPLES, PITCH_M = 32, 4, 62e-6
NAMES = ("mask to sensor", "shift y", "shift x", "rotation")
ALLOWED = {"mask to sensor": 0.5, "shift y": 0.05, "shift x": 0.05, "rotation": 0.1}  # half-widths, in the units of `Found`
UNITS = {"mask to sensor": "%", "shift y": "code pixel", "shift x": "code pixel", "rotation": "degree"}


@dataclass(frozen=True)
class Found:
    """One parameter of one camera: error and half-width in percent, code pixels or degrees."""

    error: float
    half_width: float

    @property
    def inside(self) -> bool:
        """Whether the interval holds the truth."""
        return abs(self.error) <= self.half_width


def design(seed: int, open_fraction: float = 0.4, read_noise_e: float = 3.0, gain_dn_per_e: float = 0.4) -> CameraDesign:
    """Returns a design whose raw pixels are quarters of a code pixel."""
    side = CODE * SAMPLES
    sensor = Sensor(name="hidden", pixel_pitch_m=PITCH_M / SAMPLES, shape=(side, side), quantum_efficiency=0.6, bit_depth=12,
                    black_level_dn=64, gain_dn_per_e=gain_dn_per_e, full_well_e=10_000, read_noise_e=read_noise_e, prnu=0.01, dsnu_e=1.0,
                    dark_current_e_per_s=5.0)
    return CameraDesign(name="hidden", optics=default_lensless(RandomPattern(seed=seed, open_fraction=open_fraction)), sensor=sensor,
                        exposure=Exposure(exposure_s=0.01, white_photons_per_px_s=1e6),
                        readout=Readout(crop=(0, 0, side, side), bin=(SAMPLES, SAMPLES), black_level_dn=64, shift=6))


def hidden_camera(seed: int, seed_of_all: int = 2026) -> HiddenCamera:
    """Returns the camera of a seed."""
    rng = np.random.default_rng([seed_of_all, seed])
    drawn = design(seed, float(rng.uniform(0.25, 0.5)), float(rng.uniform(2, 6)), float(rng.uniform(0.25, 0.38)))
    y, x = rng.uniform(-3, 3, 2) * PITCH_M
    zero_y, zero_x = rng.uniform(-1e-3, 1e-3, 2)
    return HiddenCamera(drawn, 3e-3 * float(rng.uniform(0.9, 1.1)), (float(y), float(x)), float(np.radians(rng.uniform(-4, 4))),
                        rig_origin_m=(float(zero_y), float(zero_x)), rig_distance_m=float(rng.uniform(-4e-3, 4e-3)),
                        rig_roll_rad=float(np.radians(rng.uniform(-1, 1))), photons_per_px_s=float(rng.uniform(3e5, 8e5)),
                        reference_m=DISTANCES_M[0], seed=seed)


def session(camera: HiddenCamera, rng: np.random.Generator) -> Session:
    """Returns the frames of the plan."""
    shots = plan(camera.design, DISTANCES_M, EXPOSURES_S)
    frames = [camera.frames(shot.position_m, shot.distance_m, shot.exposure_s, shot.count, generator=rng, light=float(shot.on))
              for shot in shots]
    return gather(shots, frames, bits=camera.design.sensor.bit_depth, source="simulated")


def noise_of(camera: HiddenCamera) -> Noise:
    """Returns what a photon transfer would say, an honest percent beside the truth."""
    sensor = camera.design.sensor
    return Noise(1.01 * sensor.gain_dn_per_e, 0.99 * sensor.gain_dn_per_e * sensor.read_noise_e, sensor.gain_dn_per_e * sensor.full_well_e)


def compared(camera: HiddenCamera, found: Geometry) -> dict[str, Found]:
    """Returns errors and half-widths of the mounting."""
    truth = {"mask to sensor": camera.mask_to_sensor_m, "shift y": camera.shift_m[0], "shift x": camera.shift_m[1],
             "rotation": float(np.degrees(camera.rotation_rad))}
    unit = {"mask to sensor": camera.mask_to_sensor_m / 100, "shift y": PITCH_M, "shift x": PITCH_M, "rotation": 1.0}
    result = {}
    for name in NAMES:
        figure = found[name]
        low, high = figure.interval or (np.nan, np.nan)
        result[name] = Found(((low + high) / 2 - truth[name]) / unit[name], (high - low) / 2 / unit[name])
    return result


def take(seed: int) -> dict[str, Any]:
    """Returns one camera's line."""
    camera = hidden_camera(seed)
    given = session(camera, np.random.default_rng([7, seed]))
    began = time.process_time()
    found = fit(given, camera.design, noise_of(camera))
    fit_s = time.process_time() - began
    return {"seed": seed, "fit_cpu_s": round(fit_s, 2), "misfit": round(float(np.mean(found.misfit)), 4),
            **{name: [round(one.error, 6), round(one.half_width, 6)] for name, one in compared(camera, found).items()}}


def table(lines: Sequence[dict[str, Any]], units: Mapping[str, str], allowed: Mapping[str, float], took: str) -> str:
    """Returns coverage and half-widths as Markdown; `took` is the line's field of the seconds that a camera took."""
    found = {name: [Found(*line[name]) for line in lines] for name in units}
    every = [one.inside for of_one in found.values() for one in of_one]
    rows = ["| parameter | unit | inside | coverage | half-width: median | largest | allowed | error: rms | largest |",
            "|---|---|---|---|---|---|---|---|---|"]
    for name, of_one in found.items():
        inside, widths, errors = (np.array([getattr(one, part) for one in of_one]) for part in ("inside", "half_width", "error"))
        rows.append(f"| {name} | {units[name]} | {inside.sum()} of {len(inside)} | {inside.mean():.1%} | {np.median(widths):.3g} "
                    f"| {widths.max():.3g} | {allowed[name]} | {np.sqrt((errors**2).mean()):.2g} | {np.abs(errors).max():.2g} |")
    hits, misses = sum(every), len(every) - sum(every)
    low, high = stats.beta.ppf([0.025, 0.975], [hits, hits + 1], [misses + 1, max(misses, 1e-9)])
    rows.append(f"\nAll (camera, parameter) pairs: {hits} of {len(every)} inside, {np.mean(every):.1%} "
                f"(95 % Clopper-Pearson {low:.1%} to {high:.1%}, pairs taken as independent). {len(lines)} cameras; each took "
                f"{np.median([line[took] for line in lines]):.1f} s of one core (median).")
    return "\n".join(rows)


def run(title: str, module: str, take_one: Callable[[int], dict[str, Any]], units: Mapping[str, str], allowed: Mapping[str, float],
        took: str, first: int, about: str) -> None:
    """Takes the cameras that are not in the file yet, and writes the table."""
    stem = module.removesuffix("_coverage")
    options = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}")
    options.add_argument("--cameras", type=int, default=100)
    options.add_argument("--minutes", type=float, default=600.0, help="begin no camera after so long")
    options.add_argument("--cameras-file", type=Path, default=HERE / f"results-{stem}.jsonl")
    options.add_argument("--results", type=Path, default=HERE / f"results-{stem}.md")
    given = options.parse_args()
    file: Path = given.cameras_file
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    began, done = time.monotonic(), {line["seed"] for line in lines}
    for seed in (seed for seed in range(first, first + given.cameras) if seed not in done):
        if time.monotonic() - began > 60 * given.minutes:
            break
        lines.append(take_one(seed))
        print(json.dumps(lines[-1]), flush=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(lines[-1]) + "\n")
    made = table(lines, units, allowed, took)
    head = (f"# {title}\n\nCommand: `python -m benchmarks.{module} --cameras {given.cameras}`. Simulated, {len(lines)} of {given.cameras} "
            f"cameras so far (the command goes on where it was stopped); {about}: see `benchmarks/{module}.py`.")
    given.results.write_text(f"{head}\n\n{made}\n", encoding="utf-8")
    print(made)


if __name__ == "__main__":
    run("Geometry of hidden cameras", "geometry_coverage", take, UNITS, ALLOWED, "fit_cpu_s", FIRST, "what a camera is")

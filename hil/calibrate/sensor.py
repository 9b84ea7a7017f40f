"""The bare sensor under even light: exposures by trial, the sweep, its photon transfer, masters and datasheet.

Deliberately not here: the figures (`calibration.photon_transfer`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration import datasheet, masters, photon_transfer, saturation
from calibration.photon_transfer import PhotonTransfer
from calibration.stacks import Sweep
from hil.bench import Bench
from hil.calibrate.frames import Stack, Work, kept_plan, stacks, taken, tried
from hil.calibrate.request import Request
from optics_sim.frame import CameraInfo, CaptureSettings
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Dark, Even

MASTERS = "masters"
EVEN, DARK = Even(level=1.0), Dark()


def measure(work: Work, request: Request, light: float | None) -> PhotonTransfer:
    """Returns the photon transfer of the frames in a part's folder, the missing ones taken first, and writes what it found.

    `light`: photons on a pixel and second of the even light at level 1; without it there is no quantum efficiency.
    Raises PrivcamError with what to take again.
    """
    found = taken(work, lambda bench: plan(full_exposure(bench, work, request), request, work.gain))
    camera = found.header.camera
    sweep = sweep_of(stacks(found, kept_plan(work.folder)), camera, light)
    result = photon_transfer.fit(sweep, generator=np.random.default_rng(0))
    folder = work.folder / MASTERS
    folder.mkdir(exist_ok=True)
    masters.make(sweep.flat, sweep.dark, sweep.source).save(folder)
    datasheet.write(result, camera.name, work.folder)
    return result


def full_exposure(bench: Bench, work: Work, request: Request) -> float:
    """Returns the exposure in seconds at which the even light fills the sensor, by trial."""
    trials: list[saturation.Trial] = []
    dark_dn: float | None = None
    while (next_s := saturation.search(trials, first_s=work.design.exposure.exposure_s, shortest_s=request.shortest_s,
                                       longest_s=request.longest_s)) is not None:
        settings = CaptureSettings(exposure_s=next_s, analogue_gain=work.gain)
        if dark_dn is None:  # one will do: what a sensor's dark current adds is small against an even light
            dark_dn, _ = _mean(bench, DARK, settings)
        mean_dn, applied_s = _mean(bench, EVEN, settings)
        trials.append(saturation.Trial(applied_s, mean_dn - dark_dn))
        work.say(f"trial: even light, {applied_s:g} s: {trials[-1].signal_dn:.0f} DN over dark")
    return saturation.full_exposure(trials)


def _mean(bench: Bench, stimulus: Dark | Even, settings: CaptureSettings) -> tuple[float, float]:
    frames = tried(bench, stimulus, settings)
    seen = green(np.stack([frame.raw for frame in frames]), bench.camera.info.cfa)
    return float(seen.mean()), frames[-1].settings.exposure_s


def plan(full_s: float, request: Request, gain: float) -> Plan:
    """Returns the shots of a sweep under a light that fills the sensor in `full_s`."""
    wanted = photon_transfer.sweep(full_s, 1.0, levels=request.levels, stack=request.stack)
    return Plan(shots=tuple(Shot(stimulus=EVEN if shot.photons_per_px else DARK, count=shot.count,
                                 settings=CaptureSettings(exposure_s=shot.exposure_s, analogue_gain=gain)) for shot in wanted))


def sweep_of(taken_: list[Stack], camera: CameraInfo, light: float | None) -> Sweep:
    """Returns the sweep of a plan's frames; of a sensor under a colour filter array, that of its green pixels."""
    rate = light or 1.0
    shots = []
    for role, one in zip(photon_transfer.roles(len(taken_)), taken_, strict=True):
        photons = rate * one.exposure_s if isinstance(one.shot.stimulus, Even) else 0.0
        shots.append(photon_transfer.Shot(role, one.exposure_s, photons, len(one.frames)))
    warm = [one.temperature_c for one in taken_ if one.temperature_c is not None]
    return photon_transfer.gather(shots, [green(one.frames, camera.cfa) for one in taken_], bits=camera.bit_depth, source=camera.source,
                                  photons_known=light is not None, temperature_c=float(np.mean(warm)) if warm else None)


def green(frames: NDArray[np.uint16], cfa: str) -> NDArray[np.uint16]:
    """Returns the first green plane of a mosaic [n, row, column], or all of a sensor without colour filters."""
    if cfa == "mono":
        return frames
    first = cfa.index("g")
    return frames[:, first // 2::2, first % 2::2]

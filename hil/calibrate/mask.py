"""A mask in front of its sensor, seen from a point of light: exposures by trial, the places, and where the mask sits.

Deliberately not here: the figures (`calibration.geometry`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from calibration import geometry, ladder, point_source
from calibration.geometry import Geometry
from calibration.point_source import Noise, Session
from hil.bench import Bench
from hil.calibrate.frames import Stack, Work, kept_plan, stacks, taken, tried
from hil.calibrate.request import Request
from optics_sim.design import LenslessOptics, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings
from optics_sim.measure import Measure
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Point

GEOMETRY = "geometry.json"
DEFECTS = 1e-4  # of all pixels: may be brighter than what a trial takes for the brightest
STEP = 4.0  # from one exposure of a place to the next


def measure(work: Work, request: Request, sensor: Mapping[str, Measure]) -> Geometry:
    """Returns the geometry of the frames in a part's folder, the missing ones taken first, and writes what it found.

    `sensor` are the figures of the same sensor. Raises PrivcamError with what to take again, and for a design without a mask.
    """
    optics = work.design.optics
    if not isinstance(optics, LenslessOptics):
        raise PrivcamError("only a mask has a mounting", got=optics.kind, allowed="lensless", todo="measure the part sensor alone")
    noise = Noise.of(sensor)
    level = request.point_level or float(math.prod(optics.cells))
    found = taken(work, lambda bench: plan(work, request, level, longest_unsaturated(bench, work, request, level, noise)))
    session = session_of(stacks(found, kept_plan(work.folder)), found.header.camera)
    result = geometry.fit(session, work.design, noise)
    about = {"source": result.source, "misfit": result.misfit, "figures": [one.model_dump(mode="json") for one in result.figures.values()]}
    write_atomically(work.folder / GEOMETRY, json.dumps(about, indent=1).encode())
    return result


def distances(work: Work, request: Request) -> tuple[float, ...]:
    """Returns how far from the mask the point is taken."""
    optics = work.design.optics
    far = optics.scene_to_mask_m if isinstance(optics, LenslessOptics) else 1.0
    return request.distances_m or (far / 2, far)


def longest_unsaturated(bench: Bench, work: Work, request: Request, level: float, noise: Noise) -> float:
    """Returns the exposure in seconds at which the nearest point on the axis brings the brightest pixel near saturation, by trial."""
    black, trials = bench.camera.info.black_level_dn, list[ladder.Trial]()
    full = min(noise.saturation_dn + black, 2**bench.camera.info.bit_depth - 1)
    point = Point(y_m=0.0, x_m=0.0, distance_m=min(distances(work, request)), level=level)
    while (next_s := ladder.search(trials, black_dn=black, saturation_dn=full, shortest_s=request.shortest_s,
                                   longest_s=request.longest_s)) is not None:
        frames = tried(bench, point, CaptureSettings(exposure_s=next_s, analogue_gain=work.gain))
        peak = max(float(np.quantile(frame.raw, 1 - DEFECTS)) for frame in frames)
        trials.append(ladder.Trial(frames[-1].settings.exposure_s, peak))
        work.say(f"trial: point, {trials[-1].exposure_s:g} s: brightest pixel {peak:.0f} DN")
    return trials[-1].exposure_s


def plan(work: Work, request: Request, level: float, longest_s: float) -> Plan:
    """Returns the shots of a session with the point at `level` or off, exposed for up to `longest_s`."""
    exposures_s = [longest_s / STEP**rung for rung in reversed(range(request.rungs))]
    wanted = point_source.plan(work.design, distances(work, request), exposures_s, side=request.places, count=request.repeats)
    return Plan(shots=tuple(Shot(stimulus=Point(y_m=shot.position_m[0], x_m=shot.position_m[1], distance_m=shot.distance_m,
                                                level=level if shot.on else 0.0), count=shot.count,
                                 settings=CaptureSettings(exposure_s=shot.exposure_s, analogue_gain=work.gain)) for shot in wanted))


def session_of(taken_: list[Stack], camera: CameraInfo) -> Session:
    """Returns the captures of a plan's frames."""
    shots = []
    for one in taken_:
        point = one.shot.stimulus
        if not isinstance(point, Point):
            raise PrivcamError("not a shot of a point", got=point.label, todo="take another folder")
        shots.append(point_source.Shot((point.y_m, point.x_m), point.distance_m, point.level > 0, one.exposure_s, len(one.frames)))
    return point_source.gather(shots, [one.frames for one in taken_], bits=camera.bit_depth, source=camera.source)

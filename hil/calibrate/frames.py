"""What every part of a calibration does with frames: trials before its plan, a session by it, stacks after it.

Deliberately not here: what the frames are for (`sensor.py`, `mask.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hil.bench import Bench
from hil.capture_set.stored import CaptureSet
from hil.session import PLAN, finished_session, run_session, taken_of
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings, Frame
from optics_sim.shots import Plan, Shot
from optics_sim.stimulus import Stimulus

TRIED = 2  # frames of a trial


@dataclass(frozen=True)
class Work:
    """What a part works with: the design, its bench (opened when frames are missing, and only then), its folder, clock and voice."""

    design: CameraDesign
    opened: Callable[[], AbstractContextManager[Bench]]
    folder: Path
    clock: Callable[[], str]
    say: Callable[[str], None]

    @property
    def gain(self) -> float:
        """The analogue gain at which everything is taken: the design's."""
        return self.design.exposure.analogue_gain


def taken(work: Work, planned: Callable[[Bench], Plan]) -> CaptureSet:
    """Returns all frames of a part's plan: `planned` on its bench, or the one that lies in the folder already."""
    file = work.folder / PLAN
    plan = Plan.model_validate_json(file.read_bytes()) if file.exists() else None
    if plan is not None and (finished := finished_session(plan, work.folder)) is not None:
        if finished.header.design != work.design.digest:
            raise PrivcamError("the frames are of another design", got=f"{finished.header.design[:12]} in {work.folder}",
                               allowed=work.design.digest[:12], todo="take another folder, or the bench of the design that it holds")
        work.say(f"{len(finished)} frames are there: {work.folder}")
        return finished
    with work.opened() as bench:
        plan = plan or planned(bench)
        work.say(f"{plan.frames} frames in {len(plan.shots)} shots")
        return run_session(plan, bench.table, work.folder, clock=work.clock, tell=work.say)


def tried(bench: Bench, stimulus: Stimulus, settings: CaptureSettings) -> list[Frame]:
    """Returns a few frames of a stimulus that nobody keeps; PrivcamError before a camera that only replays."""
    if bench.rig is None:
        raise PrivcamError("exposures cannot be tried before a camera that replays", got=bench.camera.info.name,
                           allowed="a camera with a rig", todo="give the folder of the plan by which its frames were taken")
    bench.rig.show(stimulus)
    frames = list(bench.camera.capture(settings, TRIED))
    bench.rig.confirm()
    return frames


@dataclass(frozen=True, eq=False)
class Stack:
    """The frames of one shot [n, row, column] with the exposure that applied."""

    shot: Shot
    exposure_s: float
    frames: NDArray[np.uint16]
    temperature_c: float | None


def stacks(found: CaptureSet, plan: Plan) -> list[Stack]:
    """Returns the frames of a finished session, shot by shot."""
    by_shot: list[list[Frame]] = [[] for _ in plan.shots]
    for frame in found:
        by_shot[taken_of(frame.metadata).number].append(frame)
    result = []
    for shot, frames in zip(plan.shots, by_shot, strict=True):
        warm = [frame.temperature_c for frame in frames if frame.temperature_c is not None]
        result.append(Stack(shot, frames[0].settings.exposure_s, np.stack([frame.raw for frame in frames]),
                            float(np.mean(warm)) if warm else None))
    return result


def kept_plan(folder: Path) -> Plan:
    """Returns the plan of a session's folder."""
    return Plan.model_validate_json((folder / PLAN).read_bytes())

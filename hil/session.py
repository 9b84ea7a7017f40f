"""A capture session: the shots of a plan, shown and taken one after the other into one capture set, on as many days as it takes.

The journal of the set alone says how far it came: each frame's line names its shot. A session that was killed goes on with the
frame that is missing, after its stimulus was shown again; a frame is kept only when the rig confirmed, after its exposure, that the
stimulus is still there. Deliberately not here: what cameras and rigs are (`bench.py`), and what the frames are for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hil.capture_set.journal import Entry
from hil.capture_set.npy import npy_digest
from hil.capture_set.packed import check_can_pack, open_set, pack
from hil.capture_set.stored import HEADER, CaptureSet
from hil.capture_set.writer import CaptureWriter, locked
from hil.protocols import Camera, Rig, Shown
from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.frame import Frame
from optics_sim.plain import Plain
from optics_sim.shots import Plan, Shot

PLAN, SET, PACKED = "plan.json", "set", "set.h5"
_KEY = "shot"
_TOLD_EVERY = 20  # frames of one shot


class Taken(Plain):
    """Which frame of a plan a frame is, as the journal has it: `shown` says how the rig knew, None for a frame taken before."""

    plan: str
    number: int
    repeat: int
    shown: Shown | None


@dataclass(frozen=True)
class Table:
    """What stands on it: a camera, what shows to it (None before a camera whose frames were taken before), and the design's digest."""

    camera: Camera
    rig: Rig | None
    design: str = ""


def run_session(plan: Plan, table: Table, folder: Path, *, clock: Callable[[], str], tell: Callable[[str], None]) -> CaptureSet:
    """Returns the packed set of all frames of a plan, the ones that lay in the folder already and the others, taken now.

    `clock` gives the date and time, `tell` gets a line for each shot. Raises PrivcamError before anything is shown where the rig
    cannot show a stimulus or the folder holds another session, and later where something fails: what is stored by then is kept.
    """
    check(plan, table.rig)
    check_can_pack()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _keep_plan(plan, folder / PLAN)
        if (finished := finished_session(plan, folder)) is not None:
            return finished
        _take_all(plan, table, folder / SET, clock, tell)
        for half in folder.glob(f".{PACKED}.*.part"):
            half.unlink()
        tell(f"packing {plan.frames} frames")
        return pack(folder / SET, folder / PACKED)


def finished_session(plan: Plan, folder: Path) -> CaptureSet | None:
    """Returns the packed set of a session that is done, None for one that is not; PrivcamError where it is of another plan."""
    if not (folder / PACKED).exists():
        return None
    packed = open_set(folder / PACKED)
    if done(plan, packed.entries) < plan.frames:
        raise PrivcamError("the packed set lacks frames of the plan", got=len(packed), allowed=plan.frames, todo="take another folder")
    return packed


def occasion(folder: Path) -> int:
    """Returns how often frames were taken into a session's folder: 0 for a new one."""
    if not (folder / SET / HEADER).is_file():
        return 0
    return max((entry.session + 1 for entry in open_set(folder / SET).entries), default=0)


def check(plan: Plan, rig: Rig | None) -> None:
    """Raises PrivcamError with everything that a rig cannot show, each once."""
    refusals = [] if rig is None else [refusal for shot in plan.shots if (refusal := rig.refusal(shot.stimulus)) is not None]
    if refusals:
        every = "; ".join(dict.fromkeys(f"{one.what}: {one.got}" for one in refusals))
        raise PrivcamError("the plan has what this rig cannot show", got=every, allowed=refusals[0].allowed, todo=refusals[0].todo)


def done(plan: Plan, entries: Sequence[Entry]) -> int:
    """Returns how many of the plan's frames are there; PrivcamError where they are not the first ones of it, in its order."""
    planned = [(number, repeat) for number, shot in enumerate(plan.shots) for repeat in range(shot.count)]
    if len(entries) > len(planned):
        raise _foreign(f"{len(entries)} frames", f"{len(planned)}")
    for entry, (number, repeat) in zip(entries, planned, strict=False):
        taken = taken_of(entry.metadata)
        if (taken.plan, taken.number, taken.repeat) != (plan.digest, number, repeat):
            raise _foreign(f"frame {entry.number} is of shot {taken.number}, {taken.repeat}, of plan {taken.plan[:12]}",
                           f"shot {number}, {repeat}, of plan {plan.digest[:12]}")
        if entry.stimulus != plan.shots[number].stimulus.text:
            raise _foreign(f"frame {entry.number} shows {entry.stimulus}", plan.shots[number].stimulus.text)
    return len(entries)


def taken_of(metadata: dict[str, Any]) -> Taken:
    """Returns which frame of a plan a frame is; PrivcamError where it was not taken by a session."""
    try:
        return Taken.model_validate(metadata[_KEY])
    except (KeyError, ValidationError) as error:
        raise PrivcamError("a frame that no session took", got=error, todo="take another folder") from None


def _keep_plan(plan: Plan, file: Path) -> None:
    if not file.exists():
        write_atomically(file, plan.model_dump_json(indent=1).encode())
        return
    kept = Plan.model_validate_json(file.read_bytes())
    if kept.digest != plan.digest:
        raise _foreign(f"plan {kept.digest[:12]}, {kept.frames} frames", f"plan {plan.digest[:12]}, {plan.frames} frames")


def _take_all(plan: Plan, table: Table, folder: Path, clock: Callable[[], str], tell: Callable[[str], None]) -> None:
    stored = open_set(folder) if (folder / HEADER).is_file() else None
    there = _resumable(plan, table, stored) if stored is not None else 0
    if stored is not None and stored.closed:
        return
    if there:
        tell(f"{there} of {plan.frames} frames are there already")
    make = (lambda: CaptureWriter.resume(folder)) if stored is not None else (
        lambda: CaptureWriter.create(folder, table.camera.info, clock=clock, design=table.design))
    with make() as writer:
        first = 0
        for number, shot in enumerate(plan.shots):
            old = min(shot.count, max(0, there - first))
            if old and table.rig is None and stored is not None:
                _pass_over(table.camera, shot, stored.entries[first:first + old])
            if old < shot.count:
                tell(f"shot {number + 1} of {len(plan.shots)}: {shot.stimulus.label}, {shot.settings.exposure_s:g} s at gain "
                     f"{shot.settings.analogue_gain:g}, frame {old + 1} to {shot.count}")
                _take(table, shot, writer, [Taken(plan=plan.digest, number=number, repeat=repeat, shown=None)
                                            for repeat in range(old, shot.count)], tell)
            first += shot.count
        writer.close()


def _take(table: Table, shot: Shot, writer: CaptureWriter, wanted: list[Taken], tell: Callable[[str], None]) -> None:
    shown = None if table.rig is None else table.rig.show(shot.stimulus)
    frames = table.camera.capture(shot.settings, len(wanted))
    for taken, frame in zip(wanted, frames, strict=True):
        if table.rig is not None:
            table.rig.confirm()
        writer.add(_labelled(frame, shot, taken.model_copy(update={"shown": shown})))
        if (taken.repeat + 1) % _TOLD_EVERY == 0:
            tell(f"    {taken.repeat + 1} of {shot.count}")


def _labelled(frame: Frame, shot: Shot, taken: Taken) -> Frame:
    """Returns a frame with the name of what it shows; a frame that was taken before may have one already, and keeps it."""
    if taken.shown is None and not frame.replayed:
        raise PrivcamError("nothing shows the stimulus to this camera", got=shot.stimulus.label, todo="name a rig in bench.toml")
    if taken.shown is not None and frame.replayed:
        raise PrivcamError("a frame that was taken before cannot show what is shown now", got=shot.stimulus.label,
                           todo="leave the rig out of bench.toml")
    if frame.stimulus not in ("", shot.stimulus.text):
        raise PrivcamError("a stored frame shows something else", got=frame.stimulus, allowed=shot.stimulus.text,
                           todo="plan the shots as they were taken")
    metadata = {name: value for name, value in frame.metadata.items() if name != _KEY}
    return replace(frame, stimulus=shot.stimulus.text, metadata=metadata | {_KEY: taken.model_dump(mode="json")})


def _resumable(plan: Plan, table: Table, stored: CaptureSet) -> int:
    """Returns how many frames a set has of this session; PrivcamError where it is of another camera, design or plan."""
    header = stored.header
    if (header.camera, header.design) != (table.camera.info, table.design):
        raise PrivcamError("the set was begun with another camera", got=f"{header.camera} {header.design[:12]}",
                           allowed=f"{table.camera.info} {table.design[:12]}", todo="put that one back, or take another folder")
    return done(plan, stored.entries)


def _pass_over(camera: Camera, shot: Shot, entries: Sequence[Entry]) -> None:
    """Lets stored frames go by that are in the set already: a camera that replays begins anew when it is opened."""
    for frame, entry in zip(camera.capture(shot.settings, len(entries)), entries, strict=True):
        if npy_digest(frame.raw) != entry.sha256:
            raise PrivcamError("the stored frames are no longer those of the last time", got=f"index {frame.index}",
                               allowed=f"frame {entry.number} of the set", todo="take another folder")


def _foreign(got: str, allowed: str) -> PrivcamError:
    return PrivcamError("the folder holds another session", got=got, allowed=allowed, todo="take another folder, or the plan that it holds")

"""Where the mask of a lensless camera really is: `plan` lists the shots, `fit` turns their frames into figures.

Both are pure: nothing here touches a camera. Every figure is a `Measure` with a 95 % interval and the frames' source.
What can be told from what: places known to each other give the ratio of the mask's distance to the source's; the mask's
distance alone needs the source's, or two source distances whose difference is known. A mask that is shifted looks like a rig whose zero
is elsewhere until a second distance tells them apart. A rig whose axis is tilted against the sensor's looks like a shifted mask at every
distance: the shift is that against the rig's axis. The magnification follows from the mask's distance.
Deliberately not here: tilted masks, errors of the printed scale (they look like a wrong magnification), colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration import point_source_refusals, shadow_start
from calibration.intervals import Estimate
from calibration.mask_model import MaskModel, Mounting
from calibration.point_source import Noise, Session, gather, plan, spot
from calibration.refusals import refuse
from calibration.shadow_fit import MOUNTING, NAMES, ShadowFit, Solution, Spot, mounting_of
from optics_sim.design import CameraDesign, LenslessOptics
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure, Source

__all__ = ["Geometry", "Rig", "check", "fit", "gather", "plan"]

INTERVAL = "95 % jackknife over mask blocks and images"
MIN_LIKENESS = 0.5  # of image and shadow; diffraction leaves 0.9
ASTRAY_PX = 0.75  # from the line through all shadows: more is no sampling but a wrong label
LARGEST_ROLL = np.radians(45)


@dataclass(frozen=True)
class Rig:
    """What of the rig is known exactly, relative to the mask's plane and the sensor's axis; all else is found beside the mask."""

    distance_known: bool = False
    zero_known: bool = False
    roll_known: bool = False

    @property
    def free(self) -> tuple[str, ...]:
        """Returns the parameters to find."""
        return (*MOUNTING, *(() if self.distance_known else NAMES[4:5]), *(() if self.zero_known else NAMES[5:7]),
                *(() if self.roll_known else NAMES[7:]))


@dataclass(frozen=True, eq=False)
class Geometry:
    """The figures by name, the mounting they are about, and how much of each image the fit left, as a share of its spread."""

    figures: dict[str, Measure]
    mounting: Mounting
    misfit: tuple[float, ...]
    source: Source

    def __getitem__(self, name: str) -> Measure:
        """Returns one figure; PrivcamError for a name that is none."""
        if name not in self.figures:
            raise PrivcamError("no such figure in this geometry", got=name, allowed=", ".join(self.figures), todo="check the spelling")
        return self.figures[name]


def check(session: Session, design: CameraDesign, noise: Noise, rig: Rig | None = None) -> list[PrivcamError]:
    """Returns every reason why the session cannot be used; none when it can."""
    return _judged(session, design, noise, rig or Rig())[0]


def fit(session: Session, design: CameraDesign, noise: Noise, rig: Rig | None = None) -> Geometry:
    """Returns the figures of a session: where the design's mask really is, and where the rig was.

    Raises PrivcamError with what to take again when the frames cannot carry them.
    """
    rig = rig or Rig()
    faults, spots, start = _judged(session, design, noise, rig)
    refuse(faults)
    solution = ShadowFit(MaskModel.of(design), spots, rig.free).solve(start)
    return Geometry(_figures(solution, design, session), mounting_of(solution.values), tuple(solution.misfit), session.source)


def _judged(session: Session, design: CameraDesign, noise: Noise, rig: Rig) -> tuple[list[PrivcamError], list[Spot], dict[str, float]]:
    """Returns the faults and, where there are none, the images and the start of the fit."""
    model = MaskModel.of(design)
    faults = [*point_source_refusals.form(session, design), *_untold(session, rig)]
    if faults:
        return faults, [], {}
    spots = [spot(capture, design.readout, noise, session.bits) for capture in session.captures]
    faults = point_source_refusals.content(session, spots, noise)
    if faults:
        return faults, [], {}
    found = shadow_start.find(model, spots, _optics(design).mask_to_sensor_m)
    start, away = shadow_start.start(model, spots, found)
    return _astray(found, start, away), spots, start


def _optics(design: CameraDesign) -> LenslessOptics:
    if not isinstance(design.optics, LenslessOptics):
        raise PrivcamError("only a mask has a mounting", got=design.optics.kind, allowed="lensless",
                           todo="give the design of a lensless camera")
    return design.optics


def _untold(session: Session, rig: Rig) -> list[PrivcamError]:
    """Returns the fault of a session whose captures cannot tell mask and rig apart."""
    distances = sorted({capture.distance_m for capture in session.captures})
    if distances and distances[-1] < 1.3 * distances[0] and not (rig.distance_known and rig.zero_known):
        return [PrivcamError("one source distance cannot tell the mask's distance from the source's, nor its shift from the rig's zero",
                             got=f"{distances} m", allowed="two distances, one at least 1.3 times the other",
                             todo="take a second distance, or measure the source's place from the sensor and say so in `Rig`")]
    return []


def _astray(found: shadow_start.Found, start: dict[str, float], away: shadow_start.Array) -> list[PrivcamError]:
    """Returns the faults that the shadows' places show."""
    unlike = [i for i, likeness in enumerate(found.likeness) if likeness < MIN_LIKENESS]
    if unlike:
        return [PrivcamError("the shadow of this mask is not seen", got=f"captures {unlike}: likeness {min(found.likeness):.2f}",
                             allowed=f"at least {MIN_LIKENESS}",
                             todo="check that it is this design's film, not mirrored or turned by 90 degrees, that nothing else shines, "
                             "and that the source is small: below a quarter of a code pixel behind the mask")]
    if away.max() > ASTRAY_PX:
        wrong = [i for i in np.argsort(-away) if away[i] > max(ASTRAY_PX, away.max() / 2)]
        return [PrivcamError("frames out of order: the labelled positions disagree with what the frames show",
                             got=f"captures {sorted(int(i) for i in wrong)}: shadows up to {away.max():.1f} code pixels from their places",
                             allowed=f"{ASTRAY_PX:g} code pixel",
                             todo="give each frame the place it was taken at, or take the session again")]
    if abs(start["source roll"]) > LARGEST_ROLL:
        return [PrivcamError("the shadows move another way than the source", got=f"{np.degrees(start['source roll']):.0f} degrees",
                             allowed=f"within {np.degrees(LARGEST_ROLL):.0f}",
                             todo="check the rig's axes and signs and the design's readout.turn")]
    return []


def _figures(solution: Solution, design: CameraDesign, session: Session) -> dict[str, Measure]:
    figures: dict[str, Measure] = {}
    optics, pitch = _optics(design), design.code_pitch_m

    def note(name: str, value: float, error: float, unit: str, note: str = "") -> None:
        interval = Estimate(value, error, len(session.captures) - 1).interval
        figures[name] = Measure(name=name, value=value, interval=interval, unit=unit, n=len(session.captures),
                                interval_kind=INTERVAL, source=session.source, note=note)

    for name, error in solution.errors.items():
        value, in_m = solution.values[name], name not in ("rotation", "source roll")
        note(name, value if in_m else float(np.degrees(value)), error if in_m else float(np.degrees(error)), "m" if in_m else "degree")
    for name in MOUNTING[1:3]:
        note(f"{name} in code pixels", solution.values[name] / pitch, solution.errors[name] / pitch, "code pixel", "against the rig's axis")
    far = optics.scene_to_mask_m
    note("magnification", 1 + solution.values["mask to sensor"] / far, solution.errors["mask to sensor"] / far, "1",
         f"of a scene at {far:g} m")
    return figures


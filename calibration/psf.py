"""A stack of PSFs, of a point source at several distances and field angles: registered, and what they say of the camera.

`plan` lists the places of the source, `fit` takes one exposure ladder's picture of each: how far the camera is shift-invariant
(correlation over the field), how its PSF grows as the source comes near, and from both the gap between mask and sensor.
Deliberately not here: saturation and flicker (`calibration.ladder` refuses them before there is a picture), and what the mask
looks like (`calibration.mask_model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.intervals import Estimate
from calibration.ladder import HdrImage
from calibration.refusals import SIGNIFICANCE, refuse
from calibration.registration import Registration, register, warped
from optics_sim.errors import PrivcamError

Array = NDArray[np.float64]
MIN_PLACES = 3  # distances, or angles: two fix a line, the third checks it
LEAST_SNR = 20.0  # of the whole light
DRIFT_PX, DRIFT_LIGHT = 0.2, 0.03  # between the first picture and its repetition at the end
STRAY_PX, STRAY_SCALE = 0.5, 0.005  # from the line that all others say
ALIKE = 0.9  # correlation from which PSFs count as one
SPAN = 0.35  # magnifications searched on either side of 1


@dataclass(frozen=True)
class Place:
    """Where the point source is: `distance_m` from the mask along the optical axis, `angle_rad` (row, column) off it."""

    distance_m: float
    angle_rad: tuple[float, float] = (0.0, 0.0)

    @property
    def off_axis_rad(self) -> float:
        """Returns the angle between the source and the axis."""
        return float(np.arctan(np.hypot(*np.tan(self.angle_rad))))


def plan(distances_m: Sequence[float], angles_rad: Sequence[tuple[float, float]], *, field_distance_m: float | None = None) -> list[Place]:
    """Returns the places in the order to visit them: the axis at every distance, the angles at one, and the first again.

    `field_distance_m`: where the angles are taken, the first distance unless given.
    """
    axis = [Place(distance) for distance in distances_m]
    at = distances_m[0] if field_distance_m is None else field_distance_m
    return [*axis, *(Place(at, angle) for angle in angles_rad), axis[0]]


@dataclass(frozen=True, eq=False)
class PsfStack:
    """`places` [n] and how the picture of each lies on the first one's; for the first place that of its repetition at the end.

    `registered` [n, row, column]: the pictures in electrons per second, moved back onto the first (magnification kept).
    `gap_from_distance`, `gap_from_angle`: metres between mask and sensor, None where there were too few places for it.
    """

    places: tuple[Place, ...]
    registrations: tuple[Registration, ...]
    registered: Array
    gap_from_distance: Estimate | None
    gap_from_angle: Estimate | None

    def field(self) -> list[tuple[float, Estimate]]:
        """Returns (angle off the axis in rad, correlation with the PSF on the axis) of the places at the first distance, by angle."""
        rows = [(place.off_axis_rad, one.correlation) for place, one in zip(self.places, self.registrations, strict=True)
                if place.distance_m == self.places[0].distance_m]
        return sorted(rows, key=lambda row: row[0])

    def invariant_to_rad(self, least: float = ALIKE) -> float:
        """Returns the largest measured angle up to which every correlation is at least `least`."""
        reached = 0.0
        for angle, correlation in self.field():
            if correlation.value < least:
                break
            reached = angle
        return reached


def fit(places: Sequence[Place], pictures: Sequence[HdrImage], *, pitch_m: float) -> PsfStack:
    """Returns the stack of a plan's pictures, in its order. Raises PrivcamError with what to take again.

    The gap follows from the shadow of a plane mask: it grows by 1 + gap / distance, and moves by gap * tan(angle).
    """
    refuse(_form(places, pictures))
    first, last = pictures[0], pictures[-1]
    again = register(first, last)
    refuse(_drift(again))
    near = any(place.distance_m != places[0].distance_m for place in places)
    found = [again, *(register(first, picture, span=SPAN if near else 0.0) for picture in pictures[1:-1])]
    by_distance = _gap_from_distance(places[:-1], found)
    by_angle = _gap_from_angle(places[:-1], found, pitch_m)
    back = np.stack([warped(picture.rate_e_s, (-one.shift_px[0], -one.shift_px[1])) for picture, one in
                     zip(pictures, found, strict=False)])
    return PsfStack(tuple(places[:-1]), tuple(found), back, by_distance, by_angle)


def _form(places: Sequence[Place], pictures: Sequence[HdrImage]) -> list[PrivcamError]:
    if len(places) != len(pictures) or len(places) < MIN_PLACES + 1:
        return [PrivcamError("too few pictures", got=f"{len(pictures)} of {len(places)} places",
                             allowed=f"one each, at least {MIN_PLACES + 1}", todo="take the places that `plan` lists")]
    if places[-1] != places[0]:
        return [PrivcamError("the first place is not repeated at the end", got=places[-1], allowed=places[0],
                             todo="go back to the first place last: drift shows there")]
    if min(place.distance_m for place in places) <= 0:
        return [PrivcamError("a distance is not above 0", got=min(place.distance_m for place in places), allowed="metres above 0")]
    if len(set(places[:-1])) < len(places) - 1:
        return [PrivcamError("a place is there twice", got=f"{len(places) - 1 - len(set(places[:-1]))} repeated", allowed="each once",
                             todo="give each place once, and the first again at the end")]
    dark = [i for i, picture in enumerate(pictures) if picture.total.value < LEAST_SNR * picture.total.error]
    return [PrivcamError("too dark", got=f"pictures {dark[:8]}", allowed=f"a sum of {LEAST_SNR:g} standard errors",
                         todo="brighten the source or add longer exposures to the ladder")] if dark else []


def _drift(end: Registration) -> list[PrivcamError]:
    found, e = [], end.estimates
    moved = [name for name in ("row", "column") if abs(e[name].value) > DRIFT_PX + SIGNIFICANCE * e[name].error]
    if moved:
        found.append(PrivcamError("drifting: the source or the camera moved",
                                  got=f"{end.shift_px[0]:+.2f}, {end.shift_px[1]:+.2f} px from the first picture to the last",
                                  allowed=f"{DRIFT_PX:g} px", todo="clamp both, let them settle, and begin again"))
    if abs(e["gain"].value - 1) > DRIFT_LIGHT + SIGNIFICANCE * e["gain"].error:
        found.append(PrivcamError("drifting: the source changed its light", got=f"{end.gain - 1:+.1%} from the first picture to the last",
                                  allowed=f"{DRIFT_LIGHT:.0%}", todo="let the source warm up, and begin again"))
    return found


def _weighted(design: Array, values: Array, errors: Array) -> tuple[Array, Array, float]:
    """Returns (parameters, covariance, degrees of freedom or infinity) of weighted least squares, wider where points lie off it."""
    scaled = design / errors[:, None]
    covariance: Array = np.linalg.inv(scaled.T @ scaled).astype(np.float64)
    found: Array = covariance @ scaled.T @ (values / errors)
    freedom = len(values) - design.shape[1]
    surprise = float((((values - design @ found) / errors) ** 2).sum()) / freedom
    return found, covariance * np.float64(max(surprise, 1.0)), float(freedom) if surprise > 1 else float("inf")


def _stray(places: Sequence[Place], off: Array, errors: Array, limit: float, what: str) -> None:
    wrong = np.flatnonzero(np.abs(off) > limit + SIGNIFICANCE * errors)
    if len(wrong):
        place = places[int(wrong[np.abs(off[wrong]).argmax()])]
        raise PrivcamError(f"places are out of order, or not where they are said to be: {what}",
                           got=f"{np.abs(off).max():.3g} off at {place}", allowed=f"{limit:g}",
                           todo="check which picture belongs to which place, and measure the places again")


def _gap_from_distance(places: Sequence[Place], found: Sequence[Registration]) -> Estimate | None:
    """The magnification is a + b / distance with b / a the gap."""
    on_axis = [i for i, place in enumerate(places) if place.angle_rad == (0.0, 0.0)]
    if len({places[i].distance_m for i in on_axis}) < MIN_PLACES:
        return None
    nearness = np.array([1 / places[i].distance_m for i in on_axis])
    scales = [found[i].estimates["magnification"] for i in on_axis]
    values, errors = np.array([s.value for s in scales]), np.array([max(s.error, 1e-6) for s in scales])
    design = np.stack([np.ones(len(values)), nearness], 1)
    (a, b), covariance, freedom = _weighted(design, values, errors)
    _stray([places[i] for i in on_axis], values - design @ [a, b], errors, STRAY_SCALE, "magnification against 1 / distance")
    gap = float(b / a)
    slope = np.array([-gap, 1.0]) / a
    return Estimate(gap, float(np.sqrt(slope @ covariance @ slope)), freedom)


def _gap_from_angle(places: Sequence[Place], found: Sequence[Registration], pitch_m: float) -> Estimate | None:
    """The shift is the gap times the tangent, the same along rows and columns, from a free place on the axis."""
    own = [i for i, place in enumerate(places) if place.distance_m == places[0].distance_m]
    if len(own) < MIN_PLACES:
        return None
    tangents = np.tan(np.array([places[i].angle_rad for i in own]))
    shifts = np.array([found[i].shift_px for i in own])
    errors = np.array([[max(found[i].estimates[name].error, 1e-4) for name in ("row", "column")] for i in own]).T.ravel()
    axis = np.repeat([[1.0, 0.0], [0.0, 1.0]], len(own), axis=0)
    design = np.concatenate([tangents.T.reshape(-1, 1), axis], 1)
    if np.linalg.matrix_rank(design) < 3:
        return None
    values = shifts.T.ravel()
    parameters, covariance, freedom = _weighted(design, values, errors)
    _stray([places[i] for i in own] * 2, values - design @ parameters, errors, STRAY_PX, "shift in px against the tangent of the angle")
    return Estimate(abs(float(parameters[0])) * pitch_m, float(np.sqrt(covariance[0, 0])) * pitch_m, freedom)

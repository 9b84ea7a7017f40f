"""Frames of a point source shown at several places, and the image of it that each place gives.

A place is taken with the source on and off at a ladder of exposures. Each pixel counts the rungs at which it is not
saturated, all their light over all their time, which keeps the energy and is the best estimate for shot noise.
Deliberately not here: what is wrong with frames (`calibration.point_source_refusals`), and what the images show
(`calibration.geometry`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from calibration.shadow_fit import Spot
from calibration.stacks import Level
from calibration.temporal import QUANTISATION_DN2
from optics_sim.design import CameraDesign, LenslessOptics, Readout
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure, Source

Array = NDArray[np.float64]
USED_SHARE = 0.8  # of the sensor's range: a pixel that is expected above it on a rung does not count that rung
DITHER = (0.7548776662466927, 0.5698402909980532)  # of the plastic number: places fall evenly between code pixels


@dataclass(frozen=True)
class Shot:
    """Frames to take: `count` of them at `exposure_s`, the source at `position_m` (y, x) and `distance_m`, on or off."""

    position_m: tuple[float, float]
    distance_m: float
    on: bool
    exposure_s: float
    count: int


@dataclass(frozen=True, eq=False)
class Capture:
    """The source at one place: `lit` and `off` are its rungs, of the same rising exposures; `position_m` (y, x) as the rig says."""

    position_m: tuple[float, float]
    distance_m: float
    lit: tuple[Level, ...]
    off: tuple[Level, ...]


@dataclass(frozen=True, eq=False)
class Session:
    """Captures in the order they were taken, the last at the place of the first; `bits` of the raw numbers."""

    captures: tuple[Capture, ...]
    bits: int
    source: Source


@dataclass(frozen=True)
class Noise:
    """What photon transfer says of the sensor: gain, temporal noise of a pixel in the dark, and the signal over dark that saturates it."""

    gain_dn_per_e: float
    dark_noise_dn: float
    saturation_dn: float = float("inf")

    @classmethod
    def of(cls, figures: Mapping[str, Measure]) -> Noise:
        """Returns the noise that the figures of a photon transfer tell: its dark noise has rounding in it, ours has not."""
        gain, dark, saturation = (figures[name].value or 0.0 for name in ("gain", "dark noise dn", "saturation dn"))
        return cls(gain, max(dark**2 - QUANTISATION_DN2, 0.0) ** 0.5, saturation)


def plan(design: CameraDesign, distances_m: Sequence[float], exposures_s: Sequence[float], *, side: int = 3, count: int = 4,
         reach: float = 0.3) -> list[Shot]:
    """Returns the shots of a session, in the order to take them: `side` x `side` places at each distance, and the first again.

    The outer places move the shadow by `reach` of the sensor's side, at every second distance by a quarter less, so that no two places
    look alike; none lies on a multiple of another, so that the shadows fall everywhere between code pixels.
    Raises PrivcamError for distances or exposures that are not a session's, and for optics without a mask.
    """
    rising = len(exposures_s) > 0 and list(exposures_s) == sorted(set(exposures_s))
    if side < 2 or count < 2 or not distances_m or min(distances_m) <= 0 or not rising:
        raise PrivcamError("these are not the shots of a session",
                           got=f"{side} places a side, {count} frames, distances {list(distances_m)}, exposures {list(exposures_s)}",
                           allowed="two or more places a side and frames, distances above 0, rising exposures",
                           todo="ask for 3 x 3 places at two distances, one about twice the other")
    if not isinstance(design.optics, LenslessOptics):
        raise PrivcamError("only a mask has a shadow", got=design.optics.kind, allowed="lensless",
                           todo="give the design of a lensless camera")
    pitch, mask_m = design.code_pitch_m, design.optics.mask_to_sensor_m
    step = reach * min(design.readout.shape)
    places: list[tuple[tuple[float, float], float]] = []
    for i, distance in enumerate(distances_m):
        line = np.linspace(-step, step, side) * (1 if i % 2 == 0 else 0.75)
        for y, x in product(line, line):
            off = [(len(places) + 1) * share % 1 - 0.5 for share in DITHER]
            metres = pitch * distance / mask_m
            places.append(((float((y + off[0]) * metres), float((x + off[1]) * metres)), float(distance)))
    return [Shot(position, distance, on, float(exposure), count) for position, distance in [*places, places[0]]
            for on in (True, False) for exposure in exposures_s]


def gather(shots: Sequence[Shot], frames: Sequence[NDArray[np.integer]], *, bits: int, source: Source) -> Session:
    """Returns the session of a plan's frames, one array [n, row, column] for each shot in its order.

    Raises PrivcamError when the arrays do not fit the shots.
    """
    if [len(stack) for stack in frames] != [shot.count for shot in shots]:
        raise PrivcamError("frames do not fit the plan", got=f"{len(frames)} stacks of {sorted({len(f) for f in frames})} frames",
                           allowed=f"{len(shots)} stacks of {sorted({s.count for s in shots})}",
                           todo="give one array for each shot, with as many frames as it asks for")
    captures: list[Capture] = []
    for first, last in _stays(shots):
        mine = list(zip(shots[first:last], frames[first:last], strict=True))
        lit, off = (tuple(Level(shot.exposure_s, None if on else 0.0, stack) for shot, stack in mine if shot.on is on)
                    for on in (True, False))
        captures.append(Capture(mine[0][0].position_m, mine[0][0].distance_m, lit, off))
    return Session(tuple(captures), bits, source)


def _stays(shots: Sequence[Shot]) -> list[tuple[int, int]]:
    """Returns where each place's shots begin and end: a place is left when position or distance change."""
    at = [(shot.position_m, shot.distance_m) for shot in shots]
    new = [i for i, place in enumerate(at) if i == 0 or place != at[i - 1]]
    return list(pairwise([*new, len(shots)]))


def usable(capture: Capture, noise: Noise, bits: int) -> NDArray[np.bool_]:
    """Returns which pixels count on each rung [rung, row, column]: those that the rung before lets expect below `USED_SHARE`.

    The choice is never made by the numbers it is about, which would favour the dim among noisy ones. The first rung always counts.
    """
    counted = [np.ones(capture.lit[0].frames.shape[1:], bool)]
    for before, dark, rung in zip(capture.lit, capture.off, capture.lit[1:], strict=False):
        expected = (before.mean_image - dark.mean_image) * rung.exposure_s / before.exposure_s
        limit = np.minimum(2**bits - 1 - dark.mean_image, noise.saturation_dn)
        counted.append(counted[-1] & (expected < USED_SHARE * limit))
    return np.array(counted)


def spot(capture: Capture, readout: Readout, noise: Noise, bits: int) -> Spot:
    """Returns a capture as light on code pixels, in electrons per second, upright as the camera sees the scene, and its variance."""
    counted = usable(capture, noise, bits)
    light, variance, time = (np.zeros(counted.shape[1:]) for _ in range(3))
    for on, off, here in zip(capture.lit, capture.off, counted, strict=True):
        weight, signal = here * len(on.frames), on.mean_image - off.mean_image
        own = noise.dark_noise_dn**2 + QUANTISATION_DN2
        light += weight * signal
        time += weight * on.exposure_s
        variance += weight**2 * ((noise.gain_dn_per_e * np.maximum(signal, 0) + own) / len(on.frames) + own / len(off.frames))
    e = noise.gain_dn_per_e
    return Spot(on_code(light / time / e, readout), on_code(variance / time**2 / e**2, readout), capture.position_m, capture.distance_m)


def on_code(pixels: Array, readout: Readout) -> Array:
    """Returns the sums of raw pixels [row, column] over code pixels, turned where the readout turns."""
    rows, columns = readout.shape
    binned = pixels.reshape(rows, readout.bin[0], columns, readout.bin[1]).sum((1, 3))
    return np.asarray(binned[::-1, ::-1] if readout.turn else binned)

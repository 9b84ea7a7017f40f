"""Semi-real clips: photographs of real people moved by parametric motions, every person with every motion.

The face in each clip is a real one; its movement, its surroundings and its light are invented. Nobody was
filmed: figures on such clips say whether a code still tells people apart while they move, and nothing
about how people move.

Deliberately not here: face sets (`faces`), drawn figures (`moving`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from optics_sim.data.faces import FaceSet
from optics_sim.data.moving import FRAME_S, RECORDING_FRAMES, SIDE_PX
from optics_sim.data.photographs import LUMINANCE_WEIGHTS, encode_uint8, gray_light
from optics_sim.data.portrait import background
from optics_sim.data.recordings import Frames, Recording, regular_times
from optics_sim.data.strokes import Plane, step
from optics_sim.errors import PrivcamError

FACE_HEIGHT = (0.78, 0.9)  # of the frame: 49 pixels or more in a frame of 64
NEAREST, FARTHEST = 1.06, 0.78  # of the frame, in the course of an approach
_CURVATURE = 0.7  # half the face's height over the radius of the cylinder it is wrapped around
_PHOTOGRAPHS, _RECORDINGS = 73, 74  # streams of the seed


class Placement(NamedTuple):
    """Where a face is at a moment: shift in frame heights, relative size, turns in radians."""

    down: float = 0.0
    right: float = 0.0
    size: float = 1.0
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0


@dataclass(frozen=True, eq=False)
class Motion:
    """One recording to be made: which motion, from which phase, how fast, how far, where, before what."""

    name: str
    phase: float
    speed: float
    amplitude: float
    centre: tuple[float, float]
    height_px: float
    scene: Plane
    exposure: float


def face_recordings(faces: FaceSet, people: int, takes: int, seed: int, size: tuple[int, int] | None = None,
                    length: int = RECORDING_FRAMES) -> list[Recording]:
    """Returns recordings of the `people` people with the most photographs: all motions, `takes` times.

    Every motion of a trial shows another photograph of the person where there are enough of them (motions in
    turn share them where not), and no photograph is in two trials, so a trial that is held out shows only
    photographs never seen: `Recording.take` is the photograph. Phase, speed,
    amplitude, place, background and exposure are drawn per recording from (seed, person, motion, trial).
    Frames are gray [side, side], 64 pixels or the shorter side of `size`; the face is at least three
    quarters of it high. PrivcamError when a person has too few photographs.
    """
    if min(people, takes) < 1:
        raise PrivcamError("cannot move these faces", got=f"{people} people, {takes} takes", allowed="1 or more", todo="change the numbers")
    chosen = faces.largest(people)
    if takes > chosen.counts.min():
        raise PrivcamError(f"not enough photographs of each person in {faces.name}", got=f"{takes} takes",
                           allowed=f"up to {chosen.counts.min()}: each take uses another photograph", todo="ask for fewer takes or people")
    different = min(len(MOTIONS), int(chosen.counts.min()) // takes)
    side = min(size) if size else SIDE_PX
    orders = [np.random.default_rng([_PHOTOGRAPHS, seed, person]).permutation(np.flatnonzero(chosen.labels == person))
              for person in range(people)]

    def recording(person: int, motion: int, take: int) -> Recording:
        photograph = orders[person][take * different + motion % different]
        return _recording(chosen, person, photograph, motion, (seed, person, motion, take), side, length)

    return [recording(person, motion, take) for person in range(people) for motion in range(len(MOTIONS)) for take in range(takes)]


def invent_motion(name: str, side: int, rng: np.random.Generator) -> Motion:
    """Returns the circumstances of one recording in frames of `side` pixels."""
    axis = ((np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1).astype(np.float32)
    scene = np.tensordot(LUMINANCE_WEIGHTS, background(np.random.default_rng(rng.integers(2**31)), axis), axes=1)
    return Motion(
        name, phase=rng.uniform(0, 2 * np.pi), speed=2 * np.pi * rng.uniform(0.8, 1.25), amplitude=rng.uniform(0.75, 1.2),
        centre=(rng.uniform(-0.04, 0.04), rng.uniform(-0.05, 0.05)), height_px=side * rng.uniform(*FACE_HEIGHT), scene=scene,
        exposure=float(np.clip(0.22 * np.exp(rng.normal(0, 0.3)), 0.1, 0.45)),
    )


def move_face(photograph: Plane, motion: Motion, time_s: float) -> Plane:
    """Returns linear light [side, side]: a photograph [H, W] at a moment of its motion, cut out softly, before the scene."""
    placed = MOTIONS[motion.name](motion.phase + motion.speed * time_s, motion.amplitude)
    side, half = len(motion.scene), motion.height_px * placed.size / 2
    axis = np.arange(side) + 0.5 - side / 2
    x = (axis[None, :] - side * (motion.centre[1] + placed.right)) / half
    y = (axis[:, None] - side * (motion.centre[0] + placed.down)) / half
    cos, sin = np.cos(placed.roll), np.sin(placed.roll)
    across, down = cos * x + sin * y, cos * y - sin * x
    width = photograph.shape[1] / photograph.shape[0]
    rows = (_wrapped(down, placed.pitch) + 1) / 2 * photograph.shape[0] - 0.5
    columns = (_wrapped(across, placed.yaw) / width + 1) / 2 * photograph.shape[1] - 0.5
    face = map_coordinates(photograph, [rows, columns], order=1, mode="nearest")
    inside = 1 - np.sqrt((across / width) ** 2 + down**2)
    return np.asarray(motion.scene + (face - motion.scene) * step(inside - 0.03, 0.06), dtype=np.float32)


def _wrapped(place: Plane, turn: float) -> Plane:
    """Returns where on the flat photograph a point of the turned cylinder lies; half the face's height is 1."""
    angle = np.arcsin(np.clip(place * _CURVATURE, -1, 1)) - turn
    return np.sin(np.clip(angle, -np.pi / 2, np.pi / 2)) / _CURVATURE


def _recording(faces: FaceSet, person: int, photograph: int, motion: int, stream: tuple[int, ...], side: int, length: int) -> Recording:
    action, actor = tuple(MOTIONS)[motion], faces.people[person]

    def read(wanted: Sequence[int]) -> Frames:
        plan = invent_motion(action, side, np.random.default_rng([_RECORDINGS, *stream]))
        picture = faces.images[photograph]
        rows = round(plan.height_px)  # the photograph at the size it is shown: no aliasing, no blur
        light = gray_light(picture[None], (rows, max(round(rows * picture.shape[1] / picture.shape[0]), 1)), "stretch")[0]
        still = move_face(light, plan, 0.0)
        gain = plan.exposure / max(float(still.mean()), 1e-3)
        return [encode_uint8(move_face(light, plan, frame * FRAME_S) * np.float32(gain)) for frame in wanted]

    take = f"{actor}/photograph {photograph}"
    times = regular_times(length, FRAME_S)
    return Recording(f"{actor}/{action}/{stream[-1]}", action, actor, stream[-1] + 1, take, times, (side, side), read)


# --- motions: (phase, amplitude) -> placement -----------------------------------------------------
def _nod(phase: float, amplitude: float) -> Placement:
    swing = amplitude * float(np.sin(1.2 * phase))
    return Placement(pitch=0.22 * swing, down=0.03 * swing)


def _shake(phase: float, amplitude: float) -> Placement:
    swing = amplitude * float(np.sin(1.2 * phase))
    return Placement(yaw=0.23 * swing, right=0.02 * swing)


def _tilt(phase: float, amplitude: float) -> Placement:
    return Placement(roll=0.32 * amplitude * float(np.sin(phase)))


def _approach(phase: float, amplitude: float) -> Placement:
    """Comes near and goes back; the size keeps within bounds whatever the amplitude and the face's own height."""
    place = 0.5 + 0.5 * min(amplitude, 1.0) * float(np.sin(0.5 * phase))
    return Placement(size=FARTHEST / FACE_HEIGHT[0] + (NEAREST / FACE_HEIGHT[1] - FARTHEST / FACE_HEIGHT[0]) * place)


def _circle(phase: float, amplitude: float) -> Placement:
    return Placement(down=0.08 * amplitude * float(np.sin(phase)), right=0.08 * amplitude * float(np.cos(phase)))


def _drift(phase: float, amplitude: float) -> Placement:
    """Goes to one side and back at a steady pace, slower than all others."""
    return Placement(right=0.13 * amplitude * float(2 / np.pi * np.arcsin(np.sin(0.5 * phase))))


MOTIONS: dict[str, Callable[[float, float], Placement]] = {
    "nod": _nod, "shake": _shake, "tilt": _tilt, "approach": _approach, "circle": _circle, "drift": _drift,
}

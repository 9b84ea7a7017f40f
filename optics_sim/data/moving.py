"""Synthetic moving people: drawn figures with a body and clothes each, who do one of eight actions.

No photograph and no real person is involved. The figures a camera reaches on these people say that the
tool works, not how it does on people.

Deliberately not here: how a figure is drawn (`figure`), photographs that are moved (`moving_faces`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from optics_sim.data.figure import Body, Pose, Stage, Texture, draw_figure
from optics_sim.data.photographs import LUMINANCE_WEIGHTS, encode_uint8
from optics_sim.data.portrait import HAIR_CUTS, background
from optics_sim.data.recordings import Frames, Recording, regular_times
from optics_sim.data.strokes import Plane
from optics_sim.data.synthetic import invent_face
from optics_sim.errors import PrivcamError

FRAME_S = 1 / 25
RECORDING_FRAMES = 100
SIDE_PX = 64
TEXTURES: tuple[Texture, ...] = ("plain", "hoops", "stripes", "checks", "yoke")
_HANGING = (0.12, 0.3)
_PEOPLE, _RECORDINGS = 71, 72  # streams of the seed


@dataclass(frozen=True, eq=False)
class Performance:
    """One recording to be drawn: who, doing what, how fast (radians per second from a phase), where and in which light."""

    body: Body
    action: str
    phase: float
    speed: float
    vigour: float
    mirrored: bool
    stage: Stage
    scene: Plane
    exposure: float


def figure_recordings(actors: int, actions: int, takes: int, seed: int, size: tuple[int, int] | None = None,
                      length: int = RECORDING_FRAMES) -> list[Recording]:
    """Returns recordings of invented people: every one of them does each of the first `actions` actions in each take.

    Actor k depends on (seed, k) alone and a recording on (seed, actor, action, take) alone: asking for more adds
    and changes nothing. Position, speed, phase, side, light and background are drawn per recording, body, clothes,
    tempo and vigour per actor. Frames are RGB [side, side, 3], 64 pixels or the shorter side of `size`.
    PrivcamError for impossible numbers.
    """
    if min(actors, takes) < 1 or not 2 <= actions <= len(ACTIONS):
        raise PrivcamError("cannot draw these moving people", got=f"{actors} actors, {actions} actions, {takes} takes",
                           allowed=f"1 actor and take or more, 2 to {len(ACTIONS)} actions", todo="change the numbers")
    side = min(size) if size else SIDE_PX
    return [_recording(actor, number, take, seed, side, length)
            for actor in range(actors) for number in range(actions) for take in range(takes)]


def invent_body(rng: np.random.Generator) -> Body:
    """Returns a body drawn from wide, roughly human distributions, in clothes of two colours."""
    face = invent_face(rng)
    shirt, trim = _cloth(rng), _cloth(rng)
    return Body(
        legs=rng.uniform(0.92, 1.06), arms=rng.uniform(0.92, 1.1), shoulders=rng.uniform(0.82, 1.2), girth=rng.uniform(0.8, 1.4),
        limbs=rng.uniform(0.8, 1.25), head=rng.uniform(0.95, 1.2), head_width=face.width / 0.74, skin=face.skin, hair=face.hair,
        hair_ends={"bob": 1.2, "long": 2.4, "bald": -0.6}.get(face.hair_style, 2.0 * HAIR_CUTS[face.hair_style].ends),
        shirt=shirt, trim=trim, texture=TEXTURES[rng.integers(len(TEXTURES))], texture_period=rng.uniform(0.3, 0.7),
        long_sleeves=bool(rng.random() < 0.5), trousers=_cloth(rng), long_trousers=bool(rng.random() < 0.7), shoes=_cloth(rng) * 0.5,
        tempo=rng.uniform(0.85, 1.18), vigour=rng.uniform(0.85, 1.12),
    )


def invent_performance(body: Body, action: str, side: int, rng: np.random.Generator) -> Performance:
    """Returns the circumstances of one recording in frames of `side` pixels, exposed to a random mean luminance."""
    azimuth, elevation = rng.normal(0, 0.7), rng.uniform(0.2, 1.0)
    light = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32)
    stage = Stage(
        ground_x_px=side * rng.uniform(0.4, 0.6), ground_y_px=side * rng.uniform(0.9, 0.96), height_px=side * rng.uniform(0.62, 0.72),
        yaw=rng.uniform(-0.6, 0.6), light=light, ambient=rng.uniform(0.35, 0.7), tint=(1 + rng.normal(0, 0.05, 3)).astype(np.float32),
    )
    axis = ((np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1).astype(np.float32)
    scene = background(np.random.default_rng(rng.integers(2**31)), axis)
    mean = float(LUMINANCE_WEIGHTS @ scene.reshape(3, -1).mean(axis=1))
    return Performance(
        body, action, phase=rng.uniform(0, 2 * np.pi), speed=2 * np.pi * rng.uniform(0.75, 1.05) * body.tempo,
        vigour=body.vigour * rng.uniform(0.92, 1.08), mirrored=bool(rng.random() < 0.5), stage=stage, scene=scene,
        exposure=float(np.clip(0.22 * np.exp(rng.normal(0, 0.3)), 0.1, 0.42)) / max(mean, 0.02),
    )


def pose_at(performance: Performance, time_s: float) -> Pose:
    """Returns the pose of a recording at a moment; every other performer uses the other hand."""
    pose = ACTIONS[performance.action](performance.phase + performance.speed * time_s, performance.vigour)
    if not performance.mirrored:
        return pose
    return pose._replace(upper_arms=pose.upper_arms[::-1], forearms=pose.forearms[::-1], legs=pose.legs[::-1])


def draw_frame(performance: Performance, time_s: float) -> Plane:
    """Returns linear light [3, side, side] at a moment of a recording."""
    canvas = performance.scene.astype(np.float32)
    draw_figure(canvas, performance.body, pose_at(performance, time_s), performance.stage)
    return canvas * np.float32(performance.exposure)


def _recording(actor: int, number: int, take: int, seed: int, side: int, length: int) -> Recording:
    action = tuple(ACTIONS)[number]

    def read(wanted: Sequence[int]) -> Frames:
        body = invent_body(np.random.default_rng([_PEOPLE, seed, actor]))
        performance = invent_performance(body, action, side, np.random.default_rng([_RECORDINGS, seed, actor, number, take]))
        return [encode_uint8(np.moveaxis(draw_frame(performance, frame * FRAME_S), 0, -1)) for frame in wanted]

    name = f"synthetic_{actor:03d}/{action}/{take}"
    return Recording(name, action, f"synthetic_{actor:03d}", take + 1, name, regular_times(length, FRAME_S), (side, side), read)


def _cloth(rng: np.random.Generator) -> Plane:
    return np.asarray(np.clip(rng.uniform(0.02, 0.75) * np.exp(rng.normal(0, 0.5, 3)), 0.01, 0.9), dtype=np.float32)


# --- actions: (phase, vigour) -> pose -------------------------------------------------------------
def _ease(phase: float) -> float:
    """Returns a swing from 0 to 1 and back once a turn."""
    return float(0.5 - 0.5 * np.cos(phase))


def _both(up: float, forward: float) -> tuple[tuple[float, float], tuple[float, float]]:
    return (up, forward), (up, forward)


def _wave(phase: float, vigour: float) -> Pose:
    swing = float(np.sin(2 * phase))  # a waving hand is quicker than a body
    return Pose((_HANGING, (1.75, 0.15)), (_HANGING, (2.75 + 0.65 * vigour * swing, 0.0)))


def _jack(phase: float, vigour: float) -> Pose:
    open_ = _ease(phase)
    raised = 0.2 + 2.6 * open_ * min(vigour, 1.05)
    spread = 0.05 + 0.38 * vigour * open_
    return Pose(_both(raised, 0.0), _both(raised + 0.15, 0.0), legs=(spread, spread), jump=0.05 * float(abs(np.sin(phase))))


def _bend(phase: float, vigour: float) -> Pose:
    lean = 1.45 * min(vigour, 1.05) * _ease(phase)
    return Pose(_both(0.1 + lean, 1.5), _both(0.1 + 1.05 * lean, 1.5), lean=lean, crouch=0.12 * lean)


def _squat(phase: float, vigour: float) -> Pose:
    down = _ease(phase) * vigour
    raised = 0.25 + 1.2 * down
    return Pose(_both(raised, 1.1), _both(raised, 1.25), lean=0.25 * down, crouch=1.0 * down, legs=(0.12, 0.12))


def _box(phase: float, vigour: float) -> Pose:
    blows = [max(float(np.sin(1.5 * phase + shift)), 0.0) * vigour for shift in (0.0, np.pi)]
    first, second = ((0.6 + 1.0 * blow, 0.6) for blow in blows)
    left, right = ((2.5 - 0.9 * blow, 1.9 - 1.5 * blow) for blow in blows)
    return Pose((first, second), (left, right), crouch=0.1, legs=(0.16, 0.16))


def _clap(phase: float, vigour: float) -> Pose:
    apart = _ease(2 * phase) * min(vigour, 1.1)
    return Pose(_both(0.75, 1.1 - 0.75 * apart), _both(1.6, 2.25 - 1.9 * apart))


def _wave_both(phase: float, vigour: float) -> Pose:
    swing = float(np.sin(1.5 * phase))
    return Pose(_both(2.1 + 0.15 * swing, 0.1), _both(2.75 + 0.55 * vigour * swing, 0.0))


def _kick(phase: float, vigour: float) -> Pose:
    swing = _ease(phase) ** 2 * vigour
    return Pose(((0.5 + 0.5 * swing, 0.1), (0.4, 0.5)), ((0.7 + 0.5 * swing, 0.1), (0.6, 0.8)), legs=(0.05, 0.06 + 1.15 * swing))


ACTIONS: dict[str, Callable[[float, float], Pose]] = {
    "wave": _wave, "jumping jack": _jack, "bend": _bend, "squat": _squat, "box": _box, "clap": _clap,
    "wave both": _wave_both, "kick": _kick,
}

"""Drawing one synthetic figure: a skeleton in three dimensions, clothed in tapered limbs, in linear light.

Lengths are in body heights, the origin on the ground below the pelvis: x right, y down, z to the viewer. Limbs are lit as
cylinders and laid over each other from far to near; edges are antialiased by their distance in pixels.

Deliberately not here: who is drawn and what they do (`moving`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from optics_sim.data.strokes import Plane

Texture = Literal["plain", "hoops", "stripes", "checks", "yoke"]
FOOT, SHIN, THIGH, TORSO, NECK = 0.035, 0.235, 0.245, 0.29, 0.045
UPPER_ARM, FOREARM = 0.165, 0.165
_SIDES = (-1, 1)


@dataclass(frozen=True, eq=False)
class Body:
    """What stays of a person: proportions relative to the average, clothes, and how they move. Colours are linear RGB."""

    legs: float
    arms: float
    shoulders: float
    girth: float
    limbs: float
    head: float
    head_width: float
    skin: Plane
    hair: Plane
    hair_ends: float
    shirt: Plane
    trim: Plane
    texture: Texture
    texture_period: float
    long_sleeves: bool
    trousers: Plane
    long_trousers: bool
    shoes: Plane
    tempo: float
    vigour: float


class Pose(NamedTuple):
    """Angles in radians at one moment. An arm's direction is (up from hanging, forward from sideways); arms are (left, right)."""

    upper_arms: tuple[tuple[float, float], tuple[float, float]]
    forearms: tuple[tuple[float, float], tuple[float, float]]
    lean: float = 0.0
    crouch: float = 0.0
    legs: tuple[float, float] = (0.06, 0.06)
    jump: float = 0.0


class Stage(NamedTuple):
    """Circumstances of one recording: where the figure stands, in pixels of a frame, and the light on it."""

    ground_x_px: float
    ground_y_px: float
    height_px: float
    yaw: float
    light: Plane
    ambient: float
    tint: Plane


class Limb(NamedTuple):
    """A tapered cylinder between two points [3], with its radii at both ends, and what it is painted with."""

    start: Plane
    end: Plane
    radius: tuple[float, float]
    colour: Plane
    textured: bool = False


def draw_figure(canvas: Plane, body: Body, pose: Pose, stage: Stage) -> None:
    """Lays a figure over a canvas [3, H, W] of linear light."""
    limbs = skeleton(body, pose, stage.yaw)
    _shadow(canvas, stage)
    for limb in sorted(limbs, key=lambda limb: float(limb.start[2] + limb.end[2])):
        _draw_limb(canvas, body, limb, stage)


def skeleton(body: Body, pose: Pose, yaw: float) -> list[Limb]:
    """Returns the limbs of a figure that looks `yaw` to the side, in body heights."""
    drop = (THIGH + SHIN) * body.legs * (1 - np.cos(pose.crouch))
    pelvis = np.array([0.0, -(FOOT + (THIGH + SHIN) * body.legs) + drop - pose.jump, -0.55 * THIGH * np.sin(pose.crouch)])
    up = np.array([0.0, -np.cos(pose.lean), np.sin(pose.lean)])
    chest = pelvis + TORSO * up
    limbs = [limb for side in (0, 1) for limb in _leg(body, pose, pelvis, side)]
    limbs += [limb for side in (0, 1) for limb in _arm(body, pose, chest, side)]
    width = float(np.hypot(0.105 * body.shoulders * np.cos(yaw), 0.06 * np.sin(yaw)))
    waist = float(np.hypot(0.08 * np.cos(yaw), 0.06 * np.sin(yaw))) * body.girth
    limbs.append(Limb(chest, pelvis, (width, waist), body.shirt, textured=True))
    limbs += _head(body, chest, up)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    return [limb._replace(start=turn @ limb.start, end=turn @ limb.end) for limb in limbs]


def _leg(body: Body, pose: Pose, pelvis: Plane, side: int) -> list[Limb]:
    sign, spread = _SIDES[side], pose.legs[side]
    hip = pelvis + np.array([sign * 0.05 * body.girth, 0.0, 0.0])
    out, forward = np.sin(spread + 0.5 * pose.crouch), np.sin(pose.crouch)
    down = np.sqrt(max(1 - min(out**2 + 0.6 * forward**2, 0.95), 0.05))
    knee = hip + THIGH * body.legs * _unit(np.array([sign * out, down, 0.8 * forward]))
    shin = _unit(np.array([sign * np.sin(spread), np.cos(spread), -0.6 * forward]))
    ankle = knee + SHIN * body.legs * shin
    toe = ankle + np.array([sign * 0.015, 0.5 * FOOT, 0.05])
    thick = 0.048 * body.limbs
    lower = body.trousers if body.long_trousers else body.skin
    return [Limb(hip, knee, (1.15 * thick * body.girth, 0.8 * thick), body.trousers), Limb(knee, ankle, (0.8 * thick, 0.6 * thick), lower),
            Limb(ankle, toe, (0.6 * thick, 0.55 * thick), body.shoes)]


def _arm(body: Body, pose: Pose, chest: Plane, side: int) -> list[Limb]:
    sign, lean = _SIDES[side], pose.lean
    shoulder = chest + np.array([sign * 0.115 * body.shoulders, 0.02, 0.0])
    elbow = shoulder + UPPER_ARM * body.arms * _direction(pose.upper_arms[side], sign, lean)
    wrist = elbow + FOREARM * body.arms * _direction(pose.forearms[side], sign, lean)
    hand = wrist + 0.03 * _unit(wrist - elbow)
    thick = 0.036 * body.limbs
    sleeve = body.shirt if body.long_sleeves else body.skin
    return [Limb(shoulder, elbow, (1.1 * thick, 0.85 * thick), body.shirt), Limb(elbow, wrist, (0.85 * thick, 0.7 * thick), sleeve),
            Limb(wrist, hand, (0.8 * thick, 0.75 * thick), body.skin)]


def _head(body: Body, chest: Plane, up: Plane) -> list[Limb]:
    radius = 0.066 * body.head
    chin = chest + (NECK + 0.5 * radius) * up
    crown = chin + 0.9 * radius * up
    front = np.array([0.0, up[2], -up[1]])  # where the face looks
    face = Limb(chin + 0.35 * radius * front, crown - 0.15 * radius * up + 0.35 * radius * front,
                (0.8 * radius * body.head_width, 0.95 * radius * body.head_width), body.skin)
    ends = chin + (0.6 - body.hair_ends) * radius * up - 0.3 * radius * front
    hair = Limb(crown + 0.3 * radius * up - 0.1 * radius * front, ends, (radius, 1.0 * radius), body.hair)
    neck = Limb(chest + 0.02 * up, chin, (0.5 * radius, 0.5 * radius), body.skin)
    return [neck, hair, face]


def _direction(angles: tuple[float, float], sign: int, lean: float) -> Plane:
    """Returns a unit vector: `angles[0]` up from hanging down, `angles[1]` forward from sideways, on a leaning torso."""
    raised, forward = angles
    x, y, z = sign * np.sin(raised) * np.cos(forward), np.cos(raised), np.sin(raised) * np.sin(forward)
    return np.array([x, y * np.cos(lean) + z * np.sin(lean), z * np.cos(lean) - y * np.sin(lean)])


def _unit(vector: Plane) -> Plane:
    return np.asarray(vector / np.sqrt((vector * vector).sum()))


def _on_screen(point: Plane, stage: Stage) -> Plane:
    return np.array([stage.ground_x_px + point[0] * stage.height_px, stage.ground_y_px + point[1] * stage.height_px], np.float32)


def _draw_limb(canvas: Plane, body: Body, limb: Limb, stage: Stage) -> None:
    start, end = _on_screen(limb.start, stage), _on_screen(limb.end, stage)
    first, last = (np.float32(max(radius * stage.height_px, 0.4)) for radius in limb.radius)
    reach = max(first, last) + 1
    low, high = np.floor(np.minimum(start, end) - reach), np.ceil(np.maximum(start, end) + reach)
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.minimum(high + 1, (canvas.shape[2], canvas.shape[1])).astype(int)
    if x0 >= x1 or y0 >= y1:
        return  # outside the frame
    x = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5) - start[0]
    y = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5) - start[1]
    along, side, cover = _coordinates(x, y, end - start, first, last)
    axis = _unit((end - start).astype(np.float32) + np.float32(1e-3))
    lit = stage.light[0] * axis[1] - stage.light[1] * axis[0]  # the light's part along the limb's normal
    lambert = np.maximum(lit * side + stage.light[2] * np.sqrt(1 - side * side), 0)
    shade = np.float32(stage.ambient) + np.float32(1.2 * (1 - stage.ambient)) * lambert
    window = canvas[:, y0:y1, x0:x1]
    window += (_painted(body, limb, along, side, stage.tint) * shade - window) * cover


def _coordinates(x: Plane, y: Plane, axis: Plane, first: np.float32, last: np.float32) -> tuple[Plane, Plane, Plane]:
    """Returns (place along the limb 0..1, place across it -1..1, coverage) of pixels relative to its start."""
    length = np.float32(max(float(axis @ axis), 1e-3))
    along = np.minimum(np.maximum((x * axis[0] + y * axis[1]) / length, 0), 1)
    across = (x * axis[1] - y * axis[0]) / np.sqrt(length)
    radius = first + (last - first) * along
    distance = np.sqrt((x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2)
    cover = np.minimum(np.maximum(radius - distance + np.float32(0.5), 0), 1)
    return along, np.minimum(np.maximum(across / radius, -1), 1), cover


def _painted(body: Body, limb: Limb, along: Plane, side: Plane, tint: Plane) -> Plane:
    colour, trim = (limb.colour * tint)[:, None, None], (body.trim * tint)[:, None, None]
    if not limb.textured or body.texture == "plain":
        return colour
    turns = np.float32(2 * np.pi / body.texture_period)
    waves: Plane
    match body.texture:
        case "hoops":
            waves = np.sin(turns * along)
        case "stripes":
            waves = np.sin(turns * side)
        case "checks":
            waves = np.sin(turns * along) * np.sin(turns * side)
        case "yoke":
            waves = 4 * (np.float32(0.42) - along)
    return colour + (trim - colour) * np.clip(0.5 + 1.5 * waves, 0, 1).astype(np.float32)


def _shadow(canvas: Plane, stage: Stage) -> None:
    x = (np.arange(canvas.shape[2], dtype=np.float32) - stage.ground_x_px) / (0.16 * stage.height_px)
    y = (np.arange(canvas.shape[1], dtype=np.float32) - stage.ground_y_px) / (0.035 * stage.height_px)
    canvas *= (1 - 0.5 * np.exp(-0.5 * x**2)[None, :] * np.exp(-0.5 * y**2)[:, None]).astype(np.float32)

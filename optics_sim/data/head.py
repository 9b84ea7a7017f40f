"""The head of a synthetic face: an ellipsoid with relief under parallel rays, and the light on it.

Deliberately not here: what is painted on it (`portrait`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from optics_sim.data.strokes import Plane, bell

HEAD_DEPTH = 0.82  # of half the head's height


@dataclass(frozen=True, eq=False)
class Face:
    """What stays of a person from picture to picture. Lengths are in half heads; colours linear RGB."""

    width: float
    jaw: float
    cheek: float
    skin: Plane
    iris: Plane
    hair: Plane
    hair_style: str
    hair_line: float
    hair_part: float
    hair_fringe: float
    hair_volume: float
    hair_phase: float
    eye_spacing: float
    eye_height: float
    eye_width: float
    eye_open: float
    eye_tilt: float
    iris_size: float
    brow_height: float
    brow_thick: float
    brow_arch: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    nose_height: float
    mouth_gap: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    lip_red: float
    ear_size: float
    beard: str
    glasses: int
    glasses_size: float
    glasses_dark: bool
    age: float
    blush: float
    freckles: float
    socket: float
    moles: Plane


@dataclass(frozen=True, eq=False)
class View:
    """What changes from picture to picture: pose in radians, light, expression, surroundings, exposure."""

    yaw: float
    pitch: float
    roll: float
    centre_y: float
    centre_x: float
    scale: float
    light_azimuth: float
    light_elevation: float
    ambient: float
    light_tint: Plane
    smile: float
    mouth_open: float
    eye_open: float
    brow_raise: float
    gaze: float
    mean_luminance: float
    clothes: Plane
    collar: float
    background_seed: int


class Surface(NamedTuple):
    """Where rays meet an ellipsoid: head coordinates in half heads, coverage 0..1, normals [3, H, W] of the head."""

    x: Plane
    y: Plane
    front: Plane
    cover: Plane
    normal: Plane


def head_frame(face: Face, view: View, axis: Plane) -> tuple[Plane, Plane]:
    """Returns (across, down) of every pixel in half heads, upright, with the outline of jaw and cheeks undone."""
    x = (axis[None, :] - np.float32(view.centre_x)) / np.float32(view.scale)
    y = (axis[:, None] - np.float32(view.centre_y)) / np.float32(view.scale)
    cos, sin = np.float32(np.cos(view.roll)), np.float32(np.sin(view.roll))
    across, down = cos * x + sin * y, cos * y - sin * x
    low = np.clip(down, 0, 1.1)
    outline = 1 + np.float32(face.jaw) * low**2 * (1.6 - low) * 2.2 + np.float32(face.cheek) * bell(down, 0.3, 0.3)
    outline += np.float32(0.13) * bell(down, -0.75, 0.28)
    return (across / outline).astype(np.float32), down.astype(np.float32)


def rotation(view: View) -> Plane:
    """Returns the matrix from head to screen axes (x right, y down, z to the viewer)."""
    cy, sy, cp, sp = np.cos(view.yaw), np.sin(view.yaw), np.cos(view.pitch), np.sin(view.pitch)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return (pitch @ yaw).astype(np.float32)


def light_direction(view: View) -> Plane:
    """Returns the unit vector towards the light, (x right, y down, z to the viewer)."""
    azimuth, elevation = np.clip(view.light_azimuth, -1.4, 1.4), np.clip(view.light_elevation, -0.3, 1.2)
    return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32)


def surface_of(across: Plane, down: Plane, turn: Plane, axes: tuple[float, float, float], soft: np.float32,
             face: Face | None = None) -> Surface:
    """Returns where parallel rays meet the turned ellipsoid; a face's nose stands out of it by one refinement."""
    scale = np.array(axes, dtype=np.float32)
    step = turn[2] / scale
    start = [(across * turn[0, i] + down * turn[1, i]) / scale[i] for i in range(3)]
    a = float(step @ step)
    b = sum(start[i] * step[i] for i in range(3))
    inside = 1 - sum(point * point for point in start) + b * b / a  # 1 on the axis, 0 on the outline
    point = _hit(start, step, inside, b, a, 1.0)
    if face is not None:
        nose = _nose(face, point[0] * scale[0], point[1] * scale[1]) * (point[2] > 0)
        point = _hit(start, step, inside, b, a, 1 + nose)
    cover = np.clip(0.5 + (1 - np.sqrt(np.maximum(1 - inside, 0))) * scale[0] / soft, 0, 1)
    return Surface(point[0] * scale[0], point[1] * scale[1], point[2], cover.astype(np.float32), np.stack(point))


def _hit(start: list[Plane], step: Plane, inside: Plane, b: Plane, a: float, radius: Plane | float) -> list[Plane]:
    far = (np.sqrt(np.maximum((radius * radius - 1 + inside) * a, 0)) - b) / a
    return [start[i] + far * step[i] for i in range(3)]


def _nose(face: Face, x: Plane, y: Plane) -> Plane:
    tip = face.eye_height + face.nose_length
    ridge = bell(x, 0, face.nose_width * 0.55) * bell(y, tip - 0.14, 0.16)
    ball = bell(x, 0, face.nose_width * 0.8) * bell(y, tip, 0.08)
    return np.asarray(np.float32(face.nose_height) * (0.6 * ridge + 0.4 * ball), dtype=np.float32)


def relief_slopes(face: Face, head: Surface) -> tuple[Plane, Plane]:
    """Returns the slopes (d/dx, d/dy) of nose, brow, sockets, cheeks, lips and chin over the ellipsoid."""
    tip, side = face.eye_height + face.nose_length, abs(head.x)
    mouth = tip + face.mouth_gap
    bumps = (  # x, y, width, height, amount; x is mirrored where it is not 0
        (0.0, tip - 0.16, face.nose_width * 0.55, 0.16, 0.55 * face.nose_height),
        (0.0, tip, face.nose_width * 0.75, 0.075, 0.55 * face.nose_height),
        (face.nose_width, tip + 0.02, 0.05, 0.05, 0.022),
        (face.eye_spacing, face.eye_height, 0.13, 0.085, -0.10 * face.socket),
        (face.eye_spacing, face.eye_height - face.brow_height, 0.2, 0.06, 0.025),
        (face.eye_spacing + 0.14, tip - 0.06, 0.15, 0.14, 0.045 + 0.3 * face.cheek),
        (0.0, mouth, face.mouth_width, 0.09, 0.03),
        (0.0, mouth + 0.26, 0.14, 0.1, 0.045),
    )
    slope_x, slope_y = np.zeros_like(head.x), np.zeros_like(head.x)
    for x, y, width, height, amount in bumps:
        dx, dy = (side - np.float32(x) if x else head.x) / np.float32(width), (head.y - np.float32(y)) / np.float32(height)
        value = np.float32(amount) * np.exp(-0.5 * (dx * dx + dy * dy))
        slope_x -= value * dx * (np.sign(head.x) if x else 1) / np.float32(width)
        slope_y -= value * dy / np.float32(height)
    return slope_x, slope_y


def shading(surface: Surface, turn: Plane, light: Plane, view: View, relief: tuple[Plane, Plane] | None = None) -> Plane:
    """Returns Lambert's cosine plus ambient light, per pixel."""
    normal = surface.normal.copy()
    if relief is not None:
        front = np.clip(surface.front * 2, 0, 1)
        normal[0] -= relief[0] * front
        normal[1] -= relief[1] * front
    normal /= np.sqrt((normal * normal).sum(axis=0) + 1e-6)
    local = turn.T @ light
    lambert = np.maximum(local[0] * normal[0] + local[1] * normal[1] + local[2] * normal[2], 0)
    sky = 0.75 - 0.25 * normal[1]
    return np.asarray(view.ambient * sky + (1 - view.ambient) * 1.3 * lambert, dtype=np.float32)

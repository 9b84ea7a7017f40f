"""Drawing one synthetic face: an ellipsoidal head with relief, lit and painted in head coordinates, in linear light.

Every pixel of the head is a ray that meets a turned ellipsoid; features are painted where the ray lands,
so a turned head is foreshortened as it should be. Edges are antialiased by their distance in pixels.

Deliberately not here: who is drawn (`synthetic`). Screen coordinates: x right, y down, -1..1 across the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.photographs import LUMINANCE_WEIGHTS, encode_uint8

Plane = NDArray[np.float32]
_HEAD_DEPTH = 0.82  # of half the head's height


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


def draw(face: Face, view: View, size: int) -> NDArray[np.uint8]:
    """Returns the picture of a face, sRGB uint8 [size, size, 3], exposed to the view's mean luminance."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    canvas = _background(np.random.default_rng(view.background_seed), axis)
    across, down = _head_frame(face, view, axis)
    soft = np.float32(2 / size / view.scale)  # one pixel, in half heads
    turn = _rotation(view)
    light = _direction(view)
    _draw_behind(canvas, face, view, across, down, soft, light)
    _draw_ears(canvas, face, view, turn, across, down, soft)
    head = _surface(across, down, turn, (face.width, 1.0, _HEAD_DEPTH), soft, face)
    albedo = _paint_skin(face, view, head, soft)
    shade = _shading(head, turn, light, view, relief=_relief(face, head))
    _over(canvas, albedo * (shade * view.light_tint[:, None, None]), head.cover)
    _draw_hair(canvas, face, view, turn, across, down, soft, light)
    _draw_glasses(canvas, face, head, soft, light)
    exposure = view.mean_luminance / max(float(LUMINANCE_WEIGHTS @ canvas.reshape(3, -1).mean(axis=1)), 1e-6)
    return encode_uint8(np.moveaxis(canvas * np.float32(exposure), 0, -1))


# --- geometry -------------------------------------------------------------------------------------
def _head_frame(face: Face, view: View, axis: Plane) -> tuple[Plane, Plane]:
    """Returns (across, down) of every pixel in half heads, upright, with the outline of jaw and cheeks undone."""
    x = (axis[None, :] - np.float32(view.centre_x)) / np.float32(view.scale)
    y = (axis[:, None] - np.float32(view.centre_y)) / np.float32(view.scale)
    cos, sin = np.float32(np.cos(view.roll)), np.float32(np.sin(view.roll))
    across, down = cos * x + sin * y, cos * y - sin * x
    low = np.clip(down, 0, 1.1)
    outline = 1 + np.float32(face.jaw) * low**2 * (1.6 - low) * 2.2 + np.float32(face.cheek) * _bell(down, 0.3, 0.3)
    outline += np.float32(0.13) * _bell(down, -0.75, 0.28)
    return (across / outline).astype(np.float32), down.astype(np.float32)


def _rotation(view: View) -> Plane:
    """Returns the matrix from head to screen axes (x right, y down, z to the viewer)."""
    cy, sy, cp, sp = np.cos(view.yaw), np.sin(view.yaw), np.cos(view.pitch), np.sin(view.pitch)
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    return (pitch @ yaw).astype(np.float32)


def _direction(view: View) -> Plane:
    azimuth, elevation = np.clip(view.light_azimuth, -1.4, 1.4), np.clip(view.light_elevation, -0.3, 1.2)
    return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32)


def _surface(across: Plane, down: Plane, turn: Plane, axes: tuple[float, float, float], soft: np.float32,
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
    ridge = _bell(x, 0, face.nose_width * 0.55) * _bell(y, tip - 0.14, 0.16)
    return np.asarray(np.float32(face.nose_height) * (0.6 * ridge + 0.4 * _bell(x, 0, face.nose_width * 0.8) * _bell(y, tip, 0.08)),
                      dtype=np.float32)


def _relief(face: Face, head: Surface) -> tuple[Plane, Plane]:
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


def _shading(surface: Surface, turn: Plane, light: Plane, view: View, relief: tuple[Plane, Plane] | None = None) -> Plane:
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


# --- paint ----------------------------------------------------------------------------------------
def _paint_skin(face: Face, view: View, head: Surface, soft: np.float32) -> Plane:
    """Returns the albedo [3, H, W] of the face: skin, brows, eyes, nostrils, mouth, beard, marks."""
    x, y, front = head.x, head.y, np.clip(head.front * 4, 0, 1)
    albedo = np.broadcast_to(face.skin[:, None, None], (3, *x.shape)).copy()
    _paint_marks(albedo, face, x, y, front, soft)
    _paint_beard(albedo, face, view, x, y, front)
    _paint_eyes(albedo, face, view, x, y, front, soft)
    _paint_nostrils(albedo, face, x, y, front, soft)
    _paint_mouth(albedo, face, view, x, y, front, soft)
    return albedo


def _paint_marks(albedo: Plane, face: Face, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    tip = face.eye_height + face.nose_length
    cheeks = _bell(abs(x), face.eye_spacing + 0.1, 0.14) * _bell(y, tip - 0.02, 0.12)
    _mix(albedo, face.skin * np.array([1.05, 0.62, 0.6], np.float32), cheeks * front * np.float32(face.blush))
    if face.freckles > 0:
        dots = np.sin(x * 71 + face.hair_phase) * np.sin(y * 83 + 3 * x) > 0.55
        _mix(albedo, face.skin * np.float32(0.55), dots * cheeks * front * np.float32(face.freckles))
    for mole_x, mole_y in face.moles:
        _mix(albedo, face.skin * np.float32(0.25), _disc(x - mole_x, y - mole_y, 0.026, soft) * front)
    fold = 0.19 + 0.55 * (y - tip)
    line = _bell(abs(x), fold, 0.018) * _bell(y, tip + 0.1, 0.09)
    forehead = np.clip(np.sin((y + 0.02 * np.cos(6 * x)) * 52) - 0.4, 0, 1) * _bell(y, -0.42, 0.1) * _bell(x, 0, 0.25)
    _mix(albedo, face.skin * np.float32(0.45), np.clip(line + forehead, 0, 1) * front * np.float32(0.75 * face.age))


def _paint_beard(albedo: Plane, face: Face, view: View, x: Plane, y: Plane, front: Plane) -> None:
    if face.beard == "none":
        return
    tip = face.eye_height + face.nose_length
    mouth = tip + face.mouth_gap
    side = abs(x)
    jaw = _step(y - (mouth - 0.06 - 0.45 * np.clip(side - 0.3, 0, 1) * 1.6), 0.05)
    lip = _bell(y, mouth - 0.5 * face.mouth_gap, 0.07) * _step(face.mouth_width * 1.2 - side, 0.04)
    chin = _step(y - mouth, 0.05) * _step(0.21 - side, 0.05)
    around = np.maximum(lip, _bell(side, face.mouth_width * 1.15, 0.05) * _step(y - tip - 0.08, 0.04))
    region = {"moustache": lip * 1.2, "goatee": np.maximum(chin, around)}.get(face.beard, np.maximum(jaw, lip))
    strength = 0.35 if face.beard == "stubble" else 0.88
    grain = 0.88 + 0.12 * np.sin(x * 63 + face.hair_phase) * np.sin(y * 57 + 5 * x)
    _mix(albedo, face.hair * np.float32(0.8), np.clip(region, 0, 1) * front * grain * np.float32(strength))


def _paint_eyes(albedo: Plane, face: Face, view: View, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    out = abs(x) - np.float32(face.eye_spacing)  # outward from the middle of each eye
    line = y - np.float32(face.eye_height) + np.float32(face.eye_tilt) * out
    bow = 1 - (out / np.float32(face.eye_width)) ** 2
    lid, lower = face.eye_open * view.eye_open, face.eye_open * 0.8
    opening = np.clip(np.minimum(line + lid * bow, lower * bow - line) / soft + 0.5, 0, 1) * front
    _mix(albedo, face.skin * np.float32(0.55), _bell(out, -0.02, 0.14) * _bell(line, -0.02, 0.085) * front * np.float32(face.socket))
    _mix(albedo, np.array([0.72, 0.70, 0.68], np.float32), opening)
    sideways = out - np.sign(x) * np.float32(view.gaze)
    _mix(albedo, face.iris, _disc(sideways, line, face.iris_size, soft) * opening)
    _mix(albedo, np.full(3, 0.01, np.float32), _disc(sideways, line, face.iris_size * 0.5, soft) * opening)
    glint = _disc(sideways - np.sign(x) * 0.018, line + 0.02, 0.014, soft)
    _mix(albedo, np.full(3, 1.6, np.float32), glint * opening)
    lash = np.clip(1 - abs(line + lid * bow) / (0.016 + soft), 0, 1) * (bow > 0)
    _mix(albedo, face.hair * np.float32(0.25), lash * front * np.float32(0.85))
    _mix(albedo, face.skin * np.float32(0.5), np.clip(1 - abs(line - lower * bow) / (0.01 + soft), 0, 1) * (bow > 0) * front * 0.5)
    reach = 1 - (out / np.float32(face.eye_width * 1.35)) ** 2
    ridge = line + np.float32(face.brow_height + view.brow_raise) + face.brow_arch * reach + face.brow_tilt * out
    brow = np.clip((face.brow_thick * np.sqrt(np.maximum(reach, 0)) - abs(ridge)) / soft + 0.5, 0, 1) * (reach > 0)
    _mix(albedo, np.minimum(face.hair, face.skin * 0.8) * np.float32(0.6), brow * front * np.float32(0.9))


def _paint_nostrils(albedo: Plane, face: Face, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    tip = face.eye_height + face.nose_length
    out, under = abs(x) - np.float32(face.nose_width * 0.55), y - np.float32(tip + 0.075)
    _mix(albedo, face.skin * np.float32(0.12), _disc(out, under * 1.8, 0.036, soft) * front * np.float32(0.85))
    _mix(albedo, face.skin * np.float32(0.5), _bell(x, 0, face.nose_width * 0.8) * _bell(under, 0.045, 0.028) * front * 0.5)
    wing = _bell(abs(x), face.nose_width * 1.15, 0.02) * _bell(y, tip + 0.02, 0.05)
    _mix(albedo, face.skin * np.float32(0.4), wing * front * np.float32(0.6))


def _paint_mouth(albedo: Plane, face: Face, view: View, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    half = np.float32(face.mouth_width * (1 + 0.16 * view.smile))
    along = x / half
    bow = 1 - along * along
    middle = y - np.float32(face.eye_height + face.nose_length + face.mouth_gap) + np.float32(0.075 * view.smile) * along * along
    gap = np.float32(view.mouth_open) * bow
    cupid = 1 - 0.3 * np.exp(-((along * 6) ** 2))
    lips = np.minimum(middle + face.lip_upper * bow * cupid + gap, face.lip_lower * bow + gap * 1.6 - middle)
    red = face.skin * np.array([0.95, 1 - 0.7 * face.lip_red, 1 - 0.62 * face.lip_red], np.float32) * np.float32(0.82)
    _mix(albedo, red, np.clip(lips / soft + 0.5, 0, 1) * (bow > 0) * front)
    inner = np.clip(np.minimum(middle + gap, gap * 1.6 - middle) / soft + 0.5, 0, 1) * (bow > 0) * (view.mouth_open > 0.004)
    _mix(albedo, np.array([0.05, 0.012, 0.012], np.float32), inner * front)
    _mix(albedo, np.array([0.7, 0.68, 0.62], np.float32), inner * _step(gap * 0.5 - middle, 0.01) * (bow > 0.3) * front * 0.9)
    _mix(albedo, face.skin * np.float32(0.12), np.clip(1 - abs(middle) / (0.012 + soft), 0, 1) * (bow > 0) * front
         * np.float32(0.75 * (view.mouth_open < 0.012)))


# --- around the face ------------------------------------------------------------------------------
def _background(rng: np.random.Generator, axis: Plane) -> Plane:
    """Returns a room nobody lives in: two colours, a few soft-edged shapes, coarse texture; [3, H, W] linear."""
    first, second = (_muted(rng) for _ in range(2))
    angle, size = rng.uniform(0, 6.28), len(axis)
    ramp = 0.5 + 0.4 * (np.float32(np.cos(angle)) * axis[None, :] + np.float32(np.sin(angle)) * axis[:, None])
    canvas = first[:, None, None] + (second - first)[:, None, None] * np.clip(ramp, 0, 1)
    for _ in range(rng.integers(1, 5)):
        x, y, half_width, half_height = rng.uniform((-1, -1, 0.08, 0.08), (1, 1, 0.6, 0.9)).astype(np.float32)
        edge = np.float32(rng.uniform(0.01, 0.15))
        box = _step(half_width - abs(axis - x), edge)[None, :] * _step(half_height - abs(axis - y), edge)[:, None]
        _mix(canvas, _muted(rng), box * np.float32(rng.uniform(0.3, 0.9)))
    coarse = rng.normal(1, 0.12, (9, 9)).astype(np.float32)
    place = np.linspace(0, 8, size)
    blend = np.maximum(1 - abs(place[:, None] - np.arange(9)), 0).astype(np.float32)
    return np.asarray(canvas * np.maximum(blend @ coarse @ blend.T, 0.2), dtype=np.float32)


def _muted(rng: np.random.Generator) -> Plane:
    """Returns a random colour, rarely a loud one."""
    return np.asarray(np.clip(rng.uniform(0.02, 0.65) * np.exp(rng.normal(0, 0.25, 3)), 0.01, 0.9), dtype=np.float32)


def _draw_behind(canvas: Plane, face: Face, view: View, across: Plane, down: Plane, soft: np.float32, light: Plane) -> None:
    """Draws what is behind the head: shoulders, the hair that falls behind, the neck."""
    turned = across - np.float32(0.25 * np.sin(view.yaw))
    slope = 1.28 + 0.42 * (turned / 1.25) ** 2 + 0.1 * view.collar * _bell(turned, 0, 0.3)
    tone = view.ambient + (1 - view.ambient) * np.clip(0.7 + 0.6 * light[0] * turned, 0.05, 1.3)
    _over(canvas, _lit(view.clothes, tone, view), _step(down - slope, soft) * _step(1.5 - abs(turned), 0.1))
    lengths = {"bob": 0.95, "long": 1.75}
    if face.hair_style in lengths:
        width = face.width * (1.16 + 0.1 * face.hair_volume) * (1 + 0.05 * np.sin(5 * down + face.hair_phase))
        width = width * np.sqrt(np.clip(0.35 + 0.65 * (down + 0.45), 0, 1))
        fall = _step(width - abs(turned), soft) * _step(lengths[face.hair_style] - down, 0.06) * _step(down + 0.3, 0.1)
        _over(canvas, _lit(face.hair, 0.55 * tone * _strands(turned, face), view), fall)
    neck = face.width * (0.56 + 0.35 * max(face.jaw, 0.0))
    cylinder = view.ambient + (1 - view.ambient) * np.clip(light[2] * 0.8 + light[0] * turned / neck, 0, 1.2)
    shadow = 0.45 + 0.4 * np.clip(down - 0.9, 0, 1)
    cover = _step(neck * (1 + 0.15 * np.clip(down - 1, 0, 1) ** 2) - abs(turned), soft) * _step(down - 0.4, soft)
    _over(canvas, _lit(face.skin, cylinder * shadow, view), cover * _step(1.28 + 0.12 * view.collar - down
          + 0.25 * (turned / neck) ** 2 * (0.5 - view.collar), soft))


def _draw_ears(canvas: Plane, face: Face, view: View, turn: Plane, across: Plane, down: Plane, soft: np.float32) -> None:
    if face.hair_style in ("bob", "long"):
        return
    for side in (-1, 1):
        x, y, depth = turn @ np.array([side * face.width * 1.0, face.eye_height + 0.12, -0.05], np.float32)
        if depth < -0.45:
            continue
        dx, dy = (across - x) / np.float32(0.55), down - y
        _over(canvas, face.skin * np.float32(0.8 * (0.5 + 0.5 * view.ambient)) * view.light_tint, _disc(dx, dy, face.ear_size, soft))
        _over(canvas, face.skin * np.float32(0.4) * view.light_tint, _disc(dx, dy, face.ear_size * 0.55, soft) * np.float32(0.6))


def _draw_hair(canvas: Plane, face: Face, view: View, turn: Plane, across: Plane, down: Plane, soft: np.float32,
               light: Plane) -> None:
    """Draws the hair as a shell around the head, open where the face is."""
    thick = {"bald": 0.012, "cropped": 0.03, "short": 0.075, "full": 0.14, "bob": 0.12, "long": 0.11, "curly": 0.26}
    grow = 1 + thick[face.hair_style] * face.hair_volume
    ends = {"bald": 0.12, "cropped": 0.1, "short": 0.14, "full": 0.2, "bob": 0.95, "long": 1.3, "curly": 0.35}[face.hair_style]
    wave = 0.05 if face.hair_style == "curly" else 0.012
    ripple = 1 + np.float32(wave) * np.sin(9 * np.arctan2(down, across) + face.hair_phase).astype(np.float32)
    shell = _surface(across * ripple, (down + 0.02) * ripple, turn, (face.width * grow, grow, _HEAD_DEPTH * grow), soft)
    side = abs(shell.x) / np.float32(face.width * grow)
    top = 0.55 if face.hair_style == "bald" else face.hair_line
    top = -1.15 if face.hair_style == "bald" else top
    line = top + 0.3 * side**2 + face.hair_fringe * np.sin(6 * (shell.x - face.hair_part)) + 0.1 * _bell(shell.x, face.hair_part, 0.06) * -1
    temple = np.clip((side - (0.84 if ends < 0.5 else 0.78)) / 0.12, 0, 1)
    line = np.where(shell.front > 0, line + (ends - line) * temple * temple * (3 - 2 * temple), np.float32(max(ends, 0.4)))
    ragged = 0.02 * np.sin(37 * shell.x + face.hair_phase) + 0.012 * np.sin(71 * shell.x)
    cover = shell.cover * _step(line + ragged - shell.y, np.float32(0.03 + soft))
    shade = _shading(shell, turn, light, view)
    local = turn.T @ light
    gloss = 0.25 * np.exp(-(((shell.normal[1] - 0.5 * local[1] + 0.3) / 0.16) ** 2)) * (1 - view.ambient)
    colour = _lit(face.hair, shade * _strands(shell.x / (1.25 - 0.6 * side), face), view) + gloss * cover * np.float32(0.15)
    strength = 0.55 if face.hair_style == "bald" else (0.85 if face.hair_style == "cropped" else 1.0)
    _over(canvas, colour, cover * np.float32(strength))


def _draw_glasses(canvas: Plane, face: Face, head: Surface, soft: np.float32, light: Plane) -> None:
    if face.glasses == 0:
        return
    front = np.clip(head.front * 5, 0, 1) * head.cover
    out, line = abs(head.x) - np.float32(face.eye_spacing + 0.01), head.y - np.float32(face.eye_height + 0.02)
    size = min(face.glasses_size, face.eye_spacing - 0.03)
    power = 2 if face.glasses == 1 else 6  # round or square
    radius = ((abs(out) / size) ** power + (abs(line) / (size * 0.82)) ** power) ** (1 / power) * size
    rim = np.clip((0.019 - abs(radius - size)) / soft + 0.5, 0, 1)
    bridge = np.clip((0.017 - abs(line + 0.05)) / soft + 0.5, 0, 1) * (abs(head.x) < face.eye_spacing - size)
    temple = np.clip((0.018 - abs(line + 0.04)) / soft + 0.5, 0, 1) * (out > size)
    colour = np.full(3, 0.012, np.float32) if face.glasses_dark else np.array([0.32, 0.2, 0.09], np.float32)
    _over(canvas, colour, np.clip(rim + bridge + temple, 0, 1) * front)
    glare = _step(size - radius, 0.01) * _bell(out * np.sign(head.x) - 0.4 * size * np.sign(light[0]) + line, 0, 0.03)
    _over(canvas, np.full(3, 0.9, np.float32), glare * front * np.float32(0.25))


# --- strokes --------------------------------------------------------------------------------------
def _strands(x: Plane, face: Face) -> Plane:
    return np.asarray(1 + 0.07 * np.sin(31 * x + face.hair_phase) + 0.06 * np.sin(53 * x + 2 * face.hair_phase), dtype=np.float32)


def _bell(x: Plane, centre: Plane | float, width: float) -> Plane:
    scaled = (x - np.asarray(centre, np.float32)) / np.float32(width)
    return np.exp(-0.5 * scaled * scaled)


def _step(inside: Plane, soft: np.float32 | float) -> Plane:
    return np.clip(inside / np.float32(soft) + np.float32(0.5), 0, 1)


def _disc(x: Plane, y: Plane, radius: float, soft: np.float32) -> Plane:
    return np.clip((np.float32(radius) - np.sqrt(x * x + y * y)) / soft + np.float32(0.5), 0, 1)


def _lit(colour: Plane, light: Plane, view: View) -> Plane:
    return np.asarray((colour * view.light_tint)[:, None, None] * light, dtype=np.float32)


def _mix(canvas: Plane, colour: Plane, amount: Plane) -> None:
    """Lays a colour [3] or [3, H, W] over a canvas [3, H, W], opaque where `amount` is 1."""
    canvas += ((colour if colour.ndim == 3 else colour[:, None, None]) - canvas) * amount


_over = _mix

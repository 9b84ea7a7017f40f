"""Drawing one synthetic face: an ellipsoidal head with relief, lit and painted in head coordinates, in linear light.

Every pixel of the head is a ray that meets a turned ellipsoid; features are painted where the ray lands,
so a turned head is foreshortened as it should be. Edges are antialiased by their distance in pixels.

Deliberately not here: who is drawn (`synthetic`). Screen coordinates: x right, y down, -1..1 across the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.head import (
    HEAD_DEPTH,
    Face,
    Surface,
    View,
    head_frame,
    light_direction,
    relief_slopes,
    rotation,
    shading,
    surface_of,
)
from optics_sim.data.photographs import LUMINANCE_WEIGHTS, encode_uint8
from optics_sim.data.strokes import Plane, bell, disc, mix, step


class HairCut(NamedTuple):
    """Thickness and lower end of the hair in half heads, how wavy its outline is, how much skin it hides."""

    thickness: float
    ends: float
    wave: float = 0.012
    opacity: float = 1.0


HAIR_CUTS = {
    "bald": HairCut(0.012, 0.12, opacity=0.55),
    "cropped": HairCut(0.03, 0.10, opacity=0.85),
    "short": HairCut(0.075, 0.14),
    "full": HairCut(0.14, 0.20),
    "bob": HairCut(0.12, 0.95),
    "long": HairCut(0.11, 1.30),
    "curly": HairCut(0.20, 0.35, wave=0.05),
}


def draw(face: Face, view: View, size: int) -> NDArray[np.uint8]:
    """Returns the picture of a face, sRGB uint8 [size, size, 3], exposed to the view's mean luminance."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    canvas = background(np.random.default_rng(view.background_seed), axis)
    across, down = head_frame(face, view, axis)
    soft = np.float32(2 / size / view.scale)  # one pixel, in half heads
    turn = rotation(view)
    light = light_direction(view)
    _draw_behind(canvas, face, view, across, down, soft, light)
    _draw_ears(canvas, face, view, turn, across, down, soft)
    head = surface_of(across, down, turn, (face.width, 1.0, HEAD_DEPTH), soft, face)
    albedo = _paint_skin(face, view, head, soft)
    shade = shading(head, turn, light, view, relief=relief_slopes(face, head))
    mix(canvas, albedo * (shade * view.light_tint[:, None, None]), head.cover)
    _draw_hair(canvas, face, view, turn, across, down, soft, light)
    _draw_glasses(canvas, face, head, soft, light)
    exposure = view.mean_luminance / max(float(LUMINANCE_WEIGHTS @ canvas.reshape(3, -1).mean(axis=1)), 1e-6)
    return encode_uint8(np.moveaxis(canvas * np.float32(exposure), 0, -1))


# --- paint ----------------------------------------------------------------------------------------
def _paint_skin(face: Face, view: View, head: Surface, soft: np.float32) -> Plane:
    """Returns the albedo [3, H, W] of the face: skin, brows, eyes, nostrils, mouth, beard, marks."""
    x, y, front = head.x, head.y, np.clip(head.front * 4, 0, 1)
    albedo = np.broadcast_to(face.skin[:, None, None], (3, *x.shape)).copy()
    _paint_marks(albedo, face, x, y, front, soft)
    _paint_beard(albedo, face, x, y, front)
    _paint_eyes(albedo, face, view, x, y, front, soft)
    _paint_nostrils(albedo, face, x, y, front, soft)
    _paint_mouth(albedo, face, view, x, y, front, soft)
    return albedo


def _paint_marks(albedo: Plane, face: Face, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    tip = face.eye_height + face.nose_length
    cheeks = bell(abs(x), face.eye_spacing + 0.1, 0.14) * bell(y, tip - 0.02, 0.12)
    mix(albedo, face.skin * np.array([1.05, 0.62, 0.6], np.float32), cheeks * front * np.float32(face.blush))
    if face.freckles > 0:
        dots = np.sin(x * 71 + face.hair_phase) * np.sin(y * 83 + 3 * x) > 0.55
        mix(albedo, face.skin * np.float32(0.55), dots * cheeks * front * np.float32(face.freckles))
    for mole_x, mole_y in face.moles:
        mix(albedo, face.skin * np.float32(0.25), disc(x - mole_x, y - mole_y, 0.026, soft) * front)
    fold = 0.19 + 0.55 * (y - tip)
    line = bell(abs(x), fold, 0.018) * bell(y, tip + 0.1, 0.09)
    forehead = np.clip(np.sin((y + 0.02 * np.cos(6 * x)) * 52) - 0.4, 0, 1) * bell(y, -0.42, 0.1) * bell(x, 0, 0.25)
    mix(albedo, face.skin * np.float32(0.45), np.clip(line + forehead, 0, 1) * front * np.float32(0.75 * face.age))


def _paint_beard(albedo: Plane, face: Face, x: Plane, y: Plane, front: Plane) -> None:
    if face.beard == "none":
        return
    tip = face.eye_height + face.nose_length
    mouth = tip + face.mouth_gap
    side = abs(x)
    jaw = step(y - (mouth - 0.06 - 0.45 * np.clip(side - 0.3, 0, 1) * 1.6), 0.05)
    lip = bell(y, mouth - 0.5 * face.mouth_gap, 0.07) * step(face.mouth_width * 1.2 - side, 0.04)
    chin = step(y - mouth, 0.05) * step(0.21 - side, 0.05)
    around = np.maximum(lip, bell(side, face.mouth_width * 1.15, 0.05) * step(y - tip - 0.08, 0.04))
    region = {"moustache": lip * 1.2, "goatee": np.maximum(chin, around)}.get(face.beard, np.maximum(jaw, lip))
    strength = 0.35 if face.beard == "stubble" else 0.88
    grain = 0.88 + 0.12 * np.sin(x * 63 + face.hair_phase) * np.sin(y * 57 + 5 * x)
    mix(albedo, face.hair * np.float32(0.8), np.clip(region, 0, 1) * front * grain * np.float32(strength))


def _paint_eyes(albedo: Plane, face: Face, view: View, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    out = abs(x) - np.float32(face.eye_spacing)  # outward from the middle of each eye
    line = y - np.float32(face.eye_height) + np.float32(face.eye_tilt) * out
    bow = 1 - (out / np.float32(face.eye_width)) ** 2
    lid, lower = face.eye_open * view.eye_open, face.eye_open * 0.8
    opening = np.clip(np.minimum(line + lid * bow, lower * bow - line) / soft + 0.5, 0, 1) * front
    socket = bell(out, -0.02, 0.14) * bell(line, -0.02, 0.085) * front
    mix(albedo, face.skin * np.float32(0.55), socket * np.float32(face.socket))
    mix(albedo, np.array([0.72, 0.70, 0.68], np.float32), opening)
    sideways = out - np.sign(x) * np.float32(view.gaze)
    mix(albedo, face.iris, disc(sideways, line, face.iris_size, soft) * opening)
    mix(albedo, np.full(3, 0.01, np.float32), disc(sideways, line, face.iris_size * 0.5, soft) * opening)
    glint = disc(sideways - np.sign(x) * 0.018, line + 0.02, 0.014, soft)
    mix(albedo, np.full(3, 1.6, np.float32), glint * opening)
    lash = np.clip(1 - abs(line + lid * bow) / (0.016 + soft), 0, 1) * (bow > 0)
    mix(albedo, face.hair * np.float32(0.25), lash * front * np.float32(0.85))
    crease = np.clip(1 - abs(line - lower * bow) / (0.01 + soft), 0, 1) * (bow > 0)
    mix(albedo, face.skin * np.float32(0.5), crease * front * np.float32(0.5))
    _paint_brows(albedo, face, view, out, line, front, soft)


def _paint_brows(albedo: Plane, face: Face, view: View, out: Plane, line: Plane, front: Plane,
                 soft: np.float32) -> None:
    reach = 1 - (out / np.float32(face.eye_width * 1.35)) ** 2
    ridge = line + np.float32(face.brow_height + view.brow_raise) + face.brow_arch * reach + face.brow_tilt * out
    brow = np.clip((face.brow_thick * np.sqrt(np.maximum(reach, 0)) - abs(ridge)) / soft + 0.5, 0, 1) * (reach > 0)
    mix(albedo, np.minimum(face.hair, face.skin * 0.8) * np.float32(0.6), brow * front * np.float32(0.9))


def _paint_nostrils(albedo: Plane, face: Face, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    tip = face.eye_height + face.nose_length
    out, under = abs(x) - np.float32(face.nose_width * 0.55), y - np.float32(tip + 0.075)
    mix(albedo, face.skin * np.float32(0.12), disc(out, under * 1.8, 0.036, soft) * front * np.float32(0.85))
    mix(albedo, face.skin * np.float32(0.5), bell(x, 0, face.nose_width * 0.8) * bell(under, 0.045, 0.028) * front * 0.5)
    wing = bell(abs(x), face.nose_width * 1.15, 0.02) * bell(y, tip + 0.02, 0.05)
    mix(albedo, face.skin * np.float32(0.4), wing * front * np.float32(0.6))


def _paint_mouth(albedo: Plane, face: Face, view: View, x: Plane, y: Plane, front: Plane, soft: np.float32) -> None:
    half = np.float32(face.mouth_width * (1 + 0.16 * view.smile))
    along = x / half
    bow = 1 - along * along
    height = np.float32(face.eye_height + face.nose_length + face.mouth_gap)
    middle = y - height + np.float32(0.075 * view.smile) * along * along
    gap = np.float32(view.mouth_open) * bow
    cupid = 1 - 0.3 * np.exp(-((along * 6) ** 2))
    lips = np.minimum(middle + face.lip_upper * bow * cupid + gap, face.lip_lower * bow + gap * 1.6 - middle)
    red = face.skin * np.array([0.95, 1 - 0.7 * face.lip_red, 1 - 0.62 * face.lip_red], np.float32) * np.float32(0.82)
    mix(albedo, red, np.clip(lips / soft + 0.5, 0, 1) * (bow > 0) * front)
    inner = np.clip(np.minimum(middle + gap, gap * 1.6 - middle) / soft + 0.5, 0, 1) * (bow > 0) * (view.mouth_open > 0.004)
    mix(albedo, np.array([0.05, 0.012, 0.012], np.float32), inner * front)
    mix(albedo, np.array([0.7, 0.68, 0.62], np.float32), inner * step(gap * 0.5 - middle, 0.01) * (bow > 0.3) * front * 0.9)
    mix(albedo, face.skin * np.float32(0.12), np.clip(1 - abs(middle) / (0.012 + soft), 0, 1) * (bow > 0) * front
         * np.float32(0.75 * (view.mouth_open < 0.012)))


# --- around the face ------------------------------------------------------------------------------
def background(rng: np.random.Generator, axis: Plane) -> Plane:
    """Returns a room nobody lives in: two colours, a few soft-edged shapes, coarse texture; [3, H, W] linear."""
    first, second = (_muted(rng) for _ in range(2))
    angle, size = rng.uniform(0, 6.28), len(axis)
    ramp = 0.5 + 0.4 * (np.float32(np.cos(angle)) * axis[None, :] + np.float32(np.sin(angle)) * axis[:, None])
    canvas = first[:, None, None] + (second - first)[:, None, None] * np.clip(ramp, 0, 1)
    for _ in range(rng.integers(1, 5)):
        x, y, half_width, half_height = rng.uniform((-1, -1, 0.08, 0.08), (1, 1, 0.6, 0.9)).astype(np.float32)
        edge = np.float32(rng.uniform(0.01, 0.15))
        box = step(half_width - abs(axis - x), edge)[None, :] * step(half_height - abs(axis - y), edge)[:, None]
        mix(canvas, _muted(rng), box * np.float32(rng.uniform(0.3, 0.9)))
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
    slope = 1.28 + 0.42 * (turned / 1.25) ** 2 + 0.1 * view.collar * bell(turned, 0, 0.3)
    tone = view.ambient + (1 - view.ambient) * np.clip(0.7 + 0.6 * light[0] * turned, 0.05, 1.3)
    mix(canvas, _lit(view.clothes, tone, view), step(down - slope, soft) * step(1.5 - abs(turned), 0.1))
    lengths = {"bob": 0.95, "long": 1.75}
    if face.hair_style in lengths:
        width = face.width * (1.16 + 0.1 * face.hair_volume) * (1 + 0.05 * np.sin(5 * down + face.hair_phase))
        width = width * np.sqrt(np.clip(0.75 + 0.6 * (down + 0.3), 0, 1))
        fall = step(width - abs(turned), soft) * step(lengths[face.hair_style] - down, 0.06) * step(down + 0.62, 0.1)
        mix(canvas, _lit(face.hair, 0.55 * tone * _strands(turned, face), view), fall)
    neck = face.width * (0.56 + 0.35 * max(face.jaw, 0.0))
    cylinder = view.ambient + (1 - view.ambient) * np.clip(light[2] * 0.8 + light[0] * turned / neck, 0, 1.2)
    shadow = 0.45 + 0.4 * np.clip(down - 0.9, 0, 1)
    cover = step(neck * (1 + 0.15 * np.clip(down - 1, 0, 1) ** 2) - abs(turned), soft) * step(down - 0.4, soft)
    mix(canvas, _lit(face.skin, cylinder * shadow, view), cover * step(1.28 + 0.12 * view.collar - down
          + 0.25 * (turned / neck) ** 2 * (0.5 - view.collar), soft))


def _draw_ears(canvas: Plane, face: Face, view: View, turn: Plane, across: Plane, down: Plane, soft: np.float32) -> None:
    if face.hair_style in ("bob", "long"):
        return
    for side in (-1, 1):
        x, y, depth = turn @ np.array([side * face.width * 1.0, face.eye_height + 0.12, -0.05], np.float32)
        if depth < -0.45:
            continue
        dx, dy = (across - x) / np.float32(0.55), down - y
        skin = face.skin * view.light_tint
        mix(canvas, skin * np.float32(0.4 + 0.4 * view.ambient), disc(dx, dy, face.ear_size, soft))
        mix(canvas, skin * np.float32(0.4), disc(dx, dy, face.ear_size * 0.55, soft) * np.float32(0.6))


def _draw_hair(canvas: Plane, face: Face, view: View, turn: Plane, across: Plane, down: Plane, soft: np.float32,
               light: Plane) -> None:
    """Draws the hair as a shell around the head, open where the face is."""
    cut = HAIR_CUTS[face.hair_style]
    grow = 1 + cut.thickness * face.hair_volume
    wave = np.float32(cut.wave) * np.sin(9 * np.arctan2(down, across) + face.hair_phase).astype(np.float32)
    if cut.ends < 0.5:  # short hair lies close to the head from the temples down
        swell = 1 + (wave + np.float32(grow - 1)) * np.clip(down * 2 + 0.9, 0, 1) + wave * np.clip(-down * 2, 0, 1)
    else:
        swell = 1 + wave
    axes = (face.width * grow, grow, HEAD_DEPTH * grow)
    shell = surface_of(across * swell, (down + 0.02) * swell, turn, axes, soft)
    side = abs(shell.x) / np.float32(axes[0])
    ragged = 0.02 * np.sin(37 * shell.x + face.hair_phase) + 0.012 * np.sin(71 * shell.x)
    cover = shell.cover * step(_hair_line(face, cut, shell, side) + ragged - shell.y, np.float32(0.03 + soft))
    shine = (shell.normal[1] - 0.5 * (turn.T @ light)[1] + 0.3) / 0.16
    gloss = np.float32(0.04 * (1 - view.ambient)) * np.exp(-shine * shine) * cover
    shade = shading(shell, turn, light, view) * _strands(shell.x / (1.25 - 0.6 * side), face)
    mix(canvas, _lit(face.hair, shade, view) + gloss, cover * np.float32(cut.opacity))


def _hair_line(face: Face, cut: HairCut, shell: Surface, side: Plane) -> Plane:
    """Returns the height above which the shell is hair: over the forehead, down the temples, low at the back."""
    crown = -1.15 if face.hair_style == "bald" else face.hair_line
    fringe = face.hair_fringe * np.sin(6 * (shell.x - face.hair_part)) - 0.1 * bell(shell.x, face.hair_part, 0.06)
    line = crown + 0.3 * side**2 + fringe
    temple = np.clip((side - (0.84 if cut.ends < 0.3 else 0.74)) / 0.12, 0, 1)
    front = line + (cut.ends - line) * temple * temple * (3 - 2 * temple)
    return np.where(shell.front > 0, front, np.float32(max(cut.ends, 0.4)))


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
    mix(canvas, colour, np.clip(rim + bridge + temple, 0, 1) * front)
    glare = step(size - radius, 0.01) * bell(out * np.sign(head.x) - 0.4 * size * np.sign(light[0]) + line, 0, 0.03)
    mix(canvas, np.full(3, 0.9, np.float32), glare * front * np.float32(0.25))


def _strands(x: Plane, face: Face) -> Plane:
    waves = 0.07 * np.sin(31 * x + face.hair_phase) + 0.06 * np.sin(53 * x + 2 * face.hair_phase)
    return np.asarray(1 + waves, dtype=np.float32)


def _lit(colour: Plane, light: Plane, view: View) -> Plane:
    return np.asarray((colour * view.light_tint)[:, None, None] * light, dtype=np.float32)

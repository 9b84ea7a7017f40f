"""Synthetic people: drawn faces with an identity each, seen under changing pose, light, expression and background.

No photograph and no real person is involved; nothing is learnt from one. The figures a camera reaches on
these faces say that the tool works, not how it does on people.

Deliberately not here: how a face is drawn (`portrait`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.faces import FaceSet
from optics_sim.data.head import Face, View
from optics_sim.data.photographs import srgb_to_linear
from optics_sim.data.portrait import HAIR_CUTS, draw
from optics_sim.errors import PrivcamError

SKIN_TONES = ("#f3d5c0", "#e6b897", "#c98f66", "#9a6442", "#5d3a28")  # light to dark, encoded
HAIR_COLOURS = ("#15110f", "#2c1d14", "#4f3220", "#7d4b27", "#c39a58", "#8c8a88", "#e0dedb", "#8e3418")
IRIS_COLOURS = ("#3a2414", "#5b3a1d", "#6b7a4a", "#4d7390", "#7d8f97")
BEARD_STYLES = ("none", "stubble", "moustache", "goatee", "full")
NOTE = "synthetic: drawn faces, no real people; figures on them are not figures on people"


def synthetic_people(people: int, images_per_person: int, seed: int, size: int = 112) -> FaceSet:
    """Returns drawn faces of invented people, RGB uint8 [n, size, size, 3], person after person.

    Identity k depends on (seed, k) alone, and its picture i on (seed, k, i) alone: asking for more people
    or pictures adds to the set and changes nothing in it. The same seed gives the same bits on one
    machine. Every picture is exposed to a random mean luminance, so brightness carries no identity.
    Attributes: glasses, beard, long_hair, smiling, light_from_left, each 0 or 1.
    """
    if people < 1 or images_per_person < 1 or size < 16:
        raise PrivcamError("cannot draw these synthetic people", got=f"{people} people x {images_per_person}, {size} pixels",
                           allowed="1 person and 1 picture or more, 16 pixels or more", todo="change the numbers")
    images = np.empty((people * images_per_person, size, size, 3), dtype=np.uint8)
    flags = np.empty((len(images), 5), dtype=np.int64)
    for person in range(people):
        face = invent_face(np.random.default_rng([seed, person]))
        for number in range(images_per_person):
            view = invent_view(np.random.default_rng([seed, person, number]))
            row = person * images_per_person + number
            images[row] = draw(face, view, size)
            flags[row] = _flags(face, view)
    names = ("glasses", "beard", "long_hair", "smiling", "light_from_left")
    return FaceSet(
        name=f"synthetic_{people}x{images_per_person}_seed{seed}", images=images,
        labels=np.repeat(np.arange(people, dtype=np.int64), images_per_person),
        people=tuple(f"synthetic_{person:03d}" for person in range(people)), kind="synthetic", note=NOTE,
        attributes={name: flags[:, column].copy() for column, name in enumerate(names)},
        categories={name: ("0", "1") for name in names},
    )


def invent_face(rng: np.random.Generator) -> Face:
    """Returns a face drawn from wide, roughly human distributions; lengths in half heads (chin to crown is 2)."""
    style = rng.choice(len(HAIR_CUTS), p=(0.10, 0.15, 0.22, 0.17, 0.12, 0.14, 0.10))
    soft = style >= 4 and rng.random() < 0.8  # a narrower jaw, no beard, fuller lips: mixes looks, not a claim
    beard = 0 if soft else rng.choice(len(BEARD_STYLES), p=(0.45, 0.17, 0.12, 0.12, 0.14))
    tone = rng.random()
    return Face(
        width=rng.uniform(0.66, 0.82), jaw=rng.uniform(-0.10, 0.05 if soft else 0.14), cheek=rng.uniform(-0.03, 0.06),
        skin=_between(SKIN_TONES, tone) * rng.uniform(0.93, 1.07, 3).astype(np.float32),
        iris=_between(IRIS_COLOURS[:1] if tone > 0.7 else IRIS_COLOURS, rng.random()),
        hair=_between(HAIR_COLOURS[:3] if tone > 0.6 and rng.random() < 0.8 else HAIR_COLOURS, rng.random()),
        hair_style=tuple(HAIR_CUTS)[style], hair_line=rng.uniform(-0.64, -0.34), hair_part=rng.uniform(-0.3, 0.3),
        hair_fringe=rng.uniform(-0.12, 0.12), hair_volume=rng.uniform(0.8, 1.25), hair_phase=rng.uniform(0, 6.28),
        eye_spacing=rng.uniform(0.24, 0.34), eye_height=rng.uniform(-0.05, 0.06), eye_width=rng.uniform(0.105, 0.15),
        eye_open=rng.uniform(0.045, 0.08), eye_tilt=rng.uniform(-0.16, 0.16), iris_size=rng.uniform(0.05, 0.064),
        brow_height=rng.uniform(0.13, 0.22), brow_thick=rng.uniform(0.016, 0.05), brow_arch=rng.uniform(0.0, 0.07),
        brow_tilt=rng.uniform(-0.2, 0.15), nose_length=rng.uniform(0.27, 0.42), nose_width=rng.uniform(0.075, 0.145),
        nose_height=rng.uniform(0.10, 0.22), mouth_gap=rng.uniform(0.17, 0.27), mouth_width=rng.uniform(0.16, 0.27),
        lip_upper=rng.uniform(0.018, 0.05), lip_lower=rng.uniform(0.03, 0.075), lip_red=rng.uniform(0.1, 0.75 if soft else 0.5),
        ear_size=rng.uniform(0.13, 0.21), beard=BEARD_STYLES[beard], glasses=rng.choice(3, p=(0.68, 0.18, 0.14)),
        glasses_size=rng.uniform(0.17, 0.22), glasses_dark=rng.random() < 0.7, age=rng.uniform(0, 1) ** 1.5,
        blush=rng.uniform(0, 0.5), freckles=max(rng.uniform(-1.5, 1), 0.0), socket=rng.uniform(0.1, 0.45),
        moles=rng.uniform((-0.5, 0.1), (0.5, 0.75), (3, 2)).astype(np.float32)[: rng.integers(0, 4)],
    )


def invent_view(rng: np.random.Generator) -> View:
    """Returns the circumstances of one picture: pose (radians), light, expression, clothes and background."""
    return View(
        yaw=float(np.clip(rng.normal(0, 0.26), -0.6, 0.6)), pitch=float(np.clip(rng.normal(0, 0.12), -0.3, 0.3)),
        roll=rng.normal(0, 0.07), centre_y=rng.normal(0.02, 0.035), centre_x=rng.normal(0, 0.045),
        scale=float(0.71 * np.exp(rng.normal(0, 0.06))),
        light_azimuth=rng.normal(0, 0.75), light_elevation=rng.normal(0.45, 0.3),
        ambient=rng.uniform(0.2, 0.75), light_tint=(1 + rng.normal(0, 0.06, 3)).astype(np.float32),
        smile=float(np.clip(rng.normal(0.25, 0.5), -0.6, 1.2)), mouth_open=max(rng.normal(-0.02, 0.035), 0.0),
        eye_open=float(np.clip(rng.normal(1, 0.2), 0.15, 1.4)), brow_raise=rng.normal(0, 0.022), gaze=rng.normal(0, 0.025),
        mean_luminance=float(np.clip(0.2 * np.exp(rng.normal(0, 0.35)), 0.07, 0.42)),
        clothes=rng.uniform(0.03, 0.6, 3).astype(np.float32), collar=rng.uniform(0, 1),
        background_seed=int(rng.integers(2**31)),
    )


def _flags(face: Face, view: View) -> tuple[int, int, int, int, int]:
    long_hair = face.hair_style in ("bob", "long")
    return int(face.glasses > 0), int(face.beard != "none"), int(long_hair), int(view.smile > 0.3), int(view.light_azimuth < 0)


def _between(colours: tuple[str, ...], place: float) -> NDArray[np.float32]:
    """Returns the linear RGB at a place 0..1 along a row of encoded colours."""
    rows = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours], dtype=np.uint8)
    light = srgb_to_linear(rows)
    at = np.linspace(0, 1, len(colours)) if len(colours) > 1 else np.zeros(1)
    return np.array([np.interp(place, at, light[:, channel]) for channel in range(3)], dtype=np.float32)

"""Where the shadow of a badly mounted mask lies in each image, roughly: what the least squares start from.

Normalised correlation by FFT over a coarse grid of turns and of distances, then a straight line through the places found.
Deliberately not here: anything below a fifth of a pixel (`calibration.shadow_fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from calibration.mask_model import MaskModel, Pose
from calibration.shadow_basis import box_sums
from calibration.shadow_fit import NAMES, Spot

Array = NDArray[np.float64]
TURNS = np.radians(np.arange(-12, 12.1, 1.5))
STRETCHES = (0.85, 1.0, 1.15)  # of the mask's distance
STRAY_PX = 12  # how far from where the design has it a shadow may lie
SEEN_SHARE = 0.25  # of the shadow's greatest variance that a window must hold


@dataclass(frozen=True, eq=False)
class Found:
    """The shadow's middle (y, x) in code pixels in each image [n, 2], how alike image and shadow are there [n], and the turn."""

    centres: Array
    likeness: Array
    rotation_rad: float


def find(model: MaskModel, spots: Sequence[Spot], mask_to_sensor_m: float) -> Found:
    """Returns where the shadow lies in each image; the turn is that of the image in whose middle the design has it."""
    middle = min(range(len(spots)), key=lambda i: float(np.hypot(*spots[i].position_m)) / spots[i].distance_m)
    tried = [(stretch, turn) for stretch in STRETCHES for turn in TURNS]
    stretch, turn = max(tried, key=lambda at: _placed(model, spots[middle], mask_to_sensor_m * at[0], at[1])[0])
    seen = [_placed(model, one, mask_to_sensor_m * stretch, turn) for one in spots]
    return Found(np.array([centre for _, centre in seen]), np.array([likeness for likeness, _ in seen]), float(turn))


def _placed(model: MaskModel, spot: Spot, mask_to_sensor_m: float, turn: float) -> tuple[float, tuple[float, float]]:
    """Returns (likeness, middle of the shadow) at the best place for a turned shadow in an image."""
    reach = mask_to_sensor_m / spot.distance_m
    y, x = (at * reach / model.code_pitch_m for at in spot.position_m)
    stray = STRAY_PX
    rows, columns = spot.image.shape
    whole = model.psf(Pose(1 + reach, turn, (0.0, 0.0)), (rows + 2 * (stray + abs(round(y))), columns + 2 * (stray + abs(round(x)))))
    match = match_of(whole, spot.image)
    peak = np.unravel_index(np.argmax(match), match.shape)
    fine = [_summit(line, int(k)) for line, k in ((match[:, peak[1]], peak[0]), (match[peak[0]], peak[1]))]
    return float(match[peak]), (stray + abs(round(y)) - fine[0], stray + abs(round(x)) - fine[1])


def match_of(whole: Array, window: Array) -> Array:
    """Returns the correlation coefficient of a window with each place of its size in a picture; 0 where that shows too little."""
    own = window - window.mean()
    product = fftconvolve(whole, own[::-1, ::-1], "valid")
    spread = np.maximum(box_sums(whole**2, window.shape) - box_sums(whole, window.shape) ** 2 / window.size, 0)
    seen = spread > SEEN_SHARE * spread.max()
    norm = np.sqrt(np.where(seen, spread, 1) * float((own**2).sum()))
    return np.where(seen, product / np.maximum(norm, np.finfo(float).tiny), 0.0)


def _summit(line: Array, k: int) -> float:
    """Returns the top of the parabola through a maximum and its neighbours."""
    if not 0 < k < len(line) - 1:
        return float(k)
    bend = line[k - 1] - 2 * line[k] + line[k + 1]
    return k + (float((line[k - 1] - line[k + 1]) / bend / 2) if bend < 0 else 0.0)


def start(model: MaskModel, spots: Sequence[Spot], found: Found) -> tuple[dict[str, float], Array]:
    """Returns the parameters of the straight line through the shadows' places, and how far each lies from it, in code pixels.

    With complex numbers x + iy a source at P throws its shadow at a P / D + b / D + c: a holds the mask's distance and the rig's roll,
    b the rig's zero, c the mask's shift.
    """
    place = np.array([complex(s.position_m[1], s.position_m[0]) / s.distance_m for s in spots])
    near = np.array([1 / s.distance_m for s in spots])
    columns = [place, np.ones(len(spots))] + ([near - near.mean()] if np.ptp(near) > 0.1 * near.max() else [])
    at = (found.centres[:, 1] + 1j * found.centres[:, 0]) * model.code_pitch_m
    fitted = np.linalg.lstsq(np.stack(columns, axis=1).astype(complex), at, rcond=None)[0]
    distances = np.array([s.distance_m for s in spots])
    shift = -fitted[1] / float(np.mean(1 + abs(fitted[0]) / distances))
    values = dict.fromkeys(NAMES, 0.0) | {"mask to sensor": float(abs(fitted[0])), "source roll": float(np.angle(fitted[0])),
                                          "rotation": found.rotation_rad, "shift y": float(shift.imag), "shift x": float(shift.real)}
    away = np.abs(at - np.stack(columns, axis=1) @ fitted) / model.code_pitch_m
    return values, away

"""Soft-edged strokes on planes of linear light [H, W] and canvases [3, H, W]; edges are one pixel wide."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
_INVISIBLE = 1 / 1024  # of a stroke's opacity


def bell(x: Plane, centre: Plane | float, width: float) -> Plane:
    """Returns a Gaussian of peak 1."""
    scaled = (x - np.asarray(centre, np.float32)) / np.float32(width)
    return np.exp(-0.5 * scaled * scaled)


def step(inside: Plane, soft: np.float32 | float) -> Plane:
    """Returns 1 where `inside` is positive, 0 where negative, over a soft edge."""
    return np.clip(inside / np.float32(soft) + np.float32(0.5), 0, 1)


def disc(x: Plane, y: Plane, radius: float, soft: np.float32) -> Plane:
    """Returns 1 within a radius of the origin of (x, y)."""
    return np.clip((np.float32(radius) - np.sqrt(x * x + y * y)) / soft + np.float32(0.5), 0, 1)


def mix(canvas: Plane, colour: Plane, amount: Plane) -> None:
    """Lays a colour [3] or [3, H, W] over a canvas [3, H, W], opaque where `amount` is 1."""
    rows = np.flatnonzero(amount.max(axis=1) > _INVISIBLE)
    if len(rows):  # most strokes touch few rows
        band = slice(rows[0], rows[-1] + 1)
        paint = colour[:, band] if colour.ndim == 3 else colour[:, None, None]
        canvas[:, band] += (paint - canvas[:, band]) * amount[band]

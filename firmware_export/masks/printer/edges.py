"""Edges in a scan: the width and the blur of every line and gap, fitted to the raw pixels in the sheet's own coordinates.

The fit knows that a pixel sums light over its square, so that only the film's blur (and the scanner's) is left. A scan
that lies a little askew helps: its pixels fall on every part of an edge.
Reference: ISO 12233 (slanted edges), whose idea this is; here a parametric edge takes the place of the derivative.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import least_squares
from scipy.special import ndtr

from firmware_export.masks.printer.plan import Box, Element
from firmware_export.masks.printer.scan import Floats, Placement

SEGMENTS = 4  # along a line, each fitted by itself
FLANK, _END = 34, 12  # units: how far beside a line its surroundings count; what is left out at its ends
_BINS_PER_PIXEL = 8
_SHARPEST = 0.02  # pixels: the fit's least standard deviation


@dataclass(frozen=True)
class Bar:
    """One gap or line as printed: middles over its segments. Lengths in units of the sheet, light in shares of full scale.

    `middle` is (y, x) on the sheet; `variance` is that of the edge's blur, the pixel's own share taken off.
    """

    element: Element
    middle: tuple[float, float]
    width: float
    variance: float
    clear: float
    opaque: float

    @property
    def gain(self) -> float:
        """How far each opaque edge has moved outward."""
        more = self.width - self.element.width
        return more / 2 if self.element.kind == "line" else -more / 2


def measured_bar(light: Floats, placement: Placement, element: Element) -> Bar:
    """Returns what a scan shows of a gap or a line that is much wider than its blur."""
    fits = np.array([_fitted(light, placement, element, box) for box in segments(element)])
    width, variance, clear, opaque = fits.mean(0).tolist()
    left, top, right, bottom = element.box
    return Bar(element, ((top + bottom) / 2, (left + right) / 2), width, variance, clear, opaque)


def segments(element: Element) -> list[Box]:
    """Returns the boxes along a bar, with its flanks, its ends left out."""
    left, top, right, bottom = element.box
    upright = element.axis == "x"
    cuts = np.linspace((top if upright else left) + _END, (bottom if upright else right) - _END, SEGMENTS + 1).round().astype(int).tolist()
    if upright:
        return [(left - FLANK, start, right + FLANK, end) for start, end in pairwise(cuts)]
    return [(start, top - FLANK, end, bottom + FLANK) for start, end in pairwise(cuts)]


def across(light: Floats, placement: Placement, element: Element, box: Box) -> tuple[Floats, Floats]:
    """Returns (distance from the bar's middle line, light) of every pixel in a box."""
    y, x, values = placement.pixels_in(light, box)
    left, top, right, bottom = element.box
    return (x - (left + right) / 2, values) if element.axis == "x" else (y - (top + bottom) / 2, values)


def _fitted(light: Floats, placement: Placement, element: Element, box: Box) -> tuple[float, float, float, float]:
    """Returns (width, variance, clear, opaque) of one segment."""
    pixel = placement.pixel
    at, values, weights = _binned(*across(light, placement, element, box), pixel / _BINS_PER_PIXEL)

    def basis(shape: Floats) -> Floats:
        bar = _box(at - shape[0], shape[1], shape[2], pixel)
        light_of = at * bar if element.kind == "gap" else at  # uneven light tilts what is clear
        return np.column_stack([np.ones_like(at), bar, light_of]) * weights[:, None]

    def wrong(shape: Floats) -> Floats:
        columns = basis(shape)
        return columns @ np.linalg.lstsq(columns, values * weights, rcond=None)[0] - values * weights

    start = np.array([0.0, element.width, 0.7 * pixel])
    least = _SHARPEST * pixel
    shape = least_squares(wrong, start, bounds=([-FLANK, 0.1, least], [FLANK, element.width + FLANK, FLANK]), x_scale=pixel).x
    columns = basis(shape)
    level, step, _ = np.linalg.lstsq(columns, values * weights, rcond=None)[0].tolist()
    bin_variance = (pixel / _BINS_PER_PIXEL) ** 2 / 12
    return float(shape[1]), float(shape[2] ** 2 - bin_variance), max(level, level + step), min(level, level + step)


def _binned(at: Floats, values: Floats, width: float) -> tuple[Floats, Floats, Floats]:
    """Returns the mean place and light of each bin, and its weight: the root of its count."""
    places = np.floor(at / width).astype(int)
    places -= places.min()
    count = np.bincount(places)
    used = count > 0
    sums = [np.bincount(places, quantity)[used] / count[used] for quantity in (at, values)]
    return sums[0], sums[1], np.sqrt(count[used])


def _box(at: Floats, width: float, blur: float, pixel: float) -> Floats:
    """Returns a bar of height 1 around 0, blurred, as pixels of a side see it."""
    return _step(at + width / 2, blur, pixel) - _step(at - width / 2, blur, pixel)


def _step(past: Floats, blur: float, pixel: float) -> Floats:
    """Returns a blurred step's mean over a pixel around each place."""
    high, low = (past + pixel / 2) / blur, (past - pixel / 2) / blur
    return (_ramp(high) - _ramp(low)) * blur / pixel


def _ramp(z: Floats) -> Floats:
    """Returns the integral of the normal distribution's step."""
    return z * ndtr(z) + np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

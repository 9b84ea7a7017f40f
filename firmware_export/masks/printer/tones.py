"""Levels in a scan: clear and opaque film under uneven light, patches of dots, what is left of narrow lines, line pairs.

Deliberately not here: edges of wide lines (`edges`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from firmware_export.masks.offset import gained
from firmware_export.masks.printer.drawing import clear_boxes
from firmware_export.masks.printer.edges import FLANK, Bar, across
from firmware_export.masks.printer.plan import WEDGE_PERIOD, Element, SheetPlan
from firmware_export.masks.printer.scan import Floats, Placement, Scan
from firmware_export.masks.region import from_rectangles
from optics_sim.errors import PrivcamError

CONFIDENCE = 0.95
_MARGIN = 15  # units of a plain patch that are left out along its border
_FULL, _MOST_FULL, _MOST_ZERO = 0.998, 0.01, 0.1  # of full scale; share of a clear patch at it; share of an opaque one at 0
_LEAST_MODULATION = 0.2  # of a line pair's fundamental, beside that of the drawn one: then its lines count as resolved
_LEAST_SHARE = 0.5  # of a line's drawn width that the film must keep
_NEAR = 16  # units beside a bar within which its light is summed


@dataclass(frozen=True)
class Figure:
    """A number with its interval (95 %)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Light:
    """Clear film's light over the sheet, a plane: `clear` and `slopes` (y, x) at its middle; opaque film as a share of it."""

    clear: Figure
    slopes: tuple[float, float]
    opaque_share: Figure

    def at(self, y: Floats | float, x: Floats | float) -> Floats | float:
        """Returns clear film's light at places in units."""
        return self.clear.value + self.slopes[0] * y + self.slopes[1] * x


def mean_of(values: Sequence[float], floor: float = 0.0) -> Figure:
    """Returns the mean and its interval by Student's t, made wider by a known systematic share `floor`."""
    found = np.array(values)
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))) + floor
    return Figure(float(found.mean()), float(found.mean()) - half, float(found.mean()) + half)


def refuse_clipped(scan: Scan, placement: Placement, plan: SheetPlan) -> None:
    """Raises PrivcamError where clear film is at full scale or opaque film at zero: its edges would be moved."""
    clear, opaque = (_inner(scan.light, placement, plan.named(kind)[0]) for kind in ("clear", "opaque"))
    full, zero = float((clear >= _FULL).mean()), float((opaque <= 0).mean())
    if full > _MOST_FULL or zero > _MOST_ZERO:
        raise PrivcamError("the scan is saturated", got=f"{full:.0%} of the clear patch at full scale, {zero:.0%} of the opaque one at 0",
                           allowed=f"{_MOST_FULL:.0%}, {_MOST_ZERO:.0%}", todo="scan again without automatic levels, exposed for the clear "
                           "film (a little below white), black point at 0")


def light_of(bars: Sequence[Bar]) -> Light:
    """Returns the plane through the clear levels beside bars; PrivcamError where there is no contrast."""
    places = np.array([[1.0, *bar.middle] for bar in bars])
    levels = np.array([bar.clear for bar in bars])
    plane = np.linalg.lstsq(places, levels, rcond=None)[0]
    free = len(bars) - 3
    variance = ((levels - places @ plane) ** 2).sum() / free * np.linalg.inv(places.T @ places)[0, 0]
    half = float(student.ppf((1 + CONFIDENCE) / 2, free) * np.sqrt(variance))
    clear = Figure(float(plane[0]), float(plane[0]) - half, float(plane[0]) + half)
    return Light(clear, (float(plane[1]), float(plane[2])), mean_of([bar.opaque / bar.clear for bar in bars]))


def shares(scan: Scan, placement: Placement, light: Light, box: tuple[int, int, int, int]) -> tuple[Floats, Floats, Floats]:
    """Returns (y, x, share) of the pixels in a box: 1 where clear, 0 where opaque."""
    y, x, values = placement.pixels_in(scan.light, box)
    return y, x, (values / light.at(y, x) - light.opaque_share.value) / (1 - light.opaque_share.value)


def narrowest(scan: Scan, placement: Placement, light: Light, bars: Sequence[Element], kept: Callable[..., bool]) -> int | None:
    """Returns the narrowest width that is kept together with all wider ones; None where the widest is not."""
    found = None
    for element in sorted(bars, key=lambda bar: -bar.width):
        if not kept(scan, placement, light, element):
            break
        found = element.width
    return found


def bar_kept(scan: Scan, placement: Placement, light: Light, element: Element) -> bool:
    """Returns whether a gap or a line keeps half of its drawn width, by the light in and around it, which no blur changes."""
    left, top, right, bottom = element.box
    upright = element.axis == "x"
    box = (left - FLANK, top + _MARGIN, right + FLANK, bottom - _MARGIN) if upright else (
        left + _MARGIN, top - FLANK, right - _MARGIN, bottom + FLANK)
    at, values = across(scan.light, placement, element, box)
    near = np.abs(at) < element.width / 2 + _NEAR
    around, inside = float(values[~near].mean()), float(values[near].mean())
    middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
    step = float(light.at(middle_y, middle_x)) * (1 - light.opaque_share.value)
    width = abs(inside - around) / step * (element.width + 2 * _NEAR)
    return width >= _LEAST_SHARE * element.width and (inside > around) == (element.kind == "gap")


def pair_kept(scan: Scan, placement: Placement, light: Light, element: Element) -> bool:
    """Returns whether line pairs are told apart: at least two pixels a pair, and their fundamental keeps its share."""
    left, top, right, bottom = element.box
    upright = element.axis == "x"
    box = (left, top + _MARGIN, right, bottom - _MARGIN) if upright else (left + _MARGIN, top, right - _MARGIN, bottom)
    y, x, share = shares(scan, placement, light, box)
    if not len(share) or 2 * element.width < 2 * placement.pixel:
        return False
    phase = np.exp(-1j * np.pi * (x - left if upright else y - top) / element.width)
    columns = np.column_stack([np.ones_like(share), phase.real, phase.imag])
    _, real, imaginary = np.linalg.lstsq(columns, share, rcond=None)[0].tolist()
    return float(np.hypot(real, imaginary)) * np.pi / 2 >= _LEAST_MODULATION


def patch_shares(scan: Scan, placement: Placement, light: Light, element: Element, gain_units: tuple[float, float]) -> tuple[float, float]:
    """Returns what a patch of dots lets through, and what its figure with moved edges would, as shares of clear film."""
    period = WEDGE_PERIOD if element.kind == "wedge" else 2 * element.width
    left, top, right, bottom = element.box
    edge = period if period <= (right - left) // 4 else 0
    box = (left + edge, top + edge, right - edge, bottom - edge)
    _, _, share = shares(scan, placement, light, box)
    thousandths = from_rectangles(np.array(clear_boxes(element)) * 1000)
    figure = gained(thousandths, (round(gain_units[0] * 1000), round(gain_units[1] * 1000)))
    inside = figure.on(*(np.union1d(lines, [1000 * low, 1000 * high]) for lines, low, high in (
        (figure.x_nm, box[0], box[2]), (figure.y_nm, box[1], box[3]))))
    keep_y = (inside.y_nm[:-1] >= 1000 * box[1]) & (inside.y_nm[1:] <= 1000 * box[3])
    keep_x = (inside.x_nm[:-1] >= 1000 * box[0]) & (inside.x_nm[1:] <= 1000 * box[2])
    areas = np.outer(np.diff(inside.y_nm), np.diff(inside.x_nm)) * inside.covered
    whole = 1e6 * (box[2] - box[0]) * (box[3] - box[1])
    return float(share.mean()), float(areas[np.ix_(keep_y, keep_x)].sum() / whole)


def _inner(light: Floats, placement: Placement, element: Element) -> Floats:
    left, top, right, bottom = element.box
    return placement.pixels_in(light, (left + _MARGIN, top + _MARGIN, right - _MARGIN, bottom - _MARGIN))[2]

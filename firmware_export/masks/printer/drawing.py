"""The calibration sheet as a figure: its elements, fiducials and code, text that a person reads, and the F in its middle.

Deliberately not here: what stands where (`plan`), files (`sheet_files`).
"""

from __future__ import annotations

import numpy as np

from firmware_export.masks import font
from firmware_export.masks.layout import NM, Pattern, Sheet, lines_nm
from firmware_export.masks.printer.plan import PERIODS, WEDGE_PERIOD, WIDTHS, Box, Element, SheetPlan
from firmware_export.masks.region import Integers, Region, from_rectangles, minus, union

_F = ("11111", "10000", "10000", "11110", "10000", "10000", "10000")
_F_CELL = 20  # units
_BAR = 1000  # units
_TITLE, _TEXT, _SMALL = 10, 8, 6  # units between the dots of letters


def sheet_pattern(plan: SheetPlan) -> Pattern:
    """Returns the F in the middle, as the pattern whose cells a file is checked by."""
    clear = np.array([[cell == "1" for cell in row] for row in _F])
    cell_m = _F_CELL * plan.unit_m
    y, x = (lines_nm(count, cell_m) for count in clear.shape)
    return Pattern(clear, x, y, cell_m)


def drawn_sheet(plan: SheetPlan, bleed_nm: int) -> Sheet:
    """Returns the sheet with every line on the nanometre nearest to its unit."""
    half = (round(plan.half[0] * plan.unit_m / NM), round(plan.half[1] * plan.unit_m / NM))
    figure = figure_in_units(plan)
    x, y = (np.rint(lines * plan.unit_m / NM).astype(np.int64) for lines in (figure.x_nm, figure.y_nm))
    return Sheet(Region(x, y, figure.covered), half, (half[0] + bleed_nm, half[1] + bleed_nm))


def figure_in_units(plan: SheetPlan) -> Region:
    """Returns what is clear, one nanometre standing for one unit."""
    elements = [from_rectangles(clear_boxes(element)) for element in plan.elements if element.kind not in ("line", "opaque")]
    lines = from_rectangles([element.box for element in plan.elements if element.kind == "line"])
    marks = from_rectangles(np.vstack([_fiducials(plan), _code(plan), _letter_f(), _bar(), _texts(plan)]))
    figure = marks
    for part in elements:
        figure = union(figure, part)
    return minus(figure, lines)


def clear_boxes(element: Element) -> list[Box]:
    """Returns the clear rectangles of an element."""
    left, top, right, bottom = element.box
    width = element.width
    if element.kind == "pairs":
        steps = range(0, 2 * PERIODS * width, 2 * width)
        if element.axis == "x":
            return [(left + step, top, left + step + width, bottom) for step in steps]
        return [(left, top + step, right, top + step + width) for step in steps]
    if element.kind == "wedge":
        edge = (WEDGE_PERIOD - width) // 2
        return [(x + edge, y + edge, x + edge + width, y + edge + width)
                for y in range(top, bottom, WEDGE_PERIOD) for x in range(left, right, WEDGE_PERIOD)]
    if element.kind == "checks":
        return [(x, y, x + width, y + width) for row, y in enumerate(range(top, bottom, width))
                for x in range(left + row % 2 * width, right, 2 * width)]
    return [element.box]


def _fiducials(plan: SheetPlan) -> Integers:
    outside, inside, dot = plan.fiducial_halves
    ring = [(-outside, -outside, outside, -inside), (-outside, inside, outside, outside), (-outside, -inside, -inside, inside),
            (inside, -inside, outside, inside), (-dot, -dot, dot, dot)]
    return np.vstack([np.array(ring, np.int64) + np.array([x, y, x, y]) for y, x in plan.fiducials])


def _code(plan: SheetPlan) -> Integers:
    return np.array([box for box, bit in zip(plan.code_boxes(), plan.bits, strict=True) if bit], np.int64).reshape(-1, 4)


def _letter_f() -> Integers:
    """Returns the F's cells, by the half cell where its middle lies in one."""
    rows, columns = np.nonzero(np.array([[cell == "1" for cell in row] for row in _F]))
    left, top = ((places * 2 - count) * _F_CELL // 2 for places, count in ((columns, len(_F[0])), (rows, len(_F))))
    return np.column_stack([left, top, left + _F_CELL, top + _F_CELL]).astype(np.int64)


def _bar() -> Integers:
    half, top = _BAR // 2, 735
    return np.array([(-half, top + 10, half, top + 20), (-half, top, 10 - half, top + 30), (half - 10, top, half, top + 30)], np.int64)


def _texts(plan: SheetPlan) -> Integers:
    unit_um, digest = plan.unit_m * 1e6, plan.digest
    widths = " ".join(map(str, WIDTHS))
    lines = [
        ("PRIVCAM SHEET", 0, -940, _TITLE), (f"UNIT {unit_um:.3f} UM", 0, -850, _TITLE),
        (f"{_BAR * unit_um * 1e-3:.3f} MM", 0, 780, _TEXT), (digest[:32], 0, 570, _TEXT), (digest[32:], 0, 640, _TEXT),
        ("GAPS", -570, -730, _TEXT), (widths, -570, -655, _SMALL), ("LINES", -570, -350, _TEXT), (widths, -570, -275, _SMALL),
        ("PAIRS", -570, 40, _TEXT), (widths, -570, 115, _SMALL), ("WEDGE", -570, 340, _TEXT),
        ("GAPS", 240, -730, _TEXT), ("LINES", 505, -730, _TEXT), ("PAIRS", 765, -730, _TEXT), ("CHECKS", 550, 340, _TEXT),
    ]
    return np.vstack([_text(*line) for line in lines])


def _text(line: str, middle: int, top: int, dot: int) -> Integers:
    letters = font.dots(line)
    rows, columns = np.nonzero(letters)
    left, up = middle + columns * dot - letters.shape[1] * dot // 2, top + rows * dot
    side = round(0.7 * dot)
    return np.column_stack([left, up, left + side, up + side]).astype(np.int64)

"""The sheet: a design's pattern in place, in whole nanometres, with marks, labels and border.

Everything is drawn as the camera sees the scene, x right and y down, with the middle of the pattern (the optical
axis) at (0, 0). A cell's edge lies on the nanometre nearest to its place, so errors never add up.
Deliberately not here: mirroring and polarity (`job`, in `formats`), files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_export.masks import font
from firmware_export.masks.options import MaskOptions
from firmware_export.masks.region import Integers, Region, from_cells, from_rectangles, union
from optics_sim.design import CameraDesign, LenslessOptics
from optics_sim.errors import PrivcamError
from optics_sim.optics.patterns import transmission

NM = 1e-9
INK = 0.7  # side of a dot's square, in dots: the rest holds stencil letters together
LARGEST_NM = 10**9  # a metre: GDSII counts in 32 bits
_MARK, _ARM, _GAP, _LINE = 10, 1, 2, 9  # dots: size of a cross, its width, distance to the labels, height of a line
_F = ((0, 0, 2, 10), (2, 0, 7, 2), (2, 4, 5, 6))  # the letter in dots: stem, upper bar, lower bar


@dataclass(frozen=True)
class Pattern:
    """A design's binary mask: `clear` [row, column], and the lines between its cells in nm."""

    clear: NDArray[np.bool_]
    x_nm: Integers
    y_nm: Integers
    cell_m: float

    @property
    def region(self) -> Region:
        """The clear parts."""
        return from_cells(self.clear, self.x_nm, self.y_nm)


@dataclass(frozen=True)
class Sheet:
    """What is clear, and how far the sheet goes: half sizes (height, width) in nm to the cut, and to the end of the bleed.

    `moved_nm`: how far opaque edges were moved outward along (y, x), against dot gain.
    """

    clear: Region
    trim_nm: tuple[int, int]
    bleed_nm: tuple[int, int]
    moved_nm: tuple[int, int] = (0, 0)

    @property
    def whole(self) -> Region:
        """The sheet with its bleed."""
        return from_rectangles([_centred(self.bleed_nm)])


def pattern_of(design: CameraDesign) -> Pattern:
    """Returns the mask of a lensless design; PrivcamError for a design without one, or with cells below a nanometre's reach."""
    optics = design.optics
    if not isinstance(optics, LenslessOptics):
        raise PrivcamError("this design has no mask to print", got=f"{optics.kind} optics", allowed="lensless optics",
                           todo="export the mask of a lensless design")
    if optics.cell_m < 10 * NM or optics.cell_m * max(optics.cells) > LARGEST_NM * NM:
        raise PrivcamError("the mask is too fine or too large to draw", got=f"{optics.cells} cells of {optics.cell_m:.3g} m",
                           allowed="cells of at least 10 nm, a mask of at most 1 m", todo="mend `optics.cell_m`")
    clear = transmission(optics.pattern, optics.cells, optics.cell_m) > 0.5
    y, x = (lines_nm(count, optics.cell_m) for count in optics.cells)
    return Pattern(clear, x, y, optics.cell_m)


def lines_nm(count: int, cell_m: float) -> Integers:
    """Returns the count + 1 lines between cells around the axis, each on its nearest nanometre, symmetrical about 0."""
    return np.rint((np.arange(count + 1) - count / 2) * cell_m / NM).astype(np.int64)


def sheet_of(pattern: Pattern, options: MaskOptions, labels: Sequence[str], digest: str) -> Sheet:
    """Returns the sheet of a pattern. `labels` are lines above it; the `digest` is written below it, 16 letters a line."""
    border, bleed = nm(options.border_m), nm(options.bleed_m)
    half = (int(pattern.y_nm[-1]), int(pattern.x_nm[-1]))
    if not options.marks:
        return _sheet(pattern.region, (half[0] + border, half[1] + border), bleed)
    dot = nm(options.text_dot_m)
    field = (half[0] + border + _MARK * dot, half[1] + border + _MARK * dot)  # pattern, border and crosses
    digest_lines = [digest[start:start + 16] for start in range(0, len(digest), 16)]
    above = _text_block(labels, dot)
    below = _text_block([f"{options.scale_bar_m * 1e3:g} MM", *digest_lines], dot)
    bar = _scale_bar(nm(options.scale_bar_m), dot)
    edge = field[0] + _GAP * dot
    top, bar_depth = edge + _depth(above), 4 * dot
    marks = np.vstack([
        _crosses(field, dot), _letter_f(-field[0], dot), _moved(above, -top), _moved(bar, edge),
        _moved(below, edge + bar_depth + _GAP * dot),
    ])
    reach_y, reach_x = int(np.abs(marks[:, 1::2]).max()), int(np.abs(marks[:, 0::2]).max())
    return _sheet(union(pattern.region, from_rectangles(marks)), (reach_y + border, reach_x + border), bleed)


def nm(length_m: float) -> int:
    """Returns a length in whole nanometres."""
    return round(length_m / NM)


def _sheet(clear: Region, trim: tuple[int, int], bleed: int) -> Sheet:
    size = (trim[0] + bleed, trim[1] + bleed)
    if 2 * max(size) > LARGEST_NM:
        raise PrivcamError("the sheet is too large to draw", got=f"{2 * max(size) * NM:.3g} m", allowed="at most 1 m",
                           todo="smaller `border_m`, `bleed_m`, `scale_bar_m` or `text_dot_m`")
    return Sheet(clear, trim, size)


def _centred(half: tuple[int, int]) -> list[int]:
    return [-half[1], -half[0], half[1], half[0]]


# --- marks: rectangles [n, (left, top, right, bottom)] ----------------------------------------------
def _text_block(lines: Sequence[str], dot: int) -> Integers:
    """Returns the dots of lines below each other, each centred on x = 0, the first line's top at y = 0."""
    parts = [_moved(_text(line, dot), place * _LINE * dot) for place, line in enumerate(lines)]
    return np.vstack([np.zeros((0, 4), np.int64), *parts])


def _text(line: str, dot: int) -> Integers:
    letters = font.dots(line)
    rows, columns = np.nonzero(letters)
    left, top = columns * dot - letters.shape[1] * dot // 2, rows * dot
    side = max(round(INK * dot), 1)
    return np.column_stack([left, top, left + side, top + side]).astype(np.int64)


def _scale_bar(length: int, dot: int) -> Integers:
    """Returns an I lying on its side: the bar's length is that between the outer edges of its ends."""
    left, right = -(length // 2), length - length // 2
    width = min(dot, length // 4)
    return np.array([[left, dot, right, 2 * dot], [left, 0, left + width, 3 * dot], [right - width, 0, right, 3 * dot]], np.int64)


def _crosses(field: tuple[int, int], dot: int) -> Integers:
    """Returns four crosses in the corners of the field around the pattern."""
    arm, half = _MARK // 2 * dot, _ARM * dot // 2
    y, x = field[0] - arm, field[1] - arm
    cross = np.array([[-arm, -half, arm, half], [-half, -arm, half, arm]], np.int64)
    return np.vstack([cross + np.array([sx * x, sy * y] * 2) for sy in (-1, 1) for sx in (-1, 1)])


def _letter_f(top: int, dot: int) -> Integers:
    """Returns a solid F above the pattern: neither a turn nor a mirror leaves it as it is."""
    return np.array(_F, np.int64) * dot + np.array([-3 * dot, top, -3 * dot, top])


def _moved(rectangles: Integers, down: int) -> Integers:
    return rectangles + np.array([0, down, 0, down])


def _depth(block: Integers) -> int:
    return int(block[:, 3].max()) if len(block) else 0

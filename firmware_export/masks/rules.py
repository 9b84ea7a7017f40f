"""What a process cannot print: every violation at once, each with its place. Raising is the caller's choice.

Widths are measured along rows and columns, as the cells are: two squares that meet in a corner are a corner contact,
not a line of width zero. The pattern sits in an opaque frame, so an opaque strip along its border is not thin.
Deliberately not here: what would fall out (`stencil`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from firmware_export.masks.film import gain_nm
from firmware_export.masks.layout import INK, NM, Pattern, Sheet, pattern_of, sheet_of
from firmware_export.masks.offset import compensated, lost
from firmware_export.masks.options import MaskOptions, Process
from firmware_export.masks.region import Integers, Region, corner_contacts, from_cells, from_rectangles, minus, spans
from optics_sim.design import CameraDesign

_INCH_M = 0.0254
_LEAST_BLURS = 2.0  # widths of the edge's standard deviation below which a line does not reach its own black or clear


@dataclass(frozen=True)
class Violation:
    """One thing the process cannot make: the `rule`, its place (y, x) from the axis, what the mask has and what is allowed."""

    rule: str
    place_m: tuple[float, float]
    got: str
    allowed: str

    def text(self) -> str:
        """Returns the line a person reads."""
        y, x = (value * 1e6 for value in self.place_m)
        return f"{self.rule} at (y {y:.1f} um, x {x:.1f} um): {self.got}; this process takes {self.allowed}"


def check(design: CameraDesign, process: Process, options: MaskOptions | None = None, *, compensate: bool = False) -> list[Violation]:
    """Returns every violation of the process's rules by a design's mask, none where it can be printed.

    `options` are those of the export, for the sheet's size and the labels. With `compensate`, the process's narrowest
    widths hold for what is drawn, and what compensation would lose is a violation too. PrivcamError for a design
    without a mask.
    """
    pattern, options = pattern_of(design), options or MaskOptions()
    found = [violation for rule in RULES for violation in rule(pattern, process, options)
             if not (compensate and rule in (_opaque_width, _clear_width))]
    return found + (_compensated_widths(pattern, process, options) if compensate else [])


def lost_parts(sheet: Sheet, pattern: Pattern, gain: tuple[int, int]) -> list[Violation]:
    """Returns every part of a sheet that compensation for a gain (along y, along x) in nm would lose, with its middle.

    A gain of half a cell is a violation by itself: edges would pass the middles of cells, by which files are checked.
    """
    if 2e-9 * max(map(abs, gain)) >= pattern.cell_m:
        return [Violation("dot gain is half a cell", (0.0, 0.0), f"{gain[0] * 1e-3:g} um (y), {gain[1] * 1e-3:g} um (x)",
                          f"compensation below half of a cell, {pattern.cell_m * 5e5:.3f} um")]
    rules = ("opaque part lost in compensation", "clear part lost in compensation")
    allowed = f"parts more than {2 * abs(gain[0]) * 1e-3:g} um high and {2 * abs(gain[1]) * 1e-3:g} um wide"
    return [Violation(rule, ((top + bottom) / 2 * NM, (left + right) / 2 * NM),
                      f"{(bottom - top) * 1e-3:.3f} x {(right - left) * 1e-3:.3f} um", allowed)
            for rule, parts in zip(rules, lost(sheet.clear, gain), strict=True) for left, top, right, bottom in parts.tolist()]


# --- rules ----------------------------------------------------------------------------------------
def _opaque_width(pattern: Pattern, process: Process, options: MaskOptions) -> Iterator[Violation]:
    """Yields opaque lines that are too thin, as drawn or once their edges have moved."""
    yield from _thin(_framed(pattern, opaque=True), "opaque line too thin", _least(process.minimum_opaque_m, process, -2))


def _clear_width(pattern: Pattern, process: Process, options: MaskOptions) -> Iterator[Violation]:
    """Yields clear gaps that are too thin, as drawn or once ink has grown into them from both sides."""
    yield from _thin(_framed(pattern, opaque=False), "clear gap too thin", _least(process.minimum_clear_m, process, 2))


def _corners(pattern: Pattern, process: Process, options: MaskOptions) -> Iterator[Violation]:
    contacts = np.zeros((0, 2), np.int64) if process.corner_contacts else corner_contacts(_framed(pattern, opaque=True))
    for x, y in contacts:
        yield Violation("corner contact", (float(y) * NM, float(x) * NM), "two parts meet in a corner alone", "sides only")


def _open_fraction(pattern: Pattern, process: Process, options: MaskOptions) -> Iterator[Violation]:
    share, (low, high) = float(pattern.clear.mean()), process.open_fraction
    if not low <= share <= high:
        yield Violation("open fraction", (0.0, 0.0), f"{share:.4f} clear", f"{low:g} to {high:g}")


def _size(pattern: Pattern, process: Process, options: MaskOptions) -> Iterator[Violation]:
    sheet = sheet_of(pattern, options, (), "0" * 64)
    size = tuple(2 * half * NM for half in sheet.bleed_nm)
    if process.size_m is not None and any(has > may for has, may in zip(size, process.size_m, strict=True)):
        yield Violation("sheet too large", (-size[0] / 2, -size[1] / 2), _millimetres(size), f"at most {_millimetres(process.size_m)}")


def _whole_dots(pattern: Pattern, process: Process, options: MaskOptions) -> Iterator[Violation]:
    """Yields one violation where cells come out in different widths because the printer's dots do not divide them."""
    if process.dpi is None:
        return
    dots, cells = pattern.cell_m * process.dpi / _INCH_M, max(pattern.clear.shape)
    if dots < 0.5 or abs(dots - round(dots)) * cells >= 0.5:
        yield Violation("cell is no whole number of dots", (float(pattern.y_nm[0]) * NM, float(pattern.x_nm[0]) * NM),
                        f"{dots:.3f} dots a cell", f"multiples of {_INCH_M / process.dpi * 1e6:.3f} um")


def _labels(pattern: Pattern, process: Process, options: MaskOptions) -> Iterator[Violation]:
    """Yields one violation where the labels' dots are too small: a film that cannot be read is nobody's."""
    ink, gap = INK * options.text_dot_m, (1 - INK) * options.text_dot_m
    if options.marks and (ink < process.minimum_clear_m or gap < process.minimum_opaque_m):
        yield Violation("labels too fine", (float(pattern.y_nm[-1]) * NM, 0.0), f"dots of {ink * 1e6:.1f} um, gaps of {gap * 1e6:.1f} um",
                        f"clear {process.minimum_clear_m * 1e6:g} um, opaque {process.minimum_opaque_m * 1e6:g} um: raise `text_dot_m`")


Rule = Callable[[Pattern, Process, MaskOptions], Iterator[Violation]]
RULES: tuple[Rule, ...] = (_opaque_width, _clear_width, _corners, _open_fraction, _size, _whole_dots, _labels)


# --- helpers --------------------------------------------------------------------------------------
def _compensated_widths(pattern: Pattern, process: Process, options: MaskOptions) -> list[Violation]:
    """Returns what is too thin on the film (for the blur), what is too thin as drawn (for the process), and what is lost."""
    blurred = Process(name=process.name, edge_blur_m=process.edge_blur_m)
    found = [violation for rule in (_opaque_width, _clear_width) for violation in rule(pattern, blurred, options)]
    gain = gain_nm(process)
    for opaque, rule, least in ((True, "opaque line too thin as drawn", process.minimum_opaque_m),
                                (False, "clear gap too thin as drawn", process.minimum_clear_m)):
        clear = compensated(_framed(pattern, opaque=False), gain)
        frame = from_rectangles([_around(clear)])
        found += _thin(minus(frame, clear) if opaque else clear, rule, (least, least))
    return found + lost_parts(sheet_of(pattern, options, (), "0" * 64), pattern, gain)


def _around(clear: Region) -> tuple[int, int, int, int]:
    """Returns a rectangle three times as large as the figure."""
    x, y = (3 * int(np.abs(lines).max()) for lines in (clear.x_nm, clear.y_nm))
    return -x, -y, x, y


def _least(minimum_m: float, process: Process, gains: int) -> tuple[float, float]:
    """Returns the narrowest width along (y, x) of which so many gains leave something."""
    y, x = (max(minimum_m, gains * gain, _LEAST_BLURS * process.edge_blur_m) for gain in process.dot_gain_m)
    return y, x


def _framed(pattern: Pattern, *, opaque: bool) -> Region:
    """Returns the opaque or clear parts of the pattern inside a frame as wide as the pattern."""
    around = np.pad(pattern.clear, 1)
    x, y = (np.concatenate([[3 * lines[0]], lines, [3 * lines[-1]]]) for lines in (pattern.x_nm, pattern.y_nm))
    return from_cells(~around if opaque else around, x, y)


def _thin(region: Region, rule: str, least_m: tuple[float, float]) -> Iterator[Violation]:
    """Yields runs of the figure that are shorter than the least along (y, x)."""
    across = [(y, x, width, least_m[1]) for y, x, width in _short_runs(region.covered, region.x_nm, region.y_nm, least_m[1])]
    down = [(y, x, width, least_m[0]) for x, y, width in _short_runs(region.covered.T, region.y_nm, region.x_nm, least_m[0])]
    for y, x, width, least in sorted({*across, *down}):
        yield Violation(rule, (y * NM, x * NM), f"{width * NM * 1e6:.3f} um", f"at least {least * 1e6:.3f} um")


def _short_runs(covered: np.ndarray[tuple[int, int], np.dtype[np.bool_]], x: Integers, y: Integers,
                least_m: float) -> list[tuple[float, float, int]]:
    """Returns (y, x, width) in nm of the middle of each run along a row that is too short; equal runs below each other are one."""
    found, before = [], set[tuple[int, int]]()
    for row, line in enumerate(covered):
        short = {(start, end) for start, end in spans(line) if (x[end] - x[start]) * NM < least_m - NM}
        for start, end in sorted(short - before):
            found.append((float(y[row] + y[row + 1]) / 2, float(x[start] + x[end]) / 2, int(x[end] - x[start])))
        before = short
    return found


def _millimetres(size_m: tuple[float, ...]) -> str:
    return " x ".join(f"{length * 1e3:.3f}" for length in size_m) + " mm"

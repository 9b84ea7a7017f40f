"""What stands where on the calibration sheet, in whole units: data that both the drawing and the reading of a scan follow.

x goes right and y goes down from the middle of the sheet. Widths are multiples of one unit, for which a printer's dot
is a good choice: then each edge can lie on a line between dots.
Deliberately not here: text and frame (`drawing`), files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError

from optics_sim.errors import PrivcamError
from optics_sim.plain import Plain, wrong_field

WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
DOT_SIDES = (4, 8, 12, 16, 20, 22)  # of the wedge's clear squares
WEDGE_PERIOD = 24
CHECKS = (2, 4, 6, 10, 20, 30)
PERIODS = 4  # of each group of line pairs
_PATCH, _LONG, _FLANK, _PAIRS_LONG, _PAIRS_APART = 120, 220, 40, 120, 30

Box = tuple[int, int, int, int]  # left, top, right, bottom
Kind = Literal["gap", "line", "window", "pairs", "wedge", "checks", "clear", "opaque"]


class Element(Plain):
    """One mark: what it is, where, how wide its parts are, and along which axis it is measured."""

    kind: Kind
    box: Box
    width: int = 0
    axis: Literal["y", "x"] = "x"


class SheetPlan(Plain):
    """The whole sheet in units of `unit_m`. Five fiducials, of which no turn and no mirror gives the same five places."""

    version: Literal[1] = 1
    unit_m: float = Field(ge=1e-6, le=2e-4)
    half: tuple[int, int] = (1080, 1280)
    fiducials: tuple[tuple[int, int], ...] = ((-880, -1080), (-880, 1080), (880, -1080), (880, 1080), (-880, -720))
    fiducial_halves: tuple[int, int, int] = Field((80, 48, 24), description="half sides: ring outside, ring inside, square in it")
    code: Box = Field((-768, 860, 768, 900), description="32 squares, clear for the ones of the digest's first bits")
    elements: tuple[Element, ...]

    @classmethod
    def of(cls, unit_m: float) -> Self:
        """Returns the sheet of a unit; PrivcamError for one that no sheet can have."""
        try:
            return cls(unit_m=unit_m, elements=tuple(_elements()))
        except ValidationError as error:
            raise wrong_field(error, "sheet ", "docs/mask-export.md") from None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Returns the plan in a `sheet.json`; PrivcamError where the file is none, or was changed."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            plan = cls.model_validate_json(json.dumps(content["plan"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PrivcamError("this is no calibration sheet's file", got=f"{path}: {str(error).splitlines()[0]}",
                               allowed="the sheet.json that was written beside the sheet", todo="give that file") from None
        if content.get("digest") != plan.digest:
            raise PrivcamError("the sheet's file was changed after it was written", got=content.get("digest"), allowed=plan.digest,
                               todo="give the file that was written beside the printed sheet")
        return plan

    @property
    def digest(self) -> str:
        """The hash of what the plan says: on the sheet as text and as code."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def bits(self) -> tuple[bool, ...]:
        """The 32 bits of the code."""
        return tuple(bool(int(self.digest[:8], 16) >> (31 - place) & 1) for place in range(32))

    def code_boxes(self) -> list[Box]:
        """Returns the place of each bit's square: five sixths of its share of the code."""
        left, top, right, bottom = self.code
        step = (right - left) // 32
        return [(left + place * step + step // 12, top, left + (place + 1) * step - step // 12, bottom) for place in range(32)]

    def named(self, kind: Kind, axis: str | None = None) -> list[Element]:
        """Returns the elements of a kind, measured along an axis where that is given."""
        return [element for element in self.elements if element.kind == kind and axis in (None, element.axis)]


def _elements() -> Iterator[Element]:
    for axis in ("x", "y"):
        for element in _blocks_along_x():
            yield element if axis == "x" else _turned(element)
    for place, side in enumerate(DOT_SIDES):
        yield Element(kind="wedge", box=_patch(-970 + 140 * place, 420), width=side)
    for place, side in enumerate(CHECKS):
        yield Element(kind="checks", box=_patch(140 + 140 * place, 420), width=side)
    yield Element(kind="clear", box=(880, -600, 980, -300))
    yield Element(kind="opaque", box=(880, -260, 980, 40))


def _blocks_along_x() -> Iterator[Element]:
    """Yields gaps, lines in their window, and line pairs, whose edges are upright, in the left half of the sheet."""
    left, top = -970, -600
    for (start, width), kind, down in [*((bar, "gap", 0) for bar in _bars()), *((bar, "line", 390) for bar in _bars())]:
        box = (left + start, top + down, left + start + width, top + down + _LONG)
        yield Element(kind="gap" if kind == "gap" else "line", box=box, width=width)
    yield Element(kind="window", box=(left, top + 390, left + _bars_end(), top + 390 + _LONG))
    start = left
    for width in WIDTHS:
        yield Element(kind="pairs", box=(start, 180, start + 2 * PERIODS * width, 180 + _PAIRS_LONG), width=width)
        start += 2 * PERIODS * width + _PAIRS_APART


def _bars() -> list[tuple[int, int]]:
    """Returns where each bar starts and its width, with twice the flank between bars and one before the first."""
    starts = [_FLANK + sum(WIDTHS[:place]) + 2 * _FLANK * place for place in range(len(WIDTHS))]
    return list(zip(starts, WIDTHS, strict=True))


def _bars_end() -> int:
    return sum(WIDTHS) + 2 * _FLANK * len(WIDTHS)


_DOWN = {"gap": 130, "line": 400, "window": 400, "pairs": 690}  # left sides of the columns of the blocks along y


def _turned(element: Element) -> Element:
    """Returns an element of the left half with x and y exchanged, in its column of the right half."""
    left, top, right, bottom = element.box
    across = _DOWN[element.kind]
    return Element(kind=element.kind, axis="y", width=element.width, box=(across, left + 370, across + bottom - top, right + 370))


def _patch(left: int, top: int) -> Box:
    return left, top, left + _PATCH, top + _PATCH

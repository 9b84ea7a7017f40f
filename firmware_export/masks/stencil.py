"""What would fall out of a stencil or a print, and the bridges that hold it.

A part that touches its neighbour in a corner alone is held by nothing, so corners count as gaps here.
Deliberately not here: what a printer can resolve (`rules`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from firmware_export.masks.layout import NM, Pattern
from firmware_export.masks.region import Integers, Region, corner_contacts, diagonal, pieces, rectangles, spans
from optics_sim.errors import PrivcamError

Bridge = tuple[int, int, int, list[int]]  # length in nm, the two parts it joins, rectangle in nm


def faults(opaque: Region) -> tuple[list[str], list[str]]:
    """Returns every island of the opaque parts, and every corner in which two of them meet and nothing else, each with its place."""
    islands = [f"island of {part.area_nm2 * 1e-6:.6g} um2 at {_place(*_first_middle(part))}" for part in pieces(opaque)[1:]]
    return islands, [f"corner contact at {_place(int(x), int(y))}" for x, y in corner_contacts(opaque)]


def bridges(pattern: Pattern, width_nm: int) -> Integers:
    """Returns opaque rectangles [n, (left, top, right, bottom)] in nm that hold every opaque part of a pattern.

    Each corner contact gets a square; then parts are joined to the frame by the shortest straight bridges along the
    middle of a row or column of clear cells, shortest first (Kruskal's tree), so that little light is lost.
    Raises PrivcamError where a bridge would be as wide as a cell.
    """
    cell_nm = int(min(np.diff(pattern.x_nm).min(), np.diff(pattern.y_nm).min()))
    if not 2 <= width_nm < cell_nm:
        raise PrivcamError("a bridge runs inside a cell", got=f"{width_nm} nm", allowed=f"below the cell, {cell_nm} nm",
                           todo="narrower bridges, or a mask of larger cells")
    parts = _parts(pattern.clear)
    leader = list(range(int(parts.max()) + 1))
    chosen = [rectangle for *_, rectangle in _corners(pattern, parts, leader, width_nm)]
    for _, first, second, rectangle in sorted(_straight(pattern, parts, width_nm)):
        if _root(leader, first) != _root(leader, second):
            leader[_root(leader, first)] = _root(leader, second)
            chosen.append(rectangle)
    return np.array(chosen, np.int64).reshape(-1, 4)


def _parts(clear: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns the number of the opaque part of each cell [row + 2, column + 2] with the frame around; clear cells are 0."""
    return label(np.pad(~clear, 1, constant_values=True))[0].astype(np.int64)


def _corners(pattern: Pattern, parts: NDArray[np.int64], leader: list[int], width_nm: int) -> Iterator[Bridge]:
    """Yields the squares of the corner contacts, and joins their parts."""
    half = width_nm // 2
    for row, column in np.argwhere(diagonal(parts > 0)).tolist():
        block = parts[row:row + 2, column:column + 2]
        first, second = (int(part) for part in block[block > 0])
        leader[_root(leader, first)] = _root(leader, second)
        x, y = int(pattern.x_nm[column]), int(pattern.y_nm[row])
        yield 0, first, second, [x - half, y - half, x + half, y + half]


def _straight(pattern: Pattern, parts: NDArray[np.int64], width_nm: int) -> Iterator[Bridge]:
    """Yields every straight bridge along a row, then along a column, between two different parts."""
    yield from _along(parts, pattern.x_nm, pattern.y_nm, width_nm)
    for length, first, second, (top, left, bottom, right) in _along(parts.T, pattern.y_nm, pattern.x_nm, width_nm):
        yield length, first, second, [left, top, right, bottom]


def _along(parts: NDArray[np.int64], x: Integers, y: Integers, width_nm: int) -> Iterator[Bridge]:
    for row, line in enumerate(parts[1:-1]):
        middle = int(y[row] + y[row + 1]) // 2
        for start, end in spans(line == 0):
            first, second = int(line[start - 1]), int(line[end])
            if first != second:
                left, right = int(x[start - 1]), int(x[end - 1])
                yield right - left, first, second, [left, middle - width_nm // 2, right, middle + width_nm // 2]


def _root(leader: list[int], part: int) -> int:
    while leader[part] != part:
        leader[part] = leader[leader[part]]
        part = leader[part]
    return part


def _first_middle(part: Region) -> tuple[int, int]:
    """Returns the middle (x, y) of the part's first rectangle: a point inside."""
    left, top, right, bottom = rectangles(part)[0].tolist()
    return (left + right) // 2, (top + bottom) // 2


def _place(x_nm: int, y_nm: int) -> str:
    return f"(y {y_nm * NM * 1e6:.3f} um, x {x_nm * NM * 1e6:.3f} um)"

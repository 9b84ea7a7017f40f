"""Flat figures in whole nanometres: unions of rectangles, their merged rectangles and outlines, their differences.

A `Region` is a Boolean picture on a grid whose lines lie only where an edge lies, so a square of a metre costs as
little as one of a micrometre and nothing is ever rounded. x goes right and y goes down, as in a pattern.
Deliberately not here: what a figure means (clear or opaque), files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from optics_sim.errors import PrivcamError

Integers = NDArray[np.int64]
Vertex = tuple[int, int]
_SIDES = ((0, 1, 0), (1, 1, 1), (0, 1, 0))  # neighbours share a side: a corner holds nothing together


@dataclass(frozen=True, eq=False)
class Region:
    """A union of grid cells: `covered` [row, column] between the increasing lines `y_nm` and `x_nm`."""

    x_nm: Integers
    y_nm: Integers
    covered: NDArray[np.bool_]

    @property
    def area_nm2(self) -> int:
        """The covered area, exact."""
        return sum(int(width) * int(height) for width, height in self._covered_sizes())

    def _covered_sizes(self) -> Iterable[tuple[int, int]]:
        widths = self.covered.astype(np.int64) @ np.diff(self.x_nm)
        return zip(widths.tolist(), np.diff(self.y_nm).tolist(), strict=True)

    def on(self, x_nm: Integers, y_nm: Integers) -> Region:
        """Returns the same figure on other lines, among which all of its own must be (or lie outside of them)."""
        rows, columns = _cells_of(self.y_nm, y_nm), _cells_of(self.x_nm, x_nm)
        framed = np.pad(self.covered, 1)
        return Region(x_nm, y_nm, framed[np.ix_(rows, columns)])

    def mirrored(self) -> Region:
        """Returns the figure with left and right exchanged about x = 0."""
        return Region(-self.x_nm[::-1], self.y_nm, self.covered[:, ::-1])

    def at(self, x_nm: NDArray[np.floating[Any]], y_nm: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Returns whether the points of a raster [row y, column x] are covered."""
        framed = np.pad(self.covered, 1)
        return framed[np.ix_(np.searchsorted(self.y_nm, y_nm, "right"), np.searchsorted(self.x_nm, x_nm, "right"))]


# --- making ---------------------------------------------------------------------------------------
def from_rectangles(rectangles: Integers | Sequence[Sequence[int]]) -> Region:
    """Returns the union of rectangles [n, (left, top, right, bottom)] in nm; they may overlap."""
    corners = np.asarray(rectangles, np.int64).reshape(-1, 4)
    x, y = _lines(corners[:, 0::2]), _lines(corners[:, 1::2])
    left, right = np.searchsorted(x, corners[:, 0]), np.searchsorted(x, corners[:, 2])
    top, bottom = np.searchsorted(y, corners[:, 1]), np.searchsorted(y, corners[:, 3])
    count = np.zeros((len(y), len(x)), np.int64)
    for rows, columns, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(count, (rows, columns), sign)
    return Region(x, y, count.cumsum(0).cumsum(1)[:-1, :-1] > 0)


def from_cells(clear: NDArray[np.bool_], x_nm: Integers, y_nm: Integers) -> Region:
    """Returns the figure of a Boolean array [row, column] whose cells lie between the given lines."""
    return Region(np.asarray(x_nm, np.int64), np.asarray(y_nm, np.int64), np.asarray(clear, bool))


def from_edges(edges: Integers) -> Region:
    """Returns the figure bounded by vertical edges [n, (x, top, bottom)] in nm, by the even-odd rule.

    Along a horizontal line the figure begins at each odd edge and ends at each even one. So two shapes drawn over each
    other cancel, which a comparison then shows.
    """
    edges = np.asarray(edges, np.int64).reshape(-1, 3)
    x, y = _lines(edges[:, 0]), _lines(edges[:, 1:])
    count = np.zeros((len(y), len(x)), np.int64)
    columns = np.searchsorted(x, edges[:, 0])
    np.add.at(count, (np.searchsorted(y, edges[:, 1]), columns), 1)
    np.add.at(count, (np.searchsorted(y, edges[:, 2]), columns), -1)
    return Region(x, y, count.cumsum(0).cumsum(1)[:-1, :-1] % 2 == 1)


def ring_edges(ring: Integers) -> Integers:
    """Returns the vertical edges [n, (x, top, bottom)] of a closed ring of points [k, (x, y)], the first not repeated.

    Raises PrivcamError for a ring with a slanted edge: masks are made of rectangles.
    """
    ring = np.asarray(ring, np.int64).reshape(-1, 2)
    following = np.roll(ring, -1, axis=0)
    step = following - ring
    if (step != 0).all(axis=1).any():
        place = ring[(step != 0).all(axis=1)][0]
        raise PrivcamError("a shape has a slanted edge", got=f"at x {place[0]} nm, y {place[1]} nm",
                           allowed="edges along x or y", todo="export the mask again")
    upright = step[:, 1] != 0
    ends = np.sort(np.stack([ring[upright, 1], following[upright, 1]], axis=1), axis=1)
    return np.column_stack([ring[upright, 0], ends])


def upright_edges(region: Region) -> Integers:
    """Returns the vertical edges [n, (x, top, bottom)] of a figure, as for a picture: rows that repeat are taken together."""
    c = np.pad(region.covered, ((0, 0), (1, 1)))
    first = np.append(True, (c[1:] != c[:-1]).any(axis=1)) if len(c) else np.zeros(0, bool)
    y = np.append(region.y_nm[:-1][first], region.y_nm[-1])
    rows, columns = np.nonzero(c[first][:, 1:] != c[first][:, :-1])
    return np.column_stack([region.x_nm[columns], y[rows], y[rows + 1]])


# --- combining ------------------------------------------------------------------------------------
def union(first: Region, second: Region) -> Region:
    """Returns what either figure covers."""
    a, b = _together(first, second)
    return Region(a.x_nm, a.y_nm, a.covered | b.covered)


def minus(first: Region, second: Region) -> Region:
    """Returns what the first figure covers and the second does not."""
    a, b = _together(first, second)
    return Region(a.x_nm, a.y_nm, a.covered & ~b.covered)


def difference(first: Region, second: Region) -> Integers:
    """Returns the rectangles [n, (left, top, right, bottom)] in nm that exactly one figure covers: none when they are equal."""
    a, b = _together(first, second)
    return rectangles(Region(a.x_nm, a.y_nm, a.covered ^ b.covered))


def _together(first: Region, second: Region) -> tuple[Region, Region]:
    x, y = np.union1d(first.x_nm, second.x_nm), np.union1d(first.y_nm, second.y_nm)
    return first.on(x, y), second.on(x, y)


# --- taking apart ---------------------------------------------------------------------------------
def rectangles(region: Region) -> Integers:
    """Returns rectangles [n, (left, top, right, bottom)] in nm that cover the figure exactly, without overlap, sorted.

    Runs along rows that repeat in the next rows are one rectangle; the same is tried along columns, and the fewer taken.
    """
    across = _merged_runs(region.covered)
    down = _merged_runs(region.covered.T)[:, [1, 0, 3, 2]]
    found = across if len(across) <= len(down) else down
    found = found[np.lexsort((found[:, 0], found[:, 1]))]
    return np.column_stack([region.x_nm[found[:, 0]], region.y_nm[found[:, 1]], region.x_nm[found[:, 2]], region.y_nm[found[:, 3]]])


def rings(region: Region) -> list[Integers]:
    """Returns the outlines of the figure: closed rings of corners [k, (x, y)] in nm; with the even-odd rule they fill it.

    The figure lies to the right of the way (outer rings run clockwise as seen, holes the other way). Parts that touch
    in a corner alone have rings of their own.
    """
    following = _boundary(region.covered)
    found = []
    for start in sorted(following):
        if start in following:
            corners = np.array(_walk(start, following))
            found.append(np.column_stack([region.x_nm[corners[:, 0]], region.y_nm[corners[:, 1]]]))
    return found


def pieces(region: Region) -> list[Region]:
    """Returns the parts that hang together by sides (not by corners), the largest first."""
    numbers, count = label(region.covered, _SIDES)
    parts = [Region(region.x_nm, region.y_nm, numbers == number) for number in range(1, count + 1)]
    return sorted(parts, key=lambda part: -part.area_nm2)


def corner_contacts(region: Region) -> Integers:
    """Returns the points [n, (x, y)] in nm where two parts of the figure meet in a corner and nothing else."""
    rows, columns = np.nonzero(diagonal(region.covered))
    return np.column_stack([region.x_nm[columns + 1], region.y_nm[rows + 1]])


def diagonal(covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns for each inner corner of cells [row, column] whether its covered cells lie across it, none beside another."""
    a, b, c, d = covered[:-1, :-1], covered[:-1, 1:], covered[1:, :-1], covered[1:, 1:]
    return (a == d) & (b == c) & (a != b)


# --- helpers --------------------------------------------------------------------------------------
def _lines(values: Integers) -> Integers:
    found = np.unique(values)
    return found if len(found) else np.zeros(1, np.int64)


def _cells_of(lines: Integers, finer: Integers) -> NDArray[np.intp]:
    """Returns for each gap of the finer lines its cell in the picture framed by one uncovered cell on all sides."""
    return np.searchsorted(lines, finer[:-1], "right")


def spans(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns the runs of True in a Boolean row as (first, one past the last)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
    return list(zip(changes[0::2].tolist(), changes[1::2].tolist(), strict=True))


def _merged_runs(covered: NDArray[np.bool_]) -> Integers:
    """Returns (left, top, right, bottom) in grid lines of runs along rows, equal ones below each other merged."""
    done: list[tuple[int, int, int, int]] = []
    growing: dict[tuple[int, int], int] = {}
    for row, line in enumerate([*covered, np.zeros(covered.shape[1], bool)]):
        here = spans(line)
        for left, right in growing.keys() - set(here):
            done.append((left, growing.pop((left, right)), right, row))
        for run in here:
            growing.setdefault(run, row)
    return np.array(done, np.int64).reshape(-1, 4)


def _boundary(covered: NDArray[np.bool_]) -> dict[Vertex, list[Vertex]]:
    """Returns the unit steps along the boundary, the figure on the right of each: from a vertex to where one may go."""
    c = np.pad(covered, 1)
    following: dict[Vertex, list[Vertex]] = defaultdict(list)
    top, bottom = c[1:, 1:-1] & ~c[:-1, 1:-1], c[:-1, 1:-1] & ~c[1:, 1:-1]
    left, right = c[1:-1, 1:] & ~c[1:-1, :-1], c[1:-1, :-1] & ~c[1:-1, 1:]
    for edge, (y0, x0), (y1, x1) in ((top, (0, 0), (0, 1)), (bottom, (0, 1), (0, 0)), (left, (1, 0), (0, 0)), (right, (0, 0), (1, 0))):
        for y, x in np.argwhere(edge).tolist():
            following[(x + x0, y + y0)].append((x + x1, y + y1))
    return following


def _walk(start: Vertex, following: dict[Vertex, list[Vertex]]) -> list[Vertex]:
    """Returns the corners of one ring and takes its steps out of `following`; `start` is its leftmost, uppermost corner."""
    here, direction = start, (0, -1)
    corners: list[Vertex] = []
    while not corners or here != start:
        step = _right_turn(here, direction, following)
        if step != direction or not corners:
            corners.append(here)
        here, direction = (here[0] + step[0], here[1] + step[1]), step
    return corners


def _right_turn(here: Vertex, direction: Vertex, following: dict[Vertex, list[Vertex]]) -> Vertex:
    ways = following[here]
    right = (here[0] - direction[1], here[1] + direction[0])
    way = right if right in ways else ways[0]
    ways.remove(way)
    if not ways:
        del following[here]
    return way[0] - here[0], way[1] - here[1]

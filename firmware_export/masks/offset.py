"""Edges moved by whole nanometres: what dot gain does to a figure, and the figure to draw so that gain gives the design.

A move is measured along rows and columns, each by its own amount: a square keeps its corners. So two opaque squares
that meet in a corner are drawn 2 x gain apart (or, for a negative gain, joined by a square of that side), and under
the same rule they meet in that corner again. What a printer makes of that corner is its own, which is why corner
contacts are counted in the manifest and a process may forbid them.
Deliberately not here: blur (`film`), which widths a process resolves (`rules`).
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects, label

from firmware_export.masks.region import Integers, Region, from_rectangles, minus, rectangles

Move = tuple[int, int]  # (along y, along x) in nm


def grown(region: Region, by: Move) -> Region:
    """Returns everything within `by` of the figure along each axis: the union of its rectangles, each larger."""
    y, x = by
    return region if not (y or x) else from_rectangles(rectangles(region) + np.array([-x, -y, x, y]))


def shrunk(region: Region, by: Move) -> Region:
    """Returns what is left of the figure when everything around it has grown."""
    if not any(by) or not region.covered.any():
        return region
    frame = grown(from_rectangles([(region.x_nm[0], region.y_nm[0], region.x_nm[-1], region.y_nm[-1])]), (by[0] + 1, by[1] + 1))
    return minus(region, grown(minus(frame, region), by))


def gained(clear: Region, gain_nm: Move) -> Region:
    """Returns what stays clear when every opaque edge moves outward by (along y, along x) nm; inward where negative."""
    return _along_x(_along_y(clear, gain_nm[0]), gain_nm[1])


def compensated(clear: Region, gain_nm: Move) -> Region:
    """Returns what to draw clear so that `gained` gives `clear`, as far as its parts survive (`lost`)."""
    return _along_y(_along_x(clear, -gain_nm[1]), -gain_nm[0])


def lost(clear: Region, gain_nm: Move) -> tuple[Integers, Integers]:
    """Returns the boxes [n, (left, top, right, bottom)] in nm of the opaque, then of the clear parts that would be lost.

    Lost is what compensation and then gain do not give back; none where the film comes out as the figure.
    """
    back = gained(compensated(clear, gain_nm), gain_nm)
    return _boxes(minus(back, clear)), _boxes(minus(clear, back))


def _along_y(clear: Region, gain_nm: int) -> Region:
    return shrunk(clear, (gain_nm, 0)) if gain_nm > 0 else grown(clear, (-gain_nm, 0))


def _along_x(clear: Region, gain_nm: int) -> Region:
    return shrunk(clear, (0, gain_nm)) if gain_nm > 0 else grown(clear, (0, -gain_nm))


def _boxes(region: Region) -> Integers:
    places = find_objects(label(region.covered)[0])
    return np.array([(region.x_nm[x.start], region.y_nm[y.start], region.x_nm[x.stop], region.y_nm[y.stop]) for y, x in places],
                    np.int64).reshape(-1, 4)

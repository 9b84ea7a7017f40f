"""STL (binary) for opaque prints: the opaque parts as one closed body, millimetres, the sheet flat on z = 0.

STL holds 32-bit floats: within 32 mm of the axis they are within 1 nm of the design, and a larger sheet is refused.
Every triangle's side is shared by exactly one other, also where a large rectangle meets many small ones: each
rectangle's rim takes in all corners that lie on it, and is joined to its middle.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.region import Integers, Region, from_edges, rectangles, rings
from optics_sim.errors import PrivcamError

HOW = "opaque print: unit mm, what is drawn is material; print the side z = 0 on the plate, in opaque black"
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 80
_FLOAT_NM = 1  # a coordinate may be off by so much through the 32-bit float
_VOLUME_TOLERANCE = 1e-5  # of 32-bit coordinates: relative, 2^-24 for each, and cells of a thousandth of the sheet
Points = NDArray[np.float64]
Ring = list[tuple[int, int]]
Groups = dict[int, list[int]]


def expected(job: Job) -> Region:
    """Returns the region as 32-bit floats hold it; PrivcamError where that is off by more than 1 nm."""
    region = job.region
    x, y = (_rounded(lines) for lines in (region.x_nm, region.y_nm))
    if max(np.abs(x - region.x_nm).max(), np.abs(y - region.y_nm).max()) > _FLOAT_NM:
        raise PrivcamError("the sheet is too large for STL's 32-bit numbers", got=f"{2e-6 * max(job.bleed_nm):.3f} mm",
                           allowed="64 mm a side", todo="smaller borders, or another format")
    return Region(x, y, region.covered)


def write(job: Job) -> bytes:
    """Returns the file; PrivcamError where drawn is not opaque, for a printer makes what is drawn."""
    if job.drawn != "opaque":
        raise PrivcamError("an STL is the opaque body", got=f"drawn {job.drawn}", allowed="opaque", todo="set drawn to `format`")
    triangles = body(job.region, job.options.thickness_m * 1e9) * 1e-6
    found = np.zeros(len(triangles), _TRIANGLE)
    found["corners"] = triangles
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    found["normal"] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    header = f"privcam mask {job.digest}".encode("ascii")[:_HEADER_BYTES].ljust(_HEADER_BYTES)
    return header + np.uint32(len(found)).astype("<u4").tobytes() + found.tobytes()


def body(region: Region, thickness_nm: float) -> Points:
    """Returns the triangles [n, 3, (x, y, z)] in nm, y up, of the figure as a body from z = 0 to its thickness."""
    parts = rectangles(region)
    corners = np.unique(np.vstack([parts[:, [0, 1]], parts[:, [2, 1]], parts[:, [0, 3]], parts[:, [2, 3]]]), axis=0)
    along_y, along_x = _grouped(corners[:, [1, 0]]), _grouped(corners)
    rims = [_split([(left, top), (right, top), (right, bottom), (left, bottom)], along_y, along_x)
            for left, top, right, bottom in parts.tolist()]
    walls = [_split(ring.tolist(), along_y, along_x) for ring in rings(region)]
    lid = _fans(parts, rims)
    bottom_side = _lifted(lid, 0.0)[:, ::-1]
    triangles = np.vstack([_lifted(lid, thickness_nm), bottom_side, _standing(walls, thickness_nm)])
    return triangles[:, ::-1] * [1, -1, 1]  # y up turns the triangles inside out, the other order of corners back


def read(data: bytes) -> Integers:
    """Returns the edges of the body's outline; PrivcamError where it is not closed or not a straight wall everywhere."""
    head = _HEADER_BYTES + 4
    if len(data) < head or len(data) != head + int.from_bytes(data[_HEADER_BYTES:head], "little") * _TRIANGLE.itemsize:
        raise corrupt("its size is not that of its triangles", len(data))
    corners = np.frombuffer(data, _TRIANGLE, offset=head)["corners"]
    _refuse_open(corners)
    z = corners[:, :, 2]
    low, high = float(z.min()), float(z.max())
    if low != 0 or not ((z == low) | (z == high)).all():
        raise corrupt("it is not a flat sheet on z = 0", (low, high))
    feet = corners[(z == low).sum(axis=1) == 2]
    ends = np.rint(feet[(feet[:, :, 2] == low)].reshape(-1, 2, 3)[:, :, :2].astype(np.float64) * 1e6).astype(np.int64)
    upright = ends[(ends[:, 0, 0] == ends[:, 1, 0])]
    y = np.sort(-upright[:, :, 1], axis=1)
    edges = np.column_stack([upright[:, 0, 0], y])
    _refuse_volume(corners, from_edges(edges).area_nm2 * 1e-12 * high)
    return edges


def _rounded(lines_nm: Integers) -> Integers:
    return np.rint((lines_nm * 1e-6).astype(np.float32).astype(np.float64) * 1e6).astype(np.int64)


def _grouped(corners: Integers) -> Groups:
    """Returns for each first coordinate the sorted second ones."""
    found: Groups = defaultdict(list)
    for first, second in corners[np.lexsort((corners[:, 1], corners[:, 0]))].tolist():
        found[first].append(second)
    return found


def _between(values: list[int], start: int, end: int) -> list[int]:
    """Returns the values from start up to, not including, end, in the order of the way."""
    inside = values[bisect_left(values, min(start, end)):bisect_right(values, max(start, end))]
    return inside[:-1] if start < end else inside[:0:-1]


def _split(ring: Ring, along_y: Groups, along_x: Groups) -> Ring:
    """Returns a ring with every corner of the mesh that lies on it."""
    found: Ring = []
    for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if y0 == y1:
            found += [(x, y0) for x in _between(along_y[y0], x0, x1)]
        else:
            found += [(x0, y) for y in _between(along_x[x0], y0, y1)]
    return found


def _steps(rings_of: list[Ring]) -> tuple[Points, Points]:
    """Returns where each step along the rings begins and where it ends, both [n, (x, y)]."""
    start = np.array([point for ring in rings_of for point in ring], np.float64).reshape(-1, 2)
    end = np.array([point for ring in rings_of for point in (*ring[1:], ring[0])], np.float64).reshape(-1, 2)
    return start, end


def _fans(parts: Integers, rims: list[Ring]) -> Points:
    """Returns the triangles [n, 3, (x, y)] between the rims of rectangles and their middles."""
    middles = np.repeat((parts[:, :2] + parts[:, 2:]) / 2, [len(rim) for rim in rims], axis=0)
    return np.stack([middles, *_steps(rims)], axis=1)


def _lifted(flat: Points, z: float) -> Points:
    return np.concatenate([flat, np.full((*flat.shape[:2], 1), z)], axis=2)


def _standing(walls: list[Ring], thickness_nm: float) -> Points:
    """Returns the triangles of the walls above rings."""
    a, b = (np.column_stack([points, np.zeros(len(points))]) for points in _steps(walls))
    up = np.array([0, 0, thickness_nm])
    return np.vstack([np.stack([a, b, b + up], axis=1), np.stack([a, b + up, a + up], axis=1)])


def _refuse_open(corners: NDArray[np.float32]) -> None:
    """Raises PrivcamError unless each side of a triangle runs once each way."""
    numbers = _numbered(corners.reshape(-1, 3))
    triangles = numbers.reshape(-1, 3)
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    count = int(numbers.max(initial=0)) + 1
    there, back = np.sort(start * count + end), np.sort(end * count + start)
    if not len(there) or not np.array_equal(there, back) or (np.diff(there) == 0).any():
        raise corrupt("the body is not closed")


def _numbered(points: NDArray[np.float32]) -> Integers:
    """Returns a number for each point, the same for equal ones."""
    order = np.lexsort(points.T)
    changes = (points[order][1:] != points[order][:-1]).any(axis=1)
    numbers = np.zeros(len(points), np.int64)
    numbers[order[1:]] = changes.cumsum()
    return numbers


def _refuse_volume(corners: NDArray[np.float32], volume_mm3: float) -> None:
    exact = corners.astype(np.float64)
    found = float(np.einsum("ni,ni->", exact[:, 0], np.cross(exact[:, 1], exact[:, 2]))) / 6
    if abs(found - volume_mm3) > _VOLUME_TOLERANCE * volume_mm3:
        raise corrupt("its volume is not that of its outline", f"{found:.9g} mm3, not {volume_mm3:.9g}")

"""DXF for laser cutters and drawing programs: closed polylines of rectangles in millimetres, on layer MASK; the cut on CUT.

The oldest dialect that everything reads (R12), written without a library, so that its bytes repeat.
Reference: Autodesk, "DXF Reference": group codes come in pairs of lines, code and value.
"""

from __future__ import annotations

import numpy as np

from firmware_export.masks.formats.svg import mm, to_nm
from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.region import Integers, rectangles, ring_edges

HOW = "laser or drawing program: unit mm, scale 1; layer MASK is drawn, layer CUT is the edge of the sheet"
_HEADER = ((0, "SECTION"), (2, "HEADER"), (9, "$ACADVER"), (1, "AC1009"), (9, "$INSUNITS"), (70, "4"), (9, "$MEASUREMENT"),
           (70, "1"), (0, "ENDSEC"), (0, "SECTION"), (2, "ENTITIES"))
_FOOTER = ((0, "ENDSEC"), (0, "EOF"))


def write(job: Job) -> bytes:
    """Returns the file; y goes up."""
    height, width = job.trim_nm
    pairs = [(999, job.title), *_HEADER, *_polyline("CUT", -width, -height, width, height)]
    for rectangle in rectangles(job.region).tolist():
        pairs += _polyline("MASK", *rectangle)
    return "".join(f"{code:3d}\n{value}\n" for code, value in [*pairs, *_FOOTER]).encode("ascii")


def read(data: bytes) -> Integers:
    """Returns the edges of the closed polylines on layer MASK; PrivcamError for any other drawing on it."""
    lines = data.decode("latin-1").split("\n")
    pairs = list(zip((line.strip() for line in lines[0:-1:2]), (line.strip() for line in lines[1::2]), strict=False))
    if not pairs or pairs[-1] != ("0", "EOF") or ("70", "4") not in pairs:
        raise corrupt("it ends too early, or its unit is not the millimetre")
    found: list[Integers] = [np.zeros((0, 3), np.int64)]
    points: list[list[int]] = []
    kind = layer = ""
    for code, value in pairs:
        if code == "0" and value == "SEQEND" and layer == "MASK":
            found.append(ring_edges(np.array(points)))
        if code == "0":
            kind = value
            points = [] if value == "POLYLINE" else points
            if kind not in ("POLYLINE", "VERTEX", "SEQEND", "SECTION", "ENDSEC", "EOF"):
                raise corrupt("it holds more than polylines", kind)
        elif code == "8":
            layer = value
        elif kind == "VERTEX" and code == "10":
            points.append([to_nm(value)])
        elif kind == "VERTEX" and code == "20":
            points[-1].append(-to_nm(value))
    return np.vstack(found)


def _polyline(layer: str, left: int, top: int, right: int, bottom: int) -> list[tuple[int, str]]:
    pairs = [(0, "POLYLINE"), (8, layer), (66, "1"), (70, "1"), (10, "0"), (20, "0"), (30, "0")]
    for x, y in ((left, top), (right, top), (right, bottom), (left, bottom)):
        pairs += [(0, "VERTEX"), (8, layer), (10, mm(x)), (20, mm(-y)), (30, "0")]
    return [*pairs, (0, "SEQEND"), (8, layer)]

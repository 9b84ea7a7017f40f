"""PDF at 1:1: one path of black, filled by the even-odd rule, in the middle of a page of whole points.

Points carry seven decimals: a hundred-thousandth of a point is 4 nm, and the file must be exact to one.
Reference: ISO 32000-1 (PDF 1.7), 8.5 (paths), 14.11.2 (page boundaries).
"""

from __future__ import annotations

import io
import math
import re

import numpy as np

from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.region import Integers, ring_edges, rings

HOW = "film: print at 100 % (no fitting to the page), in black only, without screening; the page is larger than the sheet"
NM_PER_POINT = 25.4e6 / 72
_LARGEST_POINTS = 14400  # the largest page that every reader takes: 5.08 m
_ROUNDING_NM = 0.05
_MOVE, _LINE, _CLOSE, _FILL = "m", "l", "h", "f*"
_IGNORED = {"BT", "ET", "Tf", "TL", "g", "q", "Q"}


def write(job: Job) -> bytes:
    """Returns the file; its trim and bleed boxes are those of the sheet."""
    from reportlab.pdfgen.canvas import Canvas

    height, width = (math.ceil(2 * half / NM_PER_POINT) for half in job.bleed_nm)
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=(width, height), invariant=1, pageCompression=0)
    canvas.setTitle(job.title)
    canvas.setCreator("privcam")
    canvas.setTrimBox(_box(job.trim_nm, width, height))
    canvas.setBleedBox(_box(job.bleed_nm, width, height))
    canvas.addLiteral("0 g\n" + "".join(_path(ring, width, height) for ring in rings(job.region)) + _FILL)
    canvas.showPage()
    canvas.save()
    return target.getvalue()


def read(data: bytes) -> Integers:
    """Returns the edges of the page's path; PrivcamError for a page with any other drawing, or a scale."""
    text = data.decode("latin-1")
    page = re.search(r"/MediaBox \[ 0 0 (\d+) (\d+) \]", text)
    content = re.search(r"/Length (\d+)\s*>>\s*stream\r?\n", text)
    if page is None or content is None or not text.rstrip().endswith("%%EOF"):
        raise corrupt("it has no page of whole points, or ends too early")
    stream = text[content.end():content.end() + int(content[1])]
    if not text[content.end() + int(content[1]):].lstrip().startswith("endstream"):
        raise corrupt("its page is cut")
    middle = np.array([int(page[1]), int(page[2])]) / 2
    found = [ring_edges(_in_nm(ring - middle)) for ring in _rings(stream)]
    return np.vstack([np.zeros((0, 3), np.int64), *found])


def _box(half_nm: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
    dy, dx = (half / NM_PER_POINT for half in half_nm)
    return (width / 2 - dx, height / 2 - dy, width / 2 + dx, height / 2 + dy)


def _path(ring: Integers, width: int, height: int) -> str:
    points = [f"{width / 2 + x / NM_PER_POINT:.7f} {height / 2 - y / NM_PER_POINT:.7f}" for x, y in ring.tolist()]
    return f"{points[0]} {_MOVE}\n" + "".join(f"{point} {_LINE}\n" for point in points[1:]) + f"{_CLOSE}\n"


def _rings(stream: str) -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Returns the rings of points in PDF's coordinates; every operator that is not a path's must be harmless."""
    found, operands, filled = [], [], 0
    points: list[list[float]] = []
    for token in stream.split():
        if re.fullmatch(r"-?\d+(?:\.\d*)?", token):
            operands.append(float(token))
            continue
        if token == _MOVE:
            points = [operands[-2:]]
        elif token == _LINE:
            points.append(operands[-2:])
        elif token == _CLOSE:
            found.append(np.array(points))
        elif token == _FILL:
            filled += 1
        elif (token == "cm" and operands != [1, 0, 0, 1, 0, 0]) or (token not in (*_IGNORED, "cm") and token[0] != "/"):
            raise corrupt("its page holds something else", token)
        operands = [] if token[0] != "/" else operands
    if filled != 1 or any(len(ring) < 4 or ring.shape[1:] != (2,) for ring in found):
        raise corrupt("its page is not one filled path", filled)
    return found


def _in_nm(points: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Integers:
    """Returns points from the middle of the page, y up, in whole nanometres with y down."""
    exact = points * [NM_PER_POINT, -NM_PER_POINT]
    whole = np.rint(exact).astype(np.int64)
    if np.abs(exact - whole).max() > _ROUNDING_NM:
        raise corrupt("a number is not whole nanometres", exact[np.abs(exact - whole).max(axis=1).argmax()])
    return whole

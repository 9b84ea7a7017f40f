"""GDSII for mask writers: rectangles on layer 1, the sheet's cut on layer 2. Database unit 1 nm, user unit 1 um.

Reference: Calma, "GDSII Stream Format Manual", release 6.0 (1987): records of length, type, data type and content.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.region import Integers, rectangles, ring_edges

if TYPE_CHECKING:
    import gdstk

HOW = "photomask: layer 1/0 is drawn, layer 2/0 is the cut of the sheet; scale 1, user unit um, database unit nm"
DRAWN_LAYER, CUT_LAYER = 1, 2
_TIMESTAMP = datetime(2000, 1, 1)  # the same design gives the same bytes
_UNITS, _ENDLIB, _BOUNDARY, _LAYER, _XY, _ENDEL, _REFERENCES = 0x03, 0x04, 0x08, 0x0D, 0x10, 0x11, (0x0A, 0x0B)
_PATHS = (0x09, 0x2D)


def write(job: Job) -> bytes:
    """Returns the file."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "mask.gds"
        library(job).write_gds(target, timestamp=_TIMESTAMP)
        return target.read_bytes()


def library(job: Job) -> gdstk.Library:
    """Returns the one cell of the job, which OASIS shares; y goes up in both."""
    import gdstk

    found = gdstk.Library("PRIVCAM", unit=1e-6, precision=1e-9)
    cell = found.new_cell(f"MASK_{job.digest[:12]}_{job.drawn}_{job.options.emulsion}".upper())
    height, width = job.trim_nm
    for layer, shapes in ((DRAWN_LAYER, rectangles(job.region)), (CUT_LAYER, [(-width, -height, width, height)])):
        for left, top, right, bottom in np.asarray(shapes).tolist():
            cell.add(gdstk.rectangle((left / 1e3, -bottom / 1e3), (right / 1e3, -top / 1e3), layer=layer))
    return found


def read(data: bytes) -> Integers:
    """Returns the edges of the drawn layer; PrivcamError for a damaged file or one with another unit, references or paths."""
    edges, layer, points, ended = [np.zeros((0, 3), np.int64)], None, None, False
    for kind, content in _records(data):
        if kind == _UNITS and abs(_real(content[8:16]) - 1e-9) > 1e-20:
            raise corrupt("its database unit is not 1 nm", _real(content[8:16]))
        if kind in _REFERENCES or kind in _PATHS:
            raise corrupt("it holds more than polygons", f"record {kind:#04x}")
        if kind == _LAYER:
            layer = struct.unpack(">h", content)[0]
        if kind == _XY:
            points = np.frombuffer(content, ">i4").astype(np.int64).reshape(-1, 2)
        if kind == _ENDEL and layer == DRAWN_LAYER and points is not None:
            edges.append(ring_edges(points[:-1] * np.array([1, -1])))
        ended = ended or kind == _ENDLIB
    if not ended:
        raise corrupt("it ends too early")
    return np.vstack(edges)


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + 4 <= len(data):
        length, kind, _ = struct.unpack_from(">HBB", data, place)
        if length < 4 or place + length > len(data):
            raise corrupt("a record is cut", f"at byte {place}")
        yield kind, data[place + 4:place + length]
        place += length
        if kind == _ENDLIB:
            return


def _real(content: bytes) -> float:
    """Returns an eight-byte real: sign, exponent of 16 with offset 64, 56 bits of fraction."""
    number = int.from_bytes(content, "big")
    sign = -1.0 if number >> 63 else 1.0
    return float(sign * (number & (1 << 56) - 1) / (1 << 56) * 16.0 ** ((number >> 56 & 0x7F) - 64))

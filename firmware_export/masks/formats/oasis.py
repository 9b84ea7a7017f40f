"""OASIS for mask writers: the cell of GDSII in a tenth of the bytes.

Reference: SEMI P39, "OASIS - Open Artwork System Interchange Standard". The reader knows the few records that a sheet
of rectangles needs and refuses any other.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from firmware_export.masks.formats.gdsii import DRAWN_LAYER, library
from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.region import Integers, ring_edges

HOW = "photomask: as GDSII; layer 1/0 is drawn, layer 2/0 is the cut of the sheet"
_MAGIC = b"%SEMI-OASIS\r\n"
_PAD, _START, _END, _CELLNAME, _CELL, _RECTANGLE, _CBLOCK = 0, 1, 2, 3, 13, 20, 34
_FLOAT64, _END_BYTES = 7, 256
_GRID_TOLERANCE = 1e-9  # 1e-6 / 1e-9 is not quite 1000 in floating point; over a metre this is still 1 nm


def write(job: Job) -> bytes:
    """Returns the file."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "mask.oas"
        library(job).write_oas(target, compression_level=6, detect_rectangles=True)
        return target.read_bytes()


def read(data: bytes) -> Integers:
    """Returns the edges of the drawn layer; PrivcamError for a damaged file, another unit or unknown records."""
    if not data.startswith(_MAGIC):
        raise corrupt("it is no OASIS file")
    reader = _Reader(data[len(_MAGIC):])
    try:
        while not reader.record():
            continue
        reader.bytes(_END_BYTES - 1)
    except (IndexError, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise corrupt("a record is damaged", error) from None
    return np.vstack([np.zeros((0, 3), np.int64), *reader.edges])


@dataclass
class _Reader:
    """Walks through the records; what a rectangle leaves out is as in the one before it."""

    data: bytes
    place: int = 0
    modal: dict[str, int] = field(default_factory=dict)
    edges: list[Integers] = field(default_factory=list)

    def record(self) -> bool:
        """Reads one record; returns whether it was the last."""
        kind = self.unsigned()
        if kind == _START:
            self.start()
        elif kind == _CELLNAME:
            self.text()
        elif kind == _CELL:
            self.unsigned()
        elif kind == _RECTANGLE:
            self.rectangle()
        elif kind == _CBLOCK:
            self.block()
        elif kind not in (_PAD, _END):
            raise corrupt("it holds more than rectangles", f"record {kind}")
        return kind == _END

    def start(self) -> None:
        """Reads version, unit (grid lines in a micrometre) and where the tables are."""
        self.text()
        kind = self.unsigned()
        lines = struct.unpack("<d", self.bytes(8))[0] if kind == _FLOAT64 else self.unsigned()
        if kind not in (0, _FLOAT64) or not abs(lines - 1000) <= 1000 * _GRID_TOLERANCE:
            raise corrupt("its grid is not 1 nm", f"{lines} in a micrometre")
        if self.unsigned() == 0:
            for _ in range(12):
                self.unsigned()

    def rectangle(self) -> None:
        """Reads a rectangle whose corner is its lower left one: y goes up."""
        flags = self.bytes(1)[0]
        names = (("layer", 0x01), ("datatype", 0x02), ("width", 0x40), ("height", 0x20))
        self.modal |= {name: self.unsigned() for name, flag in names if flags & flag}
        if flags & 0x80:
            self.modal["height"] = self.modal["width"]
        self.modal |= {name: self.signed() for name, flag in (("x", 0x10), ("y", 0x08)) if flags & flag}
        if flags & 0x04:
            raise corrupt("it repeats rectangles")
        if self.modal["layer"] == DRAWN_LAYER:
            x, y, width, height = (self.modal[name] for name in ("x", "y", "width", "height"))
            self.edges.append(ring_edges(np.array([(x, -y), (x + width, -y), (x + width, -y - height), (x, -y - height)])))

    def block(self) -> None:
        """Puts the content of a compressed block in its place."""
        method, plain, packed = self.unsigned(), self.unsigned(), self.unsigned()
        content = zlib.decompress(self.bytes(packed), wbits=-15)
        if method != 0 or len(content) != plain:
            raise corrupt("a compressed block is damaged")
        self.data, self.place = content + self.data[self.place:], 0

    def text(self) -> bytes:
        """Reads a string: its length, its bytes."""
        return self.bytes(self.unsigned())

    def bytes(self, count: int) -> bytes:
        """Reads so many bytes; struct.error where there are fewer."""
        found = self.data[self.place:self.place + count]
        if len(found) < count:
            raise struct.error("the file ends too early")
        self.place += count
        return found

    def unsigned(self) -> int:
        """Reads a whole number, seven bits a byte, the lowest first."""
        value, shift = 0, 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self) -> int:
        """Reads a whole number whose lowest bit is the sign."""
        value = self.unsigned()
        return -(value >> 1) if value & 1 else value >> 1

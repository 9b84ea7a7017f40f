"""What a TFLite file of ours says of itself: the metadata entry `privcam`, written and read.

The entry is read without the format's schema, which tflite-runtime does not bring: a TFLite file is a FlatBuffer, whose tables
and vectors are found by offsets. Every offset is checked against the file's length.
Reference: FlatBuffers internals; TensorFlow Lite schema, version 3, for the numbers of the fields.
Deliberately not here: writing the file (`tflite_file`), and anything else that is in it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from optics_sim.errors import PrivcamError

METADATA = "privcam"
IDENTIFIER = b"TFL3"
BUFFERS, ENTRIES = 4, 6  # fields of Model
NAME, BUFFER, CONTENT = 0, 1, 0  # fields of Metadata and of Buffer


@dataclass(frozen=True)
class Note:
    """Digests of the design and of the graph, how many codes are withheld, and the signature's names by their part."""

    design: str
    graph: str
    warmup: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]

    def as_bytes(self) -> bytes:
        """Returns the metadata entry."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def read_note(data: bytes) -> Note:
    """Returns the note of a TFLite file. Raises PrivcamError for a file that is none, is cut off, or is not ours."""
    if data[4:8] != IDENTIFIER:
        raise PrivcamError("this is not a TFLite file", got=data[:8], allowed=f"{IDENTIFIER!r} at byte 4",
                           todo="give the exported .tflite file")
    try:
        entries = dict(_entries(data))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise PrivcamError("this TFLite file is damaged", got=str(error), todo="copy it again and compare its SHA-256") from error
    if METADATA not in entries:
        raise PrivcamError("this TFLite file is not ours", got=sorted(entries), allowed=f"a metadata entry {METADATA}",
                           todo="give a file that privcam exported")
    return _note(entries[METADATA])


def _note(entry: bytes) -> Note:
    try:
        found = json.loads(entry)
        names = {name: tuple(map(str, found[name])) for name in ("inputs", "outputs", "states")}
        return Note(str(found["design"]), str(found["graph"]), int(found["warmup"]), **names)
    except (ValueError, KeyError, TypeError) as error:
        raise PrivcamError(f"the metadata entry {METADATA} cannot be read", got=entry[:200], todo="export the file again") from error


def _entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    (model,) = struct.unpack_from("<I", data)
    buffers = [_bytes(data, _pointed(data, table, CONTENT)) for table in _tables(data, _pointed(data, model, BUFFERS))]
    for entry in _tables(data, _pointed(data, model, ENTRIES)):
        place = _field(data, entry, BUFFER)
        number = 0 if place is None else struct.unpack_from("<I", data, place)[0]
        yield _bytes(data, _pointed(data, entry, NAME)).decode(), buffers[number]


def _field(data: bytes, table: int, number: int) -> int | None:
    """Returns where a field of a table lies, or None where the table lacks it."""
    (back,) = struct.unpack_from("<i", data, table)
    (size,) = struct.unpack_from("<H", data, table - back)
    slot = 4 + 2 * number
    (offset,) = struct.unpack_from("<H", data, table - back + slot) if slot < size else (0,)
    return table + offset if offset else None


def _pointed(data: bytes, table: int, number: int) -> int | None:
    place = _field(data, table, number)
    return None if place is None else place + struct.unpack_from("<I", data, place)[0]


def _tables(data: bytes, vector: int | None) -> list[int]:
    if vector is None:
        return []
    (count,) = struct.unpack_from("<I", data, vector)
    places = struct.unpack_from(f"<{count}I", data, vector + 4)
    return [vector + 4 + 4 * index + offset for index, offset in enumerate(places)]


def _bytes(data: bytes, vector: int | None) -> bytes:
    if vector is None:
        return b""
    (count,) = struct.unpack_from("<I", data, vector)
    return bytes(struct.unpack_from(f"{count}s", data, vector + 4)[0])

"""Packets of the firmware's protocol as data and as bytes; `docs/firmware-protocol.md` is the specification.

Deliberately not here: waiting and retrying (`link.py`), and what the payloads mean (`serial_device.py`).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from cobs import cobs

PROTOCOL_VERSION = 1
ANSWER_BIT = 0x80
CHUNK_BYTES = 512
MAX_PAYLOAD = 520
_HEADER = struct.Struct("<BBHBH")  # version, command, sequence, status, payload length
_CRC = struct.Struct("<I")
MAX_PACKET = _HEADER.size + MAX_PAYLOAD + _CRC.size
MAX_ENCODED = MAX_PACKET + 3
LAST_SEQUENCE = 0xFFFF


class Command(IntEnum):
    """What a device can be asked."""

    IDENTIFY = 1
    RESET = 2
    FRAME = 3
    CODE = 4
    STATISTICS = 5


class Status(IntEnum):
    """What a device answers; all but OK come without payload."""

    OK = 0
    BAD_FRAMING = 1
    BAD_CRC = 2
    OVERSIZED = 3
    BAD_VERSION = 4
    BAD_LENGTH = 5
    BAD_SEQUENCE = 6
    BAD_COMMAND = 7
    BAD_ORDER = 8
    NO_CODE = 9
    ENCODER_FAILED = 10


class Progress(IntEnum):
    """What became of a frame with the chunk that was just taken."""

    MORE = 0
    NO_CODE = 1
    CODE = 2


@dataclass(frozen=True)
class Packet:
    """One request or answer; an answer has ANSWER_BIT set in its command."""

    command: int
    sequence: int
    payload: bytes = b""
    status: int = Status.OK
    version: int = PROTOCOL_VERSION

    def to_bytes(self) -> bytes:
        """Returns header, payload and CRC-32, unframed."""
        body = _HEADER.pack(self.version, self.command, self.sequence, self.status, len(self.payload)) + self.payload
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes) -> Packet | None:
        """Returns the packet in unframed bytes, or None where they are none of this version."""
        if not _HEADER.size + _CRC.size <= len(data) <= MAX_PACKET or _CRC.unpack(data[-_CRC.size:])[0] != zlib.crc32(data[:-_CRC.size]):
            return None
        version, command, sequence, status, length = _HEADER.unpack_from(data)
        payload = data[_HEADER.size:-_CRC.size]
        return cls(command, sequence, payload, status) if (version, length) == (PROTOCOL_VERSION, len(payload)) else None


def framed(data: bytes) -> bytes:
    """Returns bytes as they go over the wire: COBS (Cheshire and Baker 1999) between two zeros.

    The zero in front ends whatever a lost delimiter left open, so that it costs no second packet.
    """
    return b"\0" + cobs.encode(data) + b"\0"


def unframed(piece: bytes) -> bytes | None:
    """Returns what a piece between two zeros holds, or None where it is no COBS."""
    try:
        return cobs.decode(piece)
    except cobs.DecodeError:
        return None


class PieceReader:
    """Cuts a stream of bytes at its zeros; memory is bounded whatever comes."""

    def __init__(self) -> None:
        self._open = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the pieces, none empty, that these bytes end; one that is too long is cut short and so fails its CRC."""
        *ended, rest = data.split(b"\0")
        pieces = []
        for part in ended:
            self._keep(part)
            pieces.append(bytes(self._open))
            self._open.clear()
        self._keep(rest)
        return [piece for piece in pieces if piece]

    def _keep(self, part: bytes) -> None:
        self._open += part[: MAX_ENCODED + 1 - len(self._open)]

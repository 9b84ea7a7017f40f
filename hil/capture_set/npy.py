"""One frame as the bytes of an NPY file, the same bytes on every machine: their hash is the frame's.

The header is written here and not by numpy because its padding is numpy's to change, and a packed set must give the hash of
the file again. Deliberately not here: any other kind of array (numpy reads these files as it reads its own).
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from optics_sim.errors import PrivcamError

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNMENT = 64


def npy_bytes(raw: NDArray[np.uint16]) -> bytes:
    """Returns uint16 [row, column] as an NPY file."""
    return _header((raw.shape[0], raw.shape[1])) + np.ascontiguousarray(raw, "<u2").tobytes()


def npy_size(shape: tuple[int, int]) -> int:
    """Returns the bytes of the NPY file of a frame of that shape."""
    return len(_header(shape)) + 2 * shape[0] * shape[1]


def npy_digest(raw: NDArray[np.uint16]) -> str:
    """Returns the hexadecimal SHA-256 of a frame's NPY file."""
    return hashlib.sha256(npy_bytes(raw)).hexdigest()


def raw_of(data: bytes, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Returns the frame of an NPY file's bytes; PrivcamError where they are not those of a frame of that shape."""
    header = _header(shape)
    if not data.startswith(header) or len(data) != npy_size(shape):
        raise PrivcamError("not a frame's NPY file", got=f"{len(data)} bytes", allowed=f"{npy_size(shape)} bytes, uint16 {shape}")
    return np.frombuffer(data, "<u2", offset=len(header)).reshape(shape).astype(np.uint16)


def _header(shape: tuple[int, int]) -> bytes:
    text = f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({shape[0]}, {shape[1]}), }}".encode()
    padding = -(len(_MAGIC) + 2 + len(text) + 1) % _ALIGNMENT
    return _MAGIC + struct.pack("<H", len(text) + padding + 1) + text + b" " * padding + b"\n"

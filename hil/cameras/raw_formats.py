"""What libcamera's raw formats hold, and raw numbers out of a camera's bytes.

Rows may be longer than their pixels. CSI2P is MIPI's packing: the upper eight bits of each pixel of a group, then the lower ones of
all of them. Deliberately not here: cameras, and any format that is lossy or more than one number for a pixel.

Reference: MIPI CSI-2, RAW10, RAW12 and RAW14, as the Linux kernel's documentation has them (pixfmt-srggb10p, -12p, -14p).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optics_sim.errors import PrivcamError

PACKED = "_CSI2P"
WIDEST = 16
_GROUPS = {8: (1, 0), 10: (4, 1), 12: (2, 1), 14: (4, 3)}  # bits: pixels in a packed group, and bytes that hold their lower bits
_NAME = re.compile(r"(S(?P<cfa>RGGB|BGGR|GRBG|GBRG)|R)(?P<bits>8|10|12|14|16)(?P<packed>_CSI2P)?")
_MOSAIC = re.compile(r"S?(RGGB|BGGR|GRBG|GBRG)|MONO|R\d")


class RawFormat(NamedTuple):
    """What a format's name says: the colours from the top left, "mono" for none; the bits of a number, or 16 for what fills a word."""

    cfa: str
    bits: int
    packed: bool


def raw_format(name: str) -> RawFormat:
    """Returns what a libcamera format holds; PrivcamError for one that is compressed, or no raw format."""
    if "PISP_COMP" in name:
        raise PrivcamError("a raw format that is compressed with loss", got=name, allowed="unpacked raw numbers",
                           todo="ask for unpacked ones: leave `packed` out of bench.toml")
    found = _NAME.fullmatch(name)
    if found is None or (found["packed"] and int(found["bits"]) not in _GROUPS):
        raise PrivcamError("not a raw format", got=name, allowed="SRGGB10, R8, SBGGR12_CSI2P and their like")
    return RawFormat((found["cfa"] or "mono").lower(), int(found["bits"]), bool(found["packed"]))


def format_name(like: str, bits: int, *, packed: bool) -> str:
    """Returns the name of a format with the colours of another one, compressed or not; PrivcamError for one without any."""
    found = _MOSAIC.match(like)
    if found is None:
        raise PrivcamError("not a raw camera's format", got=like, allowed="a Bayer mosaic or grey", todo="take a camera with raw pixels")
    return f"{'S' + found[1] if found[1] else 'R'}{bits}{PACKED if packed else ''}"


def raw_pixels(data: NDArray[np.uint8], name: str, shape: tuple[int, int], row_bytes: int, bit_depth: int) -> NDArray[np.uint16]:
    """Returns raw DN [row, column] of `bit_depth` bits out of the bytes of a buffer in a format, rows of `row_bytes` padding included.

    A word of 16 bits with fewer meant holds them at its upper end, as the Raspberry Pi 5 writes them. PrivcamError for too few bytes,
    and for numbers that are not of so many bits.
    """
    form = raw_format(name)
    if form.bits != bit_depth and (form.bits != WIDEST or form.packed):
        raise PrivcamError("a format of another bit depth", got=f"{form.bits} bits in {name}", allowed=f"{bit_depth}")
    if form.packed:
        return _unpacked(data, form.bits, shape, row_bytes)
    raw = whole_pixels(data, shape, row_bytes, 1 if form.bits == 8 else 2)
    if form.bits == WIDEST and bit_depth < WIDEST:
        return _shifted_down(raw, WIDEST - bit_depth)
    if bit_depth < WIDEST and raw.size and raw.max() >= 2**bit_depth:
        raise PrivcamError("raw numbers beyond their bit depth", got=f"{raw.max()} in {name}", allowed=f"below {2**bit_depth}",
                           todo="they may be left-justified: say so to the makers of this program, with the versions of the camera's")
    return raw


def whole_pixels(data: NDArray[np.uint8], shape: tuple[int, int], row_bytes: int, pixel_bytes: int) -> NDArray[np.uint16]:
    """Returns the numbers [row, column] of pixels of one or two little-endian bytes each; PrivcamError for too few bytes."""
    lines = _lines(data, shape[0], row_bytes, shape[1] * pixel_bytes)
    return np.ascontiguousarray(lines).view("<u2" if pixel_bytes == 2 else np.uint8).astype(np.uint16)


def _unpacked(data: NDArray[np.uint8], bits: int, shape: tuple[int, int], row_bytes: int) -> NDArray[np.uint16]:
    pixels, tails = _GROUPS[bits]
    rows, columns = shape
    groups, lower = -(-columns // pixels), bits - 8
    packed = _lines(data, rows, row_bytes, groups * (pixels + tails)).reshape(rows, groups, pixels + tails)
    tail = np.zeros((rows, groups), np.uint32)
    for place in range(tails):
        tail |= packed[..., pixels + place].astype(np.uint32) << np.uint32(8 * place)
    raw = np.empty((rows, groups, pixels), np.uint16)
    for pixel in range(pixels):
        low = (tail >> np.uint32(lower * pixel)).astype(np.uint16) & np.uint16(2**lower - 1)
        raw[..., pixel] = packed[..., pixel].astype(np.uint16) << np.uint16(lower) | low
    return np.ascontiguousarray(raw.reshape(rows, groups * pixels)[:, :columns])


def _shifted_down(raw: NDArray[np.uint16], by: int) -> NDArray[np.uint16]:
    if np.any(raw & np.uint16(2**by - 1)):
        raise PrivcamError("words whose lower bits are not empty", got=f"{WIDEST} bits where {WIDEST - by} were meant",
                           allowed=f"left-justified numbers of {WIDEST - by} bits", todo="give bit_depth = 16 to keep all bits as they are")
    return raw >> np.uint16(by)


def _lines(data: NDArray[np.uint8], rows: int, row_bytes: int, used_bytes: int) -> NDArray[np.uint8]:
    """Returns the bytes [row, byte] that hold pixels."""
    if row_bytes < used_bytes or data.size < rows * row_bytes:
        raise PrivcamError("a frame that was cut", got=f"{data.size} bytes, rows of {row_bytes}", allowed=f"{rows} rows of {used_bytes}")
    return data.ravel()[: rows * row_bytes].reshape(rows, row_bytes)[:, :used_bytes]

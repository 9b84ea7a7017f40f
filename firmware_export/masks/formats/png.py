"""PNG of one bit a dot, black is drawn: for imagesetters that take pictures, and for eyes.

A cell must be a whole number of dots. Where it is so only nearly, the pattern keeps whole dots and its size is off by
less than half a dot. Marks and borders go to the nearest dot. The scale stands in the file (pHYs, dots per metre).
Reference: W3C, "Portable Network Graphics (PNG) Specification", second edition (2003).
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from firmware_export.masks.job import Job, corrupt
from firmware_export.masks.layout import Pattern
from firmware_export.masks.options import MaskOptions
from firmware_export.masks.region import Integers, Region, upright_edges
from optics_sim.errors import PrivcamError

HOW = "film: print with the dots per inch that the file states, one dot for one dot, without resampling or smoothing"
_INCH_M, _NM = 0.0254, 1e-9
_MOST_DOTS = 8 * 10**7  # Pillow suspects larger pictures
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def dots_of(job: Job) -> tuple[int, float]:
    """Returns how many dots a cell has along its side, and the dots in a metre as the file states them.

    Raises PrivcamError when the whole pattern would be half a dot or more too large or too small.
    """
    return _dots(job.pattern, job.options)


def dot_nm(pattern: Pattern, options: MaskOptions) -> float:
    """Returns the side of a dot; PrivcamError as `dots_of`."""
    return pattern.cell_m / _dots(pattern, options)[0] / _NM


def _dots(pattern: Pattern, options: MaskOptions) -> tuple[int, float]:
    cell_m, cells = pattern.cell_m, max(pattern.clear.shape)
    per_metre = round(options.dots_per_cell / cell_m) if options.dpi is None else round(options.dpi / _INCH_M)
    exact = cell_m * per_metre
    dots = round(exact)
    if dots < 1 or abs(exact - dots) * cells >= 0.5:
        near = max(dots, 1)
        fitting = ", ".join(f"{n * _INCH_M / cell_m:.2f}" for n in (near, near + 1))
        raise PrivcamError("a mask cell is not a whole number of dots", got=f"{exact:.4f} dots a cell of {cell_m:.6g} m",
                           allowed=f"e.g. {fitting} dots per inch", todo="give one of these as dpi, or leave it to dots_per_cell")
    return dots, float(per_metre)


def expected(job: Job) -> Region:
    """Returns the region on the file's grid of dots, in nm as its stated scale says: what reading must find."""
    dots, per_metre = dots_of(job)
    y, x = _on_dots(job, dots)
    keep_y, keep_x = np.diff(y) > 0, np.diff(x) > 0
    covered = job.region.covered[np.ix_(keep_y, keep_x)]
    return Region(_to_nm(x[np.append(keep_x, True)], per_metre), _to_nm(y[np.append(keep_y, True)], per_metre), covered)


def write(job: Job) -> bytes:
    """Returns the file: dots of 0 where drawn, the size of the sheet with its bleed."""
    dots, per_metre = dots_of(job)
    height, width = _size(job, dots)
    if height * width > _MOST_DOTS:
        raise PrivcamError("the picture is too large", got=f"{height} x {width} dots", allowed=f"{_MOST_DOTS} dots",
                           todo="fewer dots a cell, or a smaller border")
    y, x = _on_dots(job, dots)
    rows, columns = ((np.arange(n) - n / 2 + 0.5) for n in (height, width))
    white = ~Region((2 * x).astype(np.int64), (2 * y).astype(np.int64), job.region.covered).at(2 * columns, 2 * rows)  # half dots are whole
    lines = np.packbits(white, axis=1)
    raw = np.column_stack([np.zeros(height, np.uint8), lines]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    scale = struct.pack(">IIB", int(per_metre), int(per_metre), 1)
    text = b"Title\0" + job.title.encode("latin-1")
    chunks = ((b"IHDR", header), (b"pHYs", scale), (b"tEXt", text), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def read(data: bytes) -> Integers:
    """Returns the edges of the dark dots, in nm by the scale that the file states."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            picture.load()
            dark = ~np.asarray(picture.convert("1"), bool)
            scale = picture.info.get("dpi")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, zlib.error) as error:
        raise corrupt("it is no picture", error) from None
    if not scale or scale[0] != scale[1]:
        raise corrupt("it does not state its scale", scale)
    per_metre = round(scale[0] / _INCH_M)
    y, x = (np.arange(n + 1) - n / 2 for n in dark.shape)
    return upright_edges(Region(_to_nm(x, per_metre), _to_nm(y, per_metre), dark))


def _on_dots(job: Job, dots: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the region's lines (y, x) in dots from the axis, each moved to the nearest line between dots."""
    dot_nm = job.pattern.cell_m / dots / _NM
    halves = [count * dots % 2 / 2 for count in job.pattern.clear.shape]  # an odd pattern has the axis inside a dot
    lines = (job.region.y_nm / dot_nm, job.region.x_nm / dot_nm)
    y, x = (np.rint(line - half) + half for line, half in zip(lines, halves, strict=True))
    return y, x


def _size(job: Job, dots: int) -> tuple[int, int]:
    dot_nm = job.pattern.cell_m / dots / _NM
    halves = [count * dots % 2 / 2 for count in job.pattern.clear.shape]
    height, width = (2 * (round(size / dot_nm - half) + half) for size, half in zip(job.bleed_nm, halves, strict=True))
    return int(height), int(width)


def _to_nm(dots: NDArray[np.float64], per_metre: float) -> Integers:
    return np.rint(dots / per_metre / _NM).astype(np.int64)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

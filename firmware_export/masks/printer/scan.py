"""A scan as light: numbers of the file turned into shares of the scanner's full scale, and places on the sheet into pixels.

Deliberately not here: finding the sheet (`fiducials`).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from firmware_export.masks.printer.plan import Box
from optics_sim.errors import PrivcamError

Floats = NDArray[np.floating[Any]]
Encoding = Literal["linear", "srgb"]
INCH_M = 0.0254
_SAME_DPI = 1e-3  # share by which a picture's two scales may differ
_FULL_SCALE = {"L": 255, "I;16": 65535, "I;16B": 65535, "I": 65535}


@dataclass(frozen=True)
class Scan:
    """`light` [row, column], 1 at the scanner's full scale; pixels per inch as stated; the file's hash."""

    light: Floats
    dpi: float
    sha256: str


@dataclass(frozen=True)
class Placement:
    """Where the sheet lies in a scan: pixel (row, column) = `matrix` @ (y, x) + `origin`, with y and x in units of the sheet.

    `turned_deg` are the scan's quarter turns, clockwise, after `mirrored` is undone; `rotation_deg` is what is left.
    `residual` is the root mean square of the fiducials' distances from their places, in units.
    """

    matrix: Floats
    origin: Floats
    turned_deg: int
    mirrored: bool
    rotation_deg: float
    residual: float

    @property
    def pixel(self) -> float:
        """The side of a pixel in units."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.matrix))))

    @property
    def pixels_per_unit(self) -> tuple[float, float]:
        """Along y and x of the sheet."""
        along_y, along_x = np.linalg.norm(self.matrix, axis=0)
        return float(along_y), float(along_x)

    def pixels_in(self, light: Floats, box: Box) -> tuple[Floats, Floats, Floats]:
        """Returns (y, x, light) of every pixel whose centre lies in a box (left, top, right, bottom) of the sheet."""
        left, top, right, bottom = box
        corners = np.array([(top, left), (top, right), (bottom, left), (bottom, right)]) @ self.matrix.T + self.origin
        low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, light.shape)
        rows, columns = np.mgrid[low[0]:high[0], low[1]:high[1]]
        back = np.linalg.inv(self.matrix)
        y, x = (back[k, 0] * (rows - self.origin[0]) + back[k, 1] * (columns - self.origin[1]) for k in (0, 1))
        inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
        return y[inside], x[inside], light[low[0]:high[0], low[1]:high[1]][inside]


def load_scan(path: Path, encoding: Encoding, dpi: float | None = None) -> Scan:
    """Returns a picture file as light; PrivcamError where it is none, states no scale, or is not a grey one of 8 or 16 bits."""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            stated = [float(number) for number in picture.info.get("dpi", (0.0, 0.0))]
            grey = picture if picture.mode in _FULL_SCALE else picture.convert("L")
            numbers = np.asarray(grey).astype(np.float32) / _FULL_SCALE[grey.mode]
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise PrivcamError("the scan cannot be read", got=f"{path}: {error}", allowed="a PNG or TIFF, grey, 8 or 16 bits",
                           todo="save it again, or cut it to the sheet") from None
    dpi = stated[0] if dpi is None and abs(stated[0] - stated[1]) <= _SAME_DPI * stated[0] else dpi
    if dpi is None or not dpi > 1:
        raise PrivcamError("the scan does not state its pixels per inch", got=stated, allowed="one number", todo="give --dpi")
    return Scan(linear(numbers, encoding), float(dpi), hashlib.sha256(data).hexdigest())


def linear(numbers: Floats, encoding: Encoding) -> Floats:
    """Returns light for numbers in 0..1. Reference: IEC 61966-2-1 (sRGB)."""
    if encoding == "linear":
        return numbers
    return np.where(numbers <= 0.04045, numbers / 12.92, ((numbers + 0.055) / 1.055) ** 2.4).astype(numbers.dtype)

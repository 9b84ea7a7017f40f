"""The integer readout: raw DN to int8 code, the normative definition. numpy only: it also runs on the camera.

    code = clip(((sum over the bin of (raw - black_level)) + half) >> shift, 0, 255) - 128,  half = (1 << shift) >> 1

`raw` comes in the order the sensor reads it out. An aperture's image is upside down, so with `turn` the
code is turned by 180 degrees, and then lies as the camera sees the scene. Nothing here is a float.
Deliberately not here: light and noise (`optics_sim.sensor.model`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from optics_sim.design import Readout
from optics_sim.errors import PrivcamError

Cfa = Literal["mono", "rggb", "bggr", "grbg", "gbrg"]
_COLOURS = {"r": 0, "g": 1, "b": 2}
_PLANES = {"red": 0, "green": 1, "blue": 2}


def colours(cfa: Cfa, shape: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> NDArray[np.int8]:
    """Returns which colour each raw pixel sees [rows, columns]: 0 red, 1 green, 2 blue; all 0 on a mono sensor.

    `origin` is the (row, column) on the sensor of the first pixel: a crop at an odd row starts on the other colours.
    """
    if cfa == "mono":
        return np.zeros(shape, np.int8)
    tile = np.array([_COLOURS[letter] for letter in cfa], np.int8).reshape(2, 2)
    rows = (np.arange(shape[0]) + origin[0]) % 2
    columns = (np.arange(shape[1]) + origin[1]) % 2
    return tile[rows[:, None], columns[None, :]]


def selected(spec: Readout, cfa: Cfa) -> NDArray[np.bool_]:
    """Returns which raw pixels of the crop the plane sums [rows, columns], in sensor order.

    Raises PrivcamError when a colour is asked of a mono sensor, or of bins that do not hold whole 2 x 2 tiles.
    """
    top, left, height, width = spec.crop
    if spec.planes == "sum":
        return np.ones((height, width), bool)
    if cfa == "mono":
        raise PrivcamError("a mono sensor has no colour planes", got=spec.planes, allowed="sum", todo='use planes = "sum"')
    if spec.bin[0] % 2 or spec.bin[1] % 2:
        raise PrivcamError("a colour plane needs bins of whole 2 x 2 tiles", got=spec.bin, allowed="even sides",
                           todo="make both sides of the bin even")
    return colours(cfa, (height, width), (top, left)) == _PLANES[spec.planes]


def readout(raw: NDArray[Any], spec: Readout, cfa: Cfa) -> NDArray[np.int8]:
    """Returns the code [..., h, w] int8 of whole raw frames [..., rows, columns] in sensor order.

    Raises PrivcamError for raw that is not an integer array or does not hold the crop.
    """
    top, left, height, width = spec.crop
    if raw.ndim < 2 or top < 0 or left < 0 or raw.shape[-2] < top + height or raw.shape[-1] < left + width:
        raise PrivcamError("the raw frame does not hold the crop", got=raw.shape, allowed=f"at least {spec.crop}",
                           todo="give the whole frame, or readout_of_crop the cropped one")
    return readout_of_crop(raw[..., top : top + height, left : left + width], spec, cfa)


def readout_of_crop(raw: NDArray[Any], spec: Readout, cfa: Cfa) -> NDArray[np.int8]:
    """Returns the code [..., h, w] int8 of raw that is cropped already [..., crop rows, crop columns], in sensor order.

    `cfa` is that of the whole sensor: the crop's place says on which colour it starts.
    """
    sums = bin_sums(raw, spec, cfa)
    codes = quantise_sums(sums, spec.shift)
    return codes[..., ::-1, ::-1].copy() if spec.turn else codes


def bin_sums(raw: NDArray[Any], spec: Readout, cfa: Cfa) -> NDArray[np.int64]:
    """Returns the sum over each bin of (raw - black level) [..., h, w] int64, of the plane's pixels, in sensor order."""
    _check_crop(raw, spec)
    rows, columns = spec.shape
    lifted = raw.astype(np.int64) - spec.black_level_dn
    if spec.planes != "sum":
        lifted = lifted * selected(spec, cfa)
    tiles = lifted.reshape(*raw.shape[:-2], rows, spec.bin[0], columns, spec.bin[1])
    total: NDArray[np.int64] = tiles.sum(axis=(-3, -1), dtype=np.int64)
    return total


def quantise_sums(sums: NDArray[np.int64], shift: int) -> NDArray[np.int8]:
    """Returns the int8 code of integer sums: shift with half rounded up, clip to 0..255, minus 128."""
    half = (1 << shift) >> 1
    return (np.clip((sums + half) >> shift, 0, 255) - 128).astype(np.int8)


def bayer_planes(raw: NDArray[Any], cfa: Cfa) -> dict[str, NDArray[Any]]:
    """Returns the four half-size planes of a mosaic [..., rows, columns]: red, green_r, green_b, blue.

    `green_r` shares its rows with red, `green_b` with blue. Raises PrivcamError for mono or odd sides.
    """
    if cfa == "mono":
        raise PrivcamError("a mono sensor has no Bayer planes", got=cfa, allowed="rggb, bggr, grbg, gbrg")
    if raw.ndim < 2 or raw.shape[-2] % 2 or raw.shape[-1] % 2:
        raise PrivcamError("a mosaic has whole 2 x 2 tiles", got=raw.shape, allowed="even rows and columns", todo="crop it")
    planes: dict[str, NDArray[Any]] = {}
    for index, letter in enumerate(cfa):
        row, column = divmod(index, 2)
        name = {"r": "red", "b": "blue"}.get(letter) or ("green_r" if "r" in cfa[2 * row : 2 * row + 2] else "green_b")
        planes[name] = raw[..., row::2, column::2]
    return {name: planes[name] for name in ("red", "green_r", "green_b", "blue")}


def _check_crop(raw: NDArray[Any], spec: Readout) -> None:
    if not np.issubdtype(raw.dtype, np.integer):
        raise PrivcamError("raw must be integers", got=raw.dtype, allowed="uint16 or wider", todo="give DN as read out")
    if raw.ndim < 2 or raw.shape[-2:] != spec.crop[2:]:
        raise PrivcamError("the raw crop has the wrong size", got=raw.shape, allowed=spec.crop[2:],
                           todo="crop as the readout says")

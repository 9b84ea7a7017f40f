"""From display-encoded photographs to linear light and back, and the resize that belongs in linear light.

Deliberately not here: reading files (`sources`), face sets (`faces`), anything of the sensor.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from optics_sim.errors import PrivcamError

Fit = Literal["crop", "pad", "stretch"]
LUMINANCE_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # ITU-R BT.709-6, item 3.2
_CHUNK_IMAGES = 128


def srgb_to_linear(encoded: NDArray[Any]) -> NDArray[np.float32]:
    """Returns linear radiance 0..1 of display-encoded values: uint8 0..255, or floats 0..1.

    A photograph's numbers are not light: they went through a display curve, and a mask adds light.
    PrivcamError for another integer type.
    Reference: IEC 61966-2-1, the sRGB transfer function (linear below 0.04045, power 2.4 above).
    """
    values = np.asarray(encoded)
    if values.dtype == np.uint8:
        return _TABLE[values]
    if values.dtype.kind != "f":
        raise PrivcamError("an encoded photograph must be uint8 or float", got=values.dtype,
                           allowed="uint8 0..255 or float 0..1", todo="scale it to one of them first")
    return _curve(values.astype(np.float32))


def linear_to_srgb(radiance: NDArray[Any]) -> NDArray[np.float32]:
    """Returns display-encoded floats 0..1 of linear radiance; radiance outside 0..1 is clipped first.

    Reference: IEC 61966-2-1, the inverse transfer function.
    """
    light = np.clip(np.asarray(radiance, dtype=np.float32), 0.0, 1.0)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055).astype(np.float32)


def encode_uint8(radiance: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns the 8-bit sRGB picture of linear radiance, rounded to the nearest code."""
    return (linear_to_srgb(radiance) * 255 + 0.5).astype(np.uint8)


def luminance(radiance: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the luminance [..., row, column] of linear RGB [..., row, column, 3] (BT.709 primaries)."""
    return (np.asarray(radiance, dtype=np.float32) @ LUMINANCE_WEIGHTS).astype(np.float32)


def area_matrix(source: int, target: int, start: float, stop: float) -> NDArray[np.float32]:
    """Returns the [target, source] matrix that averages a row of pixels over `target` equal parts of a window.

    The window runs from `start` to `stop` in source pixels and may begin inside a pixel, or outside the
    picture, where the light is 0. Each part is the exact mean of the piecewise-constant row: no aliasing
    when making smaller, and energy is kept.
    """
    edges = np.linspace(start, stop, target + 1)
    pixel = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.clip(overlap, 0, None) * target / (stop - start)).astype(np.float32)


def window(source: tuple[int, int], target: tuple[int, int], fit: Fit) -> tuple[float, float]:
    """Returns (height, width) in source pixels of the centred window that becomes the target picture.

    crop: the largest window of the target's aspect ratio inside the picture. pad: the smallest one around
    it (outside is black). stretch: the whole picture, whatever its aspect ratio.
    """
    if fit == "stretch":
        return float(source[0]), float(source[1])
    scales = source[0] / target[0], source[1] / target[1]
    scale = min(scales) if fit == "crop" else max(scales)
    return target[0] * scale, target[1] * scale


def resize_light(radiance: NDArray[Any], shape: tuple[int, int], fit: Fit = "crop") -> NDArray[np.float32]:
    """Returns linear light [..., row, column] averaged over area to `shape`; see `window` for `fit`."""
    light = np.asarray(radiance, dtype=np.float32)
    if min(shape) < 1:
        raise PrivcamError("a picture needs at least one row and one column", got=shape, todo="ask for a larger shape")
    spans = window((light.shape[-2], light.shape[-1]), shape, fit)
    rows, columns = (
        area_matrix(size, wanted, (size - span) / 2, (size + span) / 2)
        for size, wanted, span in zip(light.shape[-2:], shape, spans, strict=True)
    )
    return np.asarray(rows @ light @ columns.T, dtype=np.float32)


def gray_light(encoded: NDArray[np.uint8], shape: tuple[int, int], fit: Fit) -> NDArray[np.float32]:
    """Returns luminance [n, *shape] of encoded pictures [n, H, W] or [n, H, W, 3]: un-gamma, luminance, resize."""
    scenes = np.empty((len(encoded), *shape), dtype=np.float32)
    for first in range(0, len(encoded), _CHUNK_IMAGES):
        light = srgb_to_linear(encoded[first : first + _CHUNK_IMAGES])
        light = luminance(light) if light.ndim == 4 else light
        scenes[first : first + _CHUNK_IMAGES] = resize_light(light, shape, fit)
    return scenes


def rgb_light(encoded: NDArray[np.uint8], shape: tuple[int, int], fit: Fit) -> NDArray[np.float32]:
    """Returns linear RGB [n, *shape, 3] of encoded pictures; gray pictures become three equal planes."""
    scenes = np.empty((len(encoded), *shape, 3), dtype=np.float32)
    for first in range(0, len(encoded), _CHUNK_IMAGES):
        light = srgb_to_linear(encoded[first : first + _CHUNK_IMAGES])
        planes = np.moveaxis(light, -1, 1) if light.ndim == 4 else light[:, None]
        scenes[first : first + _CHUNK_IMAGES] = np.moveaxis(resize_light(planes, shape, fit), 1, -1)
    return scenes


def _curve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** np.float32(2.4)).astype(np.float32)


_TABLE = _curve((np.arange(256) / 255).astype(np.float32))

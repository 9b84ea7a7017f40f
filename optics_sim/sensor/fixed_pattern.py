"""The pattern a sensor was born with: each pixel's gain and offset error. numpy only.

Deliberately not here: noise that changes from frame to frame (`optics_sim.sensor.model`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from optics_sim.design import Sensor

_GAIN_STREAM, _OFFSET_STREAM = 1, 2


def gain_errors(sensor: Sensor, crop: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Returns PRNU [rows, columns] of a crop (top, left, height, width): relative gain error, mean 0.

    The whole sensor's map is drawn from `fixed_pattern_seed`, then cut: every crop sees the same pixels.
    """
    return _map(sensor, crop, _GAIN_STREAM, sensor.prnu)


def offset_errors_e(sensor: Sensor, crop: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Returns DSNU [rows, columns] of a crop (top, left, height, width): offset in electrons, mean 0."""
    return _map(sensor, crop, _OFFSET_STREAM, sensor.dsnu_e)


def _map(sensor: Sensor, crop: tuple[int, int, int, int], stream: int, sigma: float) -> NDArray[np.float32]:
    if sigma == 0:
        return np.zeros(crop[2:], np.float32)
    return _drawn(sensor.shape, sensor.fixed_pattern_seed, crop, stream) * np.float32(sigma)


@lru_cache(maxsize=8)
def _drawn(shape: tuple[int, int], seed: int, crop: tuple[int, int, int, int], stream: int) -> NDArray[np.float32]:
    """Returns the standard normal map of a crop; kept, because cameras of one sensor are built again and again."""
    top, left, height, width = crop
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream])))
    rows = draw.standard_normal((min(top + height, shape[0]), shape[1]), dtype=np.float32)
    cut = rows[top : top + height, left : left + width].copy()
    cut.flags.writeable = False
    return cut

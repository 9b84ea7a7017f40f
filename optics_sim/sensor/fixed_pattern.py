"""The pattern a sensor was born with: each pixel's gain and offset error. numpy only.

Deliberately not here: noise that changes from frame to frame (`optics_sim.sensor.model`).
"""

from __future__ import annotations

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
    top, left, height, width = crop
    if sigma == 0:
        return np.zeros((height, width), np.float32)
    draw = np.random.Generator(np.random.PCG64(np.random.SeedSequence([sensor.fixed_pattern_seed, stream])))
    rows = draw.standard_normal((min(top + height, sensor.shape[0]), sensor.shape[1]), dtype=np.float32)
    return rows[top : top + height, left : left + width] * np.float32(sigma)

"""Reference kernels of BDQ: the separable integer Gaussian and the count of thresholds below a difference.

The arithmetic is that of `optics_sim.encoders.bdq_int`, which says how far it is from floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Operator, Tensor

Arrays = Sequence[NDArray[Any]]
Tensors = Sequence[Tensor]
ROW_SHIFT = 6
COLUMN_SHIFT = 15


def smooth(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int16]:
    """Returns the frame blurred along rows (rounded to Q8), then along columns (to Q7); borders repeat their pixels."""
    rows = _weighted(arrays[0], arrays[1], 2, ROW_SHIFT)
    return _weighted(rows, arrays[1], 1, COLUMN_SHIFT).astype(np.int16)


def levels(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns how many thresholds lie below the value, or below first - second."""
    values = arrays[0].astype(np.int32)
    if len(arrays) == 3:
        values = values - arrays[1]
    return np.searchsorted(arrays[-1].astype(np.int32), values, side="left").astype(np.int8)


def _weighted(values: NDArray[Any], weights: NDArray[np.int16], axis: int, shift: int) -> NDArray[np.int32]:
    radius, size = len(weights) // 2, values.shape[axis]
    widths = [(radius, radius) if place == axis else (0, 0) for place in range(values.ndim)]
    padded = np.pad(values.astype(np.int32), widths, mode="edge")
    total = sum(weight * np.take(padded, np.arange(index, index + size), axis) for index, weight in enumerate(weights.astype(np.int32)))
    return (np.asarray(total, np.int32) + ((1 << shift) >> 1)) >> shift

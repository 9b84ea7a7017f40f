"""Reference kernels of BDQ: the separable integer Gaussian and the count of thresholds below a difference.

The arithmetic is that of `optics_sim.encoders.bdq_int`, which says how far it is from floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Operator, Tensor
from optics_sim.encoders.bdq_int import blurred

Arrays = Sequence[NDArray[Any]]
Tensors = Sequence[Tensor]


def smooth(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int16]:
    """Returns the frame blurred along rows (rounded to Q8), then along columns (to Q7); borders repeat their pixels."""
    return blurred(arrays[0], arrays[1], rows=1, columns=2)


def levels(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns how many thresholds lie below the value, or below first - second."""
    values = arrays[0].astype(np.int32)
    if len(arrays) == 3:
        values = values - arrays[1]
    return np.searchsorted(arrays[-1].astype(np.int32), values, side="left").astype(np.int8)

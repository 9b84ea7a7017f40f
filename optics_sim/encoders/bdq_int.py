"""BDQ in integers, frame by frame: the normative definition that firmware copies. numpy only, nothing is a float.

    frame    int8    [h, w]           the readout's code
    weights  int16   [kernel]         Q14: symmetric, sum exactly 2**14
    row      int16   = (sum of weights * frame along a row      + 2**5)  >> 6     Q8 of a code level
    state    int16   = (sum of weights * row  along a column    + 2**14) >> 15    Q7, the blurred frame
    value    int16   = state - previous state                                     Q7, |value| <= 255 * 2**7
    code     uint8   = number of thresholds (int16, Q7) below value               0 to levels - 1

Borders repeat their pixels. `>>` is arithmetic, so rounding is half up; sums are int32 and cannot overflow. Without the
blur the state is frame * 2**7. A threshold is floor(threshold * 2**7): for whole values "above the floor" and "above
the number" are the same. Against the float encoder the value is off by less than `ERROR_CODES` code levels, and
thresholds are two apart, so a code is off by one step at most.
Deliberately not here: floats in the loop, batches that share a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.encoding import BdqEncoder
from optics_sim.errors import PrivcamError

WEIGHT_BITS = 14
ROW_BITS = 8
STATE_BITS = 7
ROW_SHIFT = WEIGHT_BITS - ROW_BITS
COLUMN_SHIFT = WEIGHT_BITS + ROW_BITS - STATE_BITS
ERROR_CODES = 1.0
"""Bound on |integer - float| before the quantiser, in code levels, for the largest kernel.

Weights: outer ones are rounded by at most half a unit and the centre takes up the sum, at most kernel - 1 = 30 units
together; on values within 127.5 of the middle that is 30 * 127.5 / 2**14 = 0.23 for each of two passes and two frames.
Rounding adds 2**-9 + 2**-8 for each frame.
"""


@dataclass(frozen=True)
class IntegerBdq:
    """The integer encoder: its tables, and the two ways to run it."""

    weights: NDArray[np.int16] | None
    difference: bool
    thresholds: NDArray[np.int16] | None

    @classmethod
    def from_spec(cls, spec: BdqEncoder) -> IntegerBdq:
        """Returns the integer encoder of a design's `encoder` table."""
        return cls(integer_weights(spec.sigma_px, spec.kernel_px) if spec.blur else None, spec.difference,
                   integer_thresholds(spec.thresholds) if spec.quantise else None)

    def step(self, frame: NDArray[np.int8], state: NDArray[np.int16] | None = None
             ) -> tuple[NDArray[Any] | None, NDArray[np.int16]]:
        """Returns the code of one frame [..., h, w] (None for the first of a difference) and the state for the next one.

        Codes are uint8; without the quantiser they are the int16 values in Q7. Raises PrivcamError for a frame that is
        not int8 or a state of another size.
        """
        blurred = self._blurred(frame)
        if not self.difference:
            return self._code(blurred), blurred
        if state is None:
            return None, blurred
        if state.shape != blurred.shape or state.dtype != np.int16:
            raise PrivcamError("the state is not that of such a frame", got=f"{state.dtype} {state.shape}",
                               allowed=f"int16 {blurred.shape}", todo="start a clip with no state")
        return self._code(blurred - state), blurred

    def __call__(self, codes: NDArray[np.int8]) -> NDArray[Any]:
        """Returns the codes [..., T - 1, h, w] (T without the difference) of a clip [..., T, h, w]: `step` on every frame."""
        if codes.ndim < 3 or codes.shape[-3] < 1 + self.difference:
            raise PrivcamError("the clip is too short for this encoder", got=codes.shape, allowed="[..., T, h, w]",
                               todo="give at least two frames")
        state, found = None, []
        for index in range(codes.shape[-3]):
            code, state = self.step(codes[..., index, :, :], state)
            found += [] if code is None else [code]
        return np.stack(found, -3)

    def _blurred(self, frame: NDArray[np.int8]) -> NDArray[np.int16]:
        if frame.dtype != np.int8 or frame.ndim < 2:
            raise PrivcamError("the encoder reads the readout's codes", got=f"{frame.dtype} {frame.shape}",
                               allowed="int8 [..., h, w]", todo="give the codes as the readout made them")
        if self.weights is None:
            return frame.astype(np.int16) << STATE_BITS
        return blurred(frame, self.weights, rows=-2, columns=-1)

    def _code(self, values: NDArray[np.int16]) -> NDArray[Any]:
        if self.thresholds is None:
            return values
        return np.searchsorted(self.thresholds, values, side="left").astype(np.uint8)


def integer_weights(sigma_px: float, kernel_px: int) -> NDArray[np.int16]:
    """Returns the Gaussian's weights [kernel] in Q14: the outer ones rounded, the centre what is left of 2**14."""
    radius = kernel_px // 2
    distance = np.arange(-radius, radius + 1)
    with np.errstate(over="ignore"):  # a sigma near 0 is a window of a single 1
        gaussian = np.exp(-0.5 * (distance / sigma_px) ** 2)
    weights = np.floor(gaussian / gaussian.sum() * 2**WEIGHT_BITS + 0.5).astype(np.int64)
    weights[radius] += 2**WEIGHT_BITS - weights.sum()
    return weights.astype(np.int16)


def integer_thresholds(thresholds: tuple[float, ...]) -> NDArray[np.int16]:
    """Returns thresholds in Q7, floored and held in int16."""
    limits = np.iinfo(np.int16)
    return np.clip(np.floor(np.array(thresholds) * 2**STATE_BITS), limits.min, limits.max).astype(np.int16)


def blurred(frame: NDArray[np.int8], weights: NDArray[np.int16], *, rows: int, columns: int) -> NDArray[np.int16]:
    """Returns the state in Q7 of frames whose rows and columns lie along these axes: along a row first, then along a column."""
    along_row = _weighted(frame, weights, columns, ROW_SHIFT)
    return _weighted(along_row, weights, rows, COLUMN_SHIFT)


def _weighted(values: NDArray[Any], weights: NDArray[np.int16], axis: int, shift: int) -> NDArray[np.int16]:
    radius, size = len(weights) // 2, values.shape[axis]
    padding = [(0, 0)] * values.ndim
    padding[axis] = (radius, radius)
    padded = np.pad(values.astype(np.int32), padding, mode="edge")
    total = np.full(values.shape, (1 << shift) >> 1, np.int32)
    for index, weight in enumerate(weights.astype(np.int32)):
        total += weight * np.take(padded, np.arange(index, index + size), axis)
    return (total >> shift).astype(np.int16)

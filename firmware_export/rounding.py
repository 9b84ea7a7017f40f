"""Fixed-point rounding as TFLite's reference kernels define it, on whole arrays.

A real factor is stored as `multiplier * 2**(shift - 31)` with a 32-bit multiplier in [2**30, 2**31). Applying it rounds
twice: once in the high half of the doubled product (halves up), once in the shift to the right (halves away from zero).
Optimised kernels round once and differ by one now and then; the reference is what we follow.
Reference: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
CVPR 2018, section 2.2; gemmlowp's SaturatingRoundingDoublingHighMul and RoundingDivideByPOT.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = 31
INT32 = np.iinfo(np.int32)
Integers = NDArray[np.int64]


def multiplier(factor: float) -> tuple[int, int]:
    """Returns (multiplier, shift) of a factor of at least 0, rounded to 31 bits; both 0 where it is below 2**-32."""
    if factor == 0:
        return 0, 0
    mantissa, exponent = math.frexp(factor)
    whole = math.floor(mantissa * (1 << WORD) + 0.5)
    if whole == 1 << WORD:
        whole, exponent = whole // 2, exponent + 1
    return (0, 0) if exponent < -WORD else (whole, exponent)


def doubling_high_multiply(values: Integers, by: Any) -> Integers:
    """Returns round(values * by / 2**31), halves up, saturated: gemmlowp's first rounding."""
    product = values * by
    nudged = product + np.where(product >= 0, 1 << (WORD - 1), 1 - (1 << (WORD - 1)))
    return np.minimum(truncated_divide(nudged, 1 << WORD), INT32.max)


def rounding_divide_by_power(values: Integers, exponent: Any) -> Integers:
    """Returns round(values / 2**exponent), halves away from zero: gemmlowp's second rounding."""
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    threshold = (mask >> 1) + (values < 0)
    return (values >> exponent) + ((values & mask) > threshold)


def scaled(values: Integers, by: Any, shift: Any) -> Integers:
    """Returns values times the factor (by, shift): a left shift, then the two roundings. Whole numbers in int64."""
    shift = np.asarray(shift, np.int64)
    return rounding_divide_by_power(doubling_high_multiply(values << np.maximum(shift, 0), by), np.maximum(-shift, 0))


def truncated_divide(values: Integers, by: Any) -> Integers:
    """Returns values / by cut towards zero, as C divides; `by` is positive."""
    return (np.abs(values) // by) * np.sign(values)


def rounded(value: Any) -> Any:
    """Returns the nearest whole number, halves away from zero, of floats of any kind."""
    return np.sign(value) * np.floor(np.abs(value) + np.asarray(0.5, np.asarray(value).dtype))

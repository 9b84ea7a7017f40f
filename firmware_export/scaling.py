"""The integer constants of each operator, out of the scales: what the interpreter and the C code both run with.

Scales are 32-bit floats, as a TFLite file has them; where TFLite computes in double so do we, and where it computes in 32-bit
floats so do we.
Deliberately not here: arithmetic on values (`int8`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Operator, Tensor
from firmware_export.rounding import multiplier, rounded

LEFT_SHIFT = 20
"""Bits by which ADD and SUB scale their 8-bit inputs up before they are brought to one scale."""
BILINEAR_BITS = 10
INT8 = np.iinfo(np.int8)
Factor = tuple[int, int]


def accumulator_factors(tensors: Sequence[Tensor], output: Tensor) -> list[Factor]:
    """Returns the factor from accumulator to output for each output channel of a convolution or a dense layer."""
    weights, channels = tensors[1], tensors[2].shape[0]
    scales = weights.scale if len(weights.scale) == channels else weights.scale * channels
    return [multiplier(tensors[0].scale[0] * scale / output.scale[0]) for scale in scales]


def clamp(operator: Operator, output: Tensor) -> tuple[int, int]:
    """Returns (least, greatest) stored value after the fused activation."""
    low, high = INT8.min, INT8.max
    if operator.activation in ("relu", "relu6"):
        low = max(low, output.zero_point)
    if operator.activation == "relu6":
        high = min(high, output.zero_point + int(rounded(np.float32(6) / np.float32(output.scale[0]))))
    return int(low), int(high)


@dataclass(frozen=True)
class SumFactors:
    """What ADD and SUB need: a factor for each input, one for the sum."""

    first: Factor
    second: Factor
    total: Factor


def sum_factors(tensors: Sequence[Tensor], output: Tensor) -> SumFactors:
    """Returns the factors of ADD and SUB: both inputs to twice the larger scale, the sum to the output's."""
    one, other = tensors[0].scale[0], tensors[1].scale[0]
    common = 2 * max(one, other)
    return SumFactors(multiplier(one / common), multiplier(other / common),
                      multiplier(common / ((1 << LEFT_SHIFT) * output.scale[0])))


def product_factor(tensors: Sequence[Tensor], output: Tensor) -> Factor:
    """Returns the factor of MUL; TFLite takes it in 32-bit floats."""
    first, second, third = (np.float32(tensor.scale[0]) for tensor in (*tensors, output))
    return multiplier(float(first * second / third))


def mean_factor(source: Tensor, output: Tensor) -> Factor:
    """Returns the factor of MEAN over height and width: the scales' with the division by the count folded in."""
    count = source.shape[1] * source.shape[2]
    whole, exponent = multiplier(float(np.float32(source.scale[0]) / np.float32(output.scale[0])))
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    return (whole << shift) // count, exponent - shift


def function_table(kind: str, source: Tensor, output: Tensor) -> NDArray[np.int8]:
    """Returns the 256 values of LOGISTIC or TANH for stored inputs -128..127, computed in 32-bit floats as TFLite does."""
    stored = np.arange(-128, 128, dtype=np.float32)
    real = np.float32(source.scale[0]) * (stored - np.float32(source.zero_point))
    value = _logistic(real) if kind == "LOGISTIC" else np.tanh(real.astype(np.float64)).astype(np.float32)
    steps = rounded(value * (np.float32(1) / np.float32(output.scale[0])))
    return np.clip(steps.astype(np.int64) + output.zero_point, INT8.min, INT8.max).astype(np.int8)


def _logistic(real: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        grown = np.exp(-real.astype(np.float64)).astype(np.float32)  # the exponential correctly rounded
    return np.float32(1) / (np.float32(1) + grown)


def nearest_index(size: int, wanted: int, half_pixel: bool) -> list[int]:
    """Returns which input row (or column) each of `wanted` output ones copies."""
    scale, offset = np.float32(size) / np.float32(wanted), np.float32(0.5 if half_pixel else 0)
    return [max(min(math.floor((np.float32(place) + offset) * scale), size - 1), 0) for place in range(wanted)]


def copied_index(operator: Operator, size: int, wanted: int, axis: int) -> list[int]:
    """Returns which input row (axis 0) or column (axis 1) each output one copies, of a border or a nearest neighbour."""
    if operator.kind == "RESIZE_NEAREST_NEIGHBOR":
        return nearest_index(size, wanted, operator.half_pixel)
    mode = "edge" if operator.kind == "EDGE_PAD" else operator.mode
    padded = np.pad(np.arange(size), operator.pads[axis], mode=mode)  # type: ignore[call-overload]
    return [int(value) for value in padded]


@dataclass(frozen=True)
class Blend:
    """Two neighbours and the weight of the upper one in 1024ths; the lower one has what is left of 1024."""

    lower: int
    upper: int
    weight: int


def bilinear_blends(size: int, wanted: int, half_pixel: bool) -> list[Blend]:
    """Returns, for each of `wanted` output rows (or columns), what is blended; positions are whole 1024ths."""
    one = 1 << BILINEAR_BITS
    step = (one * size + wanted // 2) // wanted
    blends = []
    for index in range(wanted):
        place = index * step + (step // 2 - one // 2 if half_pixel else 0)
        lower = max(int(place / one), 0)
        blends.append(Blend(lower, min(int((place + one - 1) / one), size - 1), place - one * lower))
    return blends

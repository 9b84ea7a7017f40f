"""Reference kernels that work value by value: sums, products, tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Operator, Tensor
from firmware_export.rounding import Integers, scaled
from firmware_export.scaling import LEFT_SHIFT, clamp, function_table, product_factor, sum_factors

Arrays = Sequence[NDArray[Any]]
Tensors = Sequence[Tensor]


def add(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns first + second."""
    return _sum(operator, tensors, output, arrays, 1)


def sub(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns first - second."""
    return _sum(operator, tensors, output, arrays, -1)


def mul(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns first * second."""
    product = _offset(tensors[0], arrays[0]) * _offset(tensors[1], arrays[1])
    return _clamped(operator, output, scaled(product, *product_factor(tensors, output)))


def function(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns LOGISTIC or TANH, out of its 256 values."""
    return _looked_up(function_table(operator.kind, tensors[0], output), arrays[0])


def table(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the table's entry [value + 128]."""
    return _looked_up(arrays[1], arrays[0])


def _sum(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays, sign: int) -> NDArray[np.int8]:
    factors = sum_factors(tensors, output)
    first = scaled(_offset(tensors[0], arrays[0]) << LEFT_SHIFT, *factors.first)
    second = scaled(_offset(tensors[1], arrays[1]) << LEFT_SHIFT, *factors.second)
    return _clamped(operator, output, scaled(first + sign * second, *factors.total))


def _looked_up(entries: NDArray[np.int8], values: NDArray[np.int8]) -> NDArray[np.int8]:
    return entries[values.astype(np.int64) + 128]


def _offset(tensor: Tensor, values: NDArray[Any]) -> Integers:
    return values.astype(np.int64) - tensor.zero_point


def _clamped(operator: Operator, output: Tensor, values: Integers) -> NDArray[np.int8]:
    return np.clip(values + output.zero_point, *clamp(operator, output)).astype(np.int8)

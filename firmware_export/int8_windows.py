"""Reference kernels that move a window: convolutions, dense layers, pools, means.

A sum runs over the pixels that exist: beyond the border the real value is 0. Sums of products stay below 2**31 (`check`), so
that a product of float64 matrices is exact: every partial sum is a whole number below 2**53.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Operator, Tensor
from firmware_export.rounding import Integers, scaled, truncated_divide
from firmware_export.scaling import accumulator_factors, clamp, mean_factor
from firmware_export.shapes import window_of, windowed

Arrays = Sequence[NDArray[Any]]
Tensors = Sequence[Tensor]


def taps(operator: Operator, tensors: Tensors, frames: NDArray[Any], fill: int) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yields (row, column, pixels under that place of the window [N, oh, ow, c]); `fill` beyond the border."""
    (out_height, above), (out_width, left) = windowed(operator, tensors)
    (step_y, step_x), (far_y, far_x) = operator.stride, operator.dilation
    kernel_height, kernel_width = window_of(operator, tensors)
    below = max((out_height - 1) * step_y + (kernel_height - 1) * far_y + 1 - above - frames.shape[1], 0)
    right = max((out_width - 1) * step_x + (kernel_width - 1) * far_x + 1 - left - frames.shape[2], 0)
    padded = np.pad(frames, ((0, 0), (above, below), (left, right), (0, 0)), constant_values=fill)
    for row in range(kernel_height):
        for column in range(kernel_width):
            y, x = row * far_y, column * far_x
            yield row, column, padded[:, y: y + (out_height - 1) * step_y + 1: step_y, x: x + (out_width - 1) * step_x + 1: step_x]


def conv_2d(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the convolution [N, oh, ow, out]."""
    frames, weights, bias = _real(tensors[0], arrays[0]), arrays[1].astype(np.float64), arrays[2]
    total = sum(patch @ weights[:, row, column].T for row, column, patch in taps(operator, tensors, frames, 0))
    return _stored(operator, tensors, output, np.asarray(total).astype(np.int64) + bias)


def depthwise_conv_2d(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the convolution of each channel [N, oh, ow, c * multiplier]; output c * m + k is of input c."""
    frames, weights, bias = _real(tensors[0], arrays[0]), arrays[1].astype(np.float64), arrays[2]
    frames = np.repeat(frames, weights.shape[3] // frames.shape[3], axis=3)
    total = sum(patch * weights[0, row, column] for row, column, patch in taps(operator, tensors, frames, 0))
    return _stored(operator, tensors, output, np.asarray(total).astype(np.int64) + bias)


def fully_connected(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the dense layer [N, out] of everything in the frame."""
    frames = _real(tensors[0], arrays[0]).reshape(len(arrays[0]), -1)
    return _stored(operator, tensors, output, (frames @ arrays[1].astype(np.float64).T).astype(np.int64) + arrays[2])


def average_pool_2d(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the mean of the pixels under the window, halves away from zero, beyond the border nothing is counted."""
    there = np.ones((1, *arrays[0].shape[1:3], 1), np.int64)
    total = sum(patch for _, _, patch in taps(operator, tensors, arrays[0].astype(np.int64), 0))
    count = sum(patch for _, _, patch in taps(operator, tensors, there, 0))
    mean = truncated_divide(np.asarray(total) + np.where(np.asarray(total) > 0, count // 2, -(count // 2)), count)
    return _clamped(operator, output, mean)


def max_pool_2d(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the greatest pixel under the window."""
    greatest = np.max([patch for _, _, patch in taps(operator, tensors, arrays[0], -128)], axis=0)
    return _clamped(operator, output, greatest.astype(np.int64))


def mean(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the mean over height and width [N, 1, 1, c]."""
    total = (arrays[0].astype(np.int64) - tensors[0].zero_point).sum(axis=(1, 2), keepdims=True)
    return _clamped(operator, output, scaled(total, *mean_factor(tensors[0], output)) + output.zero_point)


def _real(tensor: Tensor, frames: NDArray[Any]) -> NDArray[np.float64]:
    return frames.astype(np.float64) - tensor.zero_point


def _stored(operator: Operator, tensors: Tensors, output: Tensor, total: Integers) -> NDArray[np.int8]:
    by, shift = np.array(accumulator_factors(tensors, output), np.int64).T
    return _clamped(operator, output, scaled(total, by, shift) + output.zero_point)


def _clamped(operator: Operator, output: Tensor, values: Integers) -> NDArray[np.int8]:
    return np.clip(values, *clamp(operator, output)).astype(np.int8)

"""Reference kernels that move values about: borders, sizes, joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Operator, Tensor
from firmware_export.rounding import Integers, truncated_divide
from firmware_export.scaling import BILINEAR_BITS, bilinear_blends, nearest_index

Arrays = Sequence[NDArray[Any]]
Tensors = Sequence[Tensor]


def pad(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[Any]:
    """Returns the frame with a border of the real value 0."""
    return np.pad(arrays[0], _widths(operator), constant_values=output.zero_point)


def mirror_pad(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[Any]:
    """Returns the frame with a border of its own pixels mirrored, without (reflect) or with (symmetric) the outermost."""
    return np.pad(arrays[0], _widths(operator), mode="reflect" if operator.mode == "reflect" else "symmetric")


def edge_pad(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[Any]:
    """Returns the frame with its outermost pixels repeated."""
    return np.pad(arrays[0], _widths(operator), mode="edge")


def resize_nearest(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[Any]:
    """Returns the frame at the output's size, each pixel copied from the nearest."""
    rows = nearest_index(arrays[0].shape[1], output.shape[1], operator.half_pixel)
    columns = nearest_index(arrays[0].shape[2], output.shape[2], operator.half_pixel)
    return arrays[0][:, rows][:, :, columns]


def resize_bilinear(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[np.int8]:
    """Returns the frame at the output's size, each pixel blended from four with weights of 1024ths."""
    frames = arrays[0].astype(np.int64)
    down = _blended(frames, 1, bilinear_blends(frames.shape[1], output.shape[1], operator.half_pixel))
    total = _blended(down, 2, bilinear_blends(frames.shape[2], output.shape[2], operator.half_pixel))
    half = 1 << (2 * BILINEAR_BITS - 1)
    return truncated_divide(total + np.where(total > 0, half, -half), 1 << (2 * BILINEAR_BITS)).astype(np.int8)


def concatenation(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[Any]:
    """Returns the frames' channels one after another."""
    return np.concatenate(arrays, axis=-1)


def reshape(operator: Operator, tensors: Tensors, output: Tensor, arrays: Arrays) -> NDArray[Any]:
    """Returns the same values in the same order in the output's shape."""
    return arrays[0].reshape(-1, *output.shape[1:])


def _widths(operator: Operator) -> tuple[tuple[int, int], ...]:
    return ((0, 0), *operator.pads, (0, 0))


def _blended(frames: Integers, axis: int, blends: Sequence[Any]) -> Integers:
    shape = [1] * frames.ndim
    shape[axis] = -1
    upper = np.array([blend.weight for blend in blends], np.int64).reshape(shape)
    low, high = (np.take(frames, [getattr(blend, side) for blend in blends], axis) for side in ("lower", "upper"))
    return low * ((1 << BILINEAR_BITS) - upper) + high * upper

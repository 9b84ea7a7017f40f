"""The table of kernels: one function for each kind of operator, (operator, tensors, output, arrays) -> array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from firmware_export import int8_bdq, int8_moves, int8_values, int8_windows

Kernel = Callable[..., Any]
KERNELS: Mapping[str, Kernel] = {
    "CONV_2D": int8_windows.conv_2d, "DEPTHWISE_CONV_2D": int8_windows.depthwise_conv_2d,
    "FULLY_CONNECTED": int8_windows.fully_connected, "AVERAGE_POOL_2D": int8_windows.average_pool_2d,
    "MAX_POOL_2D": int8_windows.max_pool_2d, "MEAN": int8_windows.mean, "ADD": int8_values.add, "SUB": int8_values.sub,
    "MUL": int8_values.mul, "LOGISTIC": int8_values.function, "TANH": int8_values.function, "TABLE": int8_values.table,
    "PAD": int8_moves.pad, "MIRROR_PAD": int8_moves.mirror_pad, "EDGE_PAD": int8_moves.edge_pad,
    "RESIZE_NEAREST_NEIGHBOR": int8_moves.resize_nearest, "RESIZE_BILINEAR": int8_moves.resize_bilinear,
    "CONCATENATION": int8_moves.concatenation, "RESHAPE": int8_moves.reshape, "SMOOTH": int8_bdq.smooth, "LEVELS": int8_bdq.levels,
}

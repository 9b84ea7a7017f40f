"""The size of what an operator writes, and where its window lies: TFLite's SAME and VALID.

Deliberately not here: values.
"""

from __future__ import annotations

from collections.abc import Sequence

from firmware_export.graph import Operator, Tensor
from optics_sim.network import same_pads, spatial


def placed(size: int, window: int, stride: int, dilation: int, padding: str) -> tuple[int, int]:
    """Returns (output size, pixels of padding before the first) along one axis; SAME gives ceil(size / stride)."""
    if padding == "VALID":
        return spatial(size, window, stride, dilation), 0
    return -(-size // stride), same_pads(size, window, stride, dilation)[0]


def window_of(operator: Operator, tensors: Sequence[Tensor]) -> tuple[int, int]:
    """Returns (height, width) of the window that a convolution or a pool moves."""
    if operator.kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        return operator.window
    return tensors[1].shape[1], tensors[1].shape[2]


def windowed(operator: Operator, tensors: Sequence[Tensor]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns ((output height, offset of the window above), (output width, offset to the left))."""
    height, width = tensors[0].shape[1:3]
    window = window_of(operator, tensors)
    rows = placed(height, window[0], operator.stride[0], operator.dilation[0], operator.padding)
    return rows, placed(width, window[1], operator.stride[1], operator.dilation[1], operator.padding)


def output_shape(operator: Operator, tensors: Sequence[Tensor]) -> tuple[int, ...] | None:
    """Returns the shape that the operator writes, or None where its kind leaves that free (a resize, a reshape)."""
    first = tensors[0].shape
    match operator.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D" | "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            (height, _), (width, _) = windowed(operator, tensors)
            channels = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}.get(operator.kind)
            return 1, height, width, first[3] if channels is None else tensors[1].shape[channels]
        case "FULLY_CONNECTED":
            return 1, tensors[1].shape[0]
        case "PAD" | "MIRROR_PAD" | "EDGE_PAD":
            (top, bottom), (left, right) = operator.pads
            return 1, first[1] + top + bottom, first[2] + left + right, first[3]
        case "CONCATENATION":
            return (*first[:-1], sum(tensor.shape[-1] for tensor in tensors))
        case "MEAN":
            return 1, 1, 1, first[-1]
        case "RESHAPE" | "RESIZE_NEAREST_NEIGHBOR" | "RESIZE_BILINEAR":
            return None
    return first

"""The operators of a `FloatNetwork` in torch, on NHWC batches: what training with rounding runs.

Deliberately not here: rounding (`quantisation`); AFFINE, which folding leaves none of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from optics_sim.network import FloatOperator, Shape

Kernel = Callable[[FloatOperator, list[Tensor], Shape], Tensor]


def computed(operator: FloatOperator, tensors: list[Tensor], shape: Shape) -> Tensor:
    """Returns what a known operator writes for a batch, with gradients."""
    result = KERNELS[operator.kind](operator, tensors, shape)
    match operator.options.get("activation", "none"):
        case "relu":
            return F.relu(result)
        case "relu6":
            return F.relu6(result)
    return result


def _planes(frames: Tensor) -> Tensor:
    return frames.permute(0, 3, 1, 2)


def _frames(planes: Tensor) -> Tensor:
    return planes.permute(0, 2, 3, 1)


def _conv(operator: FloatOperator, tensors: list[Tensor], shape: Shape) -> Tensor:
    frames, weights, bias = tensors
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    turned = weights.permute(3, 0, 1, 2) if depthwise else weights.permute(0, 3, 1, 2)
    return _frames(F.conv2d(_planes(frames), turned, bias, operator.options["stride"], 0, operator.options["dilation"],
                            frames.shape[3] if depthwise else 1))


def _pad(mode: str) -> Kernel:
    def pad(operator: FloatOperator, tensors: list[Tensor], shape: Shape) -> Tensor:
        (top, bottom), (left, right) = operator.options["pads"]
        value = round(operator.options.get("value", 0.0)) if mode == "constant" else None  # what int8 can pad
        return _frames(F.pad(_planes(tensors[0]), (left, right, top, bottom), mode, value))
    return pad


def _resize(mode: str) -> Kernel:
    def resize(operator: FloatOperator, tensors: list[Tensor], shape: Shape) -> Tensor:
        corners = {"align_corners": False} if mode == "bilinear" else {}
        return _frames(F.interpolate(_planes(tensors[0]), shape[1:3], mode=mode, **corners))
    return resize


def _pool(pool: Callable[..., Tensor]) -> Kernel:
    return lambda operator, tensors, shape: _frames(pool(_planes(tensors[0]), operator.options["window"], operator.options["stride"]))


KERNELS: Mapping[str, Kernel] = {
    "CONV_2D": _conv, "DEPTHWISE_CONV_2D": _conv,
    "FULLY_CONNECTED": lambda operator, tensors, shape: F.linear(tensors[0].flatten(1), tensors[1], tensors[2]),
    "PAD": _pad("constant"), "MIRROR_PAD": _pad("reflect"), "EDGE_PAD": _pad("replicate"), "MAX_POOL_2D": _pool(F.max_pool2d),
    "AVERAGE_POOL_2D": _pool(F.avg_pool2d), "MEAN": lambda operator, tensors, shape: tensors[0].mean((1, 2), keepdim=True),
    "RESHAPE": lambda operator, tensors, shape: tensors[0].reshape(-1, *shape[1:]),
    "RELU": lambda operator, tensors, shape: F.relu(tensors[0]), "RELU6": lambda operator, tensors, shape: F.relu6(tensors[0]),
    "LOGISTIC": lambda operator, tensors, shape: torch.sigmoid(tensors[0]),
    "TANH": lambda operator, tensors, shape: torch.tanh(tensors[0]), "ADD": lambda operator, tensors, shape: tensors[0] + tensors[1],
    "SUB": lambda operator, tensors, shape: tensors[0] - tensors[1], "MUL": lambda operator, tensors, shape: tensors[0] * tensors[1],
    "CONCATENATION": lambda operator, tensors, shape: torch.cat(tensors, -1), "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "RESIZE_BILINEAR": _resize("bilinear"),
}

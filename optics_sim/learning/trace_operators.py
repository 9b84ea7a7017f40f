"""What each call of a traced network is as an operator of a `FloatNetwork`; a call without a meaning keeps a name of its own.

A module is read as the function that it calls. Padding becomes an operator of its own: a window of torch with stride 2 and
padding 1 is not TFLite's SAME for even sizes.
Deliberately not here: sums, products and reshapes (`trace_values`), recording (`trace_draft`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from optics_sim.learning.trace_draft import Call, Live
from optics_sim.learning.trace_values import VALUES, Handler, same

"""Returns what the call writes, or the reason why it is none of our operators."""

OWN_NAMES = {
    "conv2d": "GROUPED_CONV_2D", "conv_transpose2d": "TRANSPOSE_CONV", "gelu": "GELU", "softmax": "SOFTMAX", "leaky_relu": "LEAKY_RELU",
    "elu": "ELU", "hardswish": "HARD_SWISH", "prelu": "PRELU", "div": "DIV", "truediv": "DIV", "abs": "ABS", "round": "ROUND",
    "floor": "FLOOR", "batch_norm": "BATCH_NORM", "ConvTranspose2d": "TRANSPOSE_CONV", "TransformerEncoder": "ATTENTION",
    "TransformerEncoderLayer": "ATTENTION", "MultiheadAttention": "ATTENTION", "scaled_dot_product_attention": "ATTENTION",
    "LeakyReLU": "LEAKY_RELU", "GELU": "GELU", "ELU": "ELU", "PReLU": "PRELU", "SiLU": "SILU", "LSTM": "LSTM", "clamp": "CLAMP",
    "hardtanh": "CLAMP", "adaptive_avg_pool2d": "ADAPTIVE_AVERAGE_POOL", "avg_pool2d": "UNEVEN_AVERAGE_POOL", "interpolate": "RESIZE",
    "pad": "BORDER", "flatten": "ORDER", "view": "ORDER", "reshape": "ORDER", "permute": "ORDER", "transpose": "ORDER", "mT": "ORDER",
    "mean": "REDUCE", "sum": "REDUCE", "getitem": "SLICE", "chunk": "SLICE", "split": "SLICE", "linear": "DENSE_ALONG_A_ROW",
    "max_pool2d": "DILATED_MAX_POOL", "add": "BROADCAST", "sub": "BROADCAST", "mul": "BROADCAST", "cat": "JOIN",
}
"""What a call that cannot be exported is called, by torch's function or module."""


def operator_of(call: Call) -> Live:
    """Returns what a call writes, having added its operator to the draft."""
    function = call.function.strip("_") if call.function.startswith("__") else call.function.removesuffix("_")
    handler = _HANDLERS.get(function)
    found = handler(call) if handler else ""
    if isinstance(found, Live):
        return found
    read = [value.name for value in _flat((call.args, tuple(call.kwargs.values()))) if isinstance(value, Live)]
    kind = OWN_NAMES.get(function) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", function).upper()
    return call.add(kind, read, why=found) if found else call.add(kind, read)


def as_function(module: nn.Module) -> tuple[str, dict[str, Any]]:
    """Returns (function, named arguments) that a module of torch calls; the module's own name where it is not known."""
    if (known := _MODULES.get(type(module))) is None:
        return type(module).__name__, {}
    function, names = known
    return function, {name: getattr(module, attribute) for name, attribute in names.items()}


# --- convolutions, dense layers, norms --------------------------------------------------------------
def _conv2d(call: Call) -> Live | str:
    names = ("weight", "bias", "stride", "padding", "dilation", "groups", "padding_mode")
    weight, bias, stride, padding, dilation, groups, mode = call.arguments(*names, stride=1, padding=0, dilation=1, groups=1,
                                                                           padding_mode="zeros")
    source, outputs = call.source, weight.shape[0]
    depthwise = groups == source.channels and groups > 1
    if groups != 1 and not depthwise:
        return f"{groups} groups of {source.channels} channels"
    if not isinstance(weight, Tensor) or len(source.shape) != 4:
        return "weights that are computed, or no batch of frames"
    window, step, far = tuple(weight.shape[2:]), _pair(stride), _pair(dilation)
    border = _BORDERS.get(mode)
    if border is None:
        return f"a border of {mode}"
    read = _bordered(call, source, _conv_pads(padding, window, far), border)
    turned = weight.permute(1, 2, 3, 0) if depthwise else weight.permute(0, 2, 3, 1)
    constants = [call.constant("weights", turned), call.constant("bias", _or_zeros(bias, outputs))]
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    return call.add(kind, [read.name, *constants], stride=step, dilation=far)


def _conv_pads(padding: Any, window: tuple[int, ...], dilation: tuple[int, int]) -> Any:
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        totals = [(side - 1) * far for side, far in zip(window, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    rows, columns = _pair(padding)
    return (rows, rows), (columns, columns)


def _linear(call: Call) -> Live | str:
    weight, bias = call.arguments("weight", "bias")
    if len(call.source.shape) != 2 or not isinstance(weight, Tensor):
        return "not of features"
    if call.source.order:
        weight = weight[:, list(call.source.order)]
    constants = [call.constant("weights", weight), call.constant("bias", _or_zeros(bias, len(weight)))]
    return call.add("FULLY_CONNECTED", [call.source.name, *constants])


def _batch_norm(call: Call) -> Live | str:
    names = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    mean, variance, weight, bias, training, _, eps = call.arguments(*names, eps=1e-5)
    if mean is None or training:
        return "takes mean and deviation of the batch at hand"
    factor = (variance.double() + eps).rsqrt() * (1 if weight is None else weight.double())
    shift = (0 if bias is None else bias.double()) - mean.double() * factor
    order = list(call.source.order) or slice(None)
    return call.add("AFFINE", [call.source.name, call.constant("factor", factor[order]), call.constant("shift", shift[order])],
                    call.source.order)


def _or_zeros(bias: Tensor | None, outputs: int) -> Tensor:
    return torch.zeros(outputs) if bias is None else bias


# --- functions of a value --------------------------------------------------------------------------
def _function(kind: str) -> Handler:
    return lambda call: call.add(kind, [call.source.name], call.source.order)


def _clamp(call: Call) -> Live | str:
    low, high = call.arguments("min", "max")
    if low == 0 and high in (6, None):
        return call.add("RELU" if high is None else "RELU6", [call.source.name], call.source.order)
    return f"to {low} and {high}"


# --- windows ---------------------------------------------------------------------------------------
def _max_pool(call: Call) -> Live | str:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    window, stride, padding, dilation, _, _ = call.arguments(*names, padding=0, dilation=1)
    if _pair(dilation) != (1, 1):
        return f"a dilation of {dilation}"
    window, step = _pair(window), _pair(window if stride in (None, (), []) else stride)
    read = _bordered(call, call.source, _reaching(call, window, step, _pair(padding)), ("EDGE_PAD", {}))
    return call.add("MAX_POOL_2D", [read.name], window=window, stride=step)


def _reaching(call: Call, window: tuple[int, int], step: tuple[int, int], padding: tuple[int, int]) -> Any:
    """Borders that leave each window whole (ceil_mode). Repeating the edge never changes a greatest pixel."""
    found = []
    for size, out, side, stride, pad in zip(call.source.size, call.shape[-2:], window, step, padding, strict=True):
        found.append((pad, max((out - 1) * stride + side - size - pad, 0)))
    return tuple(found)


def _average_pool(call: Call) -> Live | str:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    window, stride, padding, ceil, counted, divisor = call.arguments(*names, padding=0, ceil_mode=False, count_include_pad=True)
    padding = _pair(padding)
    if ceil or divisor or (padding != (0, 0) and not counted):
        return "another number of pixels at the border, or a divisor"
    step = _pair(window if stride in (None, (), []) else stride)
    read = _bordered(call, call.source, ((padding[0],) * 2, (padding[1],) * 2), ("PAD", {}))
    return call.add("AVERAGE_POOL_2D", [read.name], window=_pair(window), stride=step)


def _adaptive_average(call: Call) -> Live | str:
    if len(call.source.shape) != 4:
        return "no batch of frames"
    wanted = (call.shape[-2], call.shape[-1])
    if wanted == (1, 1):
        return call.add("MEAN", [call.source.name])
    places = [_windows(size, out) for size, out in zip(call.source.size, wanted, strict=True)]
    if any(len(found) > 1 for found in places):
        return f"{call.source.size} pixels into {wanted} windows of several sizes"
    (rows,), (columns,) = places
    return call.add("AVERAGE_POOL_2D", [call.source.name], window=(rows[0], columns[0]), stride=(rows[1], columns[1]))


def _windows(size: int, wanted: int) -> set[tuple[int, int]]:
    """Returns every (window, step) that torch's adaptive pool uses along an axis; one is a pool."""
    starts = [place * size // wanted for place in range(wanted)]
    ends = [-(-(place + 1) * size // wanted) for place in range(wanted)]
    steps = {after - before for before, after in pairwise(starts)} or {size}
    return {(end - start, step) for start, end in zip(starts, ends, strict=True) for step in steps}


# --- borders and sizes -----------------------------------------------------------------------------
_BORDERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "zeros": ("PAD", {}), "constant": ("PAD", {}), "reflect": ("MIRROR_PAD", {"mode": "reflect"}), "replicate": ("EDGE_PAD", {}),
}


def _pad(call: Call) -> Live | str:
    mode = call.function.partition("_")[2] or "constant"
    widths, mode, value = call.arguments("pad", "mode", "value", mode=mode, value=0)
    if mode not in _BORDERS or len(call.source.shape) == 2:
        return f"a border of {mode}"
    if len(widths) > 4 or min(widths) < 0 or (mode == "constant" and value):
        return f"{widths} pixels of {value}"
    left, right, top, bottom = (*widths, 0, 0)[:4]
    return _bordered(call, call.source, ((top, bottom), (left, right)), _BORDERS[mode])


def _bordered(call: Call, source: Live, pads: Any, border: tuple[str, dict[str, Any]]) -> Live:
    if not any(map(any, pads)):
        return source
    (top, bottom), (left, right) = pads
    shape = (*source.shape[:-2], source.shape[-2] + top + bottom, source.shape[-1] + left + right)
    return call.draft.add(border[0], [source.name], f"{call.name}_border", shape, pads=pads, **border[1])


def _interpolate(call: Call) -> Live | str:
    names = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    _, factor, mode, corners, again, antialias = call.arguments(*names, mode="nearest")
    kind = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "bilinear": "RESIZE_BILINEAR"}.get(mode)
    if kind is None or corners or antialias or len(call.source.shape) != 4:
        return f"{mode}{' with corners aligned' if corners else ''}{' antialiased' if antialias else ''}"
    wanted = (call.shape[-2], call.shape[-1])
    if factor is not None and not again and any(
            size * part != out for size, part, out in zip(call.source.size, _pair(factor), wanted, strict=True)):
        return f"a factor of {factor}, which gives no whole size"
    if wanted == call.source.size:
        return same(call)
    return call.add(kind, [call.source.name], half_pixel=mode == "bilinear")


def _pair(value: Any) -> tuple[Any, Any]:
    pair = (value, value) if isinstance(value, int | float) else tuple(value)
    return (pair[0], pair[-1])


def _flat(value: Any) -> list[Any]:
    return [leaf for part in value for leaf in _flat(part)] if isinstance(value, tuple | list) else [value]


_HANDLERS: Mapping[str, Handler] = {
    **VALUES, "conv2d": _conv2d, "linear": _linear, "batch_norm": _batch_norm, "relu": _function("RELU"), "relu6": _function("RELU6"),
    "sigmoid": _function("LOGISTIC"), "tanh": _function("TANH"), "clamp": _clamp, "clip": _clamp, "hardtanh": _clamp,
    "max_pool2d": _max_pool, "avg_pool2d": _average_pool, "adaptive_avg_pool2d": _adaptive_average, "pad": _pad,
    "pad_reflect": _pad, "pad_replicate": _pad, "interpolate": _interpolate,
}
_CONV = {name: name for name in ("weight", "bias", "stride", "padding", "dilation", "groups", "padding_mode")}
_NORM = {name: name for name in ("running_mean", "running_var", "weight", "bias", "eps")}
_MAX = {name: name for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")}
_AVERAGE = {name: name for name in ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")}
_RESIZE = {name: name for name in ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")}
_MODULES: Mapping[type, tuple[str, dict[str, str]]] = {
    nn.Conv2d: ("conv2d", _CONV), nn.Linear: ("linear", {"weight": "weight", "bias": "bias"}), nn.BatchNorm1d: ("batch_norm", _NORM),
    nn.BatchNorm2d: ("batch_norm", _NORM), nn.ReLU: ("relu", {}), nn.ReLU6: ("relu6", {}), nn.Sigmoid: ("sigmoid", {}),
    nn.Tanh: ("tanh", {}), nn.Hardtanh: ("hardtanh", {"min": "min_val", "max": "max_val"}), nn.MaxPool2d: ("max_pool2d", _MAX),
    nn.AvgPool2d: ("avg_pool2d", _AVERAGE), nn.AdaptiveAvgPool2d: ("adaptive_avg_pool2d", {}), nn.Flatten: ("flatten", {}),
    nn.Unflatten: ("reshape", {}), nn.Identity: ("identity", {}), nn.Dropout: ("identity", {}), nn.Dropout2d: ("identity", {}),
    nn.Upsample: ("interpolate", _RESIZE | {"mode": "mode", "align_corners": "align_corners"}),
    nn.UpsamplingNearest2d: ("interpolate", _RESIZE), nn.ReflectionPad2d: ("pad_reflect", {"pad": "padding"}),
    nn.ReplicationPad2d: ("pad_replicate", {"pad": "padding"}), nn.ZeroPad2d: ("pad", {"pad": "padding"}),
}


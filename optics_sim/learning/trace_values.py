"""Sums, products, joins and reshapes of a traced network as operators.

A constant must be one number or one for each channel: it becomes a factor and a shift (AFFINE).
Deliberately not here: windows and weights (`trace_operators`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from optics_sim.learning.trace_draft import Call, Live, Order

Handler = Callable[[Call], "Live | str"]


def same(call: Call) -> Live:
    """Returns the first argument: the call changes nothing."""
    return call.source


# --- sums and products -----------------------------------------------------------------------------
def _sum(sign: int) -> Handler:
    def add(call: Call) -> Live | str:
        first, second, alpha = _operands(call)
        if isinstance(first, Live) and isinstance(second, Live):
            return _pairwise(call, "ADD" if sign > 0 else "SUB", first, second) if alpha == 1 else f"alpha {alpha}"
        if isinstance(first, Live):
            return _affine(call, first, 1.0, sign * alpha * torch.as_tensor(second))
        return _affine(call, second, float(sign * alpha), first)
    return add


def _reversed_difference(call: Call) -> Live | str:
    first, second, _ = _operands(call)
    return _affine(call, first, -1.0, second) if not isinstance(second, Live) else "of two values"


def _product(call: Call) -> Live | str:
    first, second, _ = _operands(call)
    if isinstance(first, Live) and isinstance(second, Live):
        return _pairwise(call, "MUL", first, second)
    value, factor = (first, second) if isinstance(first, Live) else (second, first)
    return _affine(call, value, factor, 0.0)


def _quotient(call: Call) -> Live | str:
    first, second, _ = _operands(call)
    if isinstance(second, Live) or call.kwargs.get("rounding_mode"):
        return "by a value, or rounded"
    return _affine(call, first, 1 / torch.as_tensor(second, dtype=torch.float64), 0.0)


def _negated(call: Call) -> Live | str:
    return _affine(call, call.source, -1.0, 0.0)


def _operands(call: Call) -> tuple[Any, Any, float]:
    given = (*call.args, call.kwargs.get("other"))
    return given[0], given[1], call.kwargs.get("alpha", 1)


def _pairwise(call: Call, kind: str, first: Live, second: Live) -> Live | str:
    if kind != "SUB" and first.size == (1, 1) != second.size:
        first, second = second, first
    whole = first.shape[1:] == second.shape[1:]
    a_channel = len(first.shape) == len(second.shape) == 4 and second.size == (1, 1) and first.channels == second.channels
    if first.order != second.order or not (whole or a_channel):
        return f"shapes {first.shape} and {second.shape}"
    return call.add(kind, [first.name, second.name], first.order)


def _affine(call: Call, value: Live, factor: Any, shift: Any) -> Live | str:
    terms = [_by_channel(term, value) for term in (factor, shift)]
    if tuple(value.shape) != tuple(call.shape) or any(term is None for term in terms):
        return "a constant that differs from pixel to pixel"
    names = [call.constant(what, term) for what, term in zip(("factor", "shift"), terms, strict=True) if term is not None]
    return call.add("AFFINE", [value.name, *names], value.order)


def _by_channel(term: Any, value: Live) -> Tensor | None:
    """Returns one number for each channel, or None where a constant is not so."""
    number = torch.as_tensor(term, dtype=torch.float64)
    if number.ndim > len(value.shape):
        return None
    full = number.reshape((1,) * (len(value.shape) - number.ndim) + tuple(number.shape))
    axis = None if len(value.shape) == 3 else 1
    if any(size != 1 for place, size in enumerate(full.shape) if place != axis):
        return None
    flat = full.flatten().expand(value.channels) if full.numel() == 1 else full.flatten()
    return flat[list(value.order)] if value.order else flat.clone()


# --- joins and shapes ------------------------------------------------------------------------------
def _join(call: Call) -> Live | str:
    parts, axis = call.args[0], call.arguments("dim", dim=0)[0]
    if not all(isinstance(part, Live) for part in parts) or axis % len(call.shape) != 1:
        return f"along axis {axis}, or with a constant"
    if len({len(part.shape) for part in parts}) > 1:
        return "values of several kinds"
    order: Order = ()
    if any(part.order for part in parts):
        order, start = (), 0
        for part in parts:
            order += tuple(start + place for place in part.order or range(part.channels))
            start += part.channels
    return call.add("CONCATENATION", [part.name for part in parts], order)


def _mean(call: Call) -> Live | str:
    axes, keep = call.arguments("dim", "keepdim", keepdim=False)
    if len(call.source.shape) != 4 or axes is None or {axis % 4 for axis in ([axes] if isinstance(axes, int) else axes)} != {2, 3}:
        return "not over height and width"
    if keep:
        return call.add("MEAN", [call.source.name])
    mean = call.draft.add("MEAN", [call.source.name], f"{call.name}_mean", (*call.source.shape[:2], 1, 1))
    return call.add("RESHAPE", [mean.name])


def _reshaped(call: Call) -> Live | str:
    """A reshape, flatten, squeeze or unsqueeze, known by the sizes before and after it."""
    source, shape = call.source, call.shape
    if shape == source.shape:
        return source
    plane = {len(shape), len(source.shape)} == {3, 4} and (shape if len(shape) == 4 else source.shape)[1] == 1
    if plane and shape[-2:] == source.shape[-2:]:
        return replace(source, shape=shape)
    if len(shape) == 4 and len(source.shape) == 2 and shape[2:] == (1, 1):
        return call.add("RESHAPE", [source.name], source.order) if not source.order else "features into channels"
    if len(shape) != 2 or len(source.shape) not in (3, 4) or shape[0] != source.shape[0]:
        return f"{source.shape} to {shape}"
    return call.add("RESHAPE", [source.name], _flat_order(source))


def _flat_order(source: Live) -> Order:
    """Returns of which of torch's features each of ours is when a frame is laid out by height, width, channel."""
    height, width = source.size
    places = torch.arange(source.channels * height * width).reshape(source.channels, height, width).permute(1, 2, 0).flatten().tolist()
    return () if places == sorted(places) else tuple(places)


_KEEP = ("identity", "contiguous", "detach", "clone", "float", "to", "type_as", "dropout", "dropout2d")
_SHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten")
VALUES: Mapping[str, Handler] = {
    **{name: same for name in _KEEP}, **{name: _reshaped for name in _SHAPES}, "add": _sum(1), "iadd": _sum(1), "sub": _sum(-1),
    "isub": _sum(-1), "rsub": _reversed_difference, "mul": _product, "imul": _product, "truediv": _quotient, "div": _quotient,
    "neg": _negated, "cat": _join, "concat": _join, "stack": _join, "mean": _mean,
}
"""Handlers by torch's name of a function or method."""

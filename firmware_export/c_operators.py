"""What each operator becomes in C: its constants, and one call of a kernel.

Deliberately not here: memory (`arena`), files (`c_code`), the kernels (`kernels/`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from firmware_export.arena import scratch_name
from firmware_export.c_text import array, braces, structure
from firmware_export.graph import Graph, Operator, Tensor, constant
from firmware_export.scaling import (
    accumulator_factors,
    bilinear_blends,
    clamp,
    function_table,
    mean_factor,
    nearest_index,
    product_factor,
    sum_factors,
)
from firmware_export.shapes import window_of, windowed

FURTHEST_STEP = 255
"""The largest difference of two blurred frames in whole code levels."""
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Call:
    """Constants, calls and the kernel files that an operator needs."""

    constants: tuple[str, ...]
    calls: tuple[str, ...]
    kernels: tuple[str, ...]


Emitter = Callable[[Graph, Operator, Mapping[str, str]], Call]
"""(graph, operator, C expression of every tensor) -> Call"""


def emitted(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    """Returns the C text of an operator; `place` gives the C expression of each tensor."""
    return _EMITTERS[operator.kind](graph, operator, place)


def frame(tensor: Tensor) -> str:
    """Returns the size [height, width, channels] as an initialiser."""
    return braces(*tensor.shape[1:])


def _tensors(graph: Graph, operator: Operator) -> tuple[list[Tensor], Tensor]:
    return [graph[name] for name in operator.inputs], graph[operator.output]


def _range(operator: Operator, output: Tensor) -> dict[str, int]:
    low, high = clamp(operator, output)
    return {"out_zero": output.zero_point, "low": low, "high": high}


def _window(graph: Graph, operator: Operator) -> dict[str, object]:
    tensors, output = _tensors(graph, operator)
    (_, above), (_, left) = windowed(operator, tensors)
    kernel = window_of(operator, tensors)
    return {"in": frame(tensors[0]), "out": frame(output), "kernel_height": kernel[0], "kernel_width": kernel[1],
            "stride_y": operator.stride[0], "stride_x": operator.stride[1], "dilation_y": operator.dilation[0],
            "dilation_x": operator.dilation[1], "above": above, "left": left, "in_zero": tensors[0].zero_point,
            **_range(operator, output)}


def _weighted(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    tensors, output = _tensors(graph, operator)
    name, kernel = operator.output, {"FULLY_CONNECTED": "conv_2d"}.get(operator.kind, operator.kind.lower())
    if operator.kind == "FULLY_CONNECTED":
        window = {"in": braces(1, 1, tensors[1].shape[1]), "out": braces(1, 1, tensors[1].shape[0]), "kernel_height": 1,
                  "kernel_width": 1, "stride_y": 1, "stride_x": 1, "in_zero": tensors[0].zero_point, **_range(operator, output)}
    else:
        window = _window(graph, operator)
    data = {"weights": f"{name}_weights", "bias": f"{name}_bias", "factors": f"{name}_factors"}
    constants = (array("int8_t", data["weights"], constant(graph, operator.inputs[1]).ravel()),
                 array("int32_t", data["bias"], constant(graph, operator.inputs[2])),
                 array("factor", data["factors"], [braces(*factor) for factor in accumulator_factors(tensors, output)]),
                 structure("window_spec", f"{name}_spec", {**window, **data}))
    return Call(constants, (_call(kernel, operator, place, operator.inputs[:1]),), (kernel,))


def _pool(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    spec = structure("window_spec", f"{operator.output}_spec", _window(graph, operator))
    return Call((spec,), (_call(operator.kind.lower(), operator, place, operator.inputs),), ("pool",))


def _mean(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    (source,), output = _tensors(graph, operator)
    values = {"pixels": source.shape[1] * source.shape[2], "channels": source.shape[3], "in_zero": source.zero_point,
              **_range(operator, output), "total": braces(*mean_factor(source, output))}
    spec = structure("mean_spec", f"{operator.output}_spec", values)
    return Call((spec,), (_call("mean", operator, place, operator.inputs),), ("mean",))


def _pair(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    tensors, output = _tensors(graph, operator)
    values: dict[str, object] = {
        "count": int(np.prod(output.shape)), "channels": output.shape[-1], "second_count": int(np.prod(tensors[1].shape)),
        "sign": -1 if operator.kind == "SUB" else 1, "first_zero": tensors[0].zero_point, "second_zero": tensors[1].zero_point,
        **_range(operator, output)}
    if operator.kind == "MUL":
        values["total"] = braces(*product_factor(tensors, output))
    else:
        factors = sum_factors(tensors, output)
        values |= {"first": braces(*factors.first), "second": braces(*factors.second), "total": braces(*factors.total)}
    spec = structure("pair_spec", f"{operator.output}_spec", values)
    call = _call("product" if operator.kind == "MUL" else "sum", operator, place, operator.inputs)
    return Call((spec,), (call,), ("pairs",))


def _table(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    output = graph[operator.output]
    entries = (constant(graph, operator.inputs[1]) if operator.kind == "TABLE"
               else function_table(operator.kind, graph[operator.inputs[0]], output))
    name, count = f"{operator.output}_table", int(np.prod(output.shape))
    call = f"kernel_table({name}, {count}, {place[operator.inputs[0]]}, {place[operator.output]});"
    return Call((array("int8_t", name, entries),), (call,), ("table",))


def _pad(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    (source,), output = _tensors(graph, operator)
    values = {"in": frame(source), "out": frame(output), "above": operator.pads[0][0], "left": operator.pads[1][0],
              "value": output.zero_point}
    spec = structure("pad_spec", f"{operator.output}_spec", values)
    return Call((spec,), (_call("pad", operator, place, operator.inputs),), ("moves",))


def _copy(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    (source,), output = _tensors(graph, operator)
    indices = {f"{operator.output}_{axis}s": copied(operator, source.shape[number], output.shape[number], number - 1)
               for number, axis in ((1, "row"), (2, "column"))}
    rows, columns = indices
    spec = structure("copy_spec", f"{operator.output}_spec", {"in": frame(source), "out": frame(output), "rows": rows, "columns": columns})
    constants = (*(array("int16_t", name, index) for name, index in indices.items()), spec)
    return Call(constants, (_call("copy", operator, place, operator.inputs),), ("moves",))


def copied(operator: Operator, size: int, wanted: int, axis: int) -> list[int]:
    """Returns which input row (axis 0) or column (axis 1) each output one copies."""
    if operator.kind == "RESIZE_NEAREST_NEIGHBOR":
        return nearest_index(size, wanted, operator.half_pixel)
    mode = "edge" if operator.kind == "EDGE_PAD" else operator.mode
    padded = np.pad(np.arange(size), operator.pads[axis], mode=mode)  # type: ignore[call-overload]
    return [int(value) for value in padded]


def _bilinear(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    (source,), output = _tensors(graph, operator)
    rows, columns = f"{operator.output}_rows", f"{operator.output}_columns"
    blends = {name: bilinear_blends(source.shape[axis], output.shape[axis], operator.half_pixel)
              for name, axis in ((rows, 1), (columns, 2))}
    tables = [array("blend", name, [braces(one.lower, one.upper, one.weight) for one in found]) for name, found in blends.items()]
    values = {"in": frame(source), "out": frame(output), "rows": rows, "columns": columns}
    spec = structure("resize_spec", f"{operator.output}_spec", values)
    return Call((*tables, spec), (_call("resize_bilinear", operator, place, operator.inputs),), ("resize_bilinear",))


def _join(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    tensors, output = _tensors(graph, operator)
    pixels, offset, calls = int(np.prod(output.shape[:-1])), 0, []
    for tensor in tensors:
        calls.append(f"kernel_join({pixels}, {tensor.shape[-1]}, {output.shape[-1]}, {place[tensor.name]}, "
                     f"{place[output.name]} + {offset});")
        offset += tensor.shape[-1]
    return Call((), tuple(calls), ("moves",))


def _reshape(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    size = graph[operator.output].size_bytes
    return Call((), (f"memcpy({place[operator.output]}, {place[operator.inputs[0]]}, {size});",), ())


def _smooth(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    weights, name = constant(graph, operator.inputs[1]), operator.output
    values = {"size": frame(graph[name]), "radius": len(weights) // 2, "weights": f"{name}_weights"}
    constants = (array("int16_t", f"{name}_weights", weights), structure("smooth_spec", f"{name}_spec", values))
    call = f"kernel_smooth(&{name}_spec, {place[operator.inputs[0]]}, {place[name]}, {place[scratch_name(operator)]});"
    return Call(constants, (call,), ("smooth",))


def _levels(graph: Graph, operator: Operator, place: Mapping[str, str]) -> Call:
    edges, name = constant(graph, operator.inputs[-1]).astype(np.int64), operator.output
    base = np.searchsorted(edges, np.arange(-FURTHEST_STEP, FURTHEST_STEP + 1) * 128, side="left")
    values = {"count": int(np.prod(graph[name].shape)), "base": f"{name}_base", "edges": f"{name}_edges"}
    constants = (array("int8_t", f"{name}_base", base), array("int32_t", f"{name}_edges", [*edges, INT32_MAX]),
                 structure("levels_spec", f"{name}_spec", values))
    minus = place[operator.inputs[1]] if len(operator.inputs) == 3 else "0"
    return Call(constants, (f"kernel_levels(&{name}_spec, {place[operator.inputs[0]]}, {minus}, {place[name]});",), ("levels",))


def _call(kernel: str, operator: Operator, place: Mapping[str, str], sources: tuple[str, ...]) -> str:
    return f"kernel_{kernel}(&{operator.output}_spec, {', '.join(place[name] for name in (*sources, operator.output))});"


_EMITTERS: Mapping[str, Emitter] = {
    "CONV_2D": _weighted, "DEPTHWISE_CONV_2D": _weighted, "FULLY_CONNECTED": _weighted, "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool, "MEAN": _mean, "ADD": _pair, "SUB": _pair, "MUL": _pair, "LOGISTIC": _table, "TANH": _table,
    "TABLE": _table, "PAD": _pad, "MIRROR_PAD": _copy, "EDGE_PAD": _copy, "RESIZE_NEAREST_NEIGHBOR": _copy,
    "RESIZE_BILINEAR": _bilinear, "CONCATENATION": _join, "RESHAPE": _reshape, "SMOOTH": _smooth, "LEVELS": _levels,
}

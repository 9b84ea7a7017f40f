"""What each stage becomes in C: its constants, and the call of a kernel that makes row `y`.

The expressions are of the generated file: `NAME_row(y)` is where a row lies, `NAME_until(end)` makes rows, `lines` are the
rows under a window, 0 beyond the border.
Deliberately not here: memory (`schedule`, `arena`), files (`c_code`), the kernels (`kernels/`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from firmware_export.c_text import array, braces, structure
from firmware_export.graph import Graph, Operator, Tensor, constant
from firmware_export.scaling import (
    accumulator_factors,
    bilinear_blends,
    clamp,
    copied_index,
    function_table,
    mean_factor,
    product_factor,
    sum_factors,
)
from firmware_export.shapes import window_of, windowed
from firmware_export.stages import Stage, Window, along_name

FURTHEST_STEP = 255
"""The largest difference of two blurred frames in whole code levels."""
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Call:
    """Constants, the lines that make row y, and the kernel files that a stage needs."""

    constants: tuple[str, ...]
    lines: tuple[str, ...]
    kernels: tuple[str, ...]


Emitter = Callable[[Graph, Stage], Call]


def emitted(graph: Graph, stage: Stage) -> Call:
    """Returns the C text of a stage."""
    return _EMITTERS[stage.operator.kind](graph, stage)


def line(tensor: Tensor) -> str:
    """Returns the size [width, channels] of a row as an initialiser."""
    return braces(*tensor.shape[2:])


def row(name: str, place: str = "y") -> str:
    """Returns where a row of a tensor lies."""
    return f"{name}_row({place})"


def window_lines(source: Window, height: int, kind: str = "int8_t") -> list[str]:
    """Returns the definition of `lines`: the rows under the window of row y of a stage of this height."""
    first = _place(source.stride, -source.above)
    if source.count == 1 and not source.leaves(height):
        return [f"const {kind} *lines[] = {{{row(source.name, first)}}};"]
    place = f"{first} + row" + (f" * {source.dilation}" if source.dilation > 1 else "")
    if source.held:
        found = row(source.name, f"kernel_clamped({place}, 0, {source.height - 1})")
    elif source.leaves(height):
        found = f"kernel_inside({place}, {source.height}) ? {row(source.name, place)} : 0"
    else:
        found = row(source.name, place)
    return [f"const {kind} *lines[{source.count}];", f"for (int32_t row = 0; row < {source.count}; row++)", f"    lines[row] = {found};"]


def window_end(source: Window, height: int) -> str:
    """Returns how many rows have to exist before row y is made."""
    end = _place(source.stride, source.reach)
    inside = source.reach >= 0 and (height - 1) * source.stride + source.reach <= source.height
    return end if inside else f"kernel_clamped({end}, 0, {source.height})"


def _place(stride: int, offset: int) -> str:
    scaled = "y" if stride == 1 else f"y * {stride}"
    return scaled if not offset else f"{scaled} {'-' if offset < 0 else '+'} {abs(offset)}"


def _tensors(graph: Graph, operator: Operator) -> tuple[list[Tensor], Tensor]:
    return [graph[name] for name in operator.inputs], graph[operator.output]


def _range(operator: Operator, output: Tensor) -> dict[str, int]:
    low, high = clamp(operator, output)
    return {"out_zero": output.zero_point, "low": low, "high": high}


def _window(graph: Graph, operator: Operator) -> dict[str, object]:
    tensors, output = _tensors(graph, operator)
    _, (_, left) = windowed(operator, tensors)
    kernel = window_of(operator, tensors)
    return {"in": line(tensors[0]), "out": line(output), "kernel_height": kernel[0], "kernel_width": kernel[1],
            "stride_x": operator.stride[1], "dilation_x": operator.dilation[1], "left": left, "in_zero": tensors[0].zero_point,
            **_range(operator, output)}


def _windowed(stage: Stage, kernel: str) -> tuple[str, ...]:
    return (*window_lines(stage.window, stage.height), f"kernel_{kernel}(&{stage.name}_spec, lines, {row(stage.name)});")


def _weights(graph: Graph, operator: Operator, window: Mapping[str, object]) -> tuple[str, ...]:
    tensors, output = _tensors(graph, operator)
    name = operator.output
    data = {"weights": f"{name}_weights", "bias": f"{name}_bias", "factors": f"{name}_factors"}
    return (array("int8_t", data["weights"], constant(graph, operator.inputs[1]).ravel()),
            array("int32_t", data["bias"], _folded_bias(graph, operator)),
            array("factor", data["factors"], [braces(*factor) for factor in accumulator_factors(tensors, output)]),
            structure("window_spec", f"{name}_spec", {**window, **data}))


def _folded_bias(graph: Graph, operator: Operator) -> list[int]:
    """Returns the bias less the zero point under every weight: sum(w * (x - zero)) + b = sum(w * x) + (b - zero * sum(w))."""
    weights, bias = constant(graph, operator.inputs[1]).astype(np.int64), constant(graph, operator.inputs[2]).astype(np.int64)
    axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    sums = weights.sum(axis=tuple(place for place in range(weights.ndim) if place != axis))
    return [int(value) for value in bias - graph[operator.inputs[0]].zero_point * sums]


def _convolution(graph: Graph, stage: Stage) -> Call:
    kernel = stage.operator.kind.lower()
    return Call(_weights(graph, stage.operator, _window(graph, stage.operator)), _windowed(stage, kernel), (kernel,))


def _dense(graph: Graph, stage: Stage) -> Call:
    (source, weights, _), output = _tensors(graph, stage.operator)
    window = {"in": braces(1, weights.shape[1]), "out": braces(1, weights.shape[0]), "kernel_height": 1, "kernel_width": 1,
              "stride_x": 1, "dilation_x": 1, "in_zero": source.zero_point, **_range(stage.operator, output)}
    lines = (f"const int8_t *lines[] = {{{row(source.name, '0')}}};", f"kernel_conv_2d(&{stage.name}_spec, lines, {row(stage.name)});")
    return Call(_weights(graph, stage.operator, window), lines, ("conv_2d",))


def _pool(graph: Graph, stage: Stage) -> Call:
    spec = structure("window_spec", f"{stage.name}_spec", _window(graph, stage.operator))
    return Call((spec,), _windowed(stage, stage.operator.kind.lower()), ("pool",))


def _mean(graph: Graph, stage: Stage) -> Call:
    (source,), output = _tensors(graph, stage.operator)
    values = {"pixels": source.shape[1] * source.shape[2], "channels": source.shape[3], "in_zero": source.zero_point,
              **_range(stage.operator, output), "total": braces(*mean_factor(source, output))}
    spec = structure("mean_spec", f"{stage.name}_spec", values)
    return Call((spec,), (f"kernel_mean(&{stage.name}_spec, {row(source.name, '0')}, {row(stage.name)});",), ("mean",))


def _pair(graph: Graph, stage: Stage) -> Call:
    operator = stage.operator
    tensors, output = _tensors(graph, operator)
    broadcast = tensors[1].shape != tensors[0].shape
    values: dict[str, object] = {
        "count": stage.line, "second_count": output.shape[-1] if broadcast else stage.line,
        "sign": -1 if operator.kind == "SUB" else 1, "first_zero": tensors[0].zero_point, "second_zero": tensors[1].zero_point,
        **_range(operator, output)}
    if operator.kind == "MUL":
        values["total"] = braces(*product_factor(tensors, output))
    else:
        factors = sum_factors(tensors, output)
        values |= {"first": braces(*factors.first), "second": braces(*factors.second), "total": braces(*factors.total)}
    spec = structure("pair_spec", f"{stage.name}_spec", values)
    kernel, (first, second) = "product" if operator.kind == "MUL" else "sum", operator.inputs
    call = f"kernel_{kernel}(&{stage.name}_spec, {row(first)}, {row(second, '0' if broadcast else 'y')}, {row(stage.name)});"
    return Call((spec,), (call,), ("pairs",))


def _table(graph: Graph, stage: Stage) -> Call:
    operator, output = stage.operator, graph[stage.name]
    entries = (constant(graph, operator.inputs[1]) if operator.kind == "TABLE"
               else function_table(operator.kind, graph[operator.inputs[0]], output))
    call = f"kernel_table({stage.name}_table, {stage.line}, {row(operator.inputs[0])}, {row(stage.name)});"
    return Call((array("int8_t", f"{stage.name}_table", entries),), (call,), ("table",))


def _pad(graph: Graph, stage: Stage) -> Call:
    (source,), output = _tensors(graph, stage.operator)
    values = {"in": line(source), "out": line(output), "left": stage.operator.pads[1][0], "value": output.zero_point}
    return Call((structure("pad_spec", f"{stage.name}_spec", values),), _windowed(stage, "pad"), ("moves",))


def _copy(graph: Graph, stage: Stage) -> Call:
    (source,), output = _tensors(graph, stage.operator)
    rows, columns = f"{stage.name}_rows", f"{stage.name}_columns"
    indices = {name: copied_index(stage.operator, source.shape[axis], output.shape[axis], axis - 1)
               for name, axis in ((rows, 1), (columns, 2))}
    spec = structure("copy_spec", f"{stage.name}_spec", {"in": line(source), "out": line(output), "columns": columns})
    call = f"kernel_copy(&{stage.name}_spec, {row(source.name, f'{rows}[y]')}, {row(stage.name)});"
    return Call((*(array("int16_t", name, index) for name, index in indices.items()), spec), (call,), ("moves",))


def _bilinear(graph: Graph, stage: Stage) -> Call:
    (source,), output = _tensors(graph, stage.operator)
    rows, columns = f"{stage.name}_rows", f"{stage.name}_columns"
    blends = {name: bilinear_blends(source.shape[axis], output.shape[axis], stage.operator.half_pixel)
              for name, axis in ((rows, 1), (columns, 2))}
    tables = [array("blend", name, [braces(one.lower, one.upper, one.weight) for one in found]) for name, found in blends.items()]
    spec = structure("resize_spec", f"{stage.name}_spec", {"in": line(source), "out": line(output), "columns": columns})
    lines = (f"const blend down = {rows}[y];",
             f"kernel_resize_bilinear(&{stage.name}_spec, {row(source.name, 'down.lower')}, {row(source.name, 'down.upper')}, "
             f"down.weight, {row(stage.name)});")
    return Call((*tables, spec), lines, ("resize_bilinear",))


def _join(graph: Graph, stage: Stage) -> Call:
    tensors, output = _tensors(graph, stage.operator)
    channels, offset, lines = output.shape[-1], 0, []
    for tensor in tensors:
        lines.append(f"kernel_join({stage.line // channels}, {tensor.shape[-1]}, {channels}, {row(tensor.name)}, "
                     f"{row(stage.name)}{f' + {offset}' if offset else ''});")
        offset += tensor.shape[-1]
    return Call((), tuple(lines), ("moves",))


def _reshape(graph: Graph, stage: Stage) -> Call:
    line = f"memcpy({row(stage.name)}, {row(stage.operator.inputs[0], '0')} + y * {stage.line}, {stage.line_bytes});"
    return Call((), (line,), ())


def _smooth(graph: Graph, stage: Stage) -> Call:
    operator, name = stage.operator, stage.operator.output
    if stage.name == along_name(operator):
        weights = constant(graph, operator.inputs[1])
        values = {"size": line(graph[name]), "radius": len(weights) // 2, "weights": f"{name}_weights"}
        constants = (array("int16_t", f"{name}_weights", weights), structure("smooth_spec", f"{name}_spec", values))
        return Call(constants, (f"kernel_smooth_along(&{name}_spec, {row(operator.inputs[0])}, {row(stage.name)});",), ("smooth",))
    lines = window_lines(stage.window, stage.height, "int16_t")
    return Call((), (*lines, f"kernel_smooth_down(&{name}_spec, lines, {row(name)});"), ("smooth",))


def _levels(graph: Graph, stage: Stage) -> Call:
    operator, name = stage.operator, stage.name
    edges = constant(graph, operator.inputs[-1]).astype(np.int64)
    base = np.searchsorted(edges, np.arange(-FURTHEST_STEP, FURTHEST_STEP + 1) * 128, side="left")
    values = {"count": stage.line, "base": f"{name}_base", "edges": f"{name}_edges"}
    constants = (array("int8_t", f"{name}_base", base), array("int32_t", f"{name}_edges", [*edges, INT32_MAX]),
                 structure("levels_spec", f"{name}_spec", values))
    minus = row(operator.inputs[1]) if len(operator.inputs) == 3 else "0"
    return Call(constants, (f"kernel_levels(&{name}_spec, {row(operator.inputs[0])}, {minus}, {row(name)});",), ("levels",))


_EMITTERS: Mapping[str, Emitter] = {
    "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _convolution, "FULLY_CONNECTED": _dense, "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool, "MEAN": _mean, "ADD": _pair, "SUB": _pair, "MUL": _pair, "LOGISTIC": _table, "TANH": _table,
    "TABLE": _table, "PAD": _pad, "MIRROR_PAD": _copy, "EDGE_PAD": _copy, "RESIZE_NEAREST_NEIGHBOR": _copy,
    "RESIZE_BILINEAR": _bilinear, "CONCATENATION": _join, "RESHAPE": _reshape, "SMOOTH": _smooth, "LEVELS": _levels,
}

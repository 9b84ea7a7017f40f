"""What each operator of a graph becomes in a TFLite file: itself, or a few whole-number operators that are exactly it.

    EDGE_PAD   GATHER along rows and along columns, the border's index repeated
    TABLE      CAST to int32, ADD 128, GATHER of the table
    SMOOTH     the border repeated; for each axis: SLICE for each place of the window, ADD of mirrored places, MUL by
               weights, ADD, all int32; QUANTIZE for the shift: every kernel of every runtime agrees
    LEVELS     SUB of int32, GATHER from a table of every difference there can be
    FULLY_CONNECTED  a CONV_2D of one pixel between two RESHAPEs: LiteRT's reference kernel of a dense layer with a scale for
               each output rounds once where every other reference kernel, and TFLite-Micro's dense layer, rounds twice

Deliberately not here: packing (`tflite_file`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from firmware_export.graph import Graph, Operator, Tensor, constant
from firmware_export.tflite_file import FileWriter
from optics_sim.encoders.bdq_int import COLUMN_SHIFT, ROW_SHIFT

FURTHEST = 255 << 7
"""The largest difference of two blurred frames, in Q7."""
Lowering = Callable[[FileWriter, Graph, Operator], None]


def lower(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    """Adds what an operator becomes to the file."""
    _LOWERINGS[operator.kind](writer, graph, operator)


def _window_options(writer: FileWriter, operator: Operator) -> dict[str, Any]:
    return {"padding": getattr(writer.schema.Padding, operator.padding), "strideH": operator.stride[0], "strideW": operator.stride[1],
            "fusedActivationFunction": _activation(writer, operator)}


def _activation(writer: FileWriter, operator: Operator) -> int:
    return int(getattr(writer.schema.ActivationFunctionType, operator.activation.upper()))


def _convolution(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    values = {**_window_options(writer, operator), "dilationHFactor": operator.dilation[0], "dilationWFactor": operator.dilation[1]}
    if operator.kind == "DEPTHWISE_CONV_2D":
        values["depthMultiplier"] = graph[operator.inputs[1]].shape[3] // graph[operator.inputs[0]].shape[3]
    name = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}[operator.kind]
    writer.add_operator(operator.kind, operator.inputs, operator.output, name, **values)


def _dense(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    source, weights, bias = (graph[name] for name in operator.inputs)
    outputs, inputs = weights.shape
    writer.tensors[writer.places[weights.name]].shape = [outputs, 1, 1, inputs]
    pixel = Tensor(f"{operator.output}_pixel", (1, 1, 1, inputs), source.dtype, source.scale, source.zero_point)
    output = graph[operator.output]
    found = Tensor(f"{operator.output}_found", (1, 1, 1, outputs), output.dtype, output.scale, output.zero_point)
    _reshaped(writer, source.name, writer.add_tensor(pixel), pixel.shape)
    writer.add_operator("CONV_2D", (pixel.name, weights.name, bias.name), writer.add_tensor(found), "Conv2DOptions",
                        **_window_options(writer, operator), dilationHFactor=1, dilationWFactor=1)
    _reshaped(writer, found.name, output.name, output.shape)


def _pool(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    window = {"filterHeight": operator.window[0], "filterWidth": operator.window[1]}
    writer.add_operator(operator.kind, operator.inputs, operator.output, "Pool2DOptions", **_window_options(writer, operator), **window)


def _activated(options: str) -> Lowering:
    def add(writer: FileWriter, graph: Graph, operator: Operator) -> None:
        writer.add_operator(operator.kind, operator.inputs, operator.output, options,
                            fusedActivationFunction=_activation(writer, operator))
    return add


def _plain(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    writer.add_operator(operator.kind, operator.inputs, operator.output)


def _pad(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    widths = _ints(writer, operator, "widths", [(0, 0), *operator.pads, (0, 0)])
    if operator.kind == "PAD":
        writer.add_operator("PAD", (*operator.inputs, widths), operator.output, "PadOptions")
    else:
        mode = getattr(writer.schema.MirrorPadMode, operator.mode.upper())
        writer.add_operator("MIRROR_PAD", (*operator.inputs, widths), operator.output, "MirrorPadOptions", mode=mode)


def _edge_pad(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    _repeat_edges(writer, graph[operator.inputs[0]], operator.output, operator.pads)


def _repeat_edges(writer: FileWriter, source: Tensor, output: str, pads: Any) -> None:
    rows, columns = (_repeated(size, *pad) for size, pad in zip(source.shape[1:3], pads, strict=True))
    tall = Tensor(f"{output}_tall", (1, len(rows), *source.shape[2:]), source.dtype, source.scale, source.zero_point)
    _gather(writer, source.name, writer.add_tensor(tall), 1, rows)
    _gather(writer, tall.name, output, 2, columns)


def _resize(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    size = _ints(writer, operator, "size", graph[operator.output].shape[1:3])
    options = {"RESIZE_BILINEAR": "ResizeBilinearOptions", "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions"}[operator.kind]
    writer.add_operator(operator.kind, (*operator.inputs, size), operator.output, options, alignCorners=False,
                        halfPixelCenters=operator.half_pixel)


def _concatenation(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    axis = len(graph[operator.output].shape) - 1
    writer.add_operator("CONCATENATION", operator.inputs, operator.output, "ConcatenationOptions", axis=axis,
                        fusedActivationFunction=0)


def _reshape(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    _reshaped(writer, operator.inputs[0], operator.output, graph[operator.output].shape)


def _reshaped(writer: FileWriter, source: str, output: str, shape: tuple[int, ...]) -> None:
    sides = writer.add_plain(f"{output}_shape", (len(shape),), "int32", np.array(shape, np.int32))
    writer.add_operator("RESHAPE", (source, sides), output, "ReshapeOptions", newShape=list(shape))


def _mean(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    axes = _ints(writer, operator, "axes", (1, 2))
    writer.add_operator("MEAN", (*operator.inputs, axes), operator.output, "ReducerOptions", keepDims=True)


def _table(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    source, shape = operator.inputs[0], graph[operator.output].shape
    index = _arithmetic(writer, "ADD", _cast(writer, source, operator, "int32", shape), _number(writer, operator, "middle", 128), operator)
    writer.add_operator("GATHER", (operator.inputs[1], index), operator.output, "GatherOptions", axis=0, batchDims=0)


def _smooth(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    weights, output = [4 * int(weight) for weight in constant(graph, operator.inputs[1])], graph[operator.output]
    radius, (_, height, width, channels) = len(weights) // 2, output.shape
    source, framed = graph[operator.inputs[0]], f"{operator.output}_framed"
    wide = Tensor(framed, (1, height + 2 * radius, width + 2 * radius, channels), "int8", source.scale, source.zero_point)
    _repeat_edges(writer, source, writer.add_tensor(wide), ((radius, radius), (radius, radius)))
    rows = _pass(writer, operator, framed, (1, height + 2 * radius, width, channels), 2, weights)
    _pass(writer, operator, rows, output.shape, 1, weights, output)


def _pass(writer: FileWriter, operator: Operator, source: str, shape: tuple[int, ...], axis: int, weights: list[int],
          output: Tensor | None = None) -> str:
    """Adds what is exactly (total / 4 + half) >> shift: 4 * sum + 2 divided by 2**(shift + 2) never lies on a half.

    So QUANTIZE rounds it alike whether halves go up or away from zero, and whether it rounds once or twice. The largest
    sum is 4 * 2**14 * 2**15 = 2**31 in size, and negative: with the 2 it fits 32 bits.
    """
    shift = {2: ROW_SHIFT, 1: COLUMN_SHIFT}[axis]
    whole = _cast(writer, source, operator, "int32", tuple(writer.tensors[writer.places[source]].shape))
    total = _weighted(writer, operator, whole, shape, axis, weights)
    target = output or Tensor(f"{operator.output}_rows", shape, "int16")
    if output is None:
        writer.add_tensor(target)
    finer = writer.add_tensor(Tensor(f"{operator.output}_sum_{axis}", shape, "int32", (target.scale[0] / 2 ** (shift + 2),)))
    _arithmetic(writer, "ADD", total, _number(writer, operator, f"half_{axis}", 2), operator, finer)
    return writer.add_operator("QUANTIZE", (finer,), target.name, "QuantizeOptions")


def _weighted(writer: FileWriter, operator: Operator, value: str, shape: tuple[int, ...], axis: int, weights: list[int]) -> str:
    last, total = len(weights) - 1, ""
    for place in range(len(weights) // 2 + 1):
        pair = _part(writer, operator, value, shape, axis, place)
        if place < last - place:
            pair = _arithmetic(writer, "ADD", pair, _part(writer, operator, value, shape, axis, last - place), operator)
        weight = _number(writer, operator, f"weight_{axis}_{place}", weights[place])
        product = _arithmetic(writer, "MUL", pair, weight, operator)
        total = _arithmetic(writer, "ADD", total, product, operator) if total else product
    return total


def _part(writer: FileWriter, operator: Operator, value: str, shape: tuple[int, ...], axis: int, start: int) -> str:
    name = writer.add_plain(f"{operator.output}_part_{axis}_{start}", shape, "int32")
    begin = _ints(writer, operator, f"begin_{axis}_{start}", [start if place == axis else 0 for place in range(4)])
    return writer.add_operator("SLICE", (value, begin, _ints(writer, operator, f"size_{axis}_{start}", shape)), name, "SliceOptions")


def _levels(writer: FileWriter, graph: Graph, operator: Operator) -> None:
    source, edges = graph[operator.inputs[0]], constant(graph, operator.inputs[-1]).astype(np.int32)
    values = [_cast(writer, name, operator, "int32", source.shape) for name in operator.inputs[:-1]]
    value = _arithmetic(writer, "SUB", values[0], values[1], operator) if len(values) == 2 else values[0]
    low = -FURTHEST
    entries = np.searchsorted(edges, np.arange(low, -low + 1), side="left").astype(np.int8)
    table = writer.add_plain(f"{operator.output}_table", entries.shape, "int8", entries)
    index = _arithmetic(writer, "ADD", value, _number(writer, operator, "middle", -low), operator)
    writer.add_operator("GATHER", (table, index), operator.output, "GatherOptions", axis=0, batchDims=0)


def _gather(writer: FileWriter, source: str, output: str, axis: int, index: Any) -> None:
    places = writer.add_plain(f"{output}_places_{axis}", (len(index),), "int32", np.asarray(index, np.int32))
    writer.add_operator("GATHER", (source, places), output, "GatherOptions", axis=axis, batchDims=0)


def _repeated(size: int, before: int, after: int) -> Any:
    return np.clip(np.arange(-before, size + after), 0, size - 1)


def _cast(writer: FileWriter, source: str, operator: Operator, dtype: str, shape: tuple[int, ...]) -> str:
    name = writer.add_plain(f"{operator.output}_{source}_whole", shape, dtype)
    return writer.add_operator("CAST", (source,), name, "CastOptions", inDataType=writer.tensors[writer.places[source]].type,
                               outDataType=getattr(writer.schema.TensorType, dtype.upper()))


def _arithmetic(writer: FileWriter, code: str, first: str, second: str, operator: Operator, name: str = "") -> str:
    shape = writer.tensors[writer.places[first]].shape
    name = name or writer.add_plain(f"{operator.output}_step_{len(writer.operators)}", shape, "int32")
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[code]
    return writer.add_operator(code, (first, second), name, options, fusedActivationFunction=0)


def _number(writer: FileWriter, operator: Operator, name: str, value: int) -> str:
    return writer.add_plain(f"{operator.output}_{name}", (1,), "int32", np.array([value], np.int32))


def _ints(writer: FileWriter, operator: Operator, name: str, values: Any) -> str:
    data = np.array(values, np.int32)
    return writer.add_plain(f"{operator.output}_{name}", data.shape, "int32", data)


_LOWERINGS: Mapping[str, Lowering] = {
    "CONV_2D": _convolution, "DEPTHWISE_CONV_2D": _convolution, "FULLY_CONNECTED": _dense,
    "ADD": _activated("AddOptions"), "SUB": _activated("SubOptions"), "MUL": _activated("MulOptions"), "LOGISTIC": _plain,
    "TANH": _plain, "TABLE": _table, "PAD": _pad, "MIRROR_PAD": _pad, "EDGE_PAD": _edge_pad, "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RESIZE_BILINEAR": _resize, "AVERAGE_POOL_2D": _pool, "MAX_POOL_2D": _pool, "CONCATENATION": _concatenation,
    "RESHAPE": _reshape, "MEAN": _mean, "SMOOTH": _smooth, "LEVELS": _levels,
}

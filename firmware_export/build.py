"""A graph, one operator at a time: shapes follow from the operators, names are given or counted.

    builder = GraphBuilder("blur")
    frame = builder.input("frame", (1, 64, 64, 1), scale=1.0)
    builder.output(builder.smooth(frame, weights))
    graph = builder.build()

Deliberately not here: choosing scales (calibration does), floats as values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.check import require
from firmware_export.graph import Graph, Operator, State, Tensor
from firmware_export.shapes import output_shape

LOGISTIC_RANGE = (1 / 256, -128)
TANH_RANGE = (1 / 128, 0)
Shape = tuple[int, ...]


def scale32(scale: float) -> float:
    """Returns a scale as the 32-bit float that a file keeps."""
    return float(np.float32(scale))


class GraphBuilder:
    """Collects tensors and operators; every method that adds an operator returns the name of what it writes."""

    def __init__(self, name: str, *, design: str = "") -> None:
        self.name, self.design = name, design
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Operator] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.states: list[State] = []
        self.warmup = 0

    def input(self, name: str, shape: Shape, scale: float = 1.0, zero_point: int = 0) -> str:
        """Returns the name of a new int8 input [1, h, w, c]."""
        self.inputs.append(name)
        return self._add(Tensor(name, shape, "int8", (scale32(scale),), zero_point))

    def state(self, name: str, like: str) -> str:
        """Returns the name of what was `like` one frame ago: same shape, type and scale. Give `like` with `keep`."""
        old = self.tensors[like]
        return self._add(Tensor(name, old.shape, old.dtype, old.scale, old.zero_point))

    def carried(self, name: str, shape: Shape, scale: float, zero_point: int) -> str:
        """Returns the name of a new int8 state whose scale is known before what replaces it. Give it to `keep`."""
        return self._add(Tensor(name, shape, "int8", (scale32(scale),), zero_point))

    def keep(self, before: str, after: str) -> None:
        """Makes `after` the next frame's `before`."""
        self.states.append(State(before, after))

    def output(self, *names: str) -> None:
        """Adds outputs, in this order."""
        self.outputs += names

    def constant(self, data: NDArray[Any], scale: Sequence[float] = (1.0,), axis: int = 0) -> str:
        """Returns the name of a constant with one scale or one for each place along `axis`."""
        kept = np.ascontiguousarray(data)
        kept.setflags(write=False)
        scales = tuple(scale32(value) for value in scale)
        return self._add(Tensor(f"constant_{len(self.tensors)}", kept.shape, kept.dtype.name, scales, 0, axis, kept))

    def weighted(self, kind: str, source: str, weights: NDArray[np.int8], scales: Sequence[float], bias: NDArray[np.int32],
                 scale: float, zero_point: int, **options: Any) -> str:
        """Returns the name of what CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED writes; the bias is in accumulator units."""
        axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
        weight_name = self.constant(weights, scales, axis)
        input_scale = self.tensors[source].scale[0]
        bias_name = self.constant(bias, [float(np.float32(input_scale) * np.float32(value)) for value in scales])
        return self.add(kind, (source, weight_name, bias_name), scale, zero_point, **options)

    def add(self, kind: str, inputs: Sequence[str], scale: float | None = None, zero_point: int | None = None, *,
            shape: Shape | None = None, name: str = "", dtype: str = "int8", **options: Any) -> str:
        """Returns the name of what an operator writes. Its scale and zero point are the first input's where left out."""
        operator = Operator(kind, tuple(inputs), name or f"{kind.lower()}_{len(self.operators)}", **options)
        read = [self.tensors[source] for source in inputs]
        given, zero = self._range(kind, read[0], scale, zero_point)
        found = shape or output_shape(operator, read) or read[0].shape
        self.operators.append(operator)
        return self._add(Tensor(operator.output, found, dtype, given, zero))

    def smooth(self, source: str, weights: NDArray[np.int16], name: str = "") -> str:
        """Returns the name of the int16 blurred frame in Q7 of the source's step; `weights` [kernel] in Q14."""
        kept = self.constant(weights, [2.0**-14])
        return self.add("SMOOTH", (source, kept), self.tensors[source].scale[0] / 128, 0, dtype="int16", name=name)

    def levels(self, values: Sequence[str], thresholds: NDArray[np.int16], name: str = "") -> str:
        """Returns the name of the number of thresholds below values[0], or below values[0] - values[1]."""
        kept = self.constant(thresholds, self.tensors[values[0]].scale)
        return self.add("LEVELS", (*values, kept), 1.0, 0, name=name)

    def build(self) -> Graph:
        """Returns the graph. Raises PrivcamError with every reason why it cannot run."""
        graph = Graph(self.name, tuple(self.tensors.values()), tuple(self.operators), tuple(self.inputs), tuple(self.outputs),
                      tuple(self.states), self.warmup, self.design)
        require(graph)
        return graph

    def _range(self, kind: str, source: Tensor, scale: float | None, zero_point: int | None) -> tuple[tuple[float, ...], int]:
        fixed = {"LOGISTIC": LOGISTIC_RANGE, "TANH": TANH_RANGE}.get(kind)
        if fixed and scale is None:
            return (fixed[0],), fixed[1]
        return (source.scale if scale is None else (scale32(scale),)), source.zero_point if zero_point is None else zero_point

    def _add(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

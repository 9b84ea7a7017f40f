"""The integer operators of a float network with a plan of steps: each weight rounded once, each bias in accumulator units.

A relu that stands alone, and a value that is needed at another step, is a TABLE: 256 values rounded once.
Deliberately not here: which step (`optics_sim.network_scales`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from firmware_export.build import GraphBuilder
from firmware_export.graph import Graph
from optics_sim.network import WEIGHTED, FloatNetwork, FloatOperator, channel_axis, same_pads
from optics_sim.network_scales import Plan, Step, offset_bias, weight_scales

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
ALONE: Mapping[str, Function] = {"RELU": lambda values: np.maximum(values, 0), "RELU6": lambda values: np.clip(values, 0, 6)}
FLAT = ("FULLY_CONNECTED", "RESHAPE")
"""Operators that take features [1, c]; the others want four axes."""


def graph_of(network: FloatNetwork, plan: Plan, design: str = "") -> Graph:
    """Returns the integer graph. Raises PrivcamError with every reason why it cannot run."""
    return _Emitter(network, plan, design).graph()


class _Emitter:
    def __init__(self, network: FloatNetwork, plan: Plan, design: str) -> None:
        self.network, self.plan = network, plan
        self.builder = GraphBuilder(network.name, design=design)
        self.builder.warmup = network.warmup
        self.left_out = {border.output: border for operator in network.operators if (border := self._same(operator)) is not None}

    def graph(self) -> Graph:
        for name in self.network.inputs:
            self.builder.input(name, self.network.shapes[name], *self._step(name))
        for name, _ in self.network.states:
            scale, zero = self._step(name)
            self.builder.carried(name, self.network.shapes[name], scale, zero)
        for operator in self.network.operators:
            if operator.output not in self.left_out:
                self._emit(operator)
        for before, after in self.network.states:
            self.builder.keep(before, after)
        self.builder.output(*self.network.outputs)
        return self.builder.build()

    def _emit(self, operator: FloatOperator) -> None:
        if operator.kind in WEIGHTED:
            self._weighted(operator)
        elif operator.kind in ALONE:
            step = self.plan.steps[operator.inputs[0]]
            self._finish(operator, lambda name: self._table(self._read(operator)[0], step, self._target(operator), name,
                                                            ALONE[operator.kind]))
        else:
            options = {key: value for key, value in operator.options.items() if key != "value"}
            if operator.kind in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
                options["padding"] = self._padding(operator)
            if operator.kind.startswith("RESIZE") or operator.kind == "RESHAPE":
                options["shape"] = self.network.shapes[operator.output]
            self._finish(operator, lambda name: self.builder.add(operator.kind, self._read(operator), *self._step(operator.output),
                                                                 name=name, **options))

    def _weighted(self, operator: FloatOperator) -> None:
        weights, bias = (self.network.constants[name].astype(np.float64) for name in operator.inputs[1:])
        step = self.plan.steps[operator.inputs[0]]
        full = offset_bias(operator, weights, bias, step)
        scales = weight_scales(operator, weights, full, step.scale)
        shape = [1] * weights.ndim
        shape[channel_axis(operator.kind)] = -1
        whole = np.clip(np.rint(weights / scales.reshape(shape)), -127, 127).astype(np.int8)
        units = np.rint(full / (np.float64(step.scale) * scales)).astype(np.int32)
        options = dict(operator.options)
        if operator.kind != "FULLY_CONNECTED":
            options["padding"] = self._padding(operator)
        self.builder.weighted(operator.kind, self._read(operator)[0], whole, [float(scale) for scale in scales], units,
                              *self._step(operator.output), name=operator.output, **options)

    def _read(self, operator: FloatOperator) -> list[str]:
        """The names of what an operator reads in the graph, having made the tables and axes that it needs."""
        found: list[str] = []
        for name in self.network.values_of(operator):
            step, wanted = self.plan.steps[name], self.plan.converted.get((operator.output, name))
            border = self.left_out.get(name)
            read = name if border is None else border.inputs[0]
            if operator.kind not in FLAT:
                read = self._wide(read)
            if wanted is not None:
                read = self._table(read, step, wanted, f"{operator.output}_of_{name}_{len(found)}")
            found.append(read)
        return found

    def _wide(self, name: str) -> str:
        shape = self.builder.tensors[name].shape
        if len(shape) != 2:
            return name
        wide = f"{name}_wide"
        if wide not in self.builder.tensors:
            self.builder.add("RESHAPE", (name,), shape=(1, 1, 1, shape[1]), name=wide)
        return wide

    def _finish(self, operator: FloatOperator, add: Callable[[str], str]) -> None:
        """Adds an operator under its name; features get their two axes back."""
        shape = self.network.shapes[operator.output]
        if len(shape) == 4 or operator.kind in FLAT:
            add(operator.output)
        else:
            self.builder.add("RESHAPE", (add(f"{operator.output}_wide"),), shape=shape, name=operator.output)

    def _table(self, source: str, step: Step, wanted: Step, name: str, function: Function = lambda values: values) -> str:
        stored = np.arange(-128, 128, dtype=np.float64)
        real = function(step.scale * (stored - step.zero_point) + step.offset)
        entries = np.clip(np.rint((real - wanted.offset) / wanted.scale) + wanted.zero_point, -128, 127).astype(np.int8)
        return self.builder.add("TABLE", (source, self.builder.constant(entries)), wanted.scale, wanted.zero_point, name=name)

    def _padding(self, operator: FloatOperator) -> str:
        return "SAME" if operator.inputs[0] in self.left_out else "VALID"

    def _same(self, operator: FloatOperator) -> FloatOperator | None:
        """The border before a window that TFLite's SAME stands for, where nothing else reads it."""
        wanted = {"CONV_2D": "PAD", "DEPTHWISE_CONV_2D": "PAD", "MAX_POOL_2D": "EDGE_PAD"}.get(operator.kind)
        border = self.network.writer(operator.inputs[0])
        if border is None or border.kind != wanted or self.network.is_kept(border.output) or len(self.network.readers(border.output)) > 1:
            return None
        window = operator.options["window"] if wanted == "EDGE_PAD" else self.network.constants[operator.inputs[1]].shape[1:3]
        sizes = self.network.shapes[border.inputs[0]][1:3]
        far = operator.options.get("dilation", (1, 1))
        pads = tuple(same_pads(*axis) for axis in zip(sizes, window, operator.options["stride"], far, strict=True))
        return border if pads == tuple(map(tuple, border.options["pads"])) else None

    def _target(self, operator: FloatOperator) -> Step:
        return self.plan.steps[operator.output]

    def _step(self, name: str) -> tuple[float, int]:
        return self.plan.steps[name].scale, self.plan.steps[name].zero_point

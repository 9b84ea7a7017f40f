"""Which integers a float network's values become: a step and a zero point for each, chosen from ranges.

A stored number q means step.scale * (q - step.zero_point) + step.offset. Values that operators only move about share one step;
so do a state and what replaces it. LOGISTIC and TANH have their own; a frame has step 1, because the readout's codes go in as
they are. Weights are symmetric, -127..127, with a scale for each output channel.

A frame that is padded with its mean has that as zero point and offset, to the nearest whole code: inside the frame nothing is
lost, at the border the padded value is off by half a code at most.
Deliberately not here: where ranges come from (`firmware_export.ranges`), integer operators (`firmware_export.quantise`).
Reference: Jacob et al., CVPR 2018, sections 2 and 3; fixed ranges as in TFLite's 8-bit quantisation specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optics_sim.network import MOVES, WEIGHTED, FloatNetwork, FloatOperator, channel_axis

Range = tuple[float, float]
LARGEST_BIAS = float(1 << 28)
"""Of the accumulator's units; the sums around it stay below 2**31."""


@dataclass(frozen=True)
class Step:
    """What a stored int8 means."""

    scale: float
    zero_point: int
    offset: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A step for every value, and the reads (operator's output, value) that need the value at another step first."""

    steps: Mapping[str, Step]
    converted: Mapping[tuple[str, str], Step]


FIXED = {"LOGISTIC": Step(1 / 256, -128), "TANH": Step(1 / 128, 0)}


def planned(network: FloatNetwork, ranges: Mapping[str, Range]) -> Plan:
    """Returns the steps of a folded network of known operators; `ranges` has (least, greatest) of every value."""
    steps: dict[str, Step] = {}
    for members, fixed in shared(network):
        step = fixed or step_of([ranges[member] for member in members], _finest(network, members[0], steps))
        steps |= {member: step for member in members}
    return Plan(steps, dict(_conversions(network, steps)))


def shared(network: FloatNetwork) -> list[tuple[tuple[str, ...], Step | None]]:
    """Returns the groups of values that share a step, in the order in which they are computed, and the step where it is fixed."""
    groups, found = _Groups(network), {}
    for name in groups.parent:
        members = tuple(groups.members(name))
        found[members] = groups.fixed(name)
    return list(found.items())


def step_of(ranges: list[Range], finest: float = 0.0) -> Step:
    """Returns the step whose 256 numbers span all ranges and 0 exactly; not finer than `finest`. Of no range at all: 1."""
    low, high = min(0.0, *(low for low, _ in ranges)), max(0.0, *(high for _, high in ranges))
    scale = float(np.float32(max((high - low) / 255, finest, float(np.finfo(np.float32).tiny) if high > low else 0.0) or 1.0))
    return Step(scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)))


def weight_scales(operator: FloatOperator, weights: NDArray[np.floating], bias: NDArray[np.floating],
                  input_scale: float) -> NDArray[np.float32]:
    """Returns the scale of each output channel's weights; a channel of zeros takes the largest of the others."""
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis(operator.kind))
    scales = np.maximum(np.abs(weights).max(axis=others) / 127, np.abs(bias) / (input_scale * LARGEST_BIAS))
    largest = float(scales.max()) or 1.0
    return np.where(scales > 0, scales, largest).astype(np.float32)


def offset_bias(operator: FloatOperator, weights: NDArray[np.floating], bias: NDArray[np.floating], step: Step) -> NDArray[np.float64]:
    """Returns the bias that a convolution of stored numbers needs so that it is one of the values they mean."""
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis(operator.kind))
    found: NDArray[np.float64] = bias.astype(np.float64) + step.offset * weights.astype(np.float64).sum(axis=others)
    return found


class _Groups:
    """Values that share a step."""

    def __init__(self, network: FloatNetwork) -> None:
        self.network = network
        self.parent = {name: name for name in _in_order(network)}
        for operator in network.operators:
            if operator.kind in MOVES:
                self._join(operator.inputs[0], operator.output)
        for before, after in network.states:
            self._join(before, after)
        for operator in network.operators:
            if operator.kind == "CONCATENATION":
                self._concatenate(operator)

    def members(self, name: str) -> list[str]:
        root = self._root(name)
        return [other for other in self.parent if self._root(other) == root]

    def fixed(self, name: str) -> Step | None:
        """The step that a group must have, or None."""
        members = self.members(name)
        if any(member in self.network.inputs for member in members):
            mean = _border_code(self.network, members)
            return Step(1.0, mean, float(mean))
        writers = (self.network.writer(member) for member in members)
        return next((FIXED[writer.kind] for writer in writers if writer and writer.kind in FIXED), None)

    def _concatenate(self, operator: FloatOperator) -> None:
        """Joins what loses nothing by the common step: values that nothing else reads. The others are converted."""
        fixed = {self.fixed(name) for name in operator.inputs}
        for name in operator.inputs:
            if (len(fixed) == 1 and None not in fixed) or (self.fixed(name) is None and self._read_by_one(name, operator)):
                self._join(name, operator.output)

    def _read_by_one(self, name: str, operator: FloatOperator) -> bool:
        members = set(self.members(name))
        moved = [reader for member in members for reader in self.network.readers(member) if reader.output not in members]
        return all(reader is operator for reader in moved) and not any(self.network.is_kept(member) for member in members)

    def _join(self, one: str, other: str) -> None:
        self.parent[self._root(other)] = self._root(one)

    def _root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name


def border_values(network: FloatNetwork) -> dict[str, float]:
    """Returns the value of every PAD that is not 0, by its output."""
    pads = [operator for operator in network.operators if operator.kind == "PAD" and operator.options.get("value", 0.0)]
    return {operator.output: float(operator.options["value"]) for operator in pads}


def _border_code(network: FloatNetwork, members: list[str]) -> int:
    """The whole code nearest to what the group's borders are padded with; 0 without such borders."""
    values = [value for name, value in border_values(network).items() if name in members]
    return int(np.clip(np.rint(np.mean(values)), -128, 127)) if values else 0


def _in_order(network: FloatNetwork) -> Iterator[str]:
    yield from network.inputs
    yield from (before for before, _ in network.states)
    yield from (operator.output for operator in network.operators)


def _finest(network: FloatNetwork, name: str, steps: Mapping[str, Step]) -> float:
    """A step finer than this says nothing: it is finer than the sums that it is made of."""
    operator = network.writer(name)
    if operator is None or any(read not in steps for read in network.values_of(operator)):
        return 0.0
    scales = [steps[read].scale for read in network.values_of(operator)]
    match operator.kind:
        case "ADD" | "SUB":
            return max(scales) / (1 << 10)
        case "MUL":
            return scales[0] * scales[1] / (1 << 8)
    if operator.kind in WEIGHTED:
        weights, bias = (network.constants[constant] for constant in operator.inputs[1:])
        full = offset_bias(operator, weights, bias, steps[operator.inputs[0]])
        return scales[0] * float(weight_scales(operator, weights, full, scales[0]).max())
    return 0.0


def _conversions(network: FloatNetwork, steps: Mapping[str, Step]) -> Iterator[tuple[tuple[str, str], Step]]:
    for operator in network.operators:
        for name in network.values_of(operator):
            step = steps[name]
            if operator.kind == "CONCATENATION" and step != steps[operator.output]:
                yield (operator.output, name), steps[operator.output]
            elif step.offset and operator.kind not in (*WEIGHTED, *MOVES, "CONCATENATION"):
                yield (operator.output, name), Step(1.0, 0)

"""What a graph costs on a device: parameters, multiply-adds a frame, bytes of constants, memory.

Deliberately not here: seconds, and instructions, which a device or an emulator counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from firmware_export.graph import Graph, Operator
from firmware_export.schedule import planned
from optics_sim.network import WEIGHTED


@dataclass(frozen=True)
class GraphCost:
    """Costs of one frame; bytes but for `parameters` and `macs`."""

    parameters: int
    macs: int
    constant_bytes: int
    arena_bytes: int
    state_bytes: int
    frame_bytes: int
    code_bytes: int


def graph_cost(graph: Graph) -> GraphCost:
    """Returns what one frame costs; the arena is that of the generated C."""
    constants = [tensor for tensor in graph.tensors if tensor.data is not None]
    return GraphCost(
        parameters=sum(math.prod(tensor.shape) for tensor in constants), macs=sum(macs(graph, operator) for operator in graph.operators),
        constant_bytes=sum(tensor.size_bytes for tensor in constants), arena_bytes=planned(graph).arena_bytes,
        state_bytes=sum(graph[state.before].size_bytes for state in graph.states),
        frame_bytes=sum(graph[name].size_bytes for name in graph.inputs), code_bytes=sum(graph[name].size_bytes for name in graph.outputs))


def macs(graph: Graph, operator: Operator) -> int:
    """Returns the multiply-adds of an operator with weights, padded places included; 0 for one without."""
    written = math.prod(graph[operator.output].shape)
    if operator.kind in WEIGHTED:
        weights = graph[operator.inputs[1]].shape
        inside = math.prod(weights[1:3]) if operator.kind == "DEPTHWISE_CONV_2D" else math.prod(weights[1:])
        return written * inside
    return 2 * written * graph[operator.inputs[1]].shape[0] if operator.kind == "SMOOTH" else 0

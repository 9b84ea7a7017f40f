"""The integer reference: what a graph computes, by definition. numpy only.

TFLite's reference kernels, the generated C and every device must equal this bit for bit. Frames may come in batches
[N, h, w, c]; a clip runs frame after frame, because the state of one is the start of the next. Before the first frame every
state is zero, and the first `warmup` codes are withheld: they would show a frame against black, not against a frame.
Deliberately not here: the kernels (`int8_windows`, `int8_values`, `int8_moves`, `int8_bdq`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Graph, constant
from firmware_export.int8_kernels import KERNELS
from firmware_export.runner import Clip, Runner, blank_states, checked

Arrays = dict[str, NDArray[Any]]
VALUES_AT_ONCE = 1 << 22  # of the largest tensor


def evaluate(graph: Graph, values: Mapping[str, NDArray[Any]]) -> Arrays:
    """Returns every tensor of the graph for inputs and states [N, ...] under their names; frames do not see each other."""
    found: Arrays = {tensor.name: constant(graph, tensor.name) for tensor in graph.tensors if tensor.data is not None}
    found.update(values)
    for operator in graph.operators:
        tensors = [graph[name] for name in operator.inputs]
        arrays = [found[name] for name in operator.inputs]
        found[operator.output] = KERNELS[operator.kind](operator, tensors, graph[operator.output], arrays)
    return found


class Reference(Runner):
    """The integer reference as a callable artefact."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.files: Mapping[str, bytes] = {}
        self.start()

    def run(self, clip: Clip) -> Arrays:
        """Returns outputs [T - warmup, ...] for inputs [T, ...]; without a state some frames at once."""
        if self.graph.states:
            return super().run(clip)
        frames = checked(self.graph, clip)
        together = max(1, VALUES_AT_ONCE // max(math.prod(tensor.shape) for tensor in self.graph.tensors if tensor.data is None))
        parts = [evaluate(self.graph, {name: clip[name][first: first + together] for name in self.graph.inputs})
                 for first in range(0, frames, together)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.graph.outputs}

    def start(self) -> None:
        """Forgets every earlier frame."""
        self._states = blank_states(self.graph)

    def step(self, frame: Mapping[str, NDArray[np.int8]]) -> Arrays:
        """Returns the outputs for one frame [1, ...] and keeps the states."""
        found = evaluate(self.graph, {**self._states, **frame})
        self._states = {state.before: found[state.after] for state in self.graph.states}
        return {name: found[name] for name in self.graph.outputs}

"""What every way to run a graph has in common: frames in, codes out, state by state.

Deliberately not here: the ways themselves (`int8`, `tflite`, `c_host`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import DTYPES, Graph
from optics_sim.errors import PrivcamError

Clip = Mapping[str, NDArray[np.int8]]


class Runner(ABC):
    """Runs a graph on the host. `files` are the very bytes that run, where there are any."""

    files: Mapping[str, bytes]

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @abstractmethod
    def start(self) -> None:
        """Forgets every earlier frame: states are zero again."""

    @abstractmethod
    def step(self, frame: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs for one frame of every input [1, ...] and keeps the state."""

    def run(self, clip: Clip) -> dict[str, NDArray[Any]]:
        """Returns outputs [T - warmup, ...] for inputs [T, ...], a new clip each time.

        Raises PrivcamError for frames of another size or type.
        """
        frames = checked(self.graph, clip)
        self.start()
        found = [self.step({name: clip[name][index: index + 1] for name in self.graph.inputs}) for index in range(frames)]
        return {name: np.concatenate([codes[name] for codes in found[self.graph.warmup:]]) for name in self.graph.outputs}

    def __call__(self, clip: NDArray[np.int8]) -> NDArray[Any]:
        """Returns codes [T - warmup, ...] of a clip [T, h, w] or [T, h, w, c], for a graph of one input and one output."""
        if len(self.graph.inputs) != 1 or len(self.graph.outputs) != 1:
            raise PrivcamError("this network has several inputs or outputs", got=(self.graph.inputs, self.graph.outputs),
                               todo="give `run` each by its name")
        (name,), (out,) = self.graph.inputs, self.graph.outputs
        plane = clip.ndim == 3 and self.graph[name].shape[-1] == 1
        codes = self.run({name: clip[..., None] if plane else clip})[out]
        return codes[..., 0] if plane and codes.ndim == 4 and codes.shape[-1] == 1 else codes


def blank_states(graph: Graph) -> dict[str, NDArray[Any]]:
    """Returns every state as it is before the first frame: zero."""
    before = [graph[state.before] for state in graph.states]
    return {tensor.name: np.full(tensor.shape, tensor.zero_point, DTYPES[tensor.dtype]) for tensor in before}


def checked(graph: Graph, clip: Clip) -> int:
    """Returns the number of frames. Raises PrivcamError where the clip is not one for this graph."""
    lengths = {len(clip[name]) for name in graph.inputs if name in clip}
    for name in graph.inputs:
        shape = ("T", *graph[name].shape[1:])
        if name not in clip or clip[name].dtype != np.int8 or clip[name].shape[1:] != shape[1:]:
            got = "nothing" if name not in clip else f"{clip[name].dtype} {clip[name].shape}"
            raise PrivcamError(f"input {name} is not a clip for this network", got=got, allowed=f"int8 {shape}",
                               todo="give the readout's codes at the design's size")
    if len(lengths) != 1 or min(lengths) <= graph.warmup:
        raise PrivcamError("the clip is too short for this network", got=sorted(lengths), allowed=f"at least {graph.warmup + 1} frames",
                           todo="give one frame more than the warm-up, and as many of every input")
    return lengths.pop()

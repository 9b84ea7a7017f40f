"""What every way to run a network has in common: frames in, codes out, state by state.

Deliberately not here: the ways themselves (`int8`, `tflite_encoder`, `c_host`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import DTYPES, Graph, State, Tensor
from optics_sim.errors import PrivcamError

Clip = Mapping[str, NDArray[np.int8]]


class Edges(Protocol):
    """What one sees of a network from outside; a Graph is one."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what goes in."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what comes out."""
        ...

    @property
    def states(self) -> tuple[State, ...]:
        """What one frame leaves for the next."""
        ...

    @property
    def warmup(self) -> int:
        """How many frames give no code."""
        ...

    def __getitem__(self, name: str) -> Tensor:
        """Returns the tensor of an input, output or state."""
        ...


class ClipRunner(ABC):
    """Runs a network on the host. `files` are the very bytes that run, where there are any."""

    files: Mapping[str, bytes]

    def __init__(self, edges: Edges) -> None:
        self.edges = edges

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
        frames, edges = checked(self.edges, clip), self.edges
        self.start()
        found = [self.step({name: clip[name][index: index + 1] for name in edges.inputs}) for index in range(frames)]
        return {name: np.concatenate([codes[name] for codes in found[edges.warmup:]]) for name in edges.outputs}

    def __call__(self, clip: NDArray[np.int8]) -> NDArray[Any]:
        """Returns codes [T - warmup, ...] of a clip [T, h, w] or [T, h, w, c], for a network of one input and one output."""
        name, out = self.names_of_one()
        return self.without_channel(self.run({name: self.with_channel(clip)})[out], clip)

    def names_of_one(self) -> tuple[str, str]:
        """Returns the names of the input and of the output. Raises PrivcamError where there are several of either."""
        if len(self.edges.inputs) != 1 or len(self.edges.outputs) != 1:
            raise PrivcamError("this network has several inputs or outputs", got=(self.edges.inputs, self.edges.outputs),
                               todo="give `run` each by its name")
        return self.edges.inputs[0], self.edges.outputs[0]

    def with_channel(self, clip: NDArray[np.int8]) -> NDArray[np.int8]:
        """Returns a clip [T, h, w] as [T, h, w, 1], for a network of one input; any other as it is."""
        return clip[..., None] if self._is_plane(clip) else clip

    def without_channel(self, codes: NDArray[Any], clip: NDArray[np.int8]) -> NDArray[Any]:
        """Returns codes [n, h, w, 1] as [n, h, w] where the clip was [T, h, w]; any others as they are."""
        return codes[..., 0] if self._is_plane(clip) and codes.ndim == 4 and codes.shape[-1] == 1 else codes

    def _is_plane(self, clip: NDArray[np.int8]) -> bool:
        return clip.ndim == 3 and self.edges[self.edges.inputs[0]].shape[-1] == 1


class Runner(ClipRunner):
    """Runs a graph that is at hand."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.graph = graph


def blank_states(edges: Edges) -> dict[str, NDArray[Any]]:
    """Returns every state as it is before the first frame: zero."""
    before = [edges[state.before] for state in edges.states]
    return {tensor.name: np.full(tensor.shape, tensor.zero_point, DTYPES[tensor.dtype]) for tensor in before}


def check_frames(edges: Edges, clip: Clip) -> set[int]:
    """Returns the numbers of frames of the inputs. Raises PrivcamError for an input that lacks or has another size or type."""
    for name in edges.inputs:
        shape = ("T", *edges[name].shape[1:])
        if name not in clip or clip[name].dtype != np.int8 or clip[name].shape[1:] != shape[1:]:
            got = "nothing" if name not in clip else f"{clip[name].dtype} {clip[name].shape}"
            raise PrivcamError(f"input {name} is not a clip for this network", got=got, allowed=f"int8 {shape}",
                               todo="give the readout's codes at the design's size")
    return {len(clip[name]) for name in edges.inputs}


def checked(edges: Edges, clip: Clip) -> int:
    """Returns the number of frames. Raises PrivcamError where the clip is not one for this network."""
    lengths = check_frames(edges, clip)
    if len(lengths) != 1 or min(lengths) <= edges.warmup:
        raise PrivcamError("the clip is too short for this network", got=sorted(lengths), allowed=f"at least {edges.warmup + 1} frames",
                           todo="give one frame more than the warm-up, and as many of every input")
    return lengths.pop()

"""An integer network as plain data: tensors, constants, and operators in the order in which they run.

Shapes are NHWC with N = 1: one frame. A real value is scale * (q - zero_point). int8 tensors carry frames, activations and
codes; int16 ones carry a blurred frame at a finer step; int32 ones are biases. Weights are laid out as TFLite has them:
CONV_2D [out, kh, kw, in], DEPTHWISE_CONV_2D [1, kh, kw, in * multiplier], FULLY_CONNECTED [out, in]; their scales are one
for each output channel.

Besides TFLite's operators there are four of our own, each of them exactly a few of TFLite's (`tflite_lowering`):
EDGE_PAD repeats the border, TABLE is 256 entries looked up, SMOOTH is the separable integer Gaussian of
`optics_sim.encoders.bdq_int`, LEVELS is its quantiser.
Deliberately not here: arithmetic (`int8`), whether a graph can run (`check`), how one is made (`build`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.errors import PrivcamError

KINDS = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "PAD", "MIRROR_PAD", "EDGE_PAD", "LOGISTIC", "TANH",
    "TABLE", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "RESHAPE", "MEAN",
    "SMOOTH", "LEVELS",
)
DTYPES: Mapping[str, type[np.signedinteger[Any]]] = {"int8": np.int8, "int16": np.int16, "int32": np.int32}


@dataclass(frozen=True)
class Tensor:
    """One array of a graph. `scale` has one entry, or one for each channel of a constant; `data` makes it a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    scale: tuple[float, ...] = (1.0,)
    zero_point: int = 0
    axis: int = 0
    data: NDArray[Any] | None = field(default=None, compare=False)

    @property
    def quantisation(self) -> tuple[tuple[float, ...], int]:
        """What a stored number means: (scales, zero point)."""
        return self.scale, self.zero_point

    @property
    def size_bytes(self) -> int:
        """How many bytes the array takes."""
        return int(np.prod(self.shape)) * np.dtype(DTYPES[self.dtype]).itemsize


@dataclass(frozen=True)
class Operator:
    """One step of a graph: its kind, the tensors it reads and the one it writes, and what its kind needs of the rest."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    """SAME or VALID, of a convolution or a pool."""
    activation: str = "none"
    """none, relu or relu6; fused."""
    window: tuple[int, int] = (1, 1)
    """(height, width) of a pool."""
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    """((top, bottom), (left, right)) of a PAD."""
    mode: str = "reflect"
    """reflect or symmetric, of a MIRROR_PAD."""
    half_pixel: bool = True
    """whether a resize counts from the middle of pixels."""


@dataclass(frozen=True)
class State:
    """What one frame leaves for the next: the tensor it is read from, and the one that replaces it."""

    before: str
    after: str


@dataclass(frozen=True)
class Graph:
    """A network with its names. The first `warmup` frames give no code: the state is not that of a frame yet."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[State, ...] = ()
    warmup: int = 0
    design: str = ""
    """Digest of the design that this was made from."""

    def __getitem__(self, name: str) -> Tensor:
        """Returns the tensor of a name. Raises KeyError for an unknown one."""
        return self.by_name[name]

    @cached_property
    def by_name(self) -> dict[str, Tensor]:
        """Every tensor under its name."""
        return {tensor.name: tensor for tensor in self.tensors}

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the graph, constants included."""
        hasher = hashlib.sha256(repr((self.name, self.operators, self.inputs, self.outputs, self.states, self.warmup,
                                      self.design)).encode())
        for tensor in self.tensors:
            hasher.update(repr((tensor.name, tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point, tensor.axis)).encode())
            hasher.update(b"" if tensor.data is None else np.ascontiguousarray(tensor.data).tobytes())
        return hasher.hexdigest()


def constant(graph: Graph, name: str) -> NDArray[Any]:
    """Returns the data of a constant. Raises PrivcamError where the tensor has none."""
    data = graph[name].data
    if data is None:
        raise PrivcamError("this tensor is computed, not constant", got=name, todo="run `check` on the graph first")
    return data

"""A float network as plain data: operators in the order in which they run, and their 32-bit constants.

Shapes are NHWC with N = 1, and weights lie as TFLite and `firmware_export.graph` have them: CONV_2D [out, kh, kw, in],
DEPTHWISE_CONV_2D [1, kh, kw, in * multiplier], FULLY_CONNECTED [out, in], so that only `optics_sim.learning.trace` turns axes.
Borders are operators of their own (PAD with a value, MIRROR_PAD, EDGE_PAD); windows never reach beyond what they read.
Frames go in as the readout's codes, -128..127. Any kind of operator can be written down; `EXPORTED` are those that
`firmware_export.quantise` knows, and the others may say in an option `why` what is odd about them.
Deliberately not here: torch (`learning.trace`), arithmetic (`firmware_export.float_run`), steps of integers (`network_scales`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operators that read (value, weights, bias)."""
MOVES = ("PAD", "MIRROR_PAD", "EDGE_PAD", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE")
"""Operators of one input that keep its step when they become integer ones."""
FUSING = (*WEIGHTED, "ADD", "SUB", "MUL")
"""Operators that take relu or relu6 along as their option `activation`."""
EXPORTED = (*WEIGHTED, *MOVES, "ADD", "SUB", "MUL", "MEAN", "RELU", "RELU6", "LOGISTIC", "TANH", "CONCATENATION")


@dataclass(frozen=True)
class FloatOperator:
    """One step: its kind, the values and constants it reads, the value it writes, and options (numbers, tuples, words).

    Options by kind: stride, dilation (height, width) of convolutions; window, stride of pools; pads ((top, bottom), (left, right))
    and value of PAD; mode of MIRROR_PAD; half_pixel of resizes; activation (none, relu, relu6) of FUSING. AFFINE reads
    (value, factor [c], shift [c]); folding leaves none.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FloatNetwork:
    """A network with its names. `shapes` is of every value that is computed or given; `states` are pairs (before, after)."""

    name: str
    shapes: Mapping[str, Shape]
    constants: Mapping[str, NDArray[np.float32]]
    operators: tuple[FloatOperator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[tuple[str, str], ...] = ()
    warmup: int = 0
    """So many first frames give no code: the state is not that of a frame yet."""

    def values_of(self, operator: FloatOperator) -> tuple[str, ...]:
        """Returns the inputs of an operator that are no constants."""
        return tuple(name for name in operator.inputs if name not in self.constants)

    def readers(self, name: str) -> list[FloatOperator]:
        """Returns the operators that read a value."""
        return [operator for operator in self.operators if name in operator.inputs]

    def writer(self, name: str) -> FloatOperator | None:
        """Returns the operator that writes a value; None for an input and a state."""
        return next((operator for operator in self.operators if operator.output == name), None)

    def is_kept(self, name: str) -> bool:
        """Returns whether a value leaves the network, as an output or as a state."""
        return name in self.outputs or any(name == after for _, after in self.states)


def spatial(size: int, window: int, stride: int, dilation: int = 1) -> int:
    """Returns how many places a window has along an axis that it never leaves."""
    return (size - (window - 1) * dilation - 1) // stride + 1


def same_pads(size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Returns the (first, last) pixels of padding that TFLite calls SAME: they depend on the size."""
    total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def channel_axis(kind: str) -> int:
    """Returns the axis of the output channels in the weights of an operator."""
    return 3 if kind == "DEPTHWISE_CONV_2D" else 0


def without_unread(constants: Mapping[str, NDArray[np.float32]], operators: Sequence[FloatOperator]) -> dict[str, NDArray[np.float32]]:
    """Returns the constants that an operator reads."""
    read = {name for operator in operators for name in operator.inputs}
    return {name: data for name, data in constants.items() if name in read}

"""What a tracing writes down as it goes: values that depend on the frame, operators, constants.

Deliberately not here: which operator a call is (`trace_operators`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optics_sim.errors import PrivcamError
from optics_sim.network import FloatNetwork, FloatOperator, Shape

Order = tuple[int, ...]


@dataclass(frozen=True)
class Live:
    """A value that depends on the frame: its name, torch's shape, and of features which of torch's each one is."""

    name: str
    shape: Shape
    order: Order = ()
    """Feature k here is torch's feature order[k]; empty where they are the same."""

    @property
    def channels(self) -> int:
        """How many channels or features it has; a plane has one."""
        return 1 if len(self.shape) == 3 else self.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width); features are of one pixel."""
        return (1, 1) if len(self.shape) == 2 else (self.shape[-2], self.shape[-1])


def stored_shape(shape: Shape) -> Shape:
    """Returns the shape in which a tensor of a torch shape is kept."""
    if len(shape) == 4:
        return 1, shape[2], shape[3], shape[1]
    return (1, *shape[1:], 1) if len(shape) == 3 else (1, *shape[1:])


class Draft:
    """A network in the making."""

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.constants: dict[str, Any] = {}
        self.operators: list[FloatOperator] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []

    def input(self, name: str, example: Tensor) -> Live:
        """Returns a new input like the example."""
        live = Live(self._named(name), tuple(example.shape))
        if example.ndim not in (3, 4):
            raise PrivcamError("an input is no batch of frames", got=tuple(example.shape), allowed="[n, h, w] or [n, c, h, w]")
        self.inputs.append(live.name)
        self.shapes[live.name] = stored_shape(live.shape)
        return live

    def output(self, live: Live) -> None:
        """Makes a value the next output; features in another order than torch's become a TRANSPOSE, which no kernel does."""
        if live.order:
            live = self.add("TRANSPOSE", [live.name], f"{live.name}_transposed", live.shape,
                            why="features leave in the order of height, width, channel")
        self.outputs.append(live.name)

    def add(self, kind: str, inputs: Sequence[str], name: str, shape: Shape, order: Order = (), **options: Any) -> Live:
        """Returns what a new operator writes: a value of torch's shape."""
        live = Live(self._named(name), tuple(shape), order)
        self.shapes[live.name] = stored_shape(live.shape)
        self.operators.append(FloatOperator(kind, tuple(inputs), live.name, options))
        return live

    def constant(self, name: str, value: Tensor) -> str:
        """Returns the name of a new constant."""
        kept = np.array(value.detach().to("cpu", torch.float32).numpy(), order="C")
        kept.setflags(write=False)
        found = self._named(name)
        self.constants[found] = kept
        return found

    def network(self, name: str) -> FloatNetwork:
        """Returns what was written down."""
        return FloatNetwork(_plain(name), self.shapes, self.constants, tuple(self.operators), tuple(self.inputs), tuple(self.outputs))

    def _named(self, wanted: str) -> str:
        name, count = _plain(wanted), 1
        while name in self.shapes or name in self.constants:
            name, count = f"{_plain(wanted)}_{count}", count + 1
        return name


@dataclass(frozen=True)
class Call:
    """A call of the traced network: torch's name of the function, arguments with `Live` for what depends on the frame."""

    draft: Draft
    function: str
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: Shape
    """Of the result, torch's."""

    @property
    def source(self) -> Live:
        """The first argument. Raises PrivcamError where it does not depend on the frame."""
        if not self.args or not isinstance(self.args[0], Live):
            raise PrivcamError("the frame is not the first argument", got=self.function, todo="call it with positional arguments")
        return self.args[0]

    def arguments(self, *names: str, **defaults: Any) -> list[Any]:
        """Returns the arguments after the first by name, given by place or by name, or their defaults."""
        given = {**defaults, **dict(zip(names, self.args[1:], strict=False)), **self.kwargs}
        return [given.get(name) for name in names]

    def add(self, kind: str, inputs: Sequence[str], order: Order = (), **options: Any) -> Live:
        """Returns what the operator that this call is writes, under the call's name."""
        return self.draft.add(kind, inputs, self.name, self.shape, order, **options)

    def constant(self, what: str, value: Tensor) -> str:
        """Returns the name of a new constant of this call."""
        return self.draft.constant(f"{self.name}_{what}", value)


def _plain(name: str) -> str:
    text = re.sub(r"[^a-z0-9_]", "_", name.lower()).lstrip("_")
    return text if text[:1].isalpha() else f"v_{text}"

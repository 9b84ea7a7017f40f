"""A graph as stages that make their output row by row, and which rows of its sources each row reads.

A row is everything at one height: [width][channels]. What has no height (a dense layer's output) is one row. SMOOTH is two
stages: along rows, and across them.
Deliberately not here: in which order rows are made (`schedule`), what is computed (`c_operators`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firmware_export.graph import Graph, Operator, Tensor, constant
from firmware_export.scaling import bilinear_blends, copied_index
from firmware_export.shapes import window_of, windowed
from optics_sim.errors import PrivcamError


@dataclass(frozen=True)
class Source:
    """A tensor that a stage reads and how many rows it has."""

    name: str
    height: int

    def rows(self, y: int) -> Sequence[int]:
        """Returns the rows that row `y` of the stage reads; those outside the frame are left out."""
        raise NotImplementedError

    def needed(self, y: int) -> int:
        """Returns how many rows have to exist before row `y` of the stage is made."""
        return max(self.rows(y), default=-1) + 1


@dataclass(frozen=True)
class SameRow(Source):
    """Row y reads row y."""

    def rows(self, y: int) -> Sequence[int]:
        """Returns [y]."""
        return [y]


@dataclass(frozen=True)
class AllRows(Source):
    """Every row reads the whole tensor, which therefore lies in one piece."""

    def rows(self, y: int) -> Sequence[int]:
        """Returns every row."""
        return range(self.height)


@dataclass(frozen=True)
class Window(Source):
    """Row y reads `count` rows from y * stride - above on, `dilation` apart. Where `held`, the border's row is repeated."""

    count: int = 1
    stride: int = 1
    dilation: int = 1
    above: int = 0
    held: bool = False

    @property
    def reach(self) -> int:
        """The place after the last row that row 0 reads, were the frame endless."""
        return (self.count - 1) * self.dilation + 1 - self.above

    def leaves(self, height: int) -> bool:
        """Returns whether a row of a stage of this height looks beyond the frame."""
        return self.above > 0 or (height - 1) * self.stride + self.reach > self.height

    def rows(self, y: int) -> Sequence[int]:
        """Returns the rows under the window."""
        places = [y * self.stride - self.above + place * self.dilation for place in range(self.count)]
        if self.held:
            return [min(max(place, 0), self.height - 1) for place in places]
        return [place for place in places if 0 <= place < self.height]

    def needed(self, y: int) -> int:
        """Returns how many rows have to exist, up to the window's last place whether or not it is inside."""
        return min(max(y * self.stride + self.reach, 0), self.height)


@dataclass(frozen=True)
class Listed(Source):
    """Row y reads what a table says: one row, or two that are blended."""

    table: tuple[tuple[int, ...], ...] = ()

    def rows(self, y: int) -> Sequence[int]:
        """Returns the table's entry."""
        return self.table[y]


@dataclass(frozen=True)
class Stage:
    """One operator, or one of SMOOTH's two halves: what it writes, and what each row reads."""

    name: str
    operator: Operator
    height: int
    line: int
    """Values in a row."""
    width_bytes: int
    """Bytes of a value."""
    sources: tuple[Source, ...]

    @property
    def line_bytes(self) -> int:
        """Bytes of a row."""
        return self.line * self.width_bytes

    @property
    def window(self) -> Window:
        """The window that the stage moves. Raises PrivcamError where it reads otherwise."""
        (source,) = self.sources
        if not isinstance(source, Window):
            raise PrivcamError("this stage moves no window", got=self.operator.kind)
        return source


def along_name(operator: Operator) -> str:
    """Returns the name of SMOOTH's first half, which is no tensor of the graph."""
    return f"{operator.output}_along"


def height_of(tensor: Tensor) -> int:
    """Returns how many rows a tensor has."""
    return tensor.shape[1] if len(tensor.shape) == 4 else 1


def stages(graph: Graph) -> list[Stage]:
    """Returns the stages in the order of the graph's operators."""
    return [stage for operator in graph.operators for stage in _stages_of(graph, operator)]


def _stages_of(graph: Graph, operator: Operator) -> list[Stage]:
    output, name = graph[operator.output], operator.output
    height = height_of(output)
    line, width = int(np.prod(output.shape)) // height, output.size_bytes // int(np.prod(output.shape))
    if operator.kind != "SMOOTH":
        return [Stage(name, operator, height, line, width, _sources(graph, operator))]
    count = len(constant(graph, operator.inputs[1]))
    along = Stage(along_name(operator), operator, height, line, width, (SameRow(operator.inputs[0], height),))
    down = Window(along.name, height, count=count, above=count // 2, held=True)
    return [along, Stage(name, operator, height, line, width, (down,))]


def _sources(graph: Graph, operator: Operator) -> tuple[Source, ...]:
    tensors, output = [graph[name] for name in operator.inputs], graph[operator.output]
    name, height = operator.inputs[0], height_of(tensors[0])
    match operator.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D" | "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            (_, above), _ = windowed(operator, tensors)
            return (Window(name, height, window_of(operator, tensors)[0], operator.stride[0], operator.dilation[0], above),)
        case "PAD":
            return (Window(name, height, above=operator.pads[0][0]),)
        case "MIRROR_PAD" | "EDGE_PAD" | "RESIZE_NEAREST_NEIGHBOR":
            return (Listed(name, height, tuple((row,) for row in copied_index(operator, height, output.shape[1], 0))),)
        case "RESIZE_BILINEAR":
            blends = bilinear_blends(height, output.shape[1], operator.half_pixel)
            return (Listed(name, height, tuple((blend.lower, blend.upper) for blend in blends)),)
        case "FULLY_CONNECTED" | "MEAN" | "RESHAPE":
            return (AllRows(name, height),)
    read = [(tensor, source) for tensor, source in zip(tensors, operator.inputs, strict=True) if tensor.data is None]
    return tuple(_pair_source(source, height_of(tensor), height_of(output)) for tensor, source in read)


def _pair_source(name: str, height: int, wanted: int) -> Source:
    return SameRow(name, height) if height == wanted else AllRows(name, height)

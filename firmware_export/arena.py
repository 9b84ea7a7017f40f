"""Where intermediate arrays lie in one block of memory: each where it is free for as long as it is needed.

Largest first, each at the lowest place that no array alive at the same time covers.
Deliberately not here: inputs and outputs (the caller's memory) and what a state keeps between frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from firmware_export.graph import Graph, Operator, constant

ALIGNMENT = 4


@dataclass(frozen=True)
class Block:
    """An array that is written at step `first` and last read at step `last`."""

    name: str
    size: int
    first: int
    last: int


def scratch_name(operator: Operator) -> str:
    """Returns the name of the memory that an operator uses while it runs."""
    return f"{operator.output}_scratch"


def blocks(graph: Graph) -> list[Block]:
    """Returns every array that needs memory of ours, in the order in which they are written."""
    end = len(graph.operators)
    kept = {state.after for state in graph.states}
    found = []
    for index, operator in enumerate(graph.operators):
        readers = [place for place, other in enumerate(graph.operators) if operator.output in other.inputs]
        if operator.output not in graph.outputs:
            last = end if operator.output in kept else max(readers, default=index)
            found.append(Block(operator.output, graph[operator.output].size_bytes, index, last))
        if operator.kind == "SMOOTH":
            _, _, width, channels = graph[operator.output].shape
            found.append(Block(scratch_name(operator), 2 * width * channels * len(constant(graph, operator.inputs[1])), index, index))
    return found


def placed(wanted: Sequence[Block]) -> tuple[dict[str, int], int]:
    """Returns (offset of every block in bytes, size of the whole)."""
    done: list[tuple[Block, int]] = []
    for block in sorted(wanted, key=lambda block: (-block.size, block.first, block.name)):
        done.append((block, _lowest(block, done)))
    size = max((offset + block.size for block, offset in done), default=0)
    return {block.name: offset for block, offset in done}, _aligned(size)


def _lowest(block: Block, done: Sequence[tuple[Block, int]]) -> int:
    offset = 0
    together = [(other, place) for other, place in done if other.first <= block.last and block.first <= other.last]
    for other, place in sorted(together, key=lambda pair: pair[1]):
        if offset + block.size <= place:
            break
        offset = max(offset, _aligned(place + other.size))
    return offset


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT

"""Where intermediate arrays lie in one block of memory: each where it is free for as long as it is needed.

Largest first, each at the lowest place that no array alive at the same time covers.
Deliberately not here: which arrays there are and when they are needed (`schedule`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 4


@dataclass(frozen=True)
class Block:
    """An array that is written at step `first` and last read at step `last`."""

    name: str
    size: int
    first: int
    last: int


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

"""In which order rows are made, how many of each tensor are held, and where they lie.

A stage makes a row when another asks for it, so that producers run only as far ahead as windows reach. The generated C asks
in exactly the order that is played through here: what is held follows from it and is exact. A tensor of `targets` is made
before whatever comes later in the list; one that is small is worth it where it parts a network, because the rows before it
and those after it then share their memory.

    whole      every tensor is a target: operator after operator
    streamed   as few targets as give the smallest arena, found one at a time

A state's next value is copied row by row into the state where nothing reads the old row any more; else it is held to the end.
Deliberately not here: which rows a stage reads (`stages`), how arrays share memory (`arena`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from firmware_export.arena import Block, placed
from firmware_export.graph import Graph, State
from firmware_export.stages import SameRow, Stage, height_of, stages

SMALL_BYTES = 32 * 1024
"""A network whose arena is no larger than this is not streamed unless that is asked for: operator after operator is simpler."""
END = 1 << 62
Targets = tuple[tuple[str, ...], ...]


class Timeline:
    """Rows made on demand: when each is written and last read. One step of the clock is one row."""

    def __init__(self, made_here: Sequence[Stage]) -> None:
        self.stages = {stage.name: stage for stage in made_here}
        self.written: dict[str, list[int]] = {name: [] for name in self.stages}
        self.read: dict[str, dict[int, int]] = {source.name: {} for stage in made_here for source in stage.sources}
        self.clock = 0

    def play(self, targets: Targets) -> None:
        """Makes every target; those of one entry in turns, each as far as the others."""
        for names in targets:
            most = max(self.stages[name].height for name in names)
            for part in range(1, most + 1):
                for name in names:
                    self.until(name, part * self.stages[name].height // most)

    def until(self, name: str, end: int) -> None:
        """Makes rows of a stage until `end` of them exist."""
        stage, written = self.stages[name], self.written[name]
        while len(written) < end:
            y = len(written)
            for source in stage.sources:
                if source.name in self.stages:
                    self.until(source.name, source.needed(y))
            self.clock += 1
            for source in stage.sources:
                self.read[source.name].update(dict.fromkeys(source.rows(y), self.clock))
            written.append(self.clock)

    def held(self, name: str) -> int:
        """Returns how many rows of a tensor are held: none is overwritten before it was read for the last time."""
        written = self.written[name]
        return max((bisect_left(written, last) - row for row, last in self.read.get(name, {}).items()), default=1)

    def last(self, name: str) -> int:
        """Returns when a tensor is needed for the last time."""
        return max([self.written[name][-1], *self.read.get(name, {}).values()])


@dataclass(frozen=True)
class Plan:
    """What is made when, and where it lies."""

    graph: Graph
    targets: Targets
    stages: tuple[Stage, ...]
    blocks: tuple[Block, ...]
    held: dict[str, int]
    """Rows of each stage's output that are held at a time."""
    in_place: frozenset[str]
    """States that are replaced row by row."""

    @cached_property
    def memory(self) -> tuple[dict[str, int], int]:
        """(offset of every array in bytes, size of the arena)."""
        return placed(self.blocks)

    @property
    def arena_bytes(self) -> int:
        """Bytes of memory for everything between input, output and states."""
        return self.memory[1]


def kept_name(state: State) -> str:
    """Returns the name of the stage that replaces a state row by row."""
    return f"{state.before}_kept"


def planned(graph: Graph, streamed: bool | None = None) -> Plan:
    """Returns the plan of a graph: streamed or not, or as is better where that is None."""
    if streamed:
        return _streamed(graph)
    whole = _plan(graph, tuple((operator.output,) for operator in graph.operators))
    if streamed is False or whole.arena_bytes <= SMALL_BYTES:
        return whole
    return min(whole, _streamed(graph), key=lambda plan: plan.arena_bytes)


def _streamed(graph: Graph) -> Plan:
    """Returns the plan with targets added for as long as one more makes the arena smaller."""
    order = [operator.output for operator in graph.operators]
    best, parting = _ended(graph, ()), set[str]()
    while True:
        found = [(_ended(graph, tuple(name for name in order if name in {*parting, more})), more) for more in order
                 if more not in parting and graph[more].size_bytes < best.arena_bytes]
        plan, name = min(found, key=lambda pair: pair[0].arena_bytes, default=(best, ""))
        if plan.arena_bytes >= best.arena_bytes:
            return best
        best, parting = plan, {*parting, name}


def _ended(graph: Graph, parting: tuple[str, ...]) -> Plan:
    """Returns the plan with these targets, then everything that nothing in the graph reads, in turns."""
    read = {name for operator in graph.operators for name in operator.inputs}
    afters = {state.after for state in graph.states}
    ends = [operator.output for operator in graph.operators
            if operator.output not in read or operator.output in graph.outputs or operator.output in afters]
    return _plan(graph, (*((name,) for name in parting), tuple(ends)), frozenset(state.before for state in graph.states))


def _plan(graph: Graph, targets: Targets, in_place: frozenset[str] = frozenset()) -> Plan:
    states = [state for state in graph.states if state.before in in_place]
    made_here = [*stages(graph), *(_keeping(graph, state) for state in states)]
    timeline = Timeline(made_here)
    timeline.play((*targets[:-1], (*targets[-1], *map(kept_name, states))))
    if late := {state.before for state in states if _read_after(timeline, state)}:
        return _plan(graph, targets, in_place - late)
    for state in graph.states:
        if state.before not in in_place:
            timeline.read.setdefault(state.after, {}).update(dict.fromkeys(range(height_of(graph[state.after])), END))
    own = [stage for stage in stages(graph) if stage.name not in graph.outputs]
    held = {stage.name: timeline.held(stage.name) for stage in own}
    blocks = [Block(stage.name, held[stage.name] * stage.line_bytes, timeline.written[stage.name][0], timeline.last(stage.name))
              for stage in own]
    ended = (*targets[:-1], (*targets[-1], *map(kept_name, states)))
    return Plan(graph, ended, tuple(made_here), tuple(blocks), held, in_place)


def _keeping(graph: Graph, state: State) -> Stage:
    after = next(stage for stage in stages(graph) if stage.name == state.after)
    return Stage(kept_name(state), after.operator, after.height, after.line, after.width_bytes, (SameRow(state.after, after.height),))


def _read_after(timeline: Timeline, state: State) -> bool:
    """Returns whether an old row is read after it was replaced."""
    replaced = timeline.written[kept_name(state)]
    return any(last > replaced[row] for row, last in timeline.read[state.before].items())

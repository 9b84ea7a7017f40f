"""Rows in C: where each lies, the functions that make them on demand, and the order in which a frame asks for them.

Deliberately not here: how a row is computed (`c_operators`), what is held (`schedule`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from firmware_export.c_operators import window_end
from firmware_export.c_text import TYPES, WIDTH, array
from firmware_export.graph import Graph, State, constant
from firmware_export.schedule import Plan
from firmware_export.stages import AllRows, Listed, Source, Stage, Window, height_of

ELEMENTWISE = ("ADD", "SUB", "MUL", "CONCATENATION")


def row_functions(plan: Plan) -> Iterator[str]:
    """Yields a function for every array: NAME_row(y) is the address of its row y."""
    graph = plan.graph
    for name, place in _callers(graph).items():
        yield _row(name, "const int8_t" if name in graph.inputs else "int8_t", place, _line(graph, name))
    for state in graph.states:
        kind = TYPES[graph[state.before].dtype]
        yield _row(state.before, kind, f"state_{state.before}", _line(graph, state.before))
    for name in _constants(graph):
        yield array("int8_t", f"{name}_values", constant(graph, name).ravel())
        yield _row(name, "const int8_t", f"{name}_values", _line(graph, name))
    offsets, _ = plan.memory
    for stage in plan.stages:
        if stage.name in plan.held:
            wide = stage.width_bytes == 2
            offset, held = offsets[stage.name] // stage.width_bytes, plan.held[stage.name]
            place = _from("arena" if wide else "(int8_t *)arena", offset)
            yield _row(stage.name, "int16_t" if wide else "int8_t", place, stage.line, held if held < stage.height else 0)


def counters(plan: Plan) -> str:
    """Returns the members that count the rows of each stage."""
    return textwrap.fill(", ".join(stage.name for stage in plan.stages), WIDTH, initial_indent="    int16_t ", subsequent_indent="        ")


def makers(plan: Plan, lines: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yields a function for every stage: NAME_until(end) makes its rows; `lines` are what makes row y."""
    made_here = {stage.name for stage in plan.stages}
    for stage in plan.stages:
        asked = [f"{source.name}_until({_needed(stage, source)});" for source in stage.sources if source.name in made_here]
        body = "\n".join(f"        {line}" for line in (f"const int32_t y = made.{stage.name};", *asked, *lines[stage.name]))
        yield (f"/* {_title(plan, stage)} */\nstatic void {stage.name}_until(int32_t end)\n{{\n"
               f"    for (; made.{stage.name} < end; made.{stage.name}++) {{\n{body}\n    }}\n}}")


def steps(plan: Plan) -> Iterator[str]:
    """Yields what a frame asks for, in this order."""
    heights = {stage.name: stage.height for stage in plan.stages}
    for names in plan.targets:
        most = max(heights[name] for name in names)
        if len(names) == 1:
            yield f"    {names[0]}_until({most});"
            continue
        yield f"    for (int32_t part = 1; part <= {most}; part++) {{"
        for name in names:
            yield f"        {name}_until({'part' if heights[name] == most else f'part * {heights[name]} / {most}'});"
        yield "    }"


def keeping(stage: Stage, state: State) -> tuple[str, ...]:
    """Returns the line that replaces row y of a state."""
    return (f"memcpy({state.before}_row(y), {state.after}_row(y), {stage.line_bytes});",)


def _title(plan: Plan, stage: Stage) -> str:
    held = plan.held.get(stage.name, stage.height)
    kind = stage.operator.kind if stage.name in plan.held or stage.name in plan.graph.outputs else "the next frame's state"
    return f"{kind}: {stage.height} rows of {stage.line}, {'all' if held == stage.height else held} held"


def _callers(graph: Graph) -> dict[str, str]:
    """Returns where inputs and outputs lie: in the caller's memory, one after another."""
    found = {}
    for base, names in (("frame_in", graph.inputs), ("code_out", graph.outputs)):
        start = 0
        for name in names:
            found[name] = _from(base, start)
            start += graph[name].size_bytes
    return found


def _from(base: str, offset: int) -> str:
    return f"{base} + {offset}" if offset else base


def _constants(graph: Graph) -> list[str]:
    """Returns the constants that an operator reads as a frame."""
    read = dict.fromkeys(name for operator in graph.operators if operator.kind in ELEMENTWISE for name in operator.inputs)
    return [name for name in read if graph[name].data is not None]


def _line(graph: Graph, name: str) -> int:
    return int(np.prod(graph[name].shape)) // height_of(graph[name])


def _row(name: str, kind: str, place: str, line: int, held: int = 0) -> str:
    index = f"y % {held}" if held else "y"
    return f"static {kind} *{name}_row(int32_t y)\n{{\n    return {place} + {index} * {line};\n}}"


def _needed(stage: Stage, source: Source) -> str:
    match source:
        case Window():
            return window_end(source, stage.height)
        case AllRows():
            return str(source.height)
        case Listed() if stage.operator.kind == "RESIZE_BILINEAR":
            return f"{stage.name}_rows[y].upper + 1"
        case Listed():
            return f"{stage.name}_rows[y] + 1"
    return "y + 1"

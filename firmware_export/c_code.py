"""A graph as readable C99: model.h, model.c, kernels.h, kernels.c.

No library beyond stdint and string, no memory from the heap, no float, one arena; the design's digest is a string inside.
`model_step` reads one frame and writes one code; while the state is not that of a frame it writes zeros and returns 0, so
that a difference against black, which is a picture, never leaves the device.
Rows are made when they are asked for; a tensor holds the rows that are still needed, in a ring. See `schedule`.
Deliberately not here: start-up code, ports and packets of a board; `c_host` compiles and runs these files on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import numpy as np

from firmware_export.c_operators import Call, emitted
from firmware_export.c_rows import counters, keeping, makers, row_functions, steps
from firmware_export.c_text import TYPES
from firmware_export.check import require
from firmware_export.graph import Graph, State, Tensor
from firmware_export.schedule import Plan, kept_name, planned

HEADER = """/* {name}: an integer encoder. Generated; do not edit.
 *
 * design {design}
 * graph  {graph}
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_NAME "{name}"
#define MODEL_DESIGN "{design}"
#define MODEL_GRAPH "{graph}"
#define MODEL_INPUT_BYTES {inputs}
#define MODEL_OUTPUT_BYTES {outputs}
#define MODEL_ARENA_BYTES {arena}
#define MODEL_STATE_BYTES {states}
#define MODEL_WARMUP {warmup}

extern const char model_digest[];

/* Forgets every earlier frame. Call it once before the first one, too. */
void model_reset(void);

/* Writes the code of a frame and returns 1; for the first MODEL_WARMUP frames it writes zeros and returns 0.
 * `input`: {input_list}. `output`: {output_list}. They may not overlap. */
int model_step(const int8_t *input, int8_t *output);

#endif
"""
BODY = """/* {name}: constants, and the order in which rows are made. Generated; do not edit. */
#include "model.h"

#include <string.h>

#include "kernels.h"

const char model_digest[] = "privcam design " MODEL_DESIGN " graph " MODEL_GRAPH;

{constants}

{memory}

/* How many rows of each array exist. */
static struct {{
{counters};
}} made;

/* Where row y of each array lies; y % n: the latest n rows are held. */
{rows}

/* Each makes rows until `end` of them exist, and asks for the rows that they read. */

{makers}

void model_reset(void)
{{
{resets}
}}

int model_step(const int8_t *input, int8_t *output)
{{
    frame_in = input;
    code_out = output;
    memset(&made, 0, sizeof made);
{steps}
    return 1;
}}
"""
ARENA = "/* 16-bit elements, so that both kinds of array may lie in it. */\nstatic int16_t arena[MODEL_ARENA_BYTES / 2];"
ENDS = "static const int8_t *frame_in;\nstatic int8_t *code_out;"
WITHHELD = """    if (frames_seen < MODEL_WARMUP) {
        frames_seen++;
        memset(output, 0, MODEL_OUTPUT_BYTES);
        return 0;
    }"""


def c_files(graph: Graph, streamed: bool | None = None) -> dict[str, bytes]:
    """Returns the four files by name. Raises PrivcamError for a graph that cannot run on a device.

    `streamed`: False runs operator after operator on whole arrays; True holds as few rows as it can; None does the second
    where the first needs more than `schedule.SMALL_BYTES`.
    """
    require(graph)
    plan = planned(graph, streamed)
    calls = {stage.name: emitted(graph, stage) for stage in plan.stages if stage.name not in _kept(plan)}
    files = {"model.h": _header(graph, plan.arena_bytes), "model.c": _body(plan, calls), "kernels.h": _kernel("kernels.h"),
             "kernels.c": kernels_c({name for call in calls.values() for name in call.kernels})}
    return {name: text.encode() for name, text in files.items()}


def kernels_c(names: set[str]) -> str:
    """Returns kernels.c with the kernels that are asked for."""
    parts = [_kernel(f"{name}.c") for name in ("simd", *sorted(names))]
    head = '/* The integer kernels that this network uses. */\n#include "kernels.h"\n\n#include <string.h>\n'
    return "\n".join([head, *parts])


def _header(graph: Graph, arena: int) -> str:
    return HEADER.format(name=graph.name, design=graph.design or "not given", graph=graph.digest, arena=arena, warmup=graph.warmup,
                         inputs=sum(graph[name].size_bytes for name in graph.inputs),
                         outputs=sum(graph[name].size_bytes for name in graph.outputs),
                         states=sum(graph[state.before].size_bytes for state in graph.states),
                         input_list=", ".join(_described(graph, graph.inputs)), output_list=", ".join(_described(graph, graph.outputs)))


def _described(graph: Graph, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f"{name} {list(graph[name].shape[1:])}"


def _kept(plan: Plan) -> dict[str, State]:
    return {kept_name(state): state for state in plan.graph.states if state.before in plan.in_place}


def _body(plan: Plan, calls: dict[str, Call]) -> str:
    graph, kept = plan.graph, _kept(plan)
    states = [graph[state.before] for state in graph.states]
    memory = [ENDS, *([ARENA] if plan.arena_bytes else []), *(["static uint32_t frames_seen;"] if graph.warmup else [])]
    memory += [f"static {TYPES[tensor.dtype]} state_{tensor.name}[{int(np.prod(tensor.shape))}];" for tensor in states]
    resets = ["    frames_seen = 0;"] if graph.warmup else []
    resets += [f"    {_filled(tensor)}" for tensor in states]
    lines = {stage.name: keeping(stage, kept[stage.name]) if stage.name in kept else calls[stage.name].lines for stage in plan.stages}
    whole = [f"    memcpy(state_{state.before}, {state.after}_row(0), sizeof state_{state.before});"
             for state in graph.states if state.before not in plan.in_place]
    return BODY.format(name=graph.name, constants="\n".join(part for call in calls.values() for part in call.constants),
                       memory="\n".join(memory), counters=counters(plan),
                       rows="\n\n".join(row_functions(plan)), makers="\n\n".join(makers(plan, lines)), resets="\n".join(resets),
                       steps="\n".join([*steps(plan), *whole, *([WITHHELD] if graph.warmup else [])]))


def _filled(tensor: Tensor) -> str:
    return f"memset(state_{tensor.name}, {tensor.zero_point}, sizeof state_{tensor.name});"


def _kernel(name: str) -> str:
    return (resources.files("firmware_export") / "kernels" / name).read_text(encoding="utf-8")

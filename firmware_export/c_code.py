"""A graph as readable C99: model.h, model.c, kernels.h, kernels.c.

No library beyond stdint and string, no memory from the heap, no float, one arena; the design's digest is a string inside.
`model_step` reads one frame and writes one code; while the state is not that of a frame it writes zeros and returns 0, so
that a difference against black, which is a picture, never leaves the device.
Deliberately not here: start-up code, ports and packets of a board; `c_host` compiles and runs these files on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import numpy as np

from firmware_export.arena import blocks, placed
from firmware_export.c_operators import Call, emitted
from firmware_export.check import require
from firmware_export.graph import Graph, Tensor

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
BODY = """/* {name}: constants and order of the kernels. Generated; do not edit. */
#include "model.h"

#include <string.h>

#include "kernels.h"

const char model_digest[] = "privcam design " MODEL_DESIGN " graph " MODEL_GRAPH;

{constants}

{memory}

void model_reset(void)
{{
{resets}
}}

int model_step(const int8_t *input, int8_t *output)
{{
{calls}
}}
"""
ARENA = "/* 16-bit elements, so that both kinds of array may lie in it. */\nstatic int16_t arena[MODEL_ARENA_BYTES / 2];"
WITHHELD = """    if (frames_seen < MODEL_WARMUP) {
        frames_seen++;
        memset(output, 0, MODEL_OUTPUT_BYTES);
        return 0;
    }"""
TYPES = {"int8": "int8_t", "int16": "int16_t"}


def c_files(graph: Graph) -> dict[str, bytes]:
    """Returns the four files by name. Raises PrivcamError for a graph that cannot run on a device."""
    require(graph)
    offsets, arena = placed(blocks(graph))
    place = places(graph, offsets)
    calls = [emitted(graph, operator, place) for operator in graph.operators]
    files = {"model.h": _header(graph, arena), "model.c": _body(graph, calls, place, arena),
             "kernels.h": _kernel("kernels.h"), "kernels.c": kernels_c({name for call in calls for name in call.kernels})}
    return {name: text.encode() for name, text in files.items()}


def kernels_c(names: set[str]) -> str:
    """Returns kernels.c with the kernels that are asked for."""
    parts = [_kernel(f"{name}.c") for name in ("rounding", *sorted(names))]
    head = '/* The integer kernels that this network uses. */\n#include "kernels.h"\n\n#include <string.h>\n'
    return "\n".join([head, *parts])


def places(graph: Graph, offsets: dict[str, int]) -> dict[str, str]:
    """Returns the C expression of every array: in the arena, in the caller's memory, or a state's own."""
    found = {}
    for name, offset in offsets.items():
        wide = name not in graph.by_name or graph[name].dtype == "int16"
        found[name] = f"arena + {offset // 2}" if wide else f"(int8_t *)arena + {offset}"
    for base, names in (("input", graph.inputs), ("output", graph.outputs)):
        start = 0
        for name in names:
            found[name] = f"{base} + {start}"
            start += graph[name].size_bytes
    return {**found, **{state.before: f"state_{state.before}" for state in graph.states}}


def _header(graph: Graph, arena: int) -> str:
    return HEADER.format(name=graph.name, design=graph.design or "not given", graph=graph.digest, arena=arena, warmup=graph.warmup,
                         inputs=sum(graph[name].size_bytes for name in graph.inputs),
                         outputs=sum(graph[name].size_bytes for name in graph.outputs),
                         states=sum(graph[state.before].size_bytes for state in graph.states),
                         input_list=", ".join(_described(graph, graph.inputs)), output_list=", ".join(_described(graph, graph.outputs)))


def _described(graph: Graph, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield f"{name} {list(graph[name].shape[1:])}"


def _body(graph: Graph, calls: list[Call], place: dict[str, str], arena: int) -> str:
    states = [graph[state.before] for state in graph.states]
    memory = [ARENA] if arena else []
    memory += ["static uint32_t frames_seen;"] if graph.warmup else []
    memory += [f"static {TYPES[tensor.dtype]} state_{tensor.name}[{int(np.prod(tensor.shape))}];" for tensor in states]
    resets = ["    frames_seen = 0;"] if graph.warmup else []
    resets += [f"    {_filled(tensor)}" for tensor in states]
    steps = [f"    {line}" for call in calls for line in call.calls]
    steps += [f"    memcpy(state_{state.before}, {place[state.after]}, sizeof state_{state.before});" for state in graph.states]
    steps += [WITHHELD] if graph.warmup else []
    return BODY.format(name=graph.name, constants="\n".join(part for call in calls for part in call.constants),
                       memory="\n".join(memory), resets="\n".join(resets), calls="\n".join([*steps, "    return 1;"]))


def _filled(tensor: Tensor) -> str:
    return f"memset(state_{tensor.name}, {tensor.zero_point}, sizeof state_{tensor.name});"


def _kernel(name: str) -> str:
    return (resources.files("firmware_export") / "kernels" / name).read_text(encoding="utf-8")

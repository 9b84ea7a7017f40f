"""A generated network as the encoder of the firmware project: the network's C files, and the two that join them to it."""

from __future__ import annotations

from firmware_export.c_code import c_files
from firmware_export.graph import Graph
from optics_sim.errors import PrivcamError

SIZES = """/* Generated; do not edit. */
#include "model.h"

#define ENCODER_FRAME_BYTES ((unsigned)MODEL_INPUT_BYTES)
#define ENCODER_CODE_BYTES ((unsigned)MODEL_OUTPUT_BYTES)
"""
LABEL_SIZES = """/* Generated; do not edit. One byte leaves: the number of the class. */
#include "model.h"

#define ENCODER_FRAME_BYTES ((unsigned)MODEL_INPUT_BYTES)
#define ENCODER_CODE_BYTES 1u
"""
ENCODER = """/* The network of model.c as the firmware's encoder. Generated; do not edit. */
#include "encoder.h"

/* {design} */
const uint8_t encoder_digest[32] = {{
{digest}}};

void encoder_reset(void)
{{
    model_reset();
}}

{encode}"""
CODE = """int encoder_encode(const int8_t *frame, int8_t *code)
{
    return model_step(frame, code) ? 0 : 1;
}
"""
LABEL = """static int8_t scores[MODEL_OUTPUT_BYTES];

/* Writes the number of the first class with the highest score. The scores stay here. */
int encoder_encode(const int8_t *frame, int8_t *code)
{
    int best = 0;
    if (!model_step(frame, scores)) {
        return 1;
    }
    for (int i = 1; i < MODEL_OUTPUT_BYTES; i++) {
        if (scores[i] > scores[best]) {
            best = i;
        }
    }
    code[0] = (int8_t)best;
    return 0;
}
"""
MOST_CLASSES = 128
_PER_LINE = 12


def firmware_files(graph: Graph, *, label: bool = False) -> dict[str, bytes]:
    """Returns the C files of an encoder folder for `images.build_image`, by name; with `label` the code is the highest score's number.

    Raises PrivcamError for a graph that cannot run on a device, whose design has no digest, or whose scores are too many.
    """
    scores = sum(graph[name].size_bytes for name in graph.outputs)
    if label and scores > MOST_CLASSES:
        raise PrivcamError("a label is one byte", got=f"{scores} scores", allowed=f"at most {MOST_CLASSES}",
                           todo="export codes, or fewer classes")
    try:
        digest = bytes.fromhex(graph.design)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise PrivcamError("firmware names its design by digest", got=graph.design or "no digest", allowed="64 hexadecimal digits",
                           todo="export from a design, not from a bare network")
    lines = [digest[start:start + _PER_LINE] for start in range(0, len(digest), _PER_LINE)]
    table = "".join(f"    {', '.join(f'0x{byte:02x}' for byte in line)},\n" for line in lines)
    source = ENCODER.format(design=f"design {graph.design}", digest=table, encode=LABEL if label else CODE)
    joined = {"encoder_sizes.h": LABEL_SIZES if label else SIZES, "encoder.c": source}
    return {**c_files(graph), **{name: text.encode() for name, text in joined.items()}}

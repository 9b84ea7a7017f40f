"""The integer readout of a design as C99: raw rows in, as a sensor gives them, the encoder's int8 frame out.

It holds one row of sums, never a raw frame. What it computes is `optics_sim.sensor.readout`, bit for bit.
Deliberately not here: the network behind it (`c_code`); getting rows from a sensor.
"""

from __future__ import annotations

import numpy as np

from firmware_export.c_text import array
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.sensor.readout import selected

LARGEST_RAW = 65535
HEADER = """/* From raw rows to the encoder's frame. Generated; do not edit.
 *
 * design {design}
 * The crop begins at row {top}, column {left} of the sensor; {bin_rows} x {bin_columns} raw pixels make one of the frame.
 */
#ifndef READOUT_H
#define READOUT_H

#include <stdint.h>

#define READOUT_RAW_ROWS {raw_rows}
#define READOUT_RAW_COLUMNS {raw_columns}
#define READOUT_FRAME_BYTES {frame}

/* Begins a frame; what was added of another is forgotten. */
void readout_begin(void);

/* Adds the next raw row of the crop, READOUT_RAW_COLUMNS pixels, in sensor order. Returns 1 when `frame` is whole, else 0. */
int readout_row(const uint16_t *raw, int8_t *frame);

#endif
"""
BODY = """/* From raw rows to the encoder's frame. Generated; do not edit. */
#include "readout.h"

#include <string.h>

#define BIN_ROWS {bin_rows}
#define BIN_COLUMNS {bin_columns}
#define COLUMNS {columns}
#define ROWS {rows}
#define BLACK_LEVEL {black}
#define SHIFT {shift}
#define HALF {half}

/* Which pixels of a 2 x 2 tile of the crop are summed. */
{used}
static int32_t sums[COLUMNS];
static int rows_seen;

void readout_begin(void)
{{
    rows_seen = 0;
    memset(sums, 0, sizeof sums);
}}

static void write_row(int row, int8_t *frame)
{{
    for (int column = 0; column < COLUMNS; column++) {{
        const int32_t lifted = sums[column] + HALF;
        const int32_t level = lifted <= 0 ? 0 : lifted >> SHIFT;
        frame[{place}] = (int8_t)((level > 255 ? 255 : level) - 128);
    }}
    memset(sums, 0, sizeof sums);
}}

int readout_row(const uint16_t *raw, int8_t *frame)
{{
    const uint8_t *use = used + 2 * (rows_seen % 2);
    int place = 0;
    for (int column = 0; column < COLUMNS; column++) {{
        for (int inside = 0; inside < BIN_COLUMNS; inside++, place++) {{
            if (use[place % 2]) {{
                sums[column] += (int32_t)raw[place] - BLACK_LEVEL;
            }}
        }}
    }}
    rows_seen++;
    if (rows_seen % BIN_ROWS == 0) {{
        write_row(rows_seen / BIN_ROWS - 1, frame);
    }}
    if (rows_seen < READOUT_RAW_ROWS) {{
        return 0;
    }}
    rows_seen = 0;
    return 1;
}}
"""
STRAIGHT, TURNED = "row * COLUMNS + column", "(ROWS - 1 - row) * COLUMNS + COLUMNS - 1 - column"


def readout_files(design: CameraDesign) -> dict[str, bytes]:
    """Returns readout.h and readout.c. Raises PrivcamError for bins whose sum may pass 32 bits, and colours that a sensor lacks."""
    spec = design.readout
    (top, left, height, width), (rows, columns), half = spec.crop, spec.shape, (1 << spec.shift) >> 1
    most = spec.bin[0] * spec.bin[1] * max(LARGEST_RAW, spec.black_level_dn) + half
    if most > np.iinfo(np.int32).max:
        raise PrivcamError("the sum of a bin may pass 32 bits", got=f"bins of {spec.bin}, shift {spec.shift}",
                           allowed=f"sums up to {np.iinfo(np.int32).max}", todo="smaller bins")
    tile = selected(spec, design.sensor.cfa)[:2, :2]
    used = array("uint8_t", "used", np.resize(tile, (2, 2)).astype(int).ravel())
    header = HEADER.format(design=design.digest, top=top, left=left, bin_rows=spec.bin[0], bin_columns=spec.bin[1], raw_rows=height,
                           raw_columns=width, frame=rows * columns)
    body = BODY.format(bin_rows=spec.bin[0], bin_columns=spec.bin[1], columns=columns, rows=rows, black=spec.black_level_dn,
                       shift=spec.shift, half=half, used=used, place=TURNED if spec.turn else STRAIGHT)
    return {"readout.h": header.encode(), "readout.c": body.encode()}

"""BDQ as an integer graph: the normative integer encoder `optics_sim.encoders.bdq_int`, code for code.

    frame int8 -> SMOOTH -> blurred int16 (Q7), which is also the next frame's `previous`
    blurred - previous -> LEVELS -> code int8, 0 to levels - 1

Bound against floats. `bdq_int` proves |integer - float| < 1 code level before the quantiser, for every frame pair and every
kernel. Codes count thresholds below the value, so the two codes differ by the thresholds in a half-open interval shorter
than 1; thresholds are at least 2 apart, so it holds one at most: a code is off by one step at most, on every pixel.

Why the state is not int8. A blurred frame rounded to whole code levels is off by up to 1/2, two of them by up to 1. The
8-bit weights of a two-dimensional window are off by up to half of w_max / 127 each: together 255 * sum |w - w_8bit| for a
frame that flashes. That alone is `weight_error_codes`: 2.2 code levels at sigma 1 and a window of 5, and from 1 on, with
the rounding, the interval may hold two thresholds that are 2 apart. In Q7 with 14-bit weights there is no such case,
the kernel is separable (10 products a pixel, not 25), and the integer encoder stays the one that training was judged by.
Differences beyond 127 code levels need no saturation: the quantiser reads the whole difference.
Deliberately not here: BDQ without its quantiser, whose values are no codes of 8 bits.
"""

from __future__ import annotations

import numpy as np

from firmware_export.build import GraphBuilder
from firmware_export.graph import Graph
from optics_sim.encoders.bdq_int import integer_thresholds, integer_weights
from optics_sim.encoding import BdqEncoder
from optics_sim.errors import PrivcamError

NO_BLUR = np.array([1 << 14], np.int16)


def bdq_graph(spec: BdqEncoder, size: tuple[int, int], *, channels: int = 1, design: str = "", name: str = "bdq") -> Graph:
    """Returns the graph of a design's `encoder` table for frames of (height, width).

    Raises PrivcamError for an encoder that leaves the quantiser out.
    """
    if not spec.quantise:
        raise PrivcamError("this encoder's values are no 8-bit codes", got="quantise = false", allowed="quantise = true",
                           todo="turn the quantiser on in the design")
    builder = GraphBuilder(name, design=design)
    frame = builder.input("frame", (1, *size, channels))
    blurred = builder.smooth(frame, integer_weights(spec.sigma_px, spec.kernel_px) if spec.blur else NO_BLUR, "blurred")
    values = [blurred]
    if spec.difference:
        values.append(builder.state("previous", blurred))
        builder.keep("previous", blurred)
        builder.warmup = 1
    builder.output(builder.levels(values, integer_thresholds(spec.thresholds), "code"))
    return builder.build()


def weight_error_codes(sigma_px: float, kernel_px: int) -> float:
    """Returns by how many code levels 8-bit weights of the two-dimensional window may move a difference of two frames.

    The worst frame is bright where a weight is too large and dark where it is too small, and the next one is its negative.
    Each weight is rounded to the nearest of 127 steps of the largest, as a DEPTHWISE_CONV_2D would have it.
    """
    distance = np.arange(kernel_px) - kernel_px // 2
    line = np.exp(-0.5 * (distance / sigma_px) ** 2)
    weights = np.outer(line, line) / line.sum() ** 2
    step = weights.max() / 127
    return float(255 * np.abs(np.rint(weights / step) * step - weights).sum())

"""What an encoder costs: parameters and operations, as BDQ's paper counts them and counted in full.

A multiply and an add are two operations. Deliberately not here: seconds (`benchmarks/bdq.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from optics_sim.encoding import BdqEncoder

SOFT_FLOP_PER_THRESHOLD = 4  # subtract, scale, sigmoid (as one), add
COMPARISONS_OF_SEARCH = 4  # 16 levels by bisection


@dataclass(frozen=True)
class Cost:
    """Parameters, and operations for one clip."""

    parameters: int
    flop: float
    source: str


WU = Cost(1_300_000, 166.4e9, "Kumawat and Nagahara, table of parameters, size and FLOPs: Wu et al., 16 frames, published")
BDQ_PUBLISHED = Cost(16, 120.4e6, "the same table: BDQ, 16 x 224 x 224 x 3, published")


def bdq_parameters(spec: BdqEncoder) -> int:
    """Returns the number of learned numbers: sigma and the thresholds, of the parts that are on."""
    return int(spec.blur) + (spec.levels - 1) * int(spec.quantise)


def paper_cost(spec: BdqEncoder, frames: int, height: int, width: int, planes: int = 3) -> Cost:
    """Returns the cost as the paper counts it: the blur alone, as a direct 2-D window, for every frame.

    16 x 224 x 224 x 3 x 25 x 2 is the published 120.4 MFLOP.
    """
    values = frames * height * width * planes
    return Cost(bdq_parameters(spec), 2.0 * spec.kernel_px**2 * values * spec.blur, "blur only, direct 2-D window")


def full_cost(spec: BdqEncoder, frames: int, height: int, width: int, planes: int = 3, *, hard: bool = True) -> Cost:
    """Returns the cost of what runs: a separable blur, the difference, and the quantiser (a bisection, or the soft sum)."""
    per_frame = height * width * planes
    outputs = frames - spec.difference
    blur = 4.0 * spec.kernel_px * frames * per_frame * spec.blur
    quantiser = COMPARISONS_OF_SEARCH if hard else SOFT_FLOP_PER_THRESHOLD * (spec.levels - 1)
    rest = (int(spec.difference) + quantiser * spec.quantise) * outputs * per_frame
    return Cost(bdq_parameters(spec), blur + rest, "separable blur, difference, " + ("hard" if hard else "soft") + " quantiser")

"""The integer graph of a design's encoder, or every reason why it has none: one function for each kind of encoder.

Deliberately not here: networks with learned weights (`quantise` makes their graphs), and the recogniser behind the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from firmware_export.bdq_graph import bdq_graph
from firmware_export.build import GraphBuilder
from firmware_export.check import Problem
from firmware_export.graph import KINDS, Graph
from optics_sim.design import CameraDesign
from optics_sim.encoding import BdqEncoder, LowResolutionEncoder, PixelateEncoder
from optics_sim.errors import PrivcamError

Size = tuple[int, int]
NEVER: Mapping[str, tuple[str, str]] = {
    "readout": ("the code is the readout itself: nothing would be computed", "`--emit labels`, which exports the recogniser"),
    "blur": ("its values lie between code levels", 'kind = "bdq" with difference = false'),
    "noise": ("no integer kernel draws random numbers, and noise of a known seed can be taken off again", 'kind = "bdq"'),
    "motion_noise": ("no integer kernel for optical flow", 'kind = "bdq"'),
    "degrader": ("no integer kernel for instance norm", 'kind = "obfuscator"'),
}
"""Encoders that no device runs: why, and what to use instead."""


def problems(design: CameraDesign) -> list[Problem]:
    """Returns every reason why the design's encoder cannot be exported; none where it can."""
    spec, size = design.encoder, design.readout.shape
    if spec.kind in NEVER:
        return [Problem(f"encoder {spec.kind}", *NEVER[spec.kind])]
    return _PROBLEMS[spec.kind](spec, size)


def encoder_graph(design: CameraDesign) -> Graph:
    """Returns the graph of a design's encoder for its readout's frames. Raises PrivcamError with every problem."""
    if found := problems(design):
        raise PrivcamError("this encoder cannot be exported", got="; ".join(map(str, found)),
                           allowed=f"encoders of {', '.join(KINDS)}", todo="change what is named in the design, then export again")
    return _GRAPHS[design.encoder.kind](design.encoder, design.readout.shape, design.digest)


# --- one of each ----------------------------------------------------------------------------------
def _bdq(spec: BdqEncoder, size: Size, digest: str) -> Graph:
    return bdq_graph(spec, size, design=digest)


def _bdq_problems(spec: BdqEncoder, size: Size) -> list[Problem]:
    return [] if spec.quantise else [Problem("encoder bdq", "without its quantiser its values are no 8-bit codes", "quantise = true")]


def _low_resolution(spec: LowResolutionEncoder, size: Size, digest: str) -> Graph:
    builder = GraphBuilder("low_resolution", design=digest)
    builder.output(_means(builder, builder.input("frame", (1, *size, 1)), spec.factor, "code"))
    return builder.build()


def _low_resolution_problems(spec: LowResolutionEncoder, size: Size) -> list[Problem]:
    fits = spec.factor <= min(size)
    return [] if fits else [Problem("encoder low_resolution", f"no block of {spec.factor} fits into {size}", "a smaller factor")]


def _pixelate(spec: PixelateEncoder, size: Size, digest: str) -> Graph:
    builder = GraphBuilder("pixelate", design=digest)
    means = _means(builder, builder.input("frame", (1, *size, 1)), spec.block_px, "means")
    builder.output(builder.add("RESIZE_NEAREST_NEIGHBOR", [means], shape=(1, *size, 1), name="code"))
    return builder.build()


def _pixelate_problems(spec: PixelateEncoder, size: Size) -> list[Problem]:
    whole = size[0] % spec.block_px == size[1] % spec.block_px == 0
    return [] if whole else [Problem("encoder pixelate", f"blocks of {spec.block_px} are cut at the border of {size}",
                                     "a block_px that divides both sides")]


def _means(builder: GraphBuilder, frame: str, side: int, name: str) -> str:
    return builder.add("AVERAGE_POOL_2D", [frame], name=name, window=(side, side), stride=(side, side), padding="VALID")


_PROBLEMS: Mapping[str, Callable[[Any, Size], list[Problem]]] = {
    "bdq": _bdq_problems, "low_resolution": _low_resolution_problems, "pixelate": _pixelate_problems}
_GRAPHS: Mapping[str, Callable[[Any, Size, str], Graph]] = {"bdq": _bdq, "low_resolution": _low_resolution, "pixelate": _pixelate}

"""A trained float network as an integer graph: ranges from calibration frames, steps from ranges, and a report of what it costs.

    made = quantised(network, frames)      # network: optics_sim.learning.trace.traced(module, example)
    made.graph, made.report

Weights are symmetric, one scale for each output channel; relu is fused; a border is left to the convolution where TFLite's SAME
is what torch padded. The readout's codes go in as they are: input step 1.
Deliberately not here: steps and zero points (`optics_sim.network_scales`), operators (`quantised_operators`), ranges (`ranges`).
Reference: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.check import INSTEAD, Problem
from firmware_export.cost import GraphCost, graph_cost
from firmware_export.float_run import run
from firmware_export.graph import KINDS, Graph
from firmware_export.int8 import Reference
from firmware_export.quantised_operators import graph_of
from firmware_export.ranges import observed
from optics_sim.errors import PrivcamError
from optics_sim.network import EXPORTED, FloatNetwork
from optics_sim.network_scales import Plan, Range, border_values, planned

Clip = Mapping[str, NDArray[np.int8]]
HELD_OUT_EVERY = 5
"""Where no frames are held out by the caller, every fifth is; of a network with a state, the last fifth."""


@dataclass(frozen=True)
class OutputError:
    """How far the integer graph's output is from the float network's on held-out frames, in the output's own unit."""

    mean: float
    largest: float
    step: float
    snr_db: float


@dataclass(frozen=True)
class Report:
    """What an integer graph is made of, and what is lost."""

    ranges: Mapping[str, Range]
    errors: Mapping[str, OutputError]
    cost: GraphCost
    held_out: int
    """Frames that the errors are of."""
    border_codes: Mapping[str, tuple[float, int]]
    """Of each border that is no 0: (what torch pads, the whole code that the graph pads)."""


@dataclass(frozen=True)
class Quantised:
    """An integer graph and what is known of it."""

    graph: Graph
    report: Report
    plan: Plan


def quantised(network: FloatNetwork, calibration: Any, *, held_out: Any = None, ranges: Mapping[str, Range] | None = None,
              method: str = "extremes", design: str = "") -> Quantised:
    """Returns the integer graph of a folded network.

    `calibration` and `held_out` are int8 codes [n, h, w] or [n, h, w, c], or of several inputs such by name; frames of a network
    with a state are a clip. `ranges` (from training with rounding) take the place of those of the frames. `method` is one of
    `ranges.METHODS`. Raises PrivcamError with every reason why the network cannot be exported.
    """
    if problems := network_problems(network):
        raise PrivcamError("this network cannot be exported", got="; ".join(map(str, problems)), allowed=", ".join(KINDS),
                           todo="change what is named, then trace again")
    clip, kept = parted(network, frames_of(network, calibration), held_out)
    found = dict(ranges) if ranges is not None else observed(network, clip, method)
    plan = planned(network, found)
    graph = graph_of(network, plan, design)
    return Quantised(graph, _report(network, graph, plan, found, kept), plan)


def network_problems(network: FloatNetwork) -> list[Problem]:
    """Returns every operator of a float network that has no integer kernel, why, and what to use instead."""
    problems = []
    for operator in network.operators:
        if operator.kind not in EXPORTED:
            why = operator.options.get("why", "")
            problems.append(Problem(f"{operator.kind} {operator.output}", "no integer kernel" + (f": {why}" if why else ""),
                                    INSTEAD.get(operator.kind, "one of the allowed operators")))
    for name, value in border_values(network).items():
        if not -128.5 <= value <= 127.5 or not _is_of_a_frame(network, name):
            problems.append(Problem(f"PAD {name}", f"pads with {value:.4g}, which no frame's code is", "padding before the shift, or none"))
    return problems


def frames_of(network: FloatNetwork, given: Any) -> Clip:
    """Returns the inputs [T, h, w, c] by name. Raises PrivcamError for frames of another type or size."""
    if not isinstance(given, Mapping):
        if len(network.inputs) != 1:
            raise PrivcamError("this network has several inputs", got=network.inputs, todo="give the frames of each by its name")
        given = {network.inputs[0]: given}
    clip = {name: np.asarray(given[name]) for name in network.inputs}
    clip = {name: frames[..., None] if frames.ndim == 3 else frames for name, frames in clip.items()}
    for name, frames in clip.items():
        wanted = network.shapes[name][1:]
        if frames.dtype != np.int8 or frames.shape[1:] != wanted or len(frames) <= network.warmup:
            raise PrivcamError(f"{name} is no clip for this network", got=f"{frames.dtype} {frames.shape}",
                               allowed=f"int8 [more than {network.warmup}, {', '.join(map(str, wanted))}]",
                               todo="give the readout's codes at the size that was traced")
    return clip


def parted(network: FloatNetwork, clip: Clip, held_out: Any = None) -> tuple[Clip, Clip]:
    """Returns (frames that choose the steps, frames held out). Raises PrivcamError where there are too few to hold some out."""
    if held_out is not None:
        return clip, frames_of(network, held_out)
    count = len(next(iter(clip.values())))
    if count < HELD_OUT_EVERY * (1 + network.warmup):
        raise PrivcamError("too few calibration frames to hold some out", got=count, allowed=HELD_OUT_EVERY * (1 + network.warmup),
                           todo="give more frames, or `held_out`")
    kept = np.arange(count) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    if network.states:
        kept = np.arange(count) >= count - count // HELD_OUT_EVERY
    return {name: frames[~kept] for name, frames in clip.items()}, {name: frames[kept] for name, frames in clip.items()}


def _is_of_a_frame(network: FloatNetwork, name: str) -> bool:
    writer = network.writer(name)
    return writer is not None and writer.inputs[0] in network.inputs


def output_errors(network: FloatNetwork, graph: Graph, plan: Plan, clip: Clip) -> dict[str, OutputError]:
    """Returns how far each output of an integer graph, whose steps are in `plan`, is from a float network's on a clip."""
    wanted, found = run(network, clip), Reference(graph).run(clip)
    return {name: _error(wanted[name], found[name], plan, name) for name in graph.outputs}


def _report(network: FloatNetwork, graph: Graph, plan: Plan, ranges: Mapping[str, Range], clip: Clip) -> Report:
    borders = {name: (value, plan.steps[name].zero_point) for name, value in border_values(network).items()}
    return Report(dict(ranges), output_errors(network, graph, plan, clip), graph_cost(graph), len(next(iter(clip.values()))), borders)


def _error(wanted: NDArray[Any], codes: NDArray[Any], plan: Plan, name: str) -> OutputError:
    step = plan.steps[name]
    real = wanted.astype(np.float64)
    off = (codes.astype(np.float64) - step.zero_point) * step.scale + step.offset - real
    noise, signal = float((off**2).mean()), float((real**2).mean())
    snr = np.inf if noise == 0 else 10 * np.log10(max(signal, np.finfo(float).tiny) / noise)
    return OutputError(float(np.abs(off).mean()), float(np.abs(off).max()), step.scale, float(snr))

"""From a run to the integer graph of what its camera computes: the encoder, or the recogniser behind the readout.

Deliberately not here: graphs that need no frames (`firmware_export.encoders`), what is made of a graph (`firmware_export.package`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from firmware_export.check import Problem
from firmware_export.encoders import encoder_graph
from firmware_export.float_run import run
from firmware_export.graph import Graph
from firmware_export.quantise import Quantised, frames_of, network_problems, output_errors, parted, quantised
from hil.verbs.design import SYNTHETIC, SYNTHETIC_CLIPS
from optics_sim.camera import PrivacyCamera
from optics_sim.data.clips import is_clip_source, load_clips
from optics_sim.design import CameraDesign
from optics_sim.encoders.obfuscator import Obfuscator
from optics_sim.encoding import ObfuscatorEncoder, ReadoutEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.clips import readout_codes
from optics_sim.learning.quantisation import RoundedNetwork
from optics_sim.learning.recognisers import RECOGNISERS, Recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.trace import traced
from optics_sim.network import FloatNetwork
from optics_sim.tables.lensless import load_faces

CLIP_FRAMES = 16
FIT_RATE, FIT_BATCH = 3e-5, 16
CALIBRATION_FRAMES = 256
Frames = NDArray[np.int8]


def graph_of(design: CameraDesign, frames: Frames | None = None) -> Graph:
    """Returns the graph of a design's encoder; a network's steps are chosen by `frames` [n, h, w] of readout codes.

    Raises PrivcamError with every reason why it has none, or without frames where they are needed.
    """
    if not needs_frames(design):
        return encoder_graph(design)
    if frames is None:
        raise PrivcamError("the steps of a network's integers are chosen by frames", got="none", todo="give --data")
    return quantised_encoder(design, frames).graph


def needs_frames(design: CameraDesign) -> bool:
    """Returns whether the encoder is a network, whose integers are chosen by what its layers do on frames."""
    return isinstance(design.encoder, ObfuscatorEncoder)


def quantised_encoder(design: CameraDesign, frames: Frames, *, epochs: int = 0) -> Quantised:
    """Returns graph and report of an encoder that is a network, its weights fitted to rounding for some `epochs`."""
    return _quantised(encoder_network(design), frames, design.digest, epochs)


def encoder_network(design: CameraDesign) -> FloatNetwork:
    """Returns the float network of an obfuscator for its readout's frames."""
    if not isinstance(design.encoder, ObfuscatorEncoder):
        raise PrivcamError("this encoder is no network", got=design.encoder.kind, allowed="obfuscator")
    size = design.readout.shape
    return traced(Obfuscator(design.encoder).plain(size), torch.zeros(1, 1, *size), name="obfuscator")


# --- the recogniser -------------------------------------------------------------------------------
def recogniser_network(design: CameraDesign, recogniser: nn.Module) -> FloatNetwork:
    """Returns the float network of a recogniser of single codes."""
    return traced(recogniser, torch.zeros(1, *design.readout.shape), name="recogniser")


def recogniser_problems(design: CameraDesign, recogniser: nn.Module) -> list[Problem]:
    """Returns every reason why a recogniser cannot be exported."""
    return network_problems(recogniser_network(design, recogniser))


def quantised_recogniser(design: CameraDesign, recogniser: nn.Module, frames: Frames, *, epochs: int = 0) -> Quantised:
    """Returns graph and report of a recogniser of single codes; its output is a score for each class.

    Raises PrivcamError where the design has an encoder between readout and recogniser.
    """
    if not isinstance(design.encoder, ReadoutEncoder) or design.coding is not None:
        raise PrivcamError("labels are exported from readout and recogniser alone", got=f"encoder {design.encoder.kind}"
                           + (", coded exposure" if design.coding else ""), allowed="encoder readout",
                           todo="export the codes (--emit codes) and recognise them where they arrive")
    return _quantised(recogniser_network(design, recogniser), frames, design.digest, epochs)


def kept_recogniser(file: Path) -> Recogniser:
    """Returns the recogniser of a run's `recogniser.safetensors`, its kind told by its weights. Raises PrivcamError for another."""
    if not file.is_file():
        raise PrivcamError("this run keeps no recogniser", got=file, todo="name a run of `privcam design`")
    state = load_file(file)
    classes = len(state["head.weight"]) if "head.weight" in state else 0
    for make in RECOGNISERS.values() if classes else ():
        found = make(classes)
        if _shapes(found.state_dict()) == _shapes(state):
            found.load_state_dict(state)
            return found.eval()
    raise PrivcamError("this recogniser is of no kind that looks at one code", got=file, allowed=sorted(RECOGNISERS),
                       todo="export the codes (--emit codes): a network of clips stays on the host")


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


# --- rounding -------------------------------------------------------------------------------------
def _quantised(network: FloatNetwork, frames: Frames, digest: str, epochs: int) -> Quantised:
    """Returns the integer network; with `epochs` after training with rounding to say what the float network says, without labels."""
    made = quantised(network, frames, design=digest)
    if not epochs:
        return made
    shown, kept = parted(network, frames_of(network, frames))
    rounded = RoundedNetwork(network, made.report.ranges)
    _fit(rounded, torch.from_numpy(next(iter(shown.values()))).float(), torch.from_numpy(next(iter(run(network, shown).values()))), epochs)
    fitted = quantised(rounded.to_network(), frames, ranges=rounded.ranges(), design=digest)
    errors = output_errors(network, fitted.graph, fitted.plan, kept)  # against what was trained, not against what was fitted
    return replace(fitted, report=replace(fitted.report, errors=errors))


def _fit(rounded: RoundedNetwork, frames: Tensor, wanted: Tensor, epochs: int) -> None:
    optimiser, drawn = torch.optim.Adam(rounded.parameter_groups(FIT_RATE)), torch_generator(0, "rounding")
    for _ in range(epochs):
        for some in torch.randperm(len(frames), generator=drawn).split(FIT_BATCH):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(rounded(frames[some]), wanted[some]).backward()
            optimiser.step()


# --- frames ---------------------------------------------------------------------------------------
def data_of(run: Path) -> str | None:
    """Returns the data that a run, or the table around it, was made on; None where no record says it."""
    for folder in (run, *run.resolve().parents[:2]):
        if (folder / "run.json").is_file():
            told = json.loads((folder / "run.json").read_text(encoding="utf-8")).get("arguments", {})
            if told.get("synthetic") or told.get("synthetic_clips"):
                return SYNTHETIC if told.get("synthetic") else SYNTHETIC_CLIPS
            if told.get("data"):
                return str(told["data"])
    return None


def readout_frames(design: CameraDesign, data: str, count: int, seed: int = 0) -> Frames:
    """Returns readout codes [count, h, w] of pictures or frames of a data set, evenly chosen, seen by the design's camera.

    With an exposure code each is of one clip.
    """
    clips = is_clip_source(data)
    if clips:
        shown = torch.from_numpy(load_clips(data, frames=CLIP_FRAMES, windows=1).gray(design.scene, CLIP_FRAMES))
        scenes = shown if design.coding is not None else shown.flatten(0, 1)
    else:
        scenes = torch.from_numpy(load_faces(data).gray(design.scene))
    codes = readout_codes(PrivacyCamera.from_design(design), evenly(scenes, count), torch_generator(seed, "calibration"))
    return codes.to(torch.int8).numpy()


def evenly(values: Tensor, count: int) -> Tensor:
    """Returns at most `count` of values [n, ...], evenly chosen, the first and the last among them."""
    chosen = torch.linspace(0, len(values) - 1, min(count, len(values))).round().long()
    return values[chosen.to(values.device)]

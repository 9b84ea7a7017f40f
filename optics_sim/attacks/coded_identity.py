"""Attacks on one coded image of a clip, by someone who holds the design and labelled clips of the same people.

He names actors from the image itself, through networks trained on his own clips seen by the same camera; or he first
recovers the clip, by generalised alternating projection (a mask in front is divided out instead) and then by a 3D U-Net
trained on his clips, and names actors from its frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from optics_sim.attacks.clip_decoder import decoded, train_clip_decoder
from optics_sim.attacks.clip_identity import ClipView, Scores, by_frames, linear
from optics_sim.attacks.inversion import Inverter, relative_light
from optics_sim.attacks.snapshot import gap_tv, snapshot_admm_tv
from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.design import CameraDesign, LenslessOptics
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Judging
from optics_sim.learning.clips import Clips, fit, scores_of
from optics_sim.learning.recognisers import recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.sensor.coded import first_guess, per_open_slot

Solver = Callable[[Tensor, Tensor], Tensor]
TOGETHER = 16  # clips
SHIFT_VARIANT = "shift_variant"


@dataclass(frozen=True)
class CodedView:
    """What the attacker holds: the design, labelled scene clips `known` with their `images`, and the victims' `codes` alone."""

    design: CameraDesign
    known: Clips
    images: Tensor
    codes: Tensor


def image_scores(view: CodedView, experiment: ClipExperiment) -> Scores:
    """Returns what attackers say of coded images [n, h, w] alone: scores [n, people]."""
    judging, plan, seed, device = experiment.judging, experiment.training, experiment.seed, view.codes.device
    camera = PrivacyCamera.from_design(view.design).to(device)
    scores: Scores = {}
    for kind in dict.fromkeys((*judging.frame_networks, SHIFT_VARIANT)):
        network = recogniser(kind, int(view.known.actors.max()) + 1, torch_generator(seed, "attack", "image", kind, "weights"))
        fit(network, view.known, view.known.actors, plan, torch_generator(seed, "attack", "image", kind, device=device),
            epochs=judging.epochs, see=lambda scenes, drawn: camera(scenes, generator=drawn))
        scores[f"image:{kind}"] = scores_of(network, view.codes)
    scores["linear"] = linear(_as_clips(view, view.images.unsqueeze(1), view.codes.unsqueeze(1)))
    return scores


def clip_scores(view: CodedView, recovered: Recovered, experiment: ClipExperiment) -> Scores:
    """Returns what attackers say of recovered clips: a 2D network's word on single frames and on whole clips."""
    kinds = experiment.judging.frame_networks[:1]
    found = by_frames(_as_clips(view, *recovered.inverted), experiment, "inverted ", kinds)
    if recovered.restored is not None:
        found |= by_frames(_as_clips(view, *recovered.restored), experiment, "restored ", kinds)
    return found


def _as_clips(view: CodedView, known: Tensor, victims: Tensor) -> ClipView:
    return ClipView(view.design, view.known.with_values(known), view.known.values, victims)


# --- recovering the clip --------------------------------------------------------------------------
@dataclass(frozen=True)
class Recovered:
    """Clips [n, slots, H, W] as (the attacker's own, the victims'): inverted by the model, and restored by a network."""

    inverted: tuple[Tensor, Tensor]
    restored: tuple[Tensor, Tensor] | None
    admm: Tensor | None


def recovered_clips(view: CodedView, experiment: ClipExperiment) -> Recovered:
    """Returns the clips that an attacker recovers from coded images; PrivcamError for a camera without an exposure code."""
    camera = PrivacyCamera.from_design(view.design).to(view.codes.device)
    if camera.coded is None:
        raise PrivcamError("this camera makes no coded images", got=view.design.coding, allowed="a design with `coding`")
    bits = camera.coded.bits()
    mine, theirs = (len(bits) * relative_light(images, view.design).clamp_min(0) for images in (view.images, view.codes))
    inverted = (_inverted(mine, bits, camera), _inverted(theirs, bits, camera))
    admm = None if isinstance(view.design.optics, LenslessOptics) else _in_parts(snapshot_admm_tv, theirs, bits)
    restored = None
    if experiment.judging.decoder_steps:
        generator = torch_generator(experiment.seed, "attack", "decoder", device=view.codes.device)
        decoder = train_clip_decoder(inverted[0], view.known.values, experiment.judging.decoder_steps, experiment.training, generator)
        restored = (decoded(decoder, inverted[0]), decoded(decoder, inverted[1]))
    return Recovered(inverted, restored, admm)


def _inverted(measurement: Tensor, bits: Tensor, camera: PrivacyCamera) -> Tensor:
    """Returns clips in 0..1 at scene size from measurements, by what is known of the camera alone."""
    if not isinstance(camera.design.optics, LenslessOptics):
        return _in_parts(_undone, measurement, bits)
    inverter = Inverter(camera.design, camera.psf(), Judging())
    parts = [inverter.invert("wiener", first_guess(part, bits).flatten(0, 1)).unflatten(0, (-1, len(bits)))
             for part in measurement.split(TOGETHER)]
    return torch.cat(parts)


def _undone(measurement: Tensor, bits: Tensor) -> Tensor:
    """Returns clips by GAP-TV from the mean open frame: slots in which a pixel was never seen hold what was seen in others."""
    still = per_open_slot(measurement, bits).unsqueeze(-3).expand(*measurement.shape[:-2], *bits.shape)
    return gap_tv(measurement, bits, start=still)


@torch.no_grad()
def _in_parts(solve: Solver, measurement: Tensor, bits: Tensor) -> Tensor:
    return torch.cat([solve(part, bits) for part in measurement.split(TOGETHER)])

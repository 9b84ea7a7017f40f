"""Who was it? Attackers who hold labelled clips of the same people and name the actors of *other* recordings.

Each is trained afresh on the finished camera's codes: from one frame, from all frames, from gait (3D), from the running
sum of codes (which restores what a difference removed), by linear discriminants, and on what a decoder reconstructs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optics_sim.attacks.clip_decoder import decoded, train_clip_decoder
from optics_sim.attacks.identity import lda_embedding
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.design import CameraDesign
from optics_sim.encoders.running_sum import running_sum
from optics_sim.learning.clip_recognisers import FrameRecogniser, clip_recogniser, enlarged
from optics_sim.learning.clips import Clips, fit, scores_of
from optics_sim.learning.seeds import torch_generator

LINEAR_SIDE_PX = 32


@dataclass(frozen=True)
class ClipView:
    """What an attacker on clips holds: the design, labelled codes `known`, their `scenes`, and the victims' `codes` alone."""

    design: CameraDesign
    known: Clips
    scenes: Tensor
    codes: Tensor

    def with_codes(self, known: Tensor, codes: Tensor) -> ClipView:
        """Returns the view after the attacker has worked on all codes [n, T, h, w]."""
        return ClipView(self.design, self.known.with_values(known), self.scenes, codes)


Scores = dict[str, Tensor]
"""By attack: scores [n, people] of each clip, or [n, T, people] where every frame is asked alone."""


def identity_scores(view: ClipView, experiment: ClipExperiment) -> tuple[Scores, Tensor | None]:
    """Returns what every attacker says of the victims' clips, and the reconstructed clips where a decoder was trained."""
    judging = experiment.judging
    scores = by_frames(view, experiment, "")
    for kind in judging.gait_networks:
        scores[f"gait:{kind}"] = _network(view, experiment, kind, f"gait:{kind}")
    scores |= by_frames(integrated(view), experiment, "sum ", judging.frame_networks[:1])
    scores["linear"] = linear(view)
    restored = None
    if judging.decoder_steps:
        restored = reconstructed(view, experiment)
        scores |= by_frames(restored, experiment, "restored ", judging.frame_networks[:1])
    return scores, None if restored is None else restored.codes


def by_frames(view: ClipView, experiment: ClipExperiment, prefix: str, kinds: tuple[str, ...] | None = None) -> Scores:
    """Returns a 2D network's word on single frames and on whole clips."""
    found: Scores = {}
    for kind in kinds or experiment.judging.frame_networks:
        frames = _network(view, experiment, kind, f"{prefix}frame:{kind}")
        found[f"{prefix}frame:{kind}"] = frames
        found[f"{prefix}frames:{kind}"] = frames.log_softmax(-1).mean(1)
    return found


def _network(view: ClipView, experiment: ClipExperiment, kind: str, stage: str) -> Tensor:
    judging, seed, device = experiment.judging, experiment.seed, view.codes.device
    people = int(view.known.actors.max()) + 1
    network = clip_recogniser(kind, people, torch_generator(seed, "attack", stage, "weights"))
    fit(network, view.known, view.known.actors, experiment.training, torch_generator(seed, "attack", stage, device=device),
        epochs=judging.epochs, frames_per_clip=judging.frames_per_clip)
    return scores_of(network.frames if isinstance(network, FrameRecogniser) else network, view.codes)


def integrated(view: ClipView) -> ClipView:
    """Returns the view with running sums of codes: an attacker who knows the bins adds the differences up again."""
    spec = view.design.encoder
    return view.with_codes(running_sum(view.known.values, spec), running_sum(view.codes, spec))


def reconstructed(view: ClipView, experiment: ClipExperiment) -> ClipView:
    """Returns the view with clips restored by a 3D U-Net, which the attacker trained on the clips he holds."""
    generator = torch_generator(experiment.seed, "attack", "decoder", device=view.codes.device)
    scenes = view.scenes[:, -view.known.values.shape[1] :]
    decoder = train_clip_decoder(view.known.values, scenes, experiment.judging.decoder_steps, experiment.training, generator)
    return view.with_codes(decoded(decoder, view.known.values), decoded(decoder, view.codes))


def linear(view: ClipView) -> Tensor:
    """Returns scores by discriminants of each clip's mean and spread over time, nearest to the mean of each person."""
    known, codes = _moments(view.known.values), _moments(view.codes)
    features = torch.from_numpy(lda_embedding((known, view.known.actors), torch.cat([known, codes]))).to(codes.device)
    mine, theirs = features[: len(known)], features[len(known) :]
    centres = torch.stack([mine[view.known.actors == actor].mean(0) for actor in range(int(view.known.actors.max()) + 1)])
    return -torch.cdist(theirs, centres)


def _moments(codes: Tensor) -> Tensor:
    frames = torch.stack([codes.mean(1), codes.std(1, correction=0)], 1)
    return torch.nn.functional.adaptive_avg_pool2d(enlarged(frames), LINEAR_SIDE_PX)

"""One camera for clips, judged whole: actions recognised, every attack on identity, what is reconstructed; one row.

Privacy is measured with attackers trained afresh on the finished camera's codes, who know the same people from other
recordings; the strongest counts. Every attack has its control: the same guesses with people shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from optics_sim.attacks.clip_faces import judge_faces
from optics_sim.attacks.clip_identity import ClipView, identity_scores
from optics_sim.attacks.clip_samples import identity_samples, mean_clip, recognition, restoration, strongest_and_trade
from optics_sim.attacks.evaluate import Row, digest_of, keep_row, kept_row
from optics_sim.attacks.judge import Judges
from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.design import CameraDesign
from optics_sim.encoders.cost import full_cost, paper_cost
from optics_sim.encoding import BdqEncoder
from optics_sim.learning.clip_cohort import PARTS, ClipCohort
from optics_sim.learning.clip_recognisers import ClipNetwork, clip_recogniser
from optics_sim.learning.clips import EVALUATION_CLIPS, Clips, fit
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import OnEpoch
from optics_sim.report.resampling import Sample, sample

SHOWN_CLIPS = 4
NOBODY = Judges()


class StandIn(nn.Module):
    """What computes an encoder's codes elsewhere than in torch, called as the encoder is; `digest` says what it is."""

    digest: str


@torch.no_grad()
def clip_codes(camera: PrivacyCamera, clips: Clips, generator: torch.Generator, *, hard: bool = True) -> Clips:
    """Returns the finished codes of scene clips, in batches."""
    parts = [camera(part, generator=generator, hard=hard) for part in clips.values.split(EVALUATION_CLIPS)]
    return clips.with_values(torch.cat(parts))


def evaluate_clips(label: str, design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, *, hard: bool = True,
                   judges: Judges = NOBODY, folder: Path | None = None, on_epoch: OnEpoch | None = None,
                   computed_by: StandIn | None = None) -> Row:
    """Returns the row of a finished camera; read from `folder` when it is there and nothing it depends on has changed.

    `hard=False` judges the codes as they are in training, before they are rounded to levels. `computed_by` computes the codes in
    the encoder's place: what was exported.
    """
    stand_in = () if computed_by is None else (computed_by.digest,)
    key = depends_on(label, design, cohort, experiment, (hard, *judges.digests, *stand_in))
    if folder is not None and (kept := kept_row(folder, key)) is not None:
        return kept
    device = cohort.train.values.device
    camera = PrivacyCamera(design, encoder=computed_by).to(device)
    codes = {part: clip_codes(camera, getattr(cohort, part), torch_generator(experiment.seed, "codes", part, device=device), hard=hard)
             for part in PARTS if part != "encoder_train"}
    network = _recogniser(codes["train"], experiment, on_epoch)
    samples = [*recognition(network, codes, experiment), *_cost(design, experiment)]
    view = ClipView(design, codes["identity_train"], cohort.identity_train.values, codes["identity_test"].values)
    scores, restored = identity_scores(view, experiment)
    of_faces, seen = judge_faces(judges, cohort, restored, experiment.seed)
    samples += [*identity_samples(scores | of_faces, cohort.identity_test, experiment), *seen]
    samples += strongest_and_trade(samples)
    if restored is not None:
        samples += restoration("restored", restored, cohort, experiment)
        samples += restoration("mean_clip", mean_clip(cohort, restored.shape[1]), cohort, experiment)
    row = Row(label=label, seed=experiment.seed, design_digest=design.digest, depends_on=key, cohort=cohort.note, samples=tuple(samples))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        keep_row(folder, row, design, network.state_dict(), pictures(scene=cohort.identity_test.values, code=view.codes, restored=restored))
    return row


def depends_on(label: str, design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, extra: Sequence[object] = ()) -> str:
    """Returns a digest of everything a row depends on."""
    parts = [getattr(cohort, part) for part in PARTS]
    tensors = [tensor for part in parts for tensor in (part.values, part.actions, part.actors)]
    return digest_of(label, design.digest, experiment.model_dump(mode="json"), cohort.note, *extra, tensors=tensors)


def _recogniser(train: Clips, experiment: ClipExperiment, on_epoch: OnEpoch | None) -> ClipNetwork:
    plan, seed = experiment.training, experiment.seed
    network = clip_recogniser(plan.recogniser, int(train.actions.max()) + 1, torch_generator(seed, "recogniser", "weights"))
    generator = torch_generator(seed, "recogniser", device=train.values.device)
    return fit(network, train, train.actions, plan, generator, epochs=plan.epochs, on_epoch=on_epoch)


def _cost(design: CameraDesign, experiment: ClipExperiment) -> list[Sample]:
    """Returns what the encoder costs for a clip, as the BDQ paper counts it and in full; nothing for other encoders."""
    spec = design.encoder
    if not isinstance(spec, BdqEncoder):
        return []
    size = (experiment.frames, *design.readout.shape, 1)
    paper, full = paper_cost(spec, *size), full_cost(spec, *size)
    return [sample("parameters", full.parameters), sample("operations_paper", paper.flop, unit="FLOP"),
            sample("operations", full.flop, unit="FLOP")]


def pictures(**shown: Tensor | None) -> dict[str, NDArray[np.float32]]:
    """Returns a few of each kind of clips [n, ...] for a page, evenly spaced: the same ones of each."""
    held = {name: clips for name, clips in shown.items() if clips is not None}
    return {name: clips[:: max(1, len(clips) // SHOWN_CLIPS)][:SHOWN_CLIPS].float().cpu().numpy() for name, clips in held.items()}

"""One camera with an exposure code, judged whole: actions from its single image, who is in it, and the clip recovered."""

from __future__ import annotations

from pathlib import Path

import torch

from optics_sim.attacks.clip_evaluate import NOBODY, clip_codes, depends_on, pictures
from optics_sim.attacks.clip_faces import judge_faces
from optics_sim.attacks.clip_samples import identity_samples, mean_clip, recognition, restoration, strongest_and_trade
from optics_sim.attacks.coded_identity import CodedView, clip_scores, image_scores, recovered_clips
from optics_sim.attacks.evaluate import Row, keep_row, kept_row
from optics_sim.attacks.judge import Judges
from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.coding import coding_bits
from optics_sim.design import CameraDesign
from optics_sim.learning.clip_cohort import PARTS, ClipCohort
from optics_sim.learning.clips import Clips, fit
from optics_sim.learning.recognisers import Recogniser, recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import OnEpoch
from optics_sim.report.resampling import Sample, sample


def evaluate_coded(label: str, design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, *, judges: Judges = NOBODY,
                   folder: Path | None = None, on_epoch: OnEpoch | None = None) -> Row:
    """Returns the row of a finished camera; read from `folder` when it is there and nothing it depends on has changed."""
    key = depends_on(label, design, cohort, experiment, judges.digests)
    if folder is not None and (kept := kept_row(folder, key)) is not None:
        return kept
    device = cohort.train.values.device
    camera = PrivacyCamera.from_design(design).to(device)
    codes = {part: clip_codes(camera, getattr(cohort, part), torch_generator(experiment.seed, "codes", part, device=device))
             for part in PARTS if part != "encoder_train"}
    network, samples = _recognised(camera, cohort.train, codes, experiment, on_epoch)
    samples += _exposure(camera, design)
    view = CodedView(design, cohort.identity_train, codes["identity_train"].values, codes["identity_test"].values)
    recovered = recovered_clips(view, experiment)
    restored = None if recovered.restored is None else recovered.restored[1]
    scores = image_scores(view, experiment) | clip_scores(view, recovered, experiment)
    of_faces, seen = judge_faces(judges, cohort, restored, experiment.seed)
    samples += [*identity_samples(scores | of_faces, cohort.identity_test, experiment), *seen]
    samples += strongest_and_trade(samples)
    clips = {"inverted": recovered.inverted[1], "admm_tv": recovered.admm, "restored": restored,
             "mean_clip": mean_clip(cohort, cohort.train.values.shape[1])}
    for name, clip in clips.items():
        samples += restoration(name, clip, cohort, experiment)
    row = Row(label=label, seed=experiment.seed, design_digest=design.digest, depends_on=key, cohort=cohort.note, samples=tuple(samples))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shown = pictures(scene=cohort.identity_test.values, code=view.codes.unsqueeze(1), inverted=recovered.inverted[1], restored=restored)
        keep_row(folder, row, design, network.state_dict(), shown)
    return row


def _recognised(camera: PrivacyCamera, train: Clips, codes: dict[str, Clips], experiment: ClipExperiment,
                on_epoch: OnEpoch | None) -> tuple[Recogniser, list[Sample]]:
    """Returns the recogniser that is best on validation, with its samples, and every one's accuracy as `accuracy/KIND`."""
    plan, seed, device = experiment.training, experiment.seed, train.values.device
    tried: list[tuple[float, Recogniser, list[Sample]]] = []
    each: list[Sample] = []
    for kind in plan.image_recognisers:
        network = recogniser(kind, int(train.actions.max()) + 1, torch_generator(seed, "recogniser", kind, "weights"))
        fit(network, train, train.actions, plan, torch_generator(seed, "recogniser", kind, device=device), epochs=plan.epochs,
            see=lambda scenes, drawn: camera(scenes, generator=drawn), on_epoch=on_epoch)
        found = recognition(network, codes, experiment)
        each.append(found[0].model_copy(update={"name": f"accuracy/{kind}"}))
        tried.append((found[1].value or 0.0, network, found))
    _, network, found = max(tried, key=lambda one: one[0])
    return network, found + each


@torch.no_grad()
def _exposure(camera: PrivacyCamera, design: CameraDesign) -> list[Sample]:
    """Returns the share of pixels and slots that are open, and how often the whole sensor is read for one image."""
    if camera.coded is None or design.coding is None:
        return []
    opened = float(coding_bits(design.coding, design.readout.shape).mean())
    return [sample("open_fraction", opened), sample("readings", camera.coded.realisation.frames)]

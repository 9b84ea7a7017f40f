"""One camera for clips, judged whole: actions recognised, every attack on identity, what is reconstructed; one row.

Privacy is measured with attackers trained afresh on the finished camera's codes, who know the same people from other
recordings; the strongest counts. Every attack has its control: the same guesses with people shuffled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.attacks.clip_identity import ClipView, identity_scores
from optics_sim.attacks.evaluate import Row, digest_of, keep_row, kept_row
from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.design import CameraDesign
from optics_sim.encoders.cost import full_cost, paper_cost
from optics_sim.encoding import BdqEncoder
from optics_sim.learning.clip_cohort import PARTS, ClipCohort
from optics_sim.learning.clip_recognisers import ClipNetwork, clip_recogniser
from optics_sim.learning.clips import EVALUATION_CLIPS, Clips, fit, scores_of
from optics_sim.learning.seeds import numpy_generator, torch_generator
from optics_sim.learning.train import OnEpoch
from optics_sim.report import metrics
from optics_sim.report.resampling import Sample, grouped_mean, sample

SHOWN_CLIPS = 4


@torch.no_grad()
def clip_codes(camera: PrivacyCamera, clips: Clips, generator: torch.Generator, *, hard: bool = True) -> Clips:
    """Returns the finished codes of scene clips, in batches."""
    parts = [camera(part, generator=generator, hard=hard) for part in clips.values.split(EVALUATION_CLIPS)]
    return clips.with_values(torch.cat(parts))


def evaluate_clips(label: str, design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, *, hard: bool = True,
                   folder: Path | None = None, on_epoch: OnEpoch | None = None) -> Row:
    """Returns the row of a finished camera; read from `folder` when it is there and nothing it depends on has changed.

    `hard=False` judges the codes as they are in training, before they are rounded to levels.
    """
    key = depends_on(label, design, cohort, experiment, hard)
    if folder is not None and (kept := kept_row(folder, key)) is not None:
        return kept
    device = cohort.train.values.device
    camera = PrivacyCamera.from_design(design).to(device)
    codes = {part: clip_codes(camera, getattr(cohort, part), torch_generator(experiment.seed, "codes", part, device=device), hard=hard)
             for part in PARTS if part != "encoder_train"}
    network = _recogniser(codes["train"], experiment, on_epoch)
    samples = [*_recognition(network, codes, experiment), *_cost(design, experiment)]
    view = ClipView(design, codes["identity_train"], cohort.identity_train.values, codes["identity_test"].values)
    scores, restored = identity_scores(view, experiment)
    samples += identity_samples(scores, cohort.identity_test, experiment)
    samples += strongest_and_trade(samples)
    samples += _restoration(restored, cohort, experiment)
    row = Row(label=label, seed=experiment.seed, design_digest=design.digest, depends_on=key, cohort=cohort.note, samples=tuple(samples))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        keep_row(folder, row, design, network.state_dict(), _pictures(cohort, view, restored))
    return row


def depends_on(label: str, design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, hard: bool) -> str:
    """Returns a digest of everything a row depends on."""
    parts = [getattr(cohort, part) for part in PARTS]
    tensors = [tensor for part in parts for tensor in (part.values, part.actions, part.actors)]
    return digest_of(label, design.digest, experiment.model_dump(mode="json"), cohort.note, hard, tensors=tensors)


def _recogniser(train: Clips, experiment: ClipExperiment, on_epoch: OnEpoch | None) -> ClipNetwork:
    plan, seed = experiment.training, experiment.seed
    network = clip_recogniser(plan.recogniser, int(train.actions.max()) + 1, torch_generator(seed, "recogniser", "weights"))
    generator = torch_generator(seed, "recogniser", device=train.values.device)
    return fit(network, train, train.actions, plan, generator, epochs=plan.epochs, on_epoch=on_epoch)


def _recognition(network: ClipNetwork, codes: dict[str, Clips], experiment: ClipExperiment) -> list[Sample]:
    found = []
    for name, part in (("accuracy", "test"), ("validation_accuracy", "validation")):
        hits = scores_of(network, codes[part].values).argmax(-1) == codes[part].actions
        found.append(_grouped(name, hits.double(), codes[part].actors, experiment.seed))
    return found


def _grouped(name: str, values: Tensor, groups: Tensor, seed: int, unit: str = "1") -> Sample:
    """Returns a mean whose interval resamples whole people."""
    return grouped_mean(name, values.double().cpu().numpy(), groups.cpu().numpy(), numpy_generator(seed, "clips", "people"), unit=unit)


def identity_samples(scores: dict[str, Tensor], victims: Clips, experiment: ClipExperiment) -> list[Sample]:
    """Returns how often each attacker names the right person (`identity/ATTACK`), with the same among shuffled people."""
    found = []
    for attack, guess in scores.items():
        named = guess.argmax(-1)
        hits = (named == victims.actors.reshape(-1, *[1] * (named.ndim - 1))).double()
        per_clip = hits if hits.ndim == 1 else hits.mean(1)
        shuffled = _shuffled(named.cpu().numpy(), victims, experiment)
        found.append(_grouped(f"identity/{attack}", per_clip, victims.actors, experiment.seed).model_copy(update={"shuffled": shuffled}))
    return found


def strongest_and_trade(samples: list[Sample]) -> list[Sample]:
    """Returns the highest of the identity attacks, and the paper's trade-off (accuracy + 1 - identity) / 2 with it.

    Taking the highest of many favours the attacker: an upper reading, as a defender should take it.
    """
    best = max((s for s in samples if s.name.startswith("identity/")), key=lambda s: s.value or 0.0)
    accuracy = next(s for s in samples if s.name == "accuracy")
    replicates = (np.asarray(accuracy.replicates) + 1 - np.asarray(best.replicates)) / 2
    trade = sample("trade", ((accuracy.value or 0.0) + 1 - (best.value or 0.0)) / 2, replicates, n=accuracy.n)
    return [best.model_copy(update={"name": "strongest", "note": best.name.removeprefix("identity/")}), trade]


def _shuffled(named: NDArray[np.int64], victims: Clips, experiment: ClipExperiment) -> tuple[float, float]:
    """Returns the 95 % interval of the same guesses' accuracy when recordings are given to other people at random."""
    rng = numpy_generator(experiment.seed, "clips", "shuffle")
    takes, index = np.unique(victims.takes.cpu().numpy(), return_inverse=True)
    owner = np.zeros(len(takes), dtype=np.int64)
    owner[index] = victims.actors.cpu().numpy()
    guesses = named.reshape(len(named), -1)
    drawn = [float((guesses == rng.permutation(owner)[index][:, None]).mean()) for _ in range(experiment.judging.shuffles)]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def _cost(design: CameraDesign, experiment: ClipExperiment) -> list[Sample]:
    """Returns what the encoder costs for a clip, as the BDQ paper counts it and in full; nothing for other encoders."""
    spec = design.encoder
    if not isinstance(spec, BdqEncoder):
        return []
    size = (experiment.frames, *design.readout.shape, 1)
    paper, full = paper_cost(spec, *size), full_cost(spec, *size)
    return [sample("parameters", full.parameters), sample("operations_paper", paper.flop, unit="FLOP"),
            sample("operations", full.flop, unit="FLOP")]


def _restoration(restored: Tensor | None, cohort: ClipCohort, experiment: ClipExperiment) -> list[Sample]:
    """Returns how near the reconstructed clips are to the scenes, beside showing the mean clip of the attacker's own."""
    if restored is None:
        return []
    truth = cohort.identity_test.values[:, -restored.shape[1] :]
    mean = cohort.identity_train.values[:, -restored.shape[1] :].mean(0).expand_as(truth)
    found = []
    for name, clips in (("restored", restored), ("mean_clip", mean)):
        for metric, unit in ((metrics.psnr, "dB"), (metrics.ssim, "1")):
            values = metric(_frames(clips), _frames(truth)).reshape(len(truth), -1).mean(1)
            number = f"{name}/{metric.__name__}"
            found.append(_grouped(number, torch.from_numpy(values), cohort.identity_test.actors, experiment.seed, unit))
    return found


def _frames(clips: Tensor) -> NDArray[np.float32]:
    return np.asarray(clips.flatten(0, 1).float().cpu().numpy())


def _pictures(cohort: ClipCohort, view: ClipView, restored: Tensor | None) -> dict[str, NDArray[np.float32]]:
    """Returns some clips for a page, each [n, T, H, W]: scene, code, and what the decoder made of it."""
    step = max(1, len(view.codes) // SHOWN_CLIPS)
    chosen = slice(0, step * SHOWN_CLIPS, step)
    shown = {"scene": cohort.identity_test.values[chosen], "code": view.codes[chosen]}
    if restored is not None:
        shown["restored"] = restored[chosen]
    return {name: clips.float().cpu().numpy() for name, clips in shown.items()}

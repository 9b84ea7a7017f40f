"""What is measured of a judged camera for clips, as samples whose intervals resample whole people."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.clip_experiment import ClipExperiment
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.learning.clip_recognisers import ClipNetwork
from optics_sim.learning.clips import Clips, scores_of
from optics_sim.learning.recognisers import Recogniser
from optics_sim.learning.seeds import numpy_generator
from optics_sim.report import metrics
from optics_sim.report.resampling import Sample, grouped_mean, sample


def recognition(network: ClipNetwork | Recogniser, codes: dict[str, Clips], experiment: ClipExperiment) -> list[Sample]:
    """Returns a network's accuracy on the actors of test (`accuracy`) and of validation."""
    found = []
    for name, part in (("accuracy", "test"), ("validation_accuracy", "validation")):
        hits = scores_of(network, codes[part].values).argmax(-1) == codes[part].actions
        found.append(of_people(name, hits.double(), codes[part].actors, experiment.seed))
    return found


def of_people(name: str, values: Tensor, groups: Tensor, seed: int, unit: str = "1") -> Sample:
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
        found.append(of_people(f"identity/{attack}", per_clip, victims.actors, experiment.seed).model_copy(update={"shuffled": shuffled}))
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


def restoration(name: str, restored: Tensor | None, cohort: ClipCohort, experiment: ClipExperiment) -> list[Sample]:
    """Returns how near reconstructed clips [n, T, H, W] of the identity test's are to the scenes, as `name/psnr` and `name/ssim`."""
    if restored is None:
        return []
    truth = cohort.identity_test.values[:, -restored.shape[1] :]
    found = []
    for metric, unit in ((metrics.psnr, "dB"), (metrics.ssim, "1")):
        values = metric(_frames(restored), _frames(truth)).reshape(len(truth), -1).mean(1)
        found.append(of_people(f"{name}/{metric.__name__}", torch.from_numpy(values), cohort.identity_test.actors, experiment.seed, unit))
    return found


def mean_clip(cohort: ClipCohort, frames: int) -> Tensor:
    """Returns the mean of the attacker's clips for each victim's, the last `frames` of them: what he has without a camera."""
    mean = cohort.identity_train.values[:, -frames:].mean(0)
    return mean.expand(len(cohort.identity_test), *mean.shape)


def _frames(clips: Tensor) -> NDArray[np.float32]:
    return np.asarray(clips.flatten(0, 1).float().cpu().numpy())

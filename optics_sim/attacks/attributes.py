"""Attribute attacks: what else than identity does a code of a stranger give away (glasses, beard, ...)?

The attacker fits a ridge classifier on codes of its own people whose attributes it knows (`labels.csv`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.attacks.verification import interval
from optics_sim.attacks.view import View
from optics_sim.experiment import Experiment
from optics_sim.learning.cohort import Populations
from optics_sim.learning.seeds import numpy_generator
from optics_sim.report.resampling import REPEATS, Sample, sample

RIDGE = 1.0  # relative to the mean squared deviation of a code pixel times their number


def attribute_samples(view: View, populations: Populations, labels: NDArray[np.int64], experiment: Experiment) -> list[Sample]:
    """Returns the balanced accuracy of each attribute on the victims' codes, with its shuffled control.

    Empty when the data name no attributes; an attribute that only one value is known of is left out.
    """
    if view.labelled is None:
        return []
    samples = []
    for name, (known, asked) in populations.attributes.items():
        scored = asked.cpu().numpy() >= 0
        values = known[known >= 0]
        if len(values.unique()) < 2 or len(np.unique(asked.cpu().numpy()[scored])) < 2:
            continue
        guess = classify(view.labelled[0][known >= 0], values, view.codes).cpu().numpy()[scored]
        samples.append(_sample(name, guess, asked.cpu().numpy()[scored], labels[scored], experiment))
    return samples


def classify(codes: Tensor, values: Tensor, probes: Tensor) -> Tensor:
    """Returns the value [m] a class-balanced ridge classifier (dual form) fitted on codes [n, h, w] gives each probe [m, h, w]."""
    mean = codes.flatten(1).double().mean(0)
    seen, asked = codes.flatten(1).double() - mean, probes.flatten(1).double() - mean
    classes, ids = values.unique(return_inverse=True)
    weight = 1.0 / torch.bincount(ids).double()[ids]
    targets = torch.nn.functional.one_hot(ids).double() * 2 - 1
    gram = seen @ seen.T
    ridge = RIDGE * gram.diagonal().mean() * weight.mean() / weight
    dual = torch.linalg.solve(gram + torch.diag(ridge + 1e-9), targets)
    return classes[(asked @ seen.T @ dual).argmax(1)]


def _sample(name: str, guess: NDArray[np.int64], truth: NDArray[np.int64], people: NDArray[np.int64],
            experiment: Experiment) -> Sample:
    rng = numpy_generator(experiment.seed, "attribute", name)
    _, ids = np.unique(people, return_inverse=True)
    count = int(ids.max()) + 1
    weights = rng.multinomial(count, np.full(count, 1 / count), size=REPEATS)
    replicates = [balanced_accuracy(guess, truth, w[ids].astype(float)) for w in weights]
    even = np.ones(len(truth))
    shuffled = interval([balanced_accuracy(guess, rng.permutation(truth), even) for _ in range(experiment.judging.shuffles)])
    return sample(f"code/attribute/{name}", balanced_accuracy(guess, truth, even), np.nan_to_num(replicates, nan=0.5), n=len(truth),
                  shuffled=shuffled)


def balanced_accuracy(guess: NDArray[np.int64], truth: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Returns the mean over values of the share guessed right, each picture counting `weights`."""
    shares = [np.average(guess[truth == v] == v, weights=weights[truth == v]) for v in np.unique(truth) if weights[truth == v].sum() > 0]
    return float(np.mean(shares)) if shares else float("nan")

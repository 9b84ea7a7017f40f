"""Identity attackers that train on codes of other people and are judged on people they never saw."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.camera import PrivacyCamera
from optics_sim.experiment import Training
from optics_sim.learning.recognisers import Recogniser, recogniser
from optics_sim.learning.train import EVALUATION_BATCH, Labelled, Trainer, train

LDA_COMPONENTS = 100
LDA_RIDGE = 0.1


def train_embedder(camera: PrivacyCamera, people: Labelled, plan: Training, generator: torch.Generator) -> Recogniser:
    """Returns a network trained to name the attacker's people from their codes; its embedding compares strangers."""
    network = recogniser(plan.recogniser, int(people.labels.max()) + 1, generator).to(people.scenes.device)
    train(Trainer(camera, network, people, plan, generator))
    return network.eval()


@torch.no_grad()
def embed(network: Recogniser, codes: Tensor) -> NDArray[np.float32]:
    """Returns embeddings [n, d] of codes [n, h, w], as a numpy array (scores are statistics, not physics)."""
    parts = [network.embed(part) for part in codes.split(EVALUATION_BATCH)]
    return torch.cat(parts).cpu().numpy()


def lda_embedding(labelled: tuple[Tensor, Tensor], codes: Tensor) -> NDArray[np.float32]:
    """Returns embeddings of codes by PCA and linear discriminants fitted on other people's codes.

    On few pictures this old attacker (Fisherfaces) is often stronger than a network, so it is always asked too.
    Reference: Belhumeur, Hespanha, Kriegman, PAMI 1997.
    """
    seen, labels = labelled[0].flatten(1).double(), labelled[1]
    mean = seen.mean(0)
    count = min(LDA_COMPONENTS, len(seen) - 1, seen.shape[1])
    _, _, axes = torch.linalg.svd(seen - mean, full_matrices=False)
    project = axes[:count].T
    features, probes = (seen - mean) @ project, (codes.flatten(1).double() - mean) @ project
    within = torch.zeros(count, count, dtype=torch.float64, device=seen.device)
    for label in labels.unique():
        centred = features[labels == label] - features[labels == label].mean(0)
        within += centred.T @ centred
    within = within / len(seen)
    ridge = LDA_RIDGE * within.diagonal().mean() + 1e-9
    whiten = torch.linalg.cholesky(torch.linalg.inv(within + ridge * torch.eye(count, dtype=torch.float64, device=seen.device)))
    return (probes @ whiten).float().cpu().numpy()

"""A small recogniser trained for a few seconds on drawn faces, and its codes: what quantisation tests are about."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from optics_sim.data.synthetic import synthetic_people
from optics_sim.learning.recognisers import Recogniser, initialise, small


def face_codes(people, images, size, seed=0):
    """Returns (codes int8 [n, size, size], labels [n]) of drawn faces as a plain 8-bit camera reads them."""
    faces = synthetic_people(people, images, seed, size)
    grey = faces.images.astype(np.float32).mean(-1)
    return np.clip(np.rint(grey - 128), -128, 127).astype(np.int8), faces.labels


def fitted(network: Recogniser, codes, labels, *, epochs, seed=0, rate=3e-3, batch=32):
    """Returns the network after some epochs of Adam on cross-entropy, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    frames, wanted = torch.from_numpy(codes).float(), torch.from_numpy(labels)
    if isinstance(network, Recogniser):
        network.standardise.measure(frames)
    optimiser = torch.optim.Adam(network.parameters(), rate)
    network.train()
    for _ in range(epochs):
        for some in torch.randperm(len(frames), generator=generator).split(batch):
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(network(frames[some]), wanted[some]).backward()
            optimiser.step()
    return network.eval()


def fresh(classes, width, seed=0):
    """Returns an untrained `small` recogniser with weights drawn from a seed."""
    network = small(classes, width=width, embedding=32)
    initialise(network, torch.Generator().manual_seed(seed))
    return network

"""One seed for an experiment, and from it an independent generator for every named stage."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derived_seed(seed: int, *stage: object) -> int:
    """Returns a 63-bit seed that depends on the experiment's seed and on the stage's name, and on nothing else.

    So a stage that is repeated, skipped or resumed draws the same numbers whatever ran before it.
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *stage))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(seed: int, *stage: object, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns a torch generator of a stage on a device."""
    generator = torch.Generator(device=device)
    generator.manual_seed(derived_seed(seed, *stage))
    return generator


def numpy_generator(seed: int, *stage: object) -> np.random.Generator:
    """Returns a numpy generator of a stage."""
    return np.random.default_rng(derived_seed(seed, *stage))

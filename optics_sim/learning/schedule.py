"""How learning rates go: a linear warm-up, then half a cosine down to nothing."""

from __future__ import annotations

import math

WARM_UP_STEPS = 50


def cosine(step: int, total: int) -> float:
    """Returns the factor of a learning rate at a step of `total`: from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))


def warm_up(step: int) -> float:
    """Returns the factor of a learning rate in its first steps: up to 1."""
    return min(1.0, (step + 1) / WARM_UP_STEPS)

"""Mean and variance of a Gaussian that is cut off at a ceiling, smooth in both. Not here: sensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FAR = 8.0  # standard deviations: beyond it the cut changes nothing that float32 can hold


def clipped_moments(mean: Tensor, variance: Tensor, ceiling: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean and variance of min(X, ceiling), X normal, and the slope of that mean in X's mean.

    With a = (ceiling - mean) / sigma, phi and Phi the normal density and distribution, Q = 1 - Phi:
    E = min(mean, ceiling) - sigma * (phi(|a|) - |a| * Q(|a|));
    Var = sigma^2 * ((a^2 + 1) * Phi + a * phi - (a * Phi + phi)^2);  slope = Phi.
    Far below the ceiling these are mean, variance and 1; far above, ceiling, 0 and 0: saturation is soft by
    exactly as much as the noise makes it. A zero variance is a plain clamp.

    Reference: Greene, Econometric Analysis, theorem on moments of the censored normal variable (mirrored).
    """
    sigma = variance.clamp_min(1e-12).sqrt()
    a = ((ceiling - mean) / sigma).clamp(-_FAR, _FAR)
    density = torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    below = 0.5 * torch.erfc(-a / math.sqrt(2))
    cut_mean = torch.minimum(mean, mean.new_tensor(ceiling)) - sigma * _excess(a.abs())
    spread = (a * a + 1) * below + a * density - (a * below + density) ** 2
    return cut_mean, variance * spread.clamp(0, 1), below


def _excess(distance: Tensor) -> Tensor:
    """E[(Z - distance)+] of a standard normal Z: the same below and above the ceiling, once the clamp is taken out."""
    density = torch.exp(-0.5 * distance * distance) / math.sqrt(2 * math.pi)
    return density - distance * 0.5 * torch.erfc(distance / math.sqrt(2))

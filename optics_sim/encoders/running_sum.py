"""The running sum of codes: what an attacker who knows the bins makes of differences, and an encoder can learn to resist."""

from __future__ import annotations

import torch
from torch import Tensor

from optics_sim.encoding import BdqEncoder, Encoder


def running_sum(codes: Tensor, spec: Encoder) -> Tensor:
    """Returns running sums [n, T, h, w] of an encoder's codes [n, T, h, w], hard or soft, with a gradient to the codes.

    Quantised values are first put back to the middles of their bins (soft ones between them). Differences add up to the
    frame less the first one; other codes, that are no differences, to the running mean of frames.
    """
    values = codes
    if isinstance(spec, BdqEncoder) and spec.quantise:
        edges = torch.tensor([spec.input_range[0], *spec.thresholds, spec.input_range[1]], device=codes.device, dtype=codes.dtype)
        values = _between((edges[1:] + edges[:-1]) / 2, codes)
    if isinstance(spec, BdqEncoder) and spec.difference:
        return values.cumsum(1)
    return values.cumsum(1) / torch.arange(1, codes.shape[1] + 1, device=codes.device)[:, None, None]


def _between(middles: Tensor, codes: Tensor) -> Tensor:
    """Returns the piecewise linear curve through `middles` at 0, 1, ...; a whole code gives its own middle."""
    below = codes.detach().floor().clamp(0, len(middles) - 2).long()
    return torch.lerp(middles[below], middles[below + 1], codes - below)

"""The attacker who restores the film: a 3D U-Net trained on pairs of codes and scenes of the clips he holds."""

from __future__ import annotations

import torch
from torch import Tensor

from optics_sim.attacks.learned import descended
from optics_sim.clip_experiment import ClipTraining
from optics_sim.learning.clip_decoder import ClipDecoder

BATCH = 8


def train_clip_decoder(codes: Tensor, scenes: Tensor, steps: int, plan: ClipTraining, generator: torch.Generator) -> ClipDecoder:
    """Returns a decoder trained by L1 on pairs of codes [n, T, h, w] and scenes [n, T, H, W]."""
    decoder = ClipDecoder((scenes.shape[-2], scenes.shape[-1]))
    decoder.to(scenes.device).train()
    decoder.start(codes, scenes, generator)
    return descended(decoder, (codes,), scenes, steps, BATCH, plan, generator)


@torch.no_grad()
def decoded(decoder: ClipDecoder, codes: Tensor) -> Tensor:
    """Returns the decoder's scenes [n, T, H, W] in 0..1, in batches."""
    return torch.cat([decoder(part) for part in codes.split(2 * BATCH)]).clamp(0, 1)

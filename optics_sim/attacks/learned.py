"""A learned decoder: a small U-Net trained on plaintext pairs of other people, starting from the known-mask inverse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.clip_experiment import ClipTraining
from optics_sim.experiment import Training
from optics_sim.learning.recognisers import initialise
from optics_sim.learning.schedule import cosine
from optics_sim.learning.train import half_where_asked

LEARNING_RATE = 2e-3
BATCH = 32
Net = TypeVar("Net", bound=nn.Module)


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
                         nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Decoder(nn.Module):
    """A U-Net from code and first guess to scene, working at half resolution (pixel unshuffle) for speed.

    Reference: Ronneberger et al. 2015; the attack is the plaintext-pair generator of Bezzam et al. 2022 with a
    stronger start (the attacker knows the mask).
    """

    def __init__(self, scene_shape: tuple[int, int], width: int = 16) -> None:
        super().__init__()
        self.scene_shape = scene_shape
        self.first = _double(8, width)
        self.second = _double(width, 2 * width)
        self.third = _double(2 * width, 4 * width)
        self.back_second = _double(6 * width, 2 * width)
        self.back_first = _double(3 * width, width)
        self.last = nn.Conv2d(width, 4, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def forward(self, codes: Tensor, guess: Tensor) -> Tensor:
        """Returns scenes [n, H, W] from codes [n, h, w] and a first guess [n, H, W]."""
        height, width = self.scene_shape
        planes = torch.stack([F.interpolate(codes[:, None], self.scene_shape, mode="bilinear")[:, 0], guess], 1)
        padded = F.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
        fine = self.first(F.pixel_unshuffle(padded, 2).contiguous(memory_format=torch.channels_last))
        middle = self.second(F.max_pool2d(fine, 2))
        coarse = self.third(F.max_pool2d(middle, 2))
        middle = self.back_second(torch.cat([middle, F.interpolate(coarse, scale_factor=2.0)], 1))
        fine = self.back_first(torch.cat([fine, F.interpolate(middle, scale_factor=2.0)], 1))
        return guess + F.pixel_shuffle(self.last(fine), 2)[:, 0, :height, :width]


def normalised(codes: Tensor) -> Tensor:
    """Returns codes [n, h, w] with zero mean and unit deviation each: brightness is not what the decoder must learn."""
    centred = codes - codes.mean((-2, -1), keepdim=True)
    return centred / centred.std((-2, -1), keepdim=True).clamp(min=1.0)


def train_decoder(codes: Tensor, guesses: Tensor, scenes: Tensor, steps: int, generator: torch.Generator,
                  plan: Training) -> Decoder:
    """Returns a decoder trained by L1 on pairs (codes [n,h,w], known-mask guesses [n,H,W], scenes [n,H,W])."""
    decoder = Decoder((scenes.shape[-2], scenes.shape[-1]))
    initialise(decoder, generator)
    nn.init.zeros_(decoder.last.weight)
    decoder.to(scenes.device).train()
    return descended(decoder, (normalised(codes), guesses), scenes, steps, BATCH, plan, generator)


def descended(decoder: Net, inputs: Sequence[Tensor], scenes: Tensor, steps: int, batch: int, plan: Training | ClipTraining,
              generator: torch.Generator) -> Net:
    """Returns a decoder after `steps` of Adam down the L1 distance of decoder(*inputs) to scenes, on drawn batches of pairs."""
    optimiser = torch.optim.Adam(decoder.parameters(), LEARNING_RATE)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * cosine(step, steps)
        chosen = torch.randint(len(scenes), (min(batch, len(scenes)),), generator=generator, device=generator.device)
        with half_where_asked(plan, scenes):
            recovered = decoder(*(values[chosen] for values in inputs))
        loss = F.l1_loss(recovered.float(), scenes[chosen])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return decoder.eval()


@torch.no_grad()
def decode(decoder: Decoder, codes: Tensor, guesses: Tensor) -> Tensor:
    """Returns the decoder's scenes [n, H, W], clamped to the radiance range [0, 1]."""
    parts = zip(normalised(codes).split(64), guesses.split(64), strict=True)
    return torch.cat([decoder(code, guess) for code, guess in parts]).clamp(0, 1)

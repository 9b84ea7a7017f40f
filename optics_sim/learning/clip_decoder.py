"""A 3D U-Net from clips of codes to clips of scenes: an attacker's, or that of a camera whose aim is the video.

Reference: Kumawat and Nagahara, ECCV 2022 (a 3D U-Net trained on pairs of codes and original videos).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.learning.recognisers import Standardise, initialise


def _double(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for first in (inputs, outputs):
        layers += [nn.Conv3d(first, outputs, 3, 1, 1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class ClipDecoder(nn.Module):
    """A 3D U-Net from codes [n, T, h, w] to scenes [n, T, H, W]; frames are halved in size twice, time never."""

    def __init__(self, scene_shape: tuple[int, int], width: int = 12) -> None:
        super().__init__()
        self.scene_shape = scene_shape
        self.standardise = Standardise()
        self.first, self.second, self.third = _double(4, width), _double(width, 2 * width), _double(2 * width, 4 * width)
        self.back_second, self.back_first = _double(6 * width, 2 * width), _double(3 * width, width)
        self.last = nn.Conv3d(width, 4, 1)
        self.straight = nn.Parameter(torch.zeros(2))  # (gain, level) of the code itself, from which the U-Net goes on

    @torch.no_grad()
    def start(self, codes: Tensor, scenes: Tensor, generator: torch.Generator) -> None:
        """Draws the weights, measures the input constants and fits gain and level by least squares on pairs."""
        initialise(self, generator)
        nn.init.zeros_(self.last.weight)
        self.standardise.measure(codes)
        seen = F.interpolate(self.standardise(codes), self.scene_shape, mode="bilinear")
        gain = ((seen - seen.mean()) * (scenes - scenes.mean())).mean() / seen.var().clamp(min=1e-6)
        self.straight.copy_(torch.stack([gain, scenes.mean() - gain * seen.mean()]))

    def forward(self, codes: Tensor) -> Tensor:
        """Returns scenes [n, T, H, W] of codes [n, T, h, w]."""
        height, width = self.scene_shape
        frames = F.interpolate(self.standardise(codes), self.scene_shape, mode="bilinear")
        padded = F.pad(frames, (0, -width % 8, 0, -height % 8), mode="replicate")
        fine = self.first(F.pixel_unshuffle(padded.unsqueeze(2), 2).movedim(2, 1))
        middle = self.second(F.max_pool3d(fine, (1, 2, 2)))
        coarse = self.third(F.max_pool3d(middle, (1, 2, 2)))
        middle = self.back_second(torch.cat([middle, _doubled(coarse)], 1))
        fine = self.back_first(torch.cat([fine, _doubled(middle)], 1))
        change = F.pixel_shuffle(self.last(fine).movedim(1, 2), 2)[:, :, 0, :height, :width]
        return self.straight[0] * frames + self.straight[1] + change


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=(1.0, 2.0, 2.0))

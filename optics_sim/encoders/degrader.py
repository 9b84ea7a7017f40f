"""A learned degrader: a residual network on each frame, then levels. The expensive kind that BDQ is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optics_sim.encoders.kept_weights import KeptWeights
from optics_sim.encoding import DegraderEncoder


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_layer(channels, channels), nn.Conv2d(channels, channels, 3, padding=1), _norm(channels))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


class Degrader(KeptWeights):
    """Frame plus network(frame), quantised to `levels`: convolutions width, 2 width, 4 width (each half as large), residual
    blocks, and back up.

    Reference: Wu et al., Privacy-preserving deep action recognition, TPAMI 2020 (its degradation model), after
    Johnson et al., ECCV 2016. Changed: narrower, instance norm (a frame's code depends on that frame alone), one plane.
    """

    def __init__(self, spec: DegraderEncoder) -> None:
        super().__init__(spec)
        width = spec.width
        self.down = nn.Sequential(*_layer(1, width, kernel=9), *_layer(width, 2 * width, stride=2),
                                  *_layer(2 * width, 4 * width, stride=2))
        self.middle = nn.Sequential(*(_Residual(4 * width) for _ in range(spec.blocks)))
        self.at_half = nn.Sequential(*_layer(4 * width, 2 * width))
        self.at_full = nn.Sequential(*_layer(2 * width, width), last := nn.Conv2d(width, 1, 9, padding=4))
        self.start("degrader")
        if spec.file is None:  # it begins as the frame itself: there is something to recognise, and something to hide
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns codes 0..levels - 1 of readout codes [..., h, w], same shape: always whole, with a gradient straight through
        rounding and clipping; `generator` and `hard` are not used.

        A network that trains on soft codes puts the actions between two levels, where the camera's hard ones have nothing.
        """
        frames = codes.reshape(-1, 1, *codes.shape[-2:]) / 128
        features = self.middle(self.down(frames))
        half = self.at_half(_enlarged(features, tuple(-(-side // 2) for side in codes.shape[-2:])))
        changed = frames + self.at_full(_enlarged(half, tuple(codes.shape[-2:])))
        level = (changed * 128 + 128) / 255 * (self.spec.levels - 1)
        whole = level.detach().clamp(0, self.spec.levels - 1).round()
        return (level + (whole - level.detach())).reshape(codes.shape)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(channels, channels)


def _layer(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), _norm(outputs), nn.ReLU()]


def _enlarged(features: Tensor, shape: tuple[int, ...]) -> Tensor:
    return F.interpolate(features, shape, mode="nearest")

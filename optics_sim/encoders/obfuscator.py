"""A learned obfuscator that fits a microcontroller: each frame through a narrow place and back, MobileNet-style.

    frame -> 1/8 of the size, 8 channels between 0 and 1 -> a picture of the frame's size again: the code, -128..127

Convolutions carry their own normalisation: weights of zero mean and unit variance times a learned gain. So nothing is measured
on a batch, `forward` changes no state, and `plain` gives an ordinary network that computes the same.

Reference: De Coninck et al., Privacy-preserving visual analysis: training video obfuscation models without sensitive labels
(its obfuscator: 0.154 M parameters, strided, depthwise-separable; layers unpublished, these are ours); Sandler et al.,
MobileNetV2, CVPR 2018 (blocks); Brock et al., ICLR 2021 (standardised weights).
Deliberately not here: how it is trained (`optics_sim.learning.clips`), integers (`firmware_export.quantise`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optics_sim.encoders.kept_weights import KeptWeights
from optics_sim.encoding import ObfuscatorEncoder

RELU_GAIN = (2 / (1 - 1 / torch.pi)) ** 0.5  # makes up for the variance that a relu takes; Brock et al., section 3
RESIDUAL_GAIN = 0.5
BLOCKS = ((24, 2), (40, 2), (40, 1), (64, 1), (64, 1))
"""(channels, stride) of the inverted residuals after the stem, at width 16."""
UP = (96, 48, 16)
"""Channels on the way back, each at twice the size of the one before."""
EXPANSION = 6
SMALLEST_DEVIATION = 1e-4


class StandardisedConv(nn.Conv2d):
    """A convolution whose weights have mean 0 and variance gain^2 / fan-in for each output channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, gain: float = RELU_GAIN) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
        self.gain = nn.Parameter(torch.full((outputs, 1, 1, 1), gain))

    def forward(self, features: Tensor) -> Tensor:
        """Returns features [n, outputs, h, w]."""
        return F.conv2d(features, self.used(), self.bias, self.stride, self.padding, 1, self.groups)

    def used(self) -> Tensor:
        """Returns the weights that are multiplied with."""
        inside = self.weight[0].numel()
        spread, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        return (self.weight - mean) * (self.gain / (spread.sqrt() + SMALLEST_DEVIATION) / inside**0.5)

    @torch.no_grad()
    def plain(self) -> nn.Conv2d:
        """Returns an ordinary convolution that computes the same."""
        made = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, groups=self.groups)  # type: ignore[arg-type]
        made.weight.copy_(self.used())
        made.bias.copy_(self.bias)  # type: ignore[union-attr, arg-type]
        return made


class _Block(nn.Module):
    """Expand, filter each channel, project; with a shortcut where size and channels stay."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = EXPANSION * inputs
        self.shortcut = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            StandardisedConv(inputs, hidden, gain=1.0), nn.ReLU6(), StandardisedConv(hidden, hidden, 3, stride, hidden), nn.ReLU6(),
            StandardisedConv(hidden, outputs, gain=RELU_GAIN * (RESIDUAL_GAIN if self.shortcut else 1.0)))

    def forward(self, features: Tensor) -> Tensor:
        """Returns the block's output."""
        return features + self.body(features) if self.shortcut else self.body(features)


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(StandardisedConv(inputs, inputs, 3, groups=inputs), nn.ReLU6(), StandardisedConv(inputs, outputs), nn.ReLU6())


class Obfuscator(KeptWeights):
    """The encoder of an `ObfuscatorEncoder`; frames of any size from 8 pixels on."""

    def __init__(self, spec: ObfuscatorEncoder) -> None:
        super().__init__(spec)
        width = spec.width
        self.stem = nn.Sequential(StandardisedConv(1, width, 3, 2, gain=1.0), nn.ReLU6())
        inputs, blocks = width, []
        for channels, stride in BLOCKS:
            outputs = channels * width // 16
            blocks.append(_Block(inputs, outputs, stride))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.narrow = StandardisedConv(inputs, spec.code_channels, gain=1.0)
        first = UP[0] * width // 16
        self.wide = nn.Sequential(StandardisedConv(spec.code_channels, first, 3, gain=1.0), nn.ReLU6())
        sizes = [channels * width // 16 for channels in (UP[0], *UP)]
        self.up = nn.ModuleList(_up(before, after) for before, after in pairwise(sizes))
        self.last = StandardisedConv(sizes[-1], 1, 3)
        self.start("obfuscator")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it; twice as fast on a CPU

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns codes -128..127 of readout codes [..., h, w], same shape; hard ones whole, with a gradient straight through;
        `generator` is not used.
        """
        frames = codes.reshape(-1, 1, *codes.shape[-2:])
        level = (256 * self._picture(frames) - 128).clamp(-128, 127)
        whole = level + (level.detach().round() - level.detach()) if hard else level
        return whole.reshape(codes.shape)

    def plain(self, size: tuple[int, int]) -> nn.Module:
        """Returns an ordinary network for frames [n, 1, *size] of readout codes, whose output p means the code 256 p - 128."""
        return _Plain(self, size)

    def _picture(self, frames: Tensor) -> Tensor:
        found = self.blocks(self.stem(frames / 128))
        found = self.wide(torch.sigmoid(self.narrow(found)))
        for layer, size in zip(self.up, self.sizes((int(frames.shape[-2]), int(frames.shape[-1]))), strict=True):
            found = layer(F.interpolate(found, size, mode="nearest"))
        return torch.sigmoid(self.last(found))

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Returns the sizes on the way back of frames of a size: a quarter, a half, the whole, rounded up."""
        return [(-(-size[0] // part), -(-size[1] // part)) for part in (4, 2, 1)]


class _Plain(nn.Sequential):
    """The obfuscator at one size, out of torch's own layers alone."""

    def __init__(self, encoder: Obfuscator, size: tuple[int, int]) -> None:
        stem = _ordinary(encoder.stem)
        with torch.no_grad():
            stem[0].weight.div_(128)  # type: ignore[operator]
        blocks = [_PlainBlock(block) for block in encoder.blocks if isinstance(block, _Block)]
        parts: list[nn.Module] = [stem, *blocks, encoder.narrow.plain(), nn.Sigmoid(), _ordinary(encoder.wide)]
        for layer, sides in zip(encoder.up, encoder.sizes(size), strict=True):
            parts += [nn.Upsample(sides, mode="nearest"), _ordinary(layer)]
        super().__init__(*parts, encoder.last.plain(), nn.Sigmoid())


class _PlainBlock(nn.Module):
    def __init__(self, block: _Block) -> None:
        super().__init__()
        self.body, self.shortcut = _ordinary(block.body), block.shortcut

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features) if self.shortcut else self.body(features)


def _ordinary(layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*_layers(layers))


def _layers(layers: nn.Module) -> Iterator[nn.Module]:
    for layer in layers.children():
        yield layer.plain() if isinstance(layer, StandardisedConv) else layer

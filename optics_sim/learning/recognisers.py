"""Recognisers in plain torch: a small one for two CPU cores and ResNet-18 with a one-channel stem.

All of them return an embedding from `embed` and class scores from `forward`; any input size from 16 pixels on.
Their first step is named: `Standardise`, two constants measured on training codes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.errors import PrivcamError


class Standardise(nn.Module):
    """(code - mean) / deviation with constants measured once on training codes, stored with the recogniser."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def measure(self, codes: Tensor) -> None:
        """Sets the constants from training codes; a constant input keeps deviation 1."""
        self.mean.copy_(codes.mean())
        spread = codes.std()
        self.deviation.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, codes: Tensor) -> Tensor:
        """Returns standardised codes, same shape."""
        return (codes - self.mean) / self.deviation


def _conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


class Recogniser(nn.Module):
    """A trunk that turns [n, 1, h, w] into features, an embedding of stated length and a linear classifier."""

    def __init__(self, trunk: nn.Module, features: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.trunk = trunk
        self.neck = nn.Sequential(nn.Linear(features, embedding, bias=False), nn.BatchNorm1d(embedding))
        self.head = nn.Linear(embedding, classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    def embed(self, codes: Tensor) -> Tensor:
        """Returns embeddings [n, embedding] of codes [n, h, w]."""
        planes = self.standardise(codes).unsqueeze(-3).contiguous(memory_format=torch.channels_last)
        return self.neck(self.trunk(planes))

    def forward(self, codes: Tensor) -> Tensor:
        """Returns class scores [n, classes] of codes [n, h, w]."""
        return self.head(F.relu(self.embed(codes)))


def small(classes: int, *, width: int = 32, embedding: int = 64) -> Recogniser:
    """Returns a small recogniser: four convolutions, about 0.3 M parameters at width 32."""
    layers = [*_conv(1, width), nn.MaxPool2d(2), *_conv(width, 2 * width), nn.MaxPool2d(2), *_conv(2 * width, 4 * width),
              nn.MaxPool2d(2), *_conv(4 * width, 4 * width), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return Recogniser(nn.Sequential(*layers), 16 * width, classes, embedding)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut. Reference: He et al., CVPR 2016, figure 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(inputs, outputs, stride), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
                                  nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Returns the block's output."""
        return F.relu(self.body(features) + self.shortcut(features))


def resnet18(classes: int, *, width: int = 64, embedding: int = 128) -> Recogniser:
    """Returns ResNet-18 with a 3x3 one-channel stem and no first pooling: codes are small.

    Reference: He et al., CVPR 2016, table 1; the stem is ours.
    """
    stages: list[nn.Module] = [*_conv(1, width)]
    inputs = width
    for index, outputs in enumerate((width, 2 * width, 4 * width, 8 * width)):
        stages += [BasicBlock(inputs, outputs, 1 if index == 0 else 2), BasicBlock(outputs, outputs, 1)]
        inputs = outputs
    return Recogniser(nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs, classes, embedding)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project, and a shortcut. Reference: Sandler et al., MobileNetV2, CVPR 2018, figure 3."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.same = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Returns the block's output."""
        return features + self.body(features) if self.same else self.body(features)


def mobile(classes: int, *, width: int = 16, embedding: int = 64) -> Recogniser:
    """Returns a small MobileNetV2: inverted residuals, about 0.1 M parameters at width 16."""
    layers = [*_conv(1, width, 2), InvertedResidual(width, 2 * width, 2), InvertedResidual(2 * width, 2 * width, 1),
              InvertedResidual(2 * width, 4 * width, 2), InvertedResidual(4 * width, 4 * width, 1)]
    return Recogniser(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 16 * width, classes, embedding)


class PatchTrunk(nn.Module):
    """Patches as tokens, two layers of attention, and their mean. Reference: Dosovitskiy et al., ICLR 2021, without class token."""

    def __init__(self, width: int, patch_px: int, heads: int = 4) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch_px, patch_px)
        self.place = nn.Conv2d(width, width, 3, 1, 1, groups=width)  # where a token lies, for any size of code
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, planes: Tensor) -> Tensor:
        """Returns features [n, width] of planes [n, 1, h, w]."""
        tokens = self.patches(planes)
        return self.layers((tokens + self.place(tokens)).flatten(2).mT).mean(1)


def patches(classes: int, *, width: int = 64, embedding: int = 64) -> Recogniser:
    """Returns a small vision transformer on patches of 8 pixels, about 0.1 M parameters at width 64."""
    return Recogniser(PatchTrunk(width, 8), width, classes, embedding)


class ShiftVariant(nn.Module):
    """A 3x3 convolution with other kernels at each place of a tile: what reads a code that repeats with the tile.

    Reference: Okawara et al., ICCP 2020, the first layer of SVC2D.
    """

    def __init__(self, outputs: int, tile_px: int = 8) -> None:
        super().__init__()
        self.tile_px, self.places = tile_px, tile_px**2
        self.kernels = nn.Conv2d(9 * self.places, outputs * self.places, 1, groups=self.places, bias=False)

    def forward(self, planes: Tensor) -> Tensor:
        """Returns features [n, outputs, h, w] of planes [n, 1, h, w]; tiles begin at the top left."""
        height, width = planes.shape[-2:]
        padded = F.pad(planes, (0, -width % self.tile_px, 0, -height % self.tile_px), mode="replicate")
        around = F.unfold(padded, 3, padding=1).unflatten(-1, (padded.shape[-2], padded.shape[-1]))
        by_place = F.pixel_unshuffle(around, self.tile_px).unflatten(1, (9, self.places)).transpose(1, 2)
        found = self.kernels(by_place.flatten(1, 2)).unflatten(1, (self.places, -1)).transpose(1, 2)
        return F.pixel_shuffle(found.flatten(1, 2), self.tile_px)[..., :height, :width]


def shift_variant(classes: int, *, width: int = 32, embedding: int = 64) -> Recogniser:
    """Returns `small` with a shift-variant first layer of 64 x 9 x width weights, for coded images of 8 x 8 tiles."""
    layers = [ShiftVariant(width), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2), *_conv(width, 2 * width), nn.MaxPool2d(2),
              *_conv(2 * width, 4 * width), nn.MaxPool2d(2), *_conv(4 * width, 4 * width), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return Recogniser(nn.Sequential(*layers), 16 * width, classes, embedding)


RECOGNISERS: dict[str, Callable[[int], Recogniser]] = {
    "small": small, "resnet18": resnet18, "mobile": mobile, "patches": patches, "shift_variant": shift_variant,
}


def recogniser(kind: str, classes: int, generator: torch.Generator) -> Recogniser:
    """Returns a freshly initialised recogniser of a named kind, its weights drawn from `generator` alone.

    Raises PrivcamError for an unknown kind.
    """
    if kind not in RECOGNISERS:
        raise PrivcamError("unknown recogniser", got=kind, allowed=sorted(RECOGNISERS), todo="choose one of these")
    network = RECOGNISERS[kind](classes)
    initialise(network, generator)
    return network


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draws every weight from `generator`: He normal for convolutions and layers, zero bias, unit norms."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.Linear):
            _draw(module.weight, 2.0, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            _draw(module.in_proj_weight, 1.0, generator)
            nn.init.zeros_(module.in_proj_bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.LayerNorm):
            module.reset_parameters()


@torch.no_grad()
def _draw(weight: Tensor, gain: float, generator: torch.Generator) -> None:
    weight.normal_(0.0, (gain / weight[0].numel()) ** 0.5, generator=generator)

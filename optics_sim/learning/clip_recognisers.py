"""Networks that look at clips of codes: 3D ones for actions and gait, and a family of 2D ones for single frames.

All of them return class scores [n, classes] of code clips [n, T, h, w]; a 2D network scores each frame and averages.
Codes smaller than 32 pixels are enlarged by a named step, so that small codes meet the same networks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.errors import PrivcamError
from optics_sim.learning.recognisers import RECOGNISERS, Recogniser, Standardise, initialise, recogniser

SMALLEST_PX = 32


class ClipRecogniser(nn.Module):
    """A 3D trunk from [n, 1, T, h, w] to features, and a linear classifier."""

    def __init__(self, trunk: nn.Module, features: int, classes: int) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.trunk = trunk
        self.head = nn.Linear(features, classes)
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack it

    def forward(self, codes: Tensor) -> Tensor:
        """Returns class scores [n, classes] of codes [n, T, h, w]."""
        planes = enlarged(self.standardise(codes)).unsqueeze(1).contiguous(memory_format=torch.channels_last_3d)
        return self.head(self.trunk(planes))


class FrameRecogniser(nn.Module):
    """A 2D recogniser asked about every frame of a clip."""

    def __init__(self, network: Recogniser) -> None:
        super().__init__()
        self.network = network

    @property
    def standardise(self) -> Standardise:
        """The named first step, with constants of training codes."""
        return self.network.standardise

    def frames(self, codes: Tensor) -> Tensor:
        """Returns class scores [n, T, classes] of each frame of codes [n, T, h, w]."""
        return self.network(enlarged(codes.flatten(0, 1))).unflatten(0, codes.shape[:2])

    def forward(self, codes: Tensor) -> Tensor:
        """Returns log-probabilities [n, classes], the mean over frames, of codes [n, T, h, w]."""
        return self.frames(codes).log_softmax(-1).mean(1)


def enlarged(codes: Tensor) -> Tensor:
    """Returns codes [..., h, w] repeated pixel by pixel until both sides have at least 32 pixels."""
    times = max(1, -(-SMALLEST_PX // min(codes.shape[-2:])))
    return codes if times == 1 else codes.repeat_interleave(times, -1).repeat_interleave(times, -2)


# --- 3D trunks ------------------------------------------------------------------------------------
def _conv3d(inputs: int, outputs: int, stride: tuple[int, int, int] = (1, 1, 1), kernel: int = 3) -> list[nn.Module]:
    return [nn.Conv3d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm3d(outputs), nn.ReLU()]


def small3d(classes: int, *, width: int = 16) -> ClipRecogniser:
    """Returns a small 3D network for two CPU cores: four convolutions, about 0.2 M parameters at width 16."""
    layers = [*_conv3d(1, width, (1, 2, 2)), *_conv3d(width, 2 * width, (2, 2, 2)), *_conv3d(2 * width, 4 * width, (2, 2, 2)),
              *_conv3d(4 * width, 4 * width), nn.AdaptiveAvgPool3d((2, 2, 2)), nn.Flatten()]
    return ClipRecogniser(nn.Sequential(*layers), 32 * width, classes)


class Block3d(nn.Module):
    """Two 3x3x3 convolutions, or a bottleneck of three, and a shortcut. Reference: Hara et al., CVPR 2018."""

    def __init__(self, inputs: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        outputs, steps = width * expansion, (stride,) * 3
        if expansion == 1:
            body = [*_conv3d(inputs, width, steps), nn.Conv3d(width, width, 3, 1, 1, bias=False)]
        else:
            body = [*_conv3d(inputs, width, kernel=1), *_conv3d(width, width, steps), nn.Conv3d(width, outputs, 1, bias=False)]
        self.body = nn.Sequential(*body, nn.BatchNorm3d(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv3d(inputs, outputs, 1, steps, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Returns the block's output."""
        return F.relu(self.body(features) + self.shortcut(features))


def _resnet3d(classes: int, counts: tuple[int, ...], expansion: int) -> ClipRecogniser:
    stages: list[nn.Module] = [*_conv3d(1, 64, (1, 2, 2), 7), nn.MaxPool3d(3, 2, 1)]
    inputs = 64
    for index, (count, width) in enumerate(zip(counts, (64, 128, 256, 512), strict=True)):
        for block in range(count):
            stages.append(Block3d(inputs, width, 2 if index and not block else 1, expansion))
            inputs = width * expansion
    return ClipRecogniser(nn.Sequential(*stages, nn.AdaptiveAvgPool3d(1), nn.Flatten()), inputs, classes)


def resnet18_3d(classes: int) -> ClipRecogniser:
    """Returns a 3D ResNet-18 with a one-channel stem (7x7x7, strides 1, 2, 2). Reference: Hara et al., CVPR 2018."""
    return _resnet3d(classes, (2, 2, 2, 2), 1)


def resnet50_3d(classes: int) -> ClipRecogniser:
    """Returns a 3D ResNet-50 with a one-channel stem: the BDQ paper's recogniser without its pre-training."""
    return _resnet3d(classes, (3, 4, 6, 3), 4)


NETWORKS_3D: dict[str, Callable[[int], ClipRecogniser]] = {"small3d": small3d, "resnet18_3d": resnet18_3d, "resnet50_3d": resnet50_3d}
ClipNetwork = ClipRecogniser | FrameRecogniser


def clip_recogniser(kind: str, classes: int, generator: torch.Generator) -> ClipNetwork:
    """Returns a freshly initialised network of a named kind, 3D or 2D, its weights drawn from `generator` alone.

    Raises PrivcamError for an unknown kind.
    """
    if kind in RECOGNISERS:
        return frame_recogniser(kind, classes, generator)
    if kind not in NETWORKS_3D:
        raise PrivcamError("unknown network for clips", got=kind, allowed=sorted([*NETWORKS_3D, *RECOGNISERS]), todo="choose one of these")
    network = NETWORKS_3D[kind](classes)
    initialise(network, generator)
    return network


def frame_recogniser(kind: str, classes: int, generator: torch.Generator) -> FrameRecogniser:
    """Returns a freshly initialised 2D network that is asked about every frame; errors as `recogniser`."""
    return FrameRecogniser(recogniser(kind, classes, generator))

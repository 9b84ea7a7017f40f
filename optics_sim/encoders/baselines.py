"""The encoders that BDQ is compared with. All are called as `encoder(codes, generator=..., hard=...)`.

`codes` [n, T, h, w] are readout codes. Hard codes lie on the int8 grid, as the camera would send them; soft ones are the
same before rounding and clipping. Deliberately not here: the learned degrader (`degrader`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optics_sim.encoders.flow import dense_flow, sampled
from optics_sim.encoders.gaussian import gaussian_weights, separable_blur
from optics_sim.encoding import (
    BlurEncoder,
    LowResolutionEncoder,
    MotionNoiseEncoder,
    NoiseEncoder,
    PixelateEncoder,
    ReadoutEncoder,
)
from optics_sim.errors import PrivcamError
from optics_sim.learning.seeds import torch_generator

CODE_MIN, CODE_MAX = -128, 127


class Readout(nn.Module):
    """The codes as they are."""

    def __init__(self, spec: ReadoutEncoder) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns the codes."""
        return codes


class LowResolution(nn.Module):
    """Means of square blocks, one pixel each. Reference: Ryoo et al., AAAI 2017; one fixed grid, no learned shifts."""

    def __init__(self, spec: LowResolutionEncoder) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns codes [n, T, h // factor, w // factor]; PrivcamError when a frame holds no whole block."""
        if min(codes.shape[-2:]) < self.spec.factor:
            raise PrivcamError("a frame holds no whole block", got=tuple(codes.shape), allowed=f"sides of {self.spec.factor} and more",
                               todo="choose a smaller factor")
        flat = codes.reshape(-1, 1, *codes.shape[-2:])
        small = F.avg_pool2d(flat, self.spec.factor)
        return on_grid(small.reshape(*codes.shape[:-2], *small.shape[-2:]), hard)


class Blur(nn.Module):
    """A Gaussian blur of each frame; the border's pixels are repeated."""

    weights: Tensor

    def __init__(self, spec: BlurEncoder) -> None:
        super().__init__()
        self.spec = spec
        kernel_px = 2 * math.ceil(3 * spec.sigma_px) + 1
        self.register_buffer("weights", gaussian_weights(torch.tensor(spec.sigma_px), kernel_px), persistent=False)

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns the blurred codes, same shape."""
        return on_grid(separable_blur(codes, self.weights.to(codes.dtype)), hard)


class Pixelate(nn.Module):
    """Means of square blocks, each spread over its block."""

    def __init__(self, spec: PixelateEncoder) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns codes of the same shape, constant in every block."""
        side = self.spec.block_px
        rows, columns = codes.shape[-2:]
        means = F.avg_pool2d(codes.reshape(-1, 1, rows, columns), side, ceil_mode=True, count_include_pad=False)
        spread = means.repeat_interleave(side, -2).repeat_interleave(side, -1)[..., :rows, :columns]
        return on_grid(spread.reshape(codes.shape), hard)


class Noise(nn.Module):
    """Independent Gaussian noise."""

    def __init__(self, spec: NoiseEncoder) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns noisy codes, same shape. Without a generator every clip gets the noise that the spec's seed draws."""
        shape = codes.shape if generator is not None else codes.shape[-3:]
        source = generator or torch_generator(self.spec.seed, "noise encoder", device=codes.device)
        noise = torch.randn(shape, generator=source, device=codes.device, dtype=codes.dtype)
        return on_grid(codes + self.spec.sigma * noise, hard)


class MotionNoise(nn.Module):
    """A texture of uniform noise that moves as the clip does; nothing of the clip's brightness is in the code.

    Every pixel is followed back to the first frame, and the texture is read there once, at the nearest pixel, so it
    stays uniform noise. What comes from outside the frame reads the texture's periodic continuation.
    Reference: Ilic et al., Selective, Interpretable and Motion Consistent Privacy Attribute Obfuscation for Action
    Recognition, CVPR 2024. Changed: the whole frame is replaced, where the paper picks the private parts by template
    saliency; the flow is pyramidal least squares, where the paper has RAFT.
    """

    def __init__(self, spec: MotionNoiseEncoder) -> None:
        super().__init__()
        self.spec = spec

    @torch.no_grad()
    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns moving noise on the int8 grid, same shape, without a gradient; soft and hard are the same."""
        clips = codes.reshape(-1, *codes.shape[-3:])
        source = generator or torch_generator(self.spec.seed, "motion noise encoder", device=codes.device)
        shape = (clips.shape[0] if generator is not None else 1, *clips.shape[-2:])
        texture = torch.randint(CODE_MIN, CODE_MAX + 1, shape, generator=source, device=codes.device).to(codes.dtype)
        return _read_texture(texture.expand(clips.shape[0], -1, -1), self.origins(clips)).reshape(codes.shape)

    def origins(self, clips: Tensor) -> Tensor:
        """Returns how far each pixel came since the first frame [n, T, 2, h, w], in (y, x) pixels to add, of clips [n, T, h, w]."""
        came = clips.new_zeros(clips.shape[0], 2, *clips.shape[-2:])
        found = [came]
        for before, now in zip(clips[:, :-1].unbind(1), clips[:, 1:].unbind(1), strict=True):
            back = dense_flow(now, before, window_px=self.spec.window_px, pyramid=self.spec.pyramid, iterations=self.spec.iterations)
            came = back + torch.stack([sampled(came[:, axis], back) for axis in (0, 1)], 1)
            found.append(came)
        return torch.stack(found, 1)


def _read_texture(texture: Tensor, origins: Tensor) -> Tensor:
    count, _, _, rows, columns = origins.shape
    y = (torch.arange(rows, device=texture.device)[:, None] + origins[:, :, 0]).round().long() % rows
    x = (torch.arange(columns, device=texture.device) + origins[:, :, 1]).round().long() % columns
    return texture.flatten(1).gather(1, (y * columns + x).flatten(1)).reshape(count, -1, rows, columns)


def on_grid(values: Tensor, hard: bool) -> Tensor:
    """Returns values rounded half up and clipped to the int8 grid with a straight-through gradient; soft: as they are."""
    if not hard:
        return values
    whole = (values.detach() + 0.5).floor().clamp(CODE_MIN, CODE_MAX)
    return whole + (values - values.detach())

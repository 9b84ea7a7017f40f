"""A separable Gaussian blur as shifted adds: in one pass where it is compiled, and the same bits in any batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SIGMA_PX = 0.1  # its window is a single 1 in float32; below, the slope would be 0 times infinity


def gaussian_weights(sigma_px: Tensor, kernel_px: int) -> Tensor:
    """Returns exp(-r^2 / (2 sigma^2)) / sum [kernel], with a gradient to sigma."""
    radius = kernel_px // 2
    distances = torch.arange(-radius, radius + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    weights = torch.exp(-0.5 * (distances / sigma_px.clamp_min(SMALLEST_SIGMA_PX)).square())
    return weights / weights.sum()


def separable_blur(frames: Tensor, weights: Tensor) -> Tensor:
    """Returns frames [..., h, w] blurred along rows and columns by weights [odd]; the border's pixels are repeated."""
    return windowed(bordered(frames, weights.shape[0] // 2), weights)


def bordered(frames: Tensor, radius: int) -> Tensor:
    """Returns frames [..., h + 2 radius, w + 2 radius]: the border's pixels are repeated outwards."""
    padded = F.pad(frames.reshape(1, -1, *frames.shape[-2:]), (radius,) * 4, mode="replicate")
    return padded.reshape(*frames.shape[:-2], *padded.shape[-2:])


def windowed(padded: Tensor, weights: Tensor) -> Tensor:
    """Returns frames [..., h, w]: the sums of padded ones under the weights [odd] along rows and columns."""
    return _weighted(_weighted(padded, weights, -1), weights, -2)


def _weighted(padded: Tensor, weights: Tensor, axis: int) -> Tensor:
    count = padded.shape[axis] - weights.shape[0] + 1
    total = weights[0] * padded.narrow(axis, 0, count)
    for index in range(1, weights.shape[0]):
        total = total + weights[index] * padded.narrow(axis, index, count)
    return total

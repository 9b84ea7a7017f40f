"""A separable Gaussian blur as shifted adds: in one pass where it is compiled, and the same bits in any batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SIGMA_PX = 0.1  # its window is a single 1 in float32; below, the slope would be 0 times infinity


def gaussian_weights(sigma_px: Tensor, kernel_px: int) -> Tensor:
    """Returns exp(-r^2 / (2 sigma^2)) / sum [kernel], with a gradient to sigma."""
    radius = kernel_px // 2
    distance = torch.arange(-radius, radius + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    weights = torch.exp(-0.5 * (distance / sigma_px.clamp_min(SMALLEST_SIGMA_PX)).square())
    return weights / weights.sum()


def separable_blur(frames: Tensor, weights: Tensor) -> Tensor:
    """Returns frames [..., h, w] blurred along rows and columns by weights [odd]; the border's pixels are repeated."""
    size, radius = weights.shape[0], weights.shape[0] // 2
    rows, columns = frames.shape[-2:]
    padded = F.pad(frames.reshape(1, -1, rows, columns), (radius,) * 4, mode="replicate")
    tall = weights[0] * padded[..., :columns]
    for index in range(1, size):
        tall = tall + weights[index] * padded[..., index : index + columns]
    blurred = weights[0] * tall[..., :rows, :]
    for index in range(1, size):
        blurred = blurred + weights[index] * tall[..., index : index + rows, :]
    return blurred.reshape(frames.shape)

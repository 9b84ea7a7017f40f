"""A separable Gaussian blur as shifted adds: in one pass where it is compiled, and the same bits in any batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_SIGMA_PX = 0.1  # its window is a single 1 in float32; below, the slope would be 0 times infinity


def gaussian_weights(sigma_px: Tensor, kernel_px: int) -> Tensor:
    """Returns exp(-r^2 / (2 sigma^2)) / sum [kernel], with a gradient to sigma."""
    weights = torch.exp(-0.5 * (_distances(sigma_px, kernel_px) / sigma_px.clamp_min(SMALLEST_SIGMA_PX)).square())
    return weights / weights.sum()


def gaussian_slopes(sigma_px: Tensor, kernel_px: int) -> Tensor:
    """Returns the derivative of `gaussian_weights` to sigma [kernel]: w (r^2 - sum of w r^2) / sigma^3."""
    weights, square = gaussian_weights(sigma_px, kernel_px), _distances(sigma_px, kernel_px).square()
    return weights * (square - (weights * square).sum()) / sigma_px.clamp_min(SMALLEST_SIGMA_PX) ** 3


def separable_blur(frames: Tensor, weights: Tensor) -> Tensor:
    """Returns frames [..., h, w] blurred along rows and columns by weights [odd]; the border's pixels are repeated."""
    rows, columns = frames.shape[-2:]
    wide = _weighted(_padded(frames, weights), weights, -1, columns)
    return _weighted(wide, weights, -2, rows).reshape(frames.shape)


def separable_blur_and_slope(frames: Tensor, weights: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns `separable_blur` and its derivative to sigma, both [..., h, w]; `slopes` [odd] are those of the weights."""
    rows, columns = frames.shape[-2:]
    padded = _padded(frames, weights)
    wide, wide_slope = _weighted(padded, weights, -1, columns), _weighted(padded, slopes, -1, columns)
    slope = _weighted(wide, slopes, -2, rows) + _weighted(wide_slope, weights, -2, rows)
    return _weighted(wide, weights, -2, rows).reshape(frames.shape), slope.reshape(frames.shape)


def _distances(like: Tensor, kernel_px: int) -> Tensor:
    radius = kernel_px // 2
    return torch.arange(-radius, radius + 1, device=like.device, dtype=like.dtype)


def _padded(frames: Tensor, weights: Tensor) -> Tensor:
    return F.pad(frames.reshape(1, -1, *frames.shape[-2:]), (weights.shape[0] // 2,) * 4, mode="replicate")


def _weighted(padded: Tensor, weights: Tensor, axis: int, count: int) -> Tensor:
    total = weights[0] * padded.narrow(axis, 0, count)
    for index in range(1, weights.shape[0]):
        total = total + weights[index] * padded.narrow(axis, index, count)
    return total

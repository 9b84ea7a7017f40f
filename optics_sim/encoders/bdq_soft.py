"""The soft BDQ encoder as one function, and its gradient to the 16 parameters written out for large batches.

For 15 thresholds autograd keeps or repeats 15 of everything, and its products r * r * E underflow, which is slow. Written
out, the slope of a sigmoid r is r (1 - r), and that of a blur to its one sigma is another blur; both passes are compiled.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from optics_sim.compiled import compiled
from optics_sim.encoders.gaussian import gaussian_slopes, gaussian_weights, separable_blur, separable_blur_and_slope

MARGIN = 12.0
"""A sigmoid's argument beyond the range's ends at which values are held; further out the outermost sigmoid changes by
less than 1e-6, and within it, at the paper's hardness, no product leaves the normal floats."""


class Form(NamedTuple):
    """What does not change while the encoder learns."""

    kernel_px: int
    difference: bool
    time_axis: int
    reach: float  # of the exponents


def soft_levels(values: Tensor, thresholds: Tensor, middle: Tensor, slope: Tensor, reach: float) -> Tensor:
    """Returns sum over k of sigmoid(slope * (values - threshold_k)), of one exponential per value.

    sigmoid(a - b) = 1 / (1 + exp(-a) exp(b)); both exponents are taken from `middle` and held within +-`reach`.
    """
    falling, rising = _exponentials(values, thresholds, middle, slope, reach)
    total = torch.reciprocal(1 + falling * rising[0])
    for index in range(1, rising.shape[0]):
        total = total + torch.reciprocal(1 + falling * rising[index])
    return total


def soft(codes: Tensor, weights: Tensor | None, form: Form, thresholds: Tensor, middle: Tensor, slope: Tensor) -> Tensor:
    """Returns the soft codes of clips blurred by `weights` (None: not at all), with autograd's gradient."""
    blurred = codes if weights is None else separable_blur(codes, weights)
    return soft_levels(differences(blurred, form.time_axis) if form.difference else blurred, thresholds, middle, slope, form.reach)


def soft_compiled(codes: Tensor, sigma_px: Tensor, form: Form, thresholds: Tensor, middle: Tensor, slope: Tensor) -> Tensor:
    """Returns the soft codes of blurred clips with a gradient to sigma and thresholds, not to the clips."""
    found: Tensor = _Soft.apply(codes, sigma_px, form, thresholds, middle, slope)
    return found


def soft_slopes(given: Tensor, codes: Tensor, weights: Tensor, weight_slopes: Tensor, form: Form, thresholds: Tensor,
                middle: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradient to sigma [] and to the thresholds [levels - 1] of a gradient to the soft codes."""
    values, per_px = separable_blur_and_slope(codes, weights, weight_slopes)
    if form.difference:
        values, per_px = differences(values, form.time_axis), differences(per_px, form.time_axis)
    falling, rising = _exponentials(values, thresholds, middle, slope, form.reach)
    to_thresholds, steepness = [], torch.zeros_like(values)
    for index in range(rising.shape[0]):
        level = torch.reciprocal(1 + falling * rising[index])
        steep = level - level * level
        steepness = steepness + steep
        to_thresholds.append((given * steep).sum())
    return slope * (given * steepness * per_px).sum(), -slope * torch.stack(to_thresholds)


def differences(frames: Tensor, time_axis: int) -> Tensor:
    """Returns each frame but the first minus the one before it."""
    count = frames.shape[time_axis] - 1
    return frames.narrow(time_axis, 1, count) - frames.narrow(time_axis, 0, count)


def _exponentials(values: Tensor, thresholds: Tensor, middle: Tensor, slope: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    return (torch.exp((slope * (middle - values)).clamp(-reach, reach)),
            torch.exp((slope * (thresholds - middle)).clamp(-reach, reach)))


_compiled_soft, _compiled_slopes = cache(lambda: compiled(soft)), cache(lambda: compiled(soft_slopes))


class _Soft(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codes: Tensor, sigma_px: Tensor, form: Form, thresholds: Tensor, middle: Tensor, slope: Tensor) -> Tensor:
        ctx.form = form
        ctx.save_for_backward(codes, sigma_px, thresholds, middle, slope)
        return _compiled_soft()(codes, gaussian_weights(sigma_px, form.kernel_px), form, thresholds, middle, slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        codes, sigma_px, thresholds, middle, slope = ctx.saved_tensors
        weights = gaussian_weights(sigma_px, ctx.form.kernel_px)
        to_sigma, to_thresholds = _compiled_slopes()(
            given.contiguous(), codes, weights, gaussian_slopes(sigma_px, ctx.form.kernel_px), ctx.form, thresholds, middle, slope)
        return None, to_sigma, None, to_thresholds, None, None

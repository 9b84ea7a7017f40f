"""The soft BDQ encoder in two passes, values and levels, each compiled on large batches, forward and backward.

In one pass the compiler works the sigmoids out again for the blur's gradient. Sigma is one number, so its gradient is
taken forward: one more blur, where a backward pass needs the gradient to every pixel on the way.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from optics_sim.compiled import compiled
from optics_sim.encoders.gaussian import bordered, gaussian_weights, windowed

LARGE = 1 << 18
"""Values of a batch of clips from which the soft encoder is worth its compilation."""
MARGIN = 12.0
"""A sigmoid's argument beyond the range's ends at which values are held; further out the outermost sigmoid changes by
less than 1e-6, and within it, at the paper's hardness, no product of two exponentials leaves the normal floats."""
CEILING = 1e12
"""Of exp(-argument): the sigmoid of more is nothing in a sum, but its square in the gradient is a denormal float, and slow."""


class Scale(NamedTuple):
    """Of the sigmoids; the thresholds alone learn."""

    thresholds: Tensor  # [levels - 1] in code levels
    middle: Tensor  # of the range
    slope: Tensor  # per code level
    reach: float  # of the exponents


def soft_values(codes: Tensor, sigma_px: Tensor, kernel_px: int, time_axis: int | None) -> Tensor:
    """Returns blurred clips, or with a `time_axis` their differences, with a gradient to clips and sigma."""
    padded = bordered(codes, kernel_px // 2)
    values: Tensor = (_CompiledValues.apply if _large(padded) else _values)(padded, sigma_px, kernel_px, time_axis)
    return values


def soft_levels(values: Tensor, scale: Scale) -> Tensor:
    """Returns sum over k of sigmoid(slope * (values - threshold_k)), of one exponential per value.

    sigmoid(a - b) = 1 / (1 + exp(-a) exp(b)); both exponents are taken from `middle` and held within +-`reach`.
    """
    # Out here, for what a compiled function makes and keeps for its gradient, torch gives up after one backward.
    rising = torch.exp((scale.slope * (scale.thresholds - scale.middle)).clamp(-scale.reach, scale.reach))
    levels = _fast(_levels) if _large(values) else _levels
    return levels(values.flatten(), rising, scale.middle, scale.slope, scale.reach).reshape(values.shape)


def differences(frames: Tensor, time_axis: int | None) -> Tensor:
    """Returns each frame but the first minus the one before it; the frames themselves without a time axis."""
    if time_axis is None:
        return frames
    count = frames.shape[time_axis] - 1
    return frames.narrow(time_axis, 1, count) - frames.narrow(time_axis, 0, count)


def _values(padded: Tensor, sigma_px: Tensor, kernel_px: int, time_axis: int | None) -> Tensor:
    weights = gaussian_weights(sigma_px, kernel_px)
    return windowed(differences(padded, time_axis), weights)  # a blur is linear, and the compiler fuses this order


def _to_sigma(given: Tensor, padded: Tensor, sigma_px: Tensor, kernel_px: int, time_axis: int | None) -> Tensor:
    one = torch.ones_like(sigma_px)
    per_px = torch.func.jvp(lambda sigma: _values(padded, sigma, kernel_px, time_axis), (sigma_px,), (one,))[1]
    return (given * per_px).sum()


def _to_padded(given: Tensor, padded: Tensor, sigma_px: Tensor, kernel_px: int, time_axis: int | None) -> Tensor:
    backward = torch.func.vjp(lambda frames: _values(frames, sigma_px, kernel_px, time_axis), padded)[1]
    found: Tensor = backward(given)[0]
    return found


def _levels(values: Tensor, rising: Tensor, middle: Tensor, slope: Tensor, reach: float) -> Tensor:
    falling = torch.exp((slope * (middle - values)).clamp(-reach, reach))
    total = _sigmoid(falling, rising[0])
    for index in range(1, rising.shape[0]):
        total = total + _sigmoid(falling, rising[index])
    return total


def _sigmoid(falling: Tensor, rising: Tensor) -> Tensor:
    return torch.reciprocal(1 + (falling * rising).clamp_max(CEILING))


_fast = cache(partial(compiled, varied=True))


def _large(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.numel() >= LARGE


class _CompiledValues(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, sigma_px: Tensor, kernel_px: int, time_axis: int | None) -> Tensor:
        ctx.save_for_backward(padded, sigma_px)
        ctx.form = kernel_px, time_axis
        return _fast(_values)(padded, sigma_px, kernel_px, time_axis)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        inputs = given.contiguous(), *ctx.saved_tensors, *ctx.form
        to_padded = _fast(_to_padded)(*inputs) if ctx.needs_input_grad[0] else None
        return to_padded, _fast(_to_sigma)(*inputs) if ctx.needs_input_grad[1] else None, None, None

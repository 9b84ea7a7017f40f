"""The soft BDQ encoder as two functions with autograd's gradient; on large batches each is compiled, both ways.

Cut between blur and sigmoids, because in one function the compiler works sigmoids out again for the blur's gradient.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

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
    """Returns blurred clips, or with a `time_axis` their differences."""
    found: Tensor = _run(_values, bordered(codes, kernel_px // 2), sigma_px, kernel_px, time_axis)
    return found


def soft_levels(values: Tensor, scale: Scale) -> Tensor:
    """Returns sum over k of sigmoid(slope * (values - threshold_k)), of one exponential per value.

    sigmoid(a - b) = 1 / (1 + exp(-a) exp(b)); both exponents are taken from `middle` and held within +-`reach`.
    """
    return _run(_levels, values.flatten(), *scale).reshape(values.shape)


def differences(frames: Tensor, time_axis: int | None) -> Tensor:
    """Returns each frame but the first minus the one before it; the frames themselves without a time axis."""
    if time_axis is None:
        return frames
    count = frames.shape[time_axis] - 1
    return frames.narrow(time_axis, 1, count) - frames.narrow(time_axis, 0, count)


def _values(padded: Tensor, sigma_px: Tensor, kernel_px: int, time_axis: int | None) -> Tensor:
    weights = gaussian_weights(sigma_px, kernel_px)
    return windowed(differences(padded, time_axis), weights)  # a blur is linear, and this order saves a pass


def _levels(values: Tensor, thresholds: Tensor, middle: Tensor, slope: Tensor, reach: float) -> Tensor:
    falling = torch.exp((slope * (middle - values)).clamp(-reach, reach))
    rising = torch.exp((slope * (thresholds - middle)).clamp(-reach, reach))
    total = _sigmoid(falling, rising[0])
    for index in range(1, rising.shape[0]):
        total = total + _sigmoid(falling, rising[index])
    return total


def _sigmoid(falling: Tensor, rising: Tensor) -> Tensor:
    return torch.reciprocal(1 + (falling * rising).clamp_max(CEILING))


_fast = cache(compiled)


def _run(function: Any, values: Tensor, *arguments: Any) -> Any:
    large = values.device.type == "cpu" and values.numel() >= LARGE
    return (_fast(function) if large else function)(values, *arguments)

"""Video from one coded image: snapshot compressive imaging without learning, for an attacker who knows the code.

A measurement is y = sum_t M_t x_t, exactly. M M^T is diagonal, so that a clip is brought into agreement with its
measurement pixel by pixel; total variation, in space and weakly in time, chooses among the clips that agree.
Clips are [..., slots, H, W] in 0 to 1, measurements [..., H, W], bits [slots, H, W].
Deliberately not here: the sensor's noise, and the learned decoder (`optics_sim.attacks.snapshot_decoder`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from optics_sim.compiled import compiled
from optics_sim.errors import PrivcamError
from optics_sim.sensor.coded import coded_sum, first_guess

TIME_WEIGHT = 0.25
"""Penalty on a step from frame to frame, relative to one from pixel to pixel: what moves must be allowed to."""
GAP_WEIGHT, GAP_ITERATIONS = 0.4, 40
ADMM_WEIGHT, ADMM_PENALTY, ADMM_ITERATIONS = 0.4, 0.05, 60
INNER_ITERATIONS = 5
LARGE = 1 << 19
"""Clip pixels in all frames together from which the compiled passes are worth their compilation."""


def measured(clip: Tensor, bits: Tensor) -> Tensor:
    """Returns the measurement [..., H, W] of a clip, sum_t M_t x_t."""
    return coded_sum(clip, bits)


def agreeing(clip: Tensor, measurement: Tensor, bits: Tensor) -> Tensor:
    """Returns the clip nearest to a given one that agrees with the measurement."""
    return clip + first_guess(measurement - measured(clip, bits), bits)


def gap_tv(measurement: Tensor, bits: Tensor, iterations: int = GAP_ITERATIONS, *, weight: float = GAP_WEIGHT,
           time_weight: float = TIME_WEIGHT, start: Tensor | None = None) -> Tensor:
    """Returns clips by accelerated generalised alternating projection with total variation.

    Each iteration corrects the clip by what its measurement lacks, adds up what was lacking (the acceleration), and
    denoises. It begins with `first_guess`, or with `start` [..., slots, H, W], which also fills what no iteration reaches.

    Reference: X. Yuan, Generalized alternating projection based total variation minimization for compressive sensing,
    ICIP 2016; the spatio-temporal denoiser is ours.
    """
    clip = first_guess(measurement, bits) if start is None else start
    lacking = torch.zeros_like(measurement)
    for _ in range(iterations):
        found = measured(clip, bits)
        lacking = lacking + (measurement - found)
        clip = tv_denoised(clip + first_guess(lacking - found, bits), weight, time_weight)
    return clip.clamp(0, 1)


def snapshot_admm_tv(measurement: Tensor, bits: Tensor, iterations: int = ADMM_ITERATIONS, *, weight: float = ADMM_WEIGHT,
                     penalty: float = ADMM_PENALTY, time_weight: float = TIME_WEIGHT) -> Tensor:
    """Returns clips that minimise |M x - y|^2 / 2 + penalty * weight * TV(x), by ADMM; for noisy measurements.

    The quadratic step has a closed form, x = z + M^T (y - M z) / (sum_t M_t + penalty), for M M^T is diagonal.

    Reference: Boyd et al., Distributed optimization via ADMM (2011), the scaled form; Liu et al., Rank minimization for
    snapshot compressive imaging, TPAMI 41 (2019), for the closed form.
    """
    smooth = first_guess(measurement, bits)
    scaled = torch.zeros_like(smooth)
    share = 1 / (bits.sum(-3) + penalty)
    for _ in range(iterations):
        aim = smooth - scaled
        clip = aim + bits * ((measurement - measured(aim, bits)) * share).unsqueeze(-3)
        smooth = tv_denoised(clip + scaled, weight, time_weight)
        scaled = scaled + clip - smooth
    return smooth.clamp(0, 1)


def tv_denoised(clip: Tensor, weight: float, time_weight: float, steps: int = INNER_ITERATIONS) -> Tensor:
    """Returns argmin_x |x - clip|^2 / 2 + weight * TV(x), approached in a number of steps from duals of 0.

    TV(x) = sum sqrt(|D_rows x|^2 + |D_columns x|^2) + time_weight |D_time x|. Projected gradient ascent on the dual with
    the constant step 1 / (weight * (8 + 4 time_weight^2)). Inside `gap_tv` five steps from 0 are worth more than the
    minimum itself: started from the duals before, it reached 33.6 dB at most on the benchmark's drop, and 35.3 from 0.

    Reference: A. Chambolle, Total variation minimization and a class of binary MRF problems (2005).
    """
    if weight <= 0:
        raise PrivcamError("the weight of total variation is above zero", got=weight, allowed="> 0", todo="try 0.4")
    ascend, close = _passes(clip.device.type == "cpu" and clip.numel() >= LARGE)
    scale, slow = clip.new_tensor(weight), clip.new_tensor(time_weight)
    duals = tuple(torch.zeros_like(clip) for _ in range(3))
    for _ in range(steps):
        duals = ascend(clip, *duals, scale, slow)
    return close(clip, *duals, scale, slow)


@cache
def _passes(large: bool) -> tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Tensor]]:
    return (compiled(_ascended, varied=True), compiled(_closed, varied=True)) if large else (_ascended, _closed)


def _closed(clip: Tensor, rows: Tensor, columns: Tensor, time: Tensor, weight: Tensor, slow: Tensor) -> Tensor:
    """Returns clip - weight * D^T duals."""
    divergence = rows - F.pad(rows[..., :-1, :], (0, 0, 1, 0)) + columns - F.pad(columns[..., :-1], (1, 0))
    divergence = divergence + slow * (time - F.pad(time[..., :-1, :, :], (0, 0, 0, 0, 1, 0)))
    return clip + weight * divergence


def _ascended(clip: Tensor, rows: Tensor, columns: Tensor, time: Tensor, weight: Tensor, slow: Tensor) -> tuple[Tensor, ...]:
    """Returns the duals after one step of projected ascent; the steps across a border stay 0."""
    primal = _closed(clip, rows, columns, time, weight, slow)
    step = 1 / (weight * (8 + 4 * slow * slow))
    rows = rows + step * F.pad(primal[..., 1:, :] - primal[..., :-1, :], (0, 0, 0, 1))
    columns = columns + step * F.pad(primal[..., 1:] - primal[..., :-1], (0, 1))
    size = (rows * rows + columns * columns).sqrt().clamp_min(1)
    change = F.pad(primal[..., 1:, :, :] - primal[..., :-1, :, :], (0, 0, 0, 0, 0, 1))
    return rows / size, columns / size, (time + step * slow * change).clamp(-1, 1)

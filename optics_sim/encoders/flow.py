"""A dense optical flow of our own: pyramidal least squares in Gaussian windows, in plain torch.

Reference: Lucas and Kanade, IJCAI 1981, with windows and warping at each scale after Bouguet (2001). Good for
a few pixels of smooth motion; occlusions and thin things are not modelled.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from optics_sim.encoders.gaussian import gaussian_weights, separable_blur

SMALLEST_SIDE_PX = 8
_STIFFNESS = 1.0  # code levels^2: a window flatter than the readout's steps does not move
_LARGEST_STEP_PX = 1.0


def dense_flow(first: Tensor, second: Tensor, *, window_px: float = 1.5, pyramid: int = 3, iterations: int = 3) -> Tensor:
    """Returns the flow [n, 2, h, w] in (y, x) pixels with first(p) = second(p + flow(p)), of frames [n, h, w].

    Scales whose shorter side is under 8 pixels are left out.
    """
    scales = [(first, second)]
    while len(scales) < pyramid and min(scales[-1][0].shape[-2:]) >= 2 * SMALLEST_SIDE_PX:
        scales.append((_halved(scales[-1][0]), _halved(scales[-1][1])))
    weights = gaussian_weights(first.new_tensor(window_px), 2 * int(2 * window_px + 0.5) + 1)
    flow = first.new_zeros(first.shape[0], 2, *scales[-1][0].shape[-2:])
    for here, there in reversed(scales):
        flow = _resized(flow, here.shape[-2:])
        for _ in range(iterations):
            flow = flow + _update(here, sampled(there, flow), weights)
    return flow


def sampled(frames: Tensor, flow: Tensor) -> Tensor:
    """Returns frames [n, h, w] read at p + flow(p), bilinearly, with the border repeated; flow [n, 2, h, w] in (y, x)."""
    rows, columns = frames.shape[-2:]
    y = torch.arange(rows, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 0]
    x = torch.arange(columns, device=flow.device, dtype=flow.dtype) + flow[:, 1]
    grid = torch.stack([(2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1], -1)
    return F.grid_sample(frames[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


def _update(here: Tensor, moved: Tensor, weights: Tensor) -> Tensor:
    """The least-squares step of every window, [n, 2, h, w]."""
    slope_y, slope_x = torch.gradient((here + moved) / 2, dim=(-2, -1))
    change = here - moved
    products = [slope_y * slope_y, slope_y * slope_x, slope_x * slope_x, slope_y * change, slope_x * change]
    yy, yx, xx, yt, xt = separable_blur(torch.stack(products), weights).unbind()
    yy, xx = yy + _STIFFNESS, xx + _STIFFNESS
    determinant = yy * xx - yx * yx
    step = torch.stack([(xx * yt - yx * xt) / determinant, (yy * xt - yx * yt) / determinant], 1)
    return step.clamp(-_LARGEST_STEP_PX, _LARGEST_STEP_PX)


def _halved(frames: Tensor) -> Tensor:
    return F.avg_pool2d(frames[:, None], 2)[:, 0]


def _resized(flow: Tensor, shape: torch.Size) -> Tensor:
    if flow.shape[-2:] == shape:
        return flow
    larger = F.interpolate(flow, tuple(shape), mode="bilinear", align_corners=False)
    return larger * torch.tensor([shape[0] / flow.shape[-2], shape[1] / flow.shape[-1]], device=flow.device)[:, None, None]

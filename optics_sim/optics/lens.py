"""The blur of a lens that is focused elsewhere.

Deliberately not here: aberrations (Zernike) and diffraction, which a blur of many pixels drowns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from optics_sim.design import DefocusOptics
from optics_sim.errors import PrivcamError


def blur_diameter_m(optics: DefocusOptics) -> float:
    """Returns the diameter on the sensor of the image of a point, by the thin lens.

    diameter = A |s (1/f - 1/D) - 1|: zero when the sensor at s is where 1/f = 1/D + 1/s.
    Reference: Pittaluga and Koppal, "Privacy Preserving Optics for Miniature Vision Sensors", CVPR 2015, section 3.
    """
    return optics.aperture_m * abs(optics.lens_to_sensor_m * (1 / optics.focal_length_m - 1 / optics.scene_to_lens_m) - 1)


def defocus_psf(optics: DefocusOptics, code_pitch_m: float, device: torch.device | str = "cpu") -> Tensor:
    """Returns the blur disc [h, h] on code pixels, h odd, float32, of sum 1 (all the lens lets through).

    Every pixel holds its exact share of the disc's area; a disc smaller than a pixel is one pixel.
    Reference: as `blur_diameter_m`.
    """
    if code_pitch_m <= 0:
        raise PrivcamError("a code pixel has a size", got=code_pitch_m, allowed="above 0", todo="check the readout's bin")
    radius = blur_diameter_m(optics) / code_pitch_m / 2
    half = max(0, math.ceil(radius - 0.5))
    if half == 0:
        return torch.ones(1, 1, device=device)
    edges = torch.arange(2 * half + 2, dtype=torch.float64) - half - 0.5
    corner = _disc_from_centre(edges[:, None], edges[None, :], radius)
    area = corner[1:, 1:] - corner[:-1, 1:] - corner[1:, :-1] + corner[:-1, :-1]
    return (area / (math.pi * radius**2)).clamp(min=0).float().to(device)


def _disc_from_centre(y: Tensor, x: Tensor, radius: float) -> Tensor:
    # Signed area of the disc inside the rectangle from its centre to (y, x): the integral of min(|y|, s(t)) over
    # t = 0..|x|, s(t) = sqrt(R^2 - t^2).
    height, width = torch.broadcast_tensors(y.abs().clamp(max=radius), x.abs().clamp(max=radius))
    flat = torch.sqrt(radius**2 - height**2)  # up to here the rectangle is the lower of the two
    beyond = height * flat + _under_circle(width, radius) - _under_circle(flat, radius)
    area = torch.where(width <= flat, height * width, beyond)
    return area * torch.sign(y) * torch.sign(x)


def _under_circle(t: Tensor, radius: float) -> Tensor:
    root = torch.sqrt(torch.clamp(radius**2 - t**2, min=0))
    return (t * root + radius**2 * torch.asin((t / radius).clamp(max=1))) / 2

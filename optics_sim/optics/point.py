"""The light of one point source on the raw pixels of a camera, wherever it stands.

A scene is a plane of pixels at one distance; a point may be anywhere: its image is the PSF of its own distance, centred where the
ray through the middle of the mask or lens falls. Deliberately not here: scenes (`camera.py`), and noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from optics_sim.camera import WAVE_MARGIN
from optics_sim.design import CameraDesign, DefocusOptics, LenslessOptics
from optics_sim.errors import PrivcamError
from optics_sim.optics.lens import defocus_psf
from optics_sim.optics.patterns import transmission
from optics_sim.optics.psf import lensless_psf


def point_irradiance(design: CameraDesign, y_m: float, x_m: float, distance_m: float) -> Tensor:
    """Returns the light [row, column] on the raw pixels of the readout's crop, relative to a white field through an open aperture.

    Right is +x and down is +y, as the camera sees the scene; the optical axis meets the crop in its middle. The source gives the
    aperture as much light as one white scene pixel of the design, whatever its distance. The PSF is computed on raw pixels
    and put to fractions of one by bilinear weights. Raises PrivcamError for optics without a distance.
    """
    optics = design.optics
    if isinstance(optics, LenslessOptics):
        reach_m, key = optics.mask_to_sensor_m, "scene_to_mask_m"
    elif isinstance(optics, DefocusOptics):
        reach_m, key = optics.lens_to_sensor_m, "scene_to_lens_m"
    else:
        raise PrivcamError("a point source needs optics that have a distance", got=optics.kind, allowed="lensless, defocus")
    pitch_m = design.sensor.pixel_pitch_m
    psf = _psf(optics.model_copy(update={key: distance_m}), pitch_m, max(design.readout.bin))
    rows, columns = design.readout.crop[2:]
    scale = reach_m / distance_m / pitch_m
    centre = (rows / 2 + y_m * scale, columns / 2 + x_m * scale)
    return placed(psf, centre, (rows, columns)) * math.prod(design.readout.bin)


def placed(psf: Tensor, centre: tuple[float, float], shape: tuple[int, int]) -> Tensor:
    """Returns a plane [row, column] with the middle of a PSF at `centre`, in pixels from the plane's upper left corner."""
    starts = [c - n / 2 for c, n in zip(centre, psf.shape, strict=True)]
    tops = [math.floor(start) for start in starts]
    shares = [start - top for start, top in zip(starts, tops, strict=True)]
    plane = torch.zeros(shape, dtype=psf.dtype)
    for down in (0, 1):
        for right in (0, 1):
            weight = (shares[0] if down else 1 - shares[0]) * (shares[1] if right else 1 - shares[1])
            if weight:
                _add(plane, psf * weight, tops[0] + down, tops[1] + right)
    return plane


def _add(plane: Tensor, part: Tensor, top: int, left: int) -> None:
    bottom, right = top + part.shape[0], left + part.shape[1]
    to = (slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0)))
    held = plane[to]
    plane[to] = held + part[max(-top, 0):, max(-left, 0):][: held.shape[0], : held.shape[1]]


def _psf(optics: LenslessOptics | DefocusOptics, pitch_m: float, code_px: int) -> Tensor:
    if isinstance(optics, DefocusOptics):
        return defocus_psf(optics, pitch_m)
    cells = torch.as_tensor(transmission(optics.pattern, optics.cells, optics.cell_m))
    margin = WAVE_MARGIN * code_px if optics.propagation == "wave" else 0
    return lensless_psf(cells, optics, pitch_m, margin=margin).detach()

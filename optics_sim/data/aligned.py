"""Scenes as the public face networks want them: aligned 112x112 faces, display-encoded, scaled.

Deliberately not here: the networks. They are evaluators that a user names, never part of the kit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optics_sim.data.photographs import linear_to_srgb
from optics_sim.errors import PrivcamError

ALIGNED_SIDE_PX = 112
NETWORK_COLUMNS = slice(8, 104)


def arcface_crop(scenes: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the input float32 [n, 3, 112, 96] of a MobileFaceNet: (x - 127.5) / 128 of display-encoded values.

    `scenes` is linear gray [n, H, W] or linear RGB [n, H, W, 3], of faces that were aligned to the 112-pixel template
    before they became scenes. Gray becomes three equal planes. Radiance is clipped to 0..1; a scene of another size is
    resized in linear light by cubic convolution, the friendliest to the network, since it stands for an attacker.
    PrivcamError for another shape or numbers that are not finite.
    Reference: Chen et al. 2018 (MobileFaceNets), section 4.1: "each pixel in RGB images is normalized by
    subtracting 127.5 then dividing by 128"; input 112x96.
    """
    light = np.asarray(scenes, dtype=np.float32)
    planes = light[:, None] if light.ndim == 3 else np.moveaxis(light, -1, 1) if light.ndim == 4 else light
    if planes.ndim != 4 or planes.shape[1] not in (1, 3) or not np.isfinite(planes).all():
        raise PrivcamError("not scenes of faces", got=f"shape {light.shape}, finite {bool(np.isfinite(light).all())}",
                           allowed="finite [n, H, W] or [n, H, W, 3]", todo="give a stack of linear scenes")
    square = _resized(planes)[..., NETWORK_COLUMNS]
    encoded = (linear_to_srgb(square) * np.float32(255) - np.float32(127.5)) / np.float32(128)
    return np.repeat(encoded, 3, axis=1) if encoded.shape[1] == 1 else encoded


def _resized(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    side = (ALIGNED_SIDE_PX, ALIGNED_SIDE_PX)
    if planes.shape[-2:] == side:
        return planes
    flat = planes.reshape(-1, *planes.shape[-2:])
    resized = [np.asarray(Image.fromarray(plane).resize(side, Image.Resampling.BICUBIC)) for plane in flat]
    return np.stack(resized).reshape(*planes.shape[:2], *side) if resized else np.empty((*planes.shape[:2], *side), np.float32)

"""Real light: the PSF and capture that DiffuserCam's tutorial measured with one and the same diffuser camera.

Deliberately not here: the inversion (`optics_sim.attacks.linear.fista`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optics_sim.errors import PrivcamError

BACKGROUND_CORNER = slice(5, 15)
"""Rows and columns of the 10 x 10 corner whose mean is the background, as in the tutorial."""


@dataclass(frozen=True)
class RealCapture:
    """A measured PSF and a measurement of one camera, background subtracted, each of unit norm, [row, column]."""

    psf: NDArray[np.float32]
    measurement: NDArray[np.float32]


def load_capture(folder: Path, factor: int = 4) -> RealCapture:
    """Returns the tutorial's PSF and capture of a hand, averaged over factor x factor pixels.

    The background is the mean of a dark corner of the PSF's picture and is taken from both, since both were
    made with one black level. The norms are set to one: the PSF's light level was not recorded.
    Raises PrivcamError when a file is missing, of another size than its partner, or not divided by `factor`.

    Reference: Biscarrat, Parthasarathy, Kuo, Antipa, Build your own DiffuserCam: tutorial (2018); box averages
    over 4 x 4 pixels instead of its repeated halving.
    """
    psf, measurement = (_picture(folder / name) for name in ("psf_sample.png", "rawdata_hand_sample.png"))
    if psf.shape != measurement.shape or any(side % factor for side in psf.shape):
        raise PrivcamError("PSF and capture cannot be averaged to one size", got=f"{psf.shape}, {measurement.shape}",
                           allowed=f"one size, divided by {factor}", todo="check the files or the factor")
    background = psf[BACKGROUND_CORNER, BACKGROUND_CORNER].mean()
    return RealCapture(*(_unit_norm(box_average(picture - background, factor)) for picture in (psf, measurement)))


def box_average(picture: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Returns the means [rows / factor, columns / factor] of squares of pixels."""
    rows, columns = picture.shape
    return picture.reshape(rows // factor, factor, columns // factor, factor).mean((1, 3))


def _picture(path: Path) -> NDArray[np.float32]:
    try:
        with Image.open(path) as image:
            picture = np.asarray(image).astype(np.float32)
    except (FileNotFoundError, OSError) as error:
        raise PrivcamError("cannot read a DiffuserCam picture", got=f"{path}: {error}", allowed="a 16-bit grey PNG",
                           todo="give the folder with psf_sample.png and rawdata_hand_sample.png") from None
    if picture.ndim != 2:
        raise PrivcamError("a DiffuserCam picture must be grey", got=picture.shape, allowed="[row, column]")
    return picture


def _unit_norm(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    return (picture / np.linalg.norm(picture)).astype(np.float32)

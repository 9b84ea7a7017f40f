"""Real light: DiffuserCam's tutorial (a PSF and a capture of one rig) and pairs of a diffuser and a lens camera (another rig).

Deliberately not here: the inversion (`optics_sim.attacks.linear.fista`), and the PSF of the pairs (`calibration.paired_psf`).
"""

from __future__ import annotations

import json
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


@dataclass(frozen=True)
class RealPair:
    """What a lens camera and the diffuser camera beside it saw of one picture on a screen, [row, column, colour].

    `lens` is 0..1 as its file holds it; `capture` has its dark level off, in units that differ from pair to pair.
    """

    name: str
    lens: NDArray[np.float32]
    capture: NDArray[np.float32]

    def gray(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns the means over colours (lens, capture), [row, column]."""
        return self.lens.mean(-1), self.capture.mean(-1)


def load_pairs(folder: Path, factor: int = 6) -> list[RealPair]:
    """Returns the pairs that pairs.json lists, averaged over factor x factor pixels.

    Raises PrivcamError when a file is missing or not a picture, a size is not divided by `factor`, or PyAV is not there
    (Pillow reads 16-bit colour as 8 bits).

    Reference: Monakhova et al., Learned reconstructions for practical mask-based lensless imaging, Opt. Express 27 (2019).
    """
    try:
        table = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))["pairs"]
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(folder / "pairs.json", error) from None
    found = []
    for entry in table:
        lens = _colour8(folder / entry["lensed"]) / np.float32(255)
        scale, offset = np.float32(entry["diffuser_scale"]), np.float32(entry["diffuser_offset"])
        capture = _colour16(folder / entry["diffuser"]) * scale + offset
        if lens.shape != capture.shape or any(side % factor for side in lens.shape[:2]):
            raise PrivcamError("a pair cannot be averaged to one size", got=f"{entry['name']}: {lens.shape}, {capture.shape}",
                               allowed=f"one size, divided by {factor}", todo="check the files or the factor")
        planes = [np.stack([box_average(picture[..., c], factor) for c in range(3)], -1) for picture in (lens, capture)]
        found.append(RealPair(entry["name"], *planes))
    return found


def _colour8(path: Path) -> NDArray[np.float32]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(np.float32)
    except OSError as error:
        raise _unreadable(path, error) from None


def _colour16(path: Path) -> NDArray[np.float32]:
    try:
        import av
    except ImportError:
        raise PrivcamError("reading 16-bit colour needs PyAV", got="no module av", todo="pip install 'privcam[video]'") from None
    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
    except (OSError, ValueError, StopIteration) as error:
        raise _unreadable(path, error) from None
    if not frame.format.name.startswith("rgb48"):
        raise _unreadable(path, frame.format.name)
    return frame.to_ndarray(format="rgb48le").astype(np.float32)


def _unreadable(path: Path, reason: object) -> PrivcamError:
    return PrivcamError("cannot read a DiffuserCam pair", got=f"{path}: {reason}",
                        allowed="pairs.json, 8-bit lens pictures, 16-bit colour captures",
                        todo="give the folder with pairs.json and its pictures")


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

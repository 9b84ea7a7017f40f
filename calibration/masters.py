"""Dark and flat masters, the map of defect pixels, and the correction they make.

Release 4 of EMVA 1288 shows histograms and leaves the limit for a defect to the user; the limits here are arguments.
Deliberately not here: when to correct (the encoder of this project sees uncorrected raw numbers).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from calibration.intervals import SPREAD_PER_MAD
from calibration.refusals import MIN_STACK
from calibration.stacks import Image, Level
from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source

DARK_DEFECT, RESPONSE_DEFECT, NOISE_DEFECT = 1, 2, 4
NEIGHBOURHOOD_PX = 5  # the response is compared with its surroundings, so that uneven light is no defect


@dataclass(frozen=True)
class Limits:
    """What makes a pixel a defect.

    `robust_sigmas`: deviation of a pixel's dark value or response in units of the robust spread of all pixels.
    `response`: least relative deviation of the response that counts. `noise`: temporal dark noise over its median.
    """

    robust_sigmas: float = 6.0
    response: float = 0.1
    noise: float = 4.0


@dataclass(frozen=True, eq=False)
class Masters:
    """What corrects a frame of the same exposure time, gain and temperature.

    `dark_dn` [row, column]: mean dark frame. `response` [row, column]: relative response, mean 1 over sound pixels.
    `defects` [row, column] uint8: 0 is sound, else the sum of 1 (dark value), 2 (response), 4 (noise).
    """

    dark_dn: Image
    response: Image
    defects: NDArray[np.uint8]
    exposure_s: float
    source: Source

    def correct(self, raw: NDArray[np.integer]) -> Image:
        """Returns frames [..., row, column] in DN of an even sensor, black level taken off; defects are NaN.

        Raises PrivcamError when the frames have another size.
        """
        if raw.shape[-2:] != self.dark_dn.shape:
            raise PrivcamError("the frame does not fit the masters", got=raw.shape, allowed=f"[..., {self.dark_dn.shape}]",
                               todo="crop both alike")
        sound = np.where(self.defects == 0, self.response, np.nan)
        return (raw - self.dark_dn) / sound

    def save(self, folder: Path) -> None:
        """Writes dark.npy, response.npy, defects.npy and masters.json into an existing folder."""
        for name, array in (("dark", self.dark_dn), ("response", self.response), ("defects", self.defects)):
            stream = BytesIO()
            np.save(stream, array, allow_pickle=False)
            write_atomically(folder / f"{name}.npy", stream.getvalue())
        about = {"exposure_s": self.exposure_s, "source": self.source, "defects": int(np.count_nonzero(self.defects))}
        write_atomically(folder / "masters.json", json.dumps(about, indent=1).encode())


def load(folder: Path) -> Masters:
    """Returns masters written by `Masters.save`."""
    dark, response, defects = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("dark", "response", "defects"))
    about = json.loads((folder / "masters.json").read_text(encoding="utf-8"))
    return Masters(dark, response, defects, about["exposure_s"], about["source"])


def _robust_deviation(values: Image, floor: float) -> Image:
    """Returns how many robust standard deviations each value is from the median; `floor` keeps the spread above 0."""
    from_median = values - np.median(values)
    return np.abs(from_median) / max(SPREAD_PER_MAD * float(np.median(np.abs(from_median))), floor)


def make(flat: Level, dark: Level, source: Source, limits: Limits | None = None) -> Masters:
    """Returns the masters of a flat stack and a dark stack of equal exposure time.

    Raises PrivcamError when a stack is short, the exposures differ, or the flat is no brighter than the dark.
    """
    limits = limits or Limits()
    short = min(len(flat.frames), len(dark.frames))
    if short < MIN_STACK:
        raise PrivcamError("too few frames for masters", got=short, allowed=f"at least {MIN_STACK}", todo="take longer stacks")
    if not np.isclose(flat.exposure_s, dark.exposure_s, rtol=1e-3) or flat.frames.shape[1:] != dark.frames.shape[1:]:
        raise PrivcamError("the stacks do not belong together", got=f"{flat.exposure_s} s {flat.frames.shape[1:]}, "
                           f"{dark.exposure_s} s {dark.frames.shape[1:]}", allowed="equal exposure time and size",
                           todo="take the dark stack with the settings of the flat stack")
    signal = flat.mean_image - dark.mean_image
    if np.median(signal) <= 0:
        raise PrivcamError("the flat stack is no brighter than the dark stack", got=f"{np.median(signal):.2f} DN", allowed="above 0",
                           todo="light the flat stack evenly, to half of saturation")
    defects = _defects(signal, dark, limits)
    return Masters(dark.mean_image, signal / signal[defects == 0].mean(), defects, dark.exposure_s, source)


def _defects(signal: Image, dark: Level, limits: Limits) -> NDArray[np.uint8]:
    noise = dark.frames.std(axis=0, ddof=1)
    rounding = 1 / np.sqrt(12 * len(dark.frames))  # DN: spread that rounding alone leaves in a mean
    local = signal / np.maximum(median_filter(signal, NEIGHBOURHOOD_PX, mode="reflect"), np.finfo(float).tiny) - 1
    wrong_dark = _robust_deviation(dark.mean_image, rounding) > limits.robust_sigmas
    wrong_response = (_robust_deviation(local, np.finfo(float).tiny) > limits.robust_sigmas) & (np.abs(local) > limits.response)
    noisy = noise > limits.noise * max(float(np.median(noise)), rounding)
    return (DARK_DEFECT * wrong_dark + RESPONSE_DEFECT * wrong_response + NOISE_DEFECT * noisy).astype(np.uint8)

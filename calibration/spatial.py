"""Differences between pixels: DSNU, PRNU, their row, column and pixel shares, and spectrograms, after EMVA 1288 release 4.

No high-pass filter is applied, so uneven light counts as PRNU: the light has to be even.
Deliberately not here: which pixels are defects (`calibration.masters`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.intervals import Estimate
from calibration.stacks import Image, Level

PARTS = ("total", "row", "column", "pixel")


def split(image: Image, temporal: float) -> dict[str, float]:
    """Returns the spatial variances (DN^2) of a mean image [row, column], with the temporal share taken off.

    `temporal`: variance of one pixel of the mean image from noise alone (the stack's temporal variance over its frames).
    The row, column and pixel variances are the solution of the three equations of release 4 for the total variance
    and the variances of the averaged rows and columns.
    """
    m, n = image.shape
    mean = image.mean()
    total = float(image.var(ddof=1)) - temporal
    columns = float(((image.mean(axis=0) - mean) ** 2).mean()) - temporal / m
    rows = float(((image.mean(axis=1) - mean) ** 2).mean()) - temporal / n
    rest = m * n - m - n
    return {
        "total": total,
        "row": (m * n - n) / rest * rows - m / rest * (total - columns),
        "column": (m * n - m) / rest * columns - n / rest * (total - rows),
        "pixel": m * n / rest * (total - columns - rows),
    }


def _mean_error(values: Image) -> float:
    """Returns the standard error of the mean of `values` [row, column] whose rows and columns may each share something."""
    pixels = float(values.var(ddof=1)) / values.size
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    clustered = float(rows.var(ddof=1) / len(rows) + columns.var(ddof=1) / len(columns)) - pixels
    return float(np.sqrt(max(pixels, clustered)))


def _errors(bright: Image, dark: Image | None) -> dict[str, float]:
    """Returns the standard errors of the four variances (of `bright`, less those of `dark` where given)."""

    def apart(image: Image) -> dict[str, Image]:
        centred = image - image.mean()
        rows, columns = centred.mean(axis=1, keepdims=True), centred.mean(axis=0, keepdims=True)
        return {"total": centred, "row": rows, "column": columns, "pixel": centred - rows - columns}

    light, base = apart(bright), apart(dark) if dark is not None else None
    squares = {part: light[part] ** 2 - (base[part] ** 2 if base is not None else 0.0) for part in PARTS}
    m, n = bright.shape
    scale = {"row": m * n - n, "column": m * n - m, "pixel": m * n}  # as in `split`
    plain = {part: factor / (m * n - m - n) * float(squares[part].std(ddof=1) / np.sqrt(squares[part].size))
             for part, factor in scale.items()}
    return {"total": _mean_error(squares["total"]), **plain}


def stack_noise(stack: Level) -> float:
    """Returns the variance that noise leaves in a pixel of the stack's mean image, in DN^2."""
    return stack.moments.stack_variance / stack.moments.frames


def dark_variances(dark: Level) -> dict[str, Estimate]:
    """Returns the spatial variances of a dark stack in DN^2, each part with its error."""
    found = split(dark.mean_image, stack_noise(dark))
    errors = _errors(dark.mean_image, None)
    return {part: Estimate(found[part], errors[part]) for part in PARTS}


def response_variances(flat: Level, dark: Level) -> dict[str, Estimate]:
    """Returns the relative spatial variances of the response: bright less dark, over the squared signal."""
    bright, base = (split(stack.mean_image, stack_noise(stack)) for stack in (flat, dark))
    errors = _errors(flat.mean_image, dark.mean_image)
    signal = flat.moments.mean - dark.moments.mean
    return {part: Estimate((bright[part] - base[part]) / signal**2, errors[part] / signal**2) for part in PARTS}


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """Mean power over lines at each spatial frequency, and what temporal noise alone would give.

    `frequency` [k]: cycles per pixel, 0 to 0.5; `power` [k]: DN^2; `noise`: DN^2, flat.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    noise: float


def spectrogram(image: Image, temporal: float, *, along: str) -> Spectrogram:
    """Returns the spectrogram of a mean image [row, column] `along` its "rows" or its "columns".

    Each line (its image's mean taken off) is Fourier transformed, scaled so that white noise of variance s has power s,
    and the powers of all lines are averaged.
    """
    lines = image - image.mean() if along == "rows" else (image - image.mean()).T
    spectrum = np.fft.rfft(lines, axis=1) / np.sqrt(lines.shape[1])
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=0)
    return Spectrogram(np.asarray(np.fft.rfftfreq(lines.shape[1]), np.float64), power, temporal)

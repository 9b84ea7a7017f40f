"""What a photon-transfer sweep holds, and the sums of each repeated exposure that the fit needs.

Deliberately not here: judging the frames (`calibration.refusals`) and figures (`calibration.temporal`, `calibration.spatial`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from optics_sim.measure import Source

Image = NDArray[np.float64]
BLOCK_PX = 32_768  # pixels worked on at once, so that they stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Level:
    """Repeated frames of one even light (or of none).

    `frames` [n, row, column]: integer DN, black level included, in the order they were taken. `photons_per_px`: mean
    photons on a pixel in one exposure; 0 is dark; None is light of unknown strength. `temperature_c`: of the sensor.
    """

    exposure_s: float
    photons_per_px: float | None
    frames: NDArray[np.integer]
    temperature_c: float | None = None

    @cached_property
    def moments(self) -> Moments:
        """Returns the sums of this level, computed once."""
        return self._summed[0]

    @cached_property
    def _summed(self) -> tuple[Moments, Image | None]:
        return _sums(self.frames)

    @cached_property
    def mean_image(self) -> Image:
        """Returns the mean over frames [row, column] in DN, computed once."""
        summed = self._summed[1]
        return self.frames.mean(axis=0, dtype=np.float64) if summed is None else summed

    @cached_property
    def lowest(self) -> int:
        """Returns the lowest raw number."""
        return int(self.frames.min())

    @cached_property
    def highest(self) -> int:
        """Returns the highest raw number."""
        return int(self.frames.max())


@dataclass(frozen=True, eq=False)
class Sweep:
    """All frames of one photon transfer, of one plane of pixels (mono, or one colour of a filter array).

    `levels`: with light, dark to saturated, at least two frames each. `darks`: without light, one for every exposure time
    of `levels`. `flat` and `dark`: stacks at half of saturation and without light, equal exposures. `bits`: of the raw
    numbers. `warm_darks`: dark levels with their temperatures, at least three exposures at each. `source`: what made the frames.
    """

    bits: int
    levels: tuple[Level, ...]
    darks: tuple[Level, ...]
    flat: Level
    dark: Level
    source: Source
    warm_darks: tuple[Level, ...] = field(default=())

    @property
    def full_scale_dn(self) -> int:
        """Returns the largest raw number."""
        return 2**self.bits - 1

    def named(self) -> list[tuple[str, Level]]:
        """Returns every level with a name that a message can use."""
        groups = (("level", self.levels), ("dark", self.darks), ("warm dark", self.warm_darks))
        many = [(f"{kind} {i}", level) for kind, members in groups for i, level in enumerate(members)]
        return [*many, ("flat stack", self.flat), ("dark stack", self.dark)]

    @cached_property
    def _dark_by_time(self) -> dict[str, Level]:
        return {f"{dark.exposure_s:.6e}": dark for dark in reversed(self.darks)}

    def dark_of(self, level: Level) -> Level | None:
        """Returns the dark frames of a level's exposure time (equal to seven digits), or None."""
        return self._dark_by_time.get(f"{level.exposure_s:.6e}")


@dataclass(frozen=True, eq=False)
class Moments:
    """Means and temporal variances of n frames of p pixels, in DN and DN^2.

    `variance` is the mean over pixels of the variance over frames, with what all pixels share from frame to frame (a
    flickering lamp) taken off; `variance_error` is its standard error with rows as the unit, since readout noise is
    shared along a row. `frame_means` [n].
    """

    mean: float
    variance: float
    variance_error: float
    frame_means: NDArray[np.float64]
    rows: int
    pixels: int

    @property
    def frames(self) -> int:
        """Returns how many frames there were."""
        return len(self.frame_means)

    @property
    def stack_variance(self) -> float:
        """Returns the mean over pixels of the variance over frames, nothing taken off: the standard's stack variance."""
        return self.variance * (self.pixels - 1) / self.pixels + float(self.frame_means.var(ddof=1))

    @property
    def excess_variance(self) -> float:
        """Returns the variance of the frame means beyond what independent pixels explain (can be below 0)."""
        return float(self.frame_means.var(ddof=1)) - self.variance / self.pixels

    @property
    def mean_error(self) -> float:
        """Returns the standard error of `mean` from the noise of independent pixels alone."""
        return float(np.sqrt(max(self.variance, 0.0) / (self.frames * self.pixels)))


def moments(frames: NDArray[np.integer]) -> Moments:
    """Returns the moments of `frames` [n >= 2, row >= 2, column].

    For two frames `variance` is half the mean squared difference less half the squared difference of the means, as in
    EMVA 1288 release 4; for more it is the same two-way residual over n - 1.
    """
    return _sums(frames)[0]


def _sums(frames: NDArray[np.integer]) -> tuple[Moments, Image | None]:
    """Returns the moments, and the mean image where it costs nothing more (not for pairs, whose images nobody keeps)."""
    n, (rows, columns) = len(frames), frames.shape[1:]
    squares, shifts = np.empty(rows), np.zeros(n)
    image = np.empty((rows, columns)) if n > 2 else None
    step = max(BLOCK_PX // columns, 1)
    for start in range(0, rows, step):
        block = slice(start, start + step)
        squares[block], sums, total = _block(frames[:, block])
        shifts += sums
        if image is not None:
            image[block] = frames[0, block] + total / np.float64(n)
    by_row, shifts = squares / ((n - 1) * columns), shifts / (rows * columns)
    frame_means = int(frames[0].sum(axis=1, dtype=np.int64).sum()) / (rows * columns) + shifts
    found = Moments(
        mean=float(frame_means.mean()),
        variance=(float(by_row.mean()) - float(shifts.var(ddof=1))) * rows * columns / (rows * columns - 1),
        variance_error=float(by_row.std(ddof=1) / np.sqrt(rows)),
        frame_means=frame_means,
        rows=rows,
        pixels=rows * columns,
    )
    return found, image


def _block(frames: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.floating]]:
    """Returns, of frames [n, row, column] less their first: squares about the pixels' means by row, sums by frame, the total."""
    exact = np.float32 if frames.dtype.itemsize <= 2 else np.float64  # differences of 16 bit numbers are whole in either
    first, ones = frames[0].astype(exact), np.ones(frames.shape[2], exact)
    total = frames[1].astype(exact)
    total -= first
    squares = np.einsum("rc,rc->r", total, total).astype(np.float64)
    sums = [0.0, float((total @ ones).sum(dtype=np.float64))]
    difference = np.empty_like(first)
    for frame in frames[2:]:
        np.copyto(difference, frame, casting="unsafe")
        difference -= first
        total += difference
        squares += np.einsum("rc,rc->r", difference, difference)
        sums.append(float((difference @ ones).sum(dtype=np.float64)))
    of_total = squares if len(frames) == 2 else np.einsum("rc,rc->r", total, total)
    return squares - of_total / len(frames), np.array(sums), total


def clipped_share(level: Level, value: int) -> float:
    """Returns the fraction of a level's raw numbers that equal `value`."""
    inside = level.lowest <= value <= level.highest
    return float(np.count_nonzero(level.frames == value) / level.frames.size) if inside else 0.0

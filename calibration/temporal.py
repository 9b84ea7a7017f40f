"""Gain, responsivity, dark noise, dark current, saturation and linearity from a sweep, after EMVA 1288 release 4.

Deliberately not here: differences between pixels (`calibration.spatial`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calibration.intervals import NORMAL_95, Estimate, line, through_zero
from calibration.stacks import Level, Sweep
from optics_sim.errors import PrivcamError

QUANTISATION_DN2 = 1 / 12  # variance of rounding to whole numbers
DARK_VARIANCE_FLOOR_DN2 = 0.24  # release 4: below this, rounding hides the dark noise and only a bound is known
FIT_SHARE = 0.7  # of saturation: end of the gain and responsivity fits
LINEAR_SHARES = (0.05, 0.95)  # of saturation: range of the linearity error
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """The sweep as numbers, one entry per level, dark signal and dark variance of the same exposure taken off.

    `light` [n]: photons per pixel, or exposure seconds where the photons are unknown. `signal` [n] DN; `variance` [n] DN^2
    (temporal, dark not taken off). `dark_*` [n]: of the dark that belongs to each level; `dark_index` [n] tells which.
    """

    light: Array
    photons_known: bool
    exposure_s: Array
    signal: Array
    variance: Array
    variance_error: Array
    dark_mean: Array
    dark_variance: Array
    dark_variance_error: Array
    dark_index: NDArray[np.int64]
    pixel_error: Array
    flicker: float
    frames: NDArray[np.int64]

    @cached_property
    def saturation_index(self) -> int:
        """Returns the level of greatest temporal variance: release 4's saturation point."""
        return int(np.argmax(self.variance))

    @property
    def saturation_span(self) -> tuple[int, int]:
        """Returns the levels that may be the true maximum: those within the noise of the greatest, and one more on each side."""
        top = self.saturation_index
        reach = NORMAL_95 * np.hypot(self.variance_error, self.variance_error[top])
        close = np.flatnonzero(self.variance >= self.variance[top] - reach)
        return max(int(close[0]) - 1, 0), min(int(close[-1]) + 1, len(self.light) - 1)

    @property
    def fit(self) -> slice:
        """Returns the levels from the darkest up to 70 % of saturation."""
        return slice(0, int(np.flatnonzero(self.signal <= FIT_SHARE * self.signal[self.saturation_index]).max(initial=-1)) + 1)

    @property
    def linear(self) -> slice:
        """Returns the levels from 5 % to 95 % of saturation."""
        low, high = (share * self.signal[self.saturation_index] for share in LINEAR_SHARES)
        inside = np.flatnonzero((self.signal >= low) & (self.signal <= high))
        return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)

    @property
    def mean_error(self) -> Array:
        """Returns the standard error of each `signal`: pixel noise of light and dark, and the lamp's unsteadiness."""
        return np.sqrt(self.pixel_error**2 + (self.flicker * self.signal) ** 2 / self.frames)

    @property
    def snr(self) -> Array:
        """Returns signal over temporal noise at each level; 0 where there is no noise left (saturated)."""
        noise = np.sqrt(np.maximum(self.variance, 0.0))
        return np.divide(self.signal, noise, out=np.zeros_like(noise), where=noise > 0)


def flicker(levels: tuple[Level, ...], full_scale_dn: int) -> float:
    """Returns the lamp's relative rms change from frame to frame: what the frame means vary beyond pixel noise.

    Levels that are nearly dark or nearly saturated say nothing about the lamp and are left out.
    """
    shares = [level.moments.excess_variance / level.moments.mean**2 for level in levels
              if 0.05 * full_scale_dn < level.moments.mean < 0.9 * full_scale_dn]
    return max(sum(shares) / len(shares), 0.0) ** 0.5 if shares else 0.0


def curve(sweep: Sweep) -> Curve:
    """Returns the sweep as numbers; `calibration.refusals.form` has made sure that every level has its dark."""
    matched = [dark for dark in map(sweep.dark_of, sweep.levels) if dark is not None]
    place = {id(dark): i for i, dark in enumerate(sweep.darks)}
    light, dark = [level.moments for level in sweep.levels], [level.moments for level in matched]
    known = all(level.photons_per_px is not None for level in sweep.levels)
    exposure = np.array([level.exposure_s for level in sweep.levels])
    return Curve(
        light=np.array([level.photons_per_px for level in sweep.levels], float) if known else exposure,
        photons_known=known,
        exposure_s=exposure,
        signal=np.array([a.mean - b.mean for a, b in zip(light, dark, strict=True)]),
        variance=np.array([m.variance for m in light]),
        variance_error=np.array([m.variance_error for m in light]),
        dark_mean=np.array([m.mean for m in dark]),
        dark_variance=np.array([m.variance for m in dark]),
        dark_variance_error=np.array([m.variance_error for m in dark]),
        dark_index=np.array([place[id(m)] for m in matched]),
        pixel_error=np.array([np.hypot(a.mean_error, b.mean_error) for a, b in zip(light, dark, strict=True)]),
        flicker=flicker(sweep.levels, sweep.full_scale_dn),
        frames=np.array([m.frames for m in light]),
    )


def _with_shared_dark(own: Array, dark_error: Array, dark_index: NDArray[np.int64]) -> Array:
    """Returns the covariance [n, n] of differences whose darks may be the same frames."""
    shared = (dark_index[:, None] == dark_index[None, :]) * np.outer(dark_error, dark_error)
    return np.diag(own**2) + shared


def gain(c: Curve) -> Estimate:
    """Returns DN per electron: the slope of temporal variance over signal, dark taken off both, up to 70 % of saturation."""
    s = c.fit
    covariance = _with_shared_dark(c.variance_error[s], c.dark_variance_error[s], c.dark_index[s])
    return through_zero(c.signal[s], (c.variance - c.dark_variance)[s], covariance)


def responsivity(c: Curve) -> Estimate:
    """Returns DN per photon (per second where the photons are unknown) from the levels up to 70 % of saturation."""
    s = c.fit
    return through_zero(c.light[s], c.signal[s], np.diag(c.mean_error[s] ** 2))


def dark_variance(sweep: Sweep) -> Estimate:
    """Returns the temporal dark variance in DN^2 at no exposure time, quantisation included.

    With darks at three or more exposure times it is where their line meets zero, otherwise the shortest dark's.
    """
    found = [dark.moments for dark in sweep.darks]
    if len(found) < 3:
        return Estimate(found[0].variance, found[0].variance_error, found[0].rows - 1)
    return line([dark.exposure_s for dark in sweep.darks], [m.variance for m in found])[1]


def black_level(sweep: Sweep) -> Estimate:
    """Returns the mean raw number in DN of no light at no exposure time: where the darks' line meets zero, or the shortest dark."""
    found = [dark.moments for dark in sweep.darks]
    if len(found) < 3:
        return Estimate(found[0].mean, found[0].mean_error, found[0].pixels - 1)
    return line([dark.exposure_s for dark in sweep.darks], [m.mean for m in found])[1]


def dark_current(darks: tuple[Level, ...], gain_dn_per_e: Estimate) -> tuple[Estimate, Estimate] | None:
    """Returns electrons per second from (mean, variance) of darks over exposure time; None below three exposure times."""
    times = [dark.exposure_s for dark in darks]
    if len(set(times)) < 3:
        return None
    mean = line(times, [dark.moments.mean for dark in darks])[0]
    variance = line(times, [dark.moments.variance for dark in darks])[0]
    return _per_gain(mean, gain_dn_per_e, 1), _per_gain(variance, gain_dn_per_e, 2)


def _per_gain(slope: Estimate, by: Estimate, power: int) -> Estimate:
    value = slope.value / by.value**power
    return Estimate(value, float(np.hypot(slope.error / by.value**power, value * power * by.relative)), slope.freedom)


def doubling_temperature(warm: tuple[Level, ...], gain_dn_per_e: Estimate) -> Estimate | None:
    """Returns the kelvins that double the dark current; None without three temperatures of three exposures each.

    The logarithm of the current is fitted over temperature, each with its own error, which also carries the result's.
    Raises PrivcamError where a temperature has no dark current above its noise.
    """
    temperatures = sorted({level.temperature_c for level in warm if level.temperature_c is not None})
    groups = [tuple(level for level in warm if level.temperature_c == t) for t in temperatures]
    currents = [dark_current(group, gain_dn_per_e) for group in groups]
    if len(temperatures) < 3 or any(current is None for current in currents):
        return None
    means = [current[0] for current in currents if current is not None]
    if any(mean.value <= 2 * mean.error for mean in means):
        raise PrivcamError("a dark current cannot be told from zero, so its doubling has no meaning",
                           got={t: mean.value for t, mean in zip(temperatures, means, strict=True)},
                           todo="take the warm darks at longer exposures or higher temperatures")
    weights = np.array([1 / mean.relative**2 for mean in means])
    x, y = np.array(temperatures), np.log2([mean.value for mean in means])
    centre = float(np.average(x, weights=weights))
    spread = float((weights * (x - centre) ** 2).sum())
    slope = float((weights * (x - centre) * y).sum()) / spread
    error = float(np.sqrt(1 / spread) / np.log(2))
    return Estimate(1 / slope, error / slope**2, min(mean.freedom for mean in means))


def deviations(light: Array, signal: Array) -> Array:
    """Returns relative deviations from the line that minimises their sum of squares, the last axis being levels."""
    u, v = light / signal, 1 / signal  # the line a x + b: minimise the sum of (1 - a u - b v)^2
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    su, sv = u.sum(-1), v.sum(-1)
    determinant = uu * vv - uv**2
    a, b = (su * vv - sv * uv) / determinant, (sv * uu - su * uv) / determinant
    fitted = a[..., None] * light + b[..., None]
    return (signal - fitted) / fitted


def linearity(c: Curve, generator: np.random.Generator, draws: int = 400) -> dict[str, tuple[float, tuple[float, float]]]:
    """Returns (value, 95 % interval) of the `mean` absolute, lowest (`low`) and highest (`high`) deviation, as fractions.

    Intervals: a parametric bootstrap of the level means by their errors. Noise alone makes a straight camera look bent;
    where the mean deviation is no more than such noise gives, its interval begins at 0.
    """
    s = c.linear
    light, signal, error = c.light[s], c.signal[s], c.mean_error[s]
    noise = generator.normal(size=(draws, len(light))) * error
    straight = np.polyval(np.polyfit(light, signal, 1, w=1 / signal), light)
    measures = {"mean": lambda d: np.abs(d).mean(-1), "low": lambda d: d.min(-1), "high": lambda d: d.max(-1)}
    found, again, null = deviations(light, signal), deviations(light, signal + noise), deviations(light, straight + noise)
    result = {}
    for name, measure in measures.items():
        value = float(measure(found))
        low, high = np.quantile(measure(again), (0.025, 0.975))
        if name == "mean" and value <= np.quantile(measure(null), 0.975):
            low = 0.0
        result[name] = (value, (float(min(low, value)), float(max(high, value))))
    return result

"""An exposure ladder: one picture of high dynamic range, in electrons per second with variances, from frames of many exposures.

`search` says what to expose next until the brightest pixel is just below saturation, `rungs_from` lists the longer exposures,
`combine` puts their frames together. All are pure: nothing here touches a camera.
Deliberately not here: what the picture shows (`calibration.psf`), and measuring the sensor (`calibration.photon_transfer`).

Reference: Robertson, Borman, Stevenson, Dynamic range improvement through multiple exposures (ICIP 1999); weights are inverse
variances of the photon transfer's noise model at the pixel's estimated rate, not at its own noisy sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from calibration import refusals
from calibration.intervals import Estimate
from calibration.refusals import LIGHT_LIMIT, SIGNIFICANCE, refuse
from calibration.stacks import Image, Level
from optics_sim.errors import PrivcamError

AIM = (0.7, 0.95)  # of the range from black to saturation: where the brightest pixel of the first rung lies
DARKER = 4.0  # by what a saturated exposure is divided while none is known that is not
SPREADS = 5.0  # standard deviations of one frame that a pixel keeps from saturation
AGREEMENT = 0.02  # relative difference of two rungs' rates that is allowed beyond noise
LEAST_SNR = 10.0  # of the brightest pixel of the shortest exposure
PASSES = 3  # of weights and rates


@dataclass(frozen=True)
class SensorNoise:
    """What a photon transfer says of the sensor: `gain_dn_per_e`, `dark_noise_dn` of one frame, `saturation_dn` with black level."""

    gain_dn_per_e: float
    dark_noise_dn: float
    saturation_dn: float

    def variance_dn2(self, mean_e: Image) -> Image:
        """Returns the temporal variance of a pixel that collects `mean_e` electrons."""
        return self.dark_noise_dn**2 + self.gain_dn_per_e**2 * np.maximum(mean_e, 0.0)


@dataclass(frozen=True)
class Trial:
    """One exposure that was tried and the highest raw number in its frame (defect pixels left out)."""

    exposure_s: float
    peak_dn: float


@dataclass(frozen=True, eq=False)
class Rung:
    """Frames of one exposure: `light` with the source on, `background` with it off and all else alike."""

    light: Level
    background: Level


def search(trials: Sequence[Trial], *, black_dn: float, saturation_dn: float, shortest_s: float, longest_s: float) -> float | None:
    """Returns the exposure to try next, or None when the last one has its brightest pixel at 70 to 95 % of saturation.

    Begins at the shortest. The longest counts as found when even it stays below. Raises PrivcamError when the shortest is
    saturated, or the longest shows no light.
    """
    if not trials:
        return shortest_s
    last = trials[-1]
    fills = {trial.exposure_s: (trial.peak_dn - black_dn) / (saturation_dn - black_dn) for trial in trials}
    too_long = min((s for s, fill in fills.items() if fill > AIM[1]), default=None)
    fine = {s: fill for s, fill in fills.items() if fill <= AIM[1]}
    fill = fills[last.exposure_s]
    if fill > AIM[1]:
        if last.exposure_s <= shortest_s:
            raise PrivcamError("saturated at the shortest exposure", got=f"{last.peak_dn:.0f} DN", allowed=f"below {saturation_dn:.0f} DN",
                               todo="dim the point source or move it away")
        return max(float(np.sqrt(max(fine) * last.exposure_s)) if fine else last.exposure_s / DARKER, shortest_s)
    if fill >= AIM[0] or last.exposure_s >= longest_s:
        if fill < 1 - AIM[1]:
            raise PrivcamError("too dark at the longest exposure", got=f"{fill:.1%} of saturation", allowed=f"at least {1 - AIM[1]:.0%}",
                               todo="brighten the point source, move it closer or raise the gain")
        return None
    aimed = last.exposure_s * min(sum(AIM) / 2 / max(fill, 1e-3), 100.0)
    bound = longest_s if too_long is None else float(np.sqrt(last.exposure_s * too_long))
    return min(aimed, bound, longest_s)


def rungs_from(first_s: float, *, longest_s: float, step: float = 4.0, most: int = 6) -> list[float]:
    """Returns the exposures of a ladder from the longest unsaturated one upwards; PrivcamError for a step of no height."""
    if step <= 1.5 or not 0 < first_s <= longest_s or most < 2:
        raise PrivcamError("no ladder to climb", got=f"step {step:g}, {first_s:g} to {longest_s:g} s, {most} rungs",
                           allowed="step above 1.5, first at most the longest, 2 rungs", todo="check the limits")
    count = min(most, int(np.log(longest_s / first_s) / np.log(step) + 1e-9) + 1)
    return [first_s * step**k for k in range(count)]


@dataclass(frozen=True, eq=False)
class HdrImage:
    """`rate_e_s` [row, column]: electrons per second that the source alone gives; `variance` [row, column] of it, (e-/s)^2.

    `rungs` [row, column]: how many exposures a pixel comes from; 0 is a defect (saturated with the source off), whose rate is 0
    and variance infinite.
    """

    rate_e_s: Image
    variance: Image
    rungs: NDArray[np.int64]

    @cached_property
    def sound(self) -> NDArray[np.bool_]:
        """Returns which pixels are known [row, column]."""
        return self.rungs > 0

    @property
    def total(self) -> Estimate:
        """Returns the electrons per second of all sound pixels together."""
        return Estimate(float(self.rate_e_s.sum()), float(np.sqrt(self.variance[self.sound].sum())))

    def through(self, reference_e_s: Estimate) -> tuple[Image, Estimate]:
        """Returns (PSF, its sum): the picture as fractions of `reference_e_s`, and the fraction of light let through.

        The reference is the source's electrons per second over the aperture's area with the mask away (open sensor: mean rate of
        a pixel times the pixels behind the aperture), of the same source at the same place. Raises PrivcamError where it is not
        above 0.
        """
        if reference_e_s.value <= 0:
            raise PrivcamError("the reference has no light", got=reference_e_s.value, allowed="above 0", todo="take it with the source on")
        total, reference = self.total, reference_e_s
        error = np.hypot(total.error / reference.value, total.value * reference.error / reference.value**2)
        return self.rate_e_s / reference.value, Estimate(total.value / reference.value, float(error))


def check(rungs: Sequence[Rung], sensor: SensorNoise) -> list[PrivcamError]:
    """Returns every reason why the frames cannot be combined."""
    found = list(_form(rungs))
    if found:
        return found
    for i, rung in enumerate(rungs):
        net = rung.light.moments.mean - rung.background.moments.mean
        limit = max(LIGHT_LIMIT * net, refusals.DARK_LIMIT * sensor.dark_noise_dn / np.sqrt(rung.light.moments.pixels))
        found.extend(refusals.steadiness(f"rung {i}", rung.light, limit))
    return [*found, *_content(rungs, sensor)]


def _form(rungs: Sequence[Rung]) -> Iterable[PrivcamError]:
    if len(rungs) < 2:
        yield PrivcamError("too few rungs", got=len(rungs), allowed="at least 2", todo="take the exposures that `rungs_from` lists")
        return
    shapes = {level.frames.shape[1:] for rung in rungs for level in (rung.light, rung.background)}
    kinds = {level.frames.dtype.kind for rung in rungs for level in (rung.light, rung.background)}
    if len(shapes) > 1 or kinds - set("iu"):
        yield PrivcamError("the frames are not raw pictures of one size", got=f"{sorted(shapes)}, kinds {sorted(kinds)}",
                           allowed="integer DN [n, row, column], one crop", todo="take raw frames with one crop")
    times = [rung.light.exposure_s for rung in rungs]
    if any(b <= a for a, b in pairwise(times)):
        yield PrivcamError("rungs are out of order", got=times, allowed="each exposure longer than the last",
                           todo="sort them as they were taken")
    for i, rung in enumerate(rungs):
        if not np.isclose(rung.light.exposure_s, rung.background.exposure_s, rtol=1e-3):
            yield PrivcamError(f"rung {i}: background of another exposure", got=f"{rung.background.exposure_s} s",
                               allowed=f"{rung.light.exposure_s} s", todo="take background frames at every exposure of the ladder")
        if min(len(rung.light.frames), len(rung.background.frames)) < 2:
            yield PrivcamError(f"rung {i}: too few frames", got=f"{len(rung.light.frames)} and {len(rung.background.frames)}",
                               allowed="at least 2 each", todo="repeat the exposure")


def _content(rungs: Sequence[Rung], sensor: SensorNoise) -> Iterable[PrivcamError]:
    shortest = rungs[0]
    lit = (_clipped(shortest.light, sensor) & ~_clipped(shortest.background, sensor)).sum()
    if lit:
        yield PrivcamError("the shortest rung is saturated", got=f"{lit} pixels", allowed="none",
                           todo="begin the ladder where `search` ends")
        return
    signal = shortest.light.mean_image - shortest.background.mean_image
    peak = float(np.where(_clipped(shortest.background, sensor), 0, signal).max())
    noise = float(np.sqrt(sensor.variance_dn2(np.asarray(peak / sensor.gain_dn_per_e))))
    if peak < LEAST_SNR * noise / np.sqrt(len(shortest.light.frames)):
        yield PrivcamError("too dark", got=f"{peak:.1f} DN at the brightest pixel of the shortest rung",
                           allowed=f"{LEAST_SNR:g} standard deviations, {LEAST_SNR * noise:.1f} DN for one frame",
                           todo="begin the ladder where `search` ends, or brighten the source")
        return
    yield from _disagreement(rungs, sensor)


def _disagreement(rungs: Sequence[Rung], sensor: SensorNoise) -> Iterable[PrivcamError]:
    """Rates of neighbouring rungs, summed over the pixels that neither clips."""
    limit = sensor.saturation_dn - SPREADS * _frame_noise(sensor)
    for i, (a, b) in enumerate(pairwise(rungs)):
        usable = (b.light.mean_image < limit) & (a.light.mean_image < limit)
        rates = []
        for rung in (a, b):
            net = (rung.light.mean_image - rung.background.mean_image)[usable].sum()
            noise = sensor.variance_dn2(rung.light.mean_image[usable] / sensor.gain_dn_per_e).sum()
            counts = 1 / len(rung.light.frames) + 1 / len(rung.background.frames)
            rates.append(Estimate(float(net) / rung.light.exposure_s, float(np.sqrt(noise * counts)) / rung.light.exposure_s))
        difference, error = rates[1].value - rates[0].value, float(np.hypot(rates[0].error, rates[1].error))
        if abs(difference) > SIGNIFICANCE * error + AGREEMENT * abs(rates[1].value):
            yield PrivcamError(f"rungs {i} and {i + 1} disagree", got=f"{difference / rates[1].value:+.1%} in electrons per second",
                               allowed=f"{AGREEMENT:.0%} beyond noise",
                               todo="let the source settle, check the exposures that the frames report, and take the ladder again")


def _clipped(level: Level, sensor: SensorNoise) -> NDArray[np.bool_]:
    return np.any(level.frames >= sensor.saturation_dn, axis=0)


def _frame_noise(sensor: SensorNoise) -> float:
    """Returns the noise in DN of one frame near saturation (black level counted as light: a little too much)."""
    return float(np.sqrt(sensor.variance_dn2(np.asarray(sensor.saturation_dn / sensor.gain_dn_per_e))))


def combine(rungs: Sequence[Rung], sensor: SensorNoise) -> HdrImage:
    """Returns the picture of all rungs; each pixel from the exposures that do not bring it near saturation.

    Whether a pixel uses a rung is told by the shorter ones, not by its own sample there, whose noise would bias the choice.
    Raises PrivcamError with what to take again.
    """
    refuse(check(rungs, sensor))
    limit = sensor.saturation_dn - SPREADS * _frame_noise(sensor)
    shape = rungs[0].light.mean_image.shape
    use = [~_clipped(rungs[0].background, sensor)]
    for k in range(1, len(rungs)):
        rate = _mean_rate(rungs[:k], use, sensor)
        foreseen = rungs[k].background.mean_image + sensor.gain_dn_per_e * rate * rungs[k].light.exposure_s
        use.append(use[0] & (foreseen < limit) & ~_clipped(rungs[k].light, sensor) & ~_clipped(rungs[k].background, sensor))
    rate, variance = _mean_rate(rungs, use, sensor), np.full(shape, np.inf)
    for _ in range(PASSES):
        weights = [np.where(used, 1 / _rate_variance(rung, rate, sensor), 0.0) for rung, used in zip(rungs, use, strict=True)]
        together = sum(weights, np.zeros(shape))
        known = together > 0
        summed = sum((w * _rate(rung, sensor) for w, rung in zip(weights, rungs, strict=True)), np.zeros(shape))
        rate = np.divide(summed, together, out=np.zeros(shape), where=known)
        variance = np.divide(1.0, together, out=np.full(shape, np.inf), where=known)
    return HdrImage(rate, variance, np.sum(use, axis=0))


def _rate(rung: Rung, sensor: SensorNoise) -> Image:
    return (rung.light.mean_image - rung.background.mean_image) / (sensor.gain_dn_per_e * rung.light.exposure_s)


def _rate_variance(rung: Rung, rate: Image, sensor: SensorNoise) -> Image:
    """Returns the variance of a rung's rate if `rate` is true; what the background adds in electrons is read off its frames' noise."""
    electrons = rate * rung.light.exposure_s
    dark = max(rung.background.moments.variance, sensor.dark_noise_dn**2)
    light = dark + sensor.gain_dn_per_e**2 * np.maximum(electrons, 0.0)
    return (light / len(rung.light.frames) + dark / len(rung.background.frames)) / (sensor.gain_dn_per_e * rung.light.exposure_s) ** 2


def _mean_rate(rungs: Sequence[Rung], use: Sequence[NDArray[np.bool_]], sensor: SensorNoise) -> Image:
    """Returns electrons over seconds of the used rungs: the best weights for shot noise alone."""
    pairs = list(zip(rungs, use, strict=True))
    seconds = sum((used * rung.light.exposure_s for rung, used in pairs), np.zeros(use[0].shape))
    electrons = sum((used * _rate(rung, sensor) * rung.light.exposure_s for rung, used in pairs), np.zeros(use[0].shape))
    return np.divide(electrons, seconds, out=np.zeros(use[0].shape), where=seconds > 0)

"""Why frames cannot carry a photon transfer, and what to take again.

Every check returns reasons; `refuse` alone raises. Deliberately not here: a lamp that drifts so slowly over the whole sweep
that no repeated exposure shows it; it cannot be told from non-linearity.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats

from calibration.intervals import line
from calibration.stacks import Level, Sweep, clipped_share
from calibration.temporal import Curve
from optics_sim.errors import PrivcamError

MIN_SIDE_PX = 16  # rows are the unit of the errors, so there must be some
MIN_LEVELS = 9  # up to saturation
MIN_STACK = 16
CLIPPED_SHARE = 0.005  # of raw numbers that a dark or a flat may have at the end of the scale
LIGHT_LIMIT = 0.005  # relative change of the light (rms, or end to end) within a stack; a pair may differ by twice as much
DARK_LIMIT = 0.2  # the same for dark frames, in units of their temporal noise
SIGNIFICANCE = 4.0  # standard errors: nothing is refused that noise would explain
FLAT_FILL = (0.3, 0.7)  # of saturation


def refusal(what: str, got: object, allowed: object, todo: str) -> PrivcamError:
    """Returns the fault of frames that break a rule: what, what was got, what is allowed, what to take again."""
    return PrivcamError(what, got=got, allowed=allowed, todo=todo)


def refuse(faults: list[PrivcamError]) -> None:
    """Raises the one fault there is, or one error that lists all; returns where there is none."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise PrivcamError(f"{len(faults)} things are wrong with these frames", got=" | ".join(str(fault) for fault in faults),
                           todo="put them right in this order")


def form(sweep: Sweep) -> list[PrivcamError]:
    """Returns what is wrong with types, shapes, counts and order, before any statistics."""
    found: list[PrivcamError] = []
    for name, level in sweep.named():
        found.extend(_array_faults(name, level, sweep.flat.frames.shape[1:]))
    found.extend(_count_faults(sweep))
    if not found:
        found.extend(_number_faults(sweep))
    return [*found, *_order_faults(sweep)]


def _array_faults(name: str, level: Level, shape: tuple[int, ...]) -> Iterable[PrivcamError]:
    frames = level.frames
    if not isinstance(frames, np.ndarray) or frames.dtype.kind not in "iu":
        yield refusal(f"{name}: frames are not raw integers", getattr(frames, "dtype", type(frames).__name__), "integer DN",
                      "take raw frames; averaged, scaled or developed images have lost the noise that is measured here")
    elif frames.ndim != 3 or frames.shape[1:] != shape or min(frames.shape[1:]) < MIN_SIDE_PX:
        yield refusal(f"{name}: frames have the wrong shape", frames.shape,
                      f"[n, row, column], all levels alike, sides of at least {MIN_SIDE_PX}",
                      "crop every frame to the same region of one plane of pixels")
    elif len(frames) < 2:
        yield refusal(f"{name}: too few frames", len(frames), "at least 2", "repeat the exposure")


def _count_faults(sweep: Sweep) -> Iterable[PrivcamError]:
    if len(sweep.levels) < MIN_LEVELS + 1 or not sweep.darks:
        yield refusal("too few levels", f"{len(sweep.levels)} with light, {len(sweep.darks)} dark",
                      f"at least {MIN_LEVELS + 1} and 1", "take the shots that `plan` lists")
    for name, level in (("flat stack", sweep.flat), ("dark stack", sweep.dark)):
        if 2 <= len(level.frames) < MIN_STACK:
            yield refusal(f"{name}: too few frames", len(level.frames), f"at least {MIN_STACK}",
                          "take a longer stack: temporal noise must average out before pixels are compared")


def _number_faults(sweep: Sweep) -> Iterable[PrivcamError]:
    named = sweep.named()
    high = max(level.highest for _, level in named)
    low = min((level.lowest for _, level in named if level.frames.dtype.kind == "i"), default=0)
    bits = 0
    for level in (sweep.dark, sweep.flat, *sweep.levels):
        bits |= int(np.bitwise_or.reduce(level.frames[0], axis=None))
        if bits & 1:
            break
    spare = (bits & -bits).bit_length() - 1 if bits else 0
    if spare > 0:
        yield refusal("raw numbers are left-justified", f"every one is a multiple of {2**spare}", f"steps of 1 DN in {sweep.bits} bits",
                      f"shift the frames right by {spare} bits")
    elif low < 0 or high > sweep.full_scale_dn:
        yield refusal("raw numbers are outside the converter's range", f"{low} to {high}", f"0 to {sweep.full_scale_dn}",
                      "give the bit depth of the mode the frames were taken in")


def _order_faults(sweep: Sweep) -> Iterable[PrivcamError]:
    photons = [level.photons_per_px for level in sweep.levels]
    if any(p is None for p in photons) and not all(p is None for p in photons):
        yield refusal("photons are known for some levels only", f"{sum(p is not None for p in photons)} of {len(photons)}",
                      "all or none", "give the photons of every level, or of none")
        return
    light = [level.exposure_s if level.photons_per_px is None else level.photons_per_px for level in sweep.levels]
    for kind, values in (("levels", light), ("darks", [dark.exposure_s for dark in sweep.darks])):
        wrong = [i for i in range(1, len(values)) if values[i] <= values[i - 1]]
        if wrong:
            yield refusal(f"{kind} are out of order", f"{kind[:-1]} {wrong[0]}: {values[wrong[0]]} after {values[wrong[0] - 1]}",
                          "each one brighter (darks: longer) than the last", "sort the levels as they were taken, or take the sweep again")
    missing = [level.exposure_s for level in sweep.levels if sweep.dark_of(level) is None]
    if missing and sweep.darks:
        yield refusal("levels without dark frames of the same exposure time", f"{missing[:5]} s",
                      f"{[dark.exposure_s for dark in sweep.darks][:5]} s", "take two dark frames at every exposure time of the sweep")
    if not np.isclose(sweep.flat.exposure_s, sweep.dark.exposure_s, rtol=1e-3):
        yield refusal("the flat and the dark stack differ in exposure time", f"{sweep.flat.exposure_s} and {sweep.dark.exposure_s} s",
                      "equal", "take the dark stack at the exposure time of the flat stack")


def content(sweep: Sweep, c: Curve) -> list[PrivcamError]:
    """Returns what is wrong with the light and the numbers of frames whose form is right."""
    found = [*_clipping(sweep), *_reach(sweep, c), *_rising(sweep)]
    for name, level in sweep.named():
        found.extend(steadiness(name, level, _limit(sweep, name, level)))
    return found


def _clipping(sweep: Sweep) -> Iterable[PrivcamError]:
    darks = [("dark stack", sweep.dark), *((f"dark {i}", dark) for i, dark in enumerate(sweep.darks))]
    for name, level in darks:
        for value, end, todo in ((0, "0", "raise the camera's black level"),
                                 (sweep.full_scale_dn, "full scale", "keep light out, cool the sensor or expose for less long")):
            share = clipped_share(level, value)
            if share > CLIPPED_SHARE:
                yield refusal(f"{name}: saturated dark frames", f"{share:.1%} at {end}", f"at most {CLIPPED_SHARE:.1%}",
                              f"{todo}, then take every frame again")
    share = clipped_share(sweep.flat, sweep.full_scale_dn)
    if share > CLIPPED_SHARE:
        yield refusal("flat stack: saturated frames", f"{share:.1%} at full scale", f"at most {CLIPPED_SHARE:.1%}",
                      "take the flat stack at half of saturation")


def _reach(sweep: Sweep, c: Curve) -> Iterable[PrivcamError]:
    top = c.saturation_index
    fall = SIGNIFICANCE * float(np.hypot(np.nan_to_num(c.variance_error[-1]), c.variance_error[top]))
    if c.variance[-1] >= c.variance[top] - fall:
        yield refusal("the sweep does not reach saturation", f"variance {c.variance[-1]:.4g} DN^2 at the brightest level, "
                      f"{c.variance[top]:.4g} at most", "a variance that clearly falls again", "go on to brighter levels")
    elif top + 1 < MIN_LEVELS:
        yield refusal("too few levels up to saturation", top + 1, f"at least {MIN_LEVELS}", "take smaller steps of light")
    fill = (sweep.flat.moments.mean - sweep.dark.moments.mean) / float(c.signal[top])
    if not FLAT_FILL[0] <= fill <= FLAT_FILL[1]:
        yield refusal("the flat stack is not at half of saturation", f"{fill:.0%}", "30% to 70%", "take it again at 50 %")
    for name, level in (("flat", sweep.flat), ("dark", sweep.dark)):
        if level.moments.variance <= 0:
            yield refusal(f"{name} stack: no temporal noise", f"{level.moments.variance:.3g} DN^2", "above 0",
                          "take separate frames, not copies of one; raise the gain where rounding hides the noise")


def _rising(sweep: Sweep) -> Iterable[PrivcamError]:
    """Mean raw numbers must rise with the light; sensors may fall by a percent beyond saturation."""
    found = [level.moments for level in sweep.levels]
    for i in range(1, len(found)):
        allowance = SIGNIFICANCE * float(np.hypot(found[i].mean_error, found[i - 1].mean_error)) + 2 * LIGHT_LIMIT * found[i - 1].mean
        if found[i].mean < found[i - 1].mean - allowance:
            yield refusal("levels are out of order, or the light changed between them",
                          f"mean {found[i].mean:.1f} DN at level {i} after {found[i - 1].mean:.1f} DN", "rising means",
                          "check that each frame belongs to its exposure, let the lamp settle, and take the sweep again")
            return


def _limit(sweep: Sweep, name: str, level: Level) -> float:
    """Returns the change of the frame mean that is allowed, in DN."""
    dark = DARK_LIMIT * float(np.sqrt(max(sweep.dark.moments.variance, 0.25)))
    if "dark" in name:
        return dark
    return max(dark, LIGHT_LIMIT * (level.moments.mean - sweep.dark.moments.mean))


def steadiness(name: str, level: Level, limit_dn: float) -> Iterable[PrivcamError]:
    """Yields why repeated frames are not of one light: their means drift or flicker by more than `limit_dn` beyond their noise."""
    m = level.moments
    noise = float(np.sqrt(max(m.variance, 0.0) / m.pixels))
    if m.frames < 8:
        span = float(np.ptp(m.frame_means))
        if span > 2 * limit_dn + SIGNIFICANCE * np.sqrt(2) * noise:
            yield refusal(f"{name}: drifting or flickering between repeated frames", f"means {span:.2f} DN apart",
                          f"{2 * limit_dn:.2f} DN", "let the lamp settle, run it on direct current, and repeat these frames")
        return
    slope = line(np.arange(m.frames), m.frame_means)[0]
    drift = slope.value * (m.frames - 1)
    if abs(drift) > limit_dn and abs(slope.value) > SIGNIFICANCE * slope.error:
        yield refusal(f"{name}: drifting", f"{drift:+.2f} DN from the first frame to the last", f"{limit_dn:.2f} DN",
                      "let the camera and the lamp reach a steady temperature, then take the stack again")
        return
    scatter = slope.error**2 * m.frames * (m.frames**2 - 1) / 12  # residual variance around the line
    explained = noise**2 * float(stats.chi2.ppf(stats.norm.cdf(SIGNIFICANCE), m.frames - 2)) / (m.frames - 2)
    if scatter > limit_dn**2 + explained:
        yield refusal(f"{name}: flickering", f"{scatter**0.5:.2f} DN rms from frame to frame", f"{limit_dn:.2f} DN",
                      "run the lamp on direct current or expose for whole mains periods, then take the stack again")

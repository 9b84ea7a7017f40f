"""When a camera sees what: row time of a rolling shutter, latency and jitter, and the slots of a coded exposure.

Deliberately not here: showing and capturing (`hil`), and the codes themselves (`optics_sim.coding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import least_squares

from calibration.intervals import ANALYTIC, Estimate, line
from calibration.refusals import SIGNIFICANCE
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure, Source

Array = NDArray[np.float64]
HARMONICS = 2
TREND = 3  # polynomial order of the light that does not flicker, over the rows
LEAST_PERIODS, LEAST_ROWS_PER_PERIOD = 2.0, 5.0
LEAST_CONTRAST = 8.0  # amplitude of the fringes over its standard error
SCAN = 8  # trial frequencies for each period that fits the frame
MIN_PAIRS = 10
LATE_PART = 0.75  # of a frame, later than the median
MIN_REPEATS = 3
UNCLEAR = (0.25, 0.75)  # open parts between which a slot is neither open nor closed


# --- rolling shutter ------------------------------------------------------------------------------
def row_time(frame: NDArray[np.floating] | NDArray[np.integer], light_hz: float, *, dark_dn: float = 0.0, steady: Array | None = None,
             source: Source = "simulated") -> Measure:
    """Returns the seconds from one row to the next, from the fringes that a light of known frequency leaves in one frame.

    `frame` [row, column] DN; `light_hz`: how often the light repeats itself (a lamp on alternating current: twice the mains).
    `steady` [row, column]: the same scene under a light that does not flicker, dark off, where there is one; without it the scene
    must be even from row to row. The interval is that of the frequency alone. Raises PrivcamError for fringes too few, too
    narrow or too faint, and a light frequency that is not above 0.
    """
    if light_hz <= 0:
        raise PrivcamError("no flicker", got=light_hz, allowed="a frequency above 0 Hz", todo="measure the light with a photodiode")
    rows = np.asarray(frame, float).mean(axis=1) - dark_dn
    if steady is not None:
        rows = rows / np.asarray(steady, float).mean(axis=1)
    count = len(rows)
    highest = 1 / LEAST_ROWS_PER_PERIOD
    if count * highest < LEAST_PERIODS:
        raise PrivcamError("too few rows", got=count, allowed=f"at least {int(LEAST_PERIODS / highest)}", todo="use the whole frame")
    frequency, error, contrast = _fringes(rows)
    periods = frequency * count
    if contrast < LEAST_CONTRAST or not LEAST_PERIODS < periods < highest * count:
        raise PrivcamError("no clear fringes", got=f"amplitude {contrast:.1f} standard errors, {periods:.2f} periods in the frame",
                           allowed=f"{LEAST_CONTRAST:g} standard errors, {LEAST_PERIODS:g} to {highest * count:.0f} periods",
                           todo="expose for less than half a period of the light, choose another frequency, light the frame evenly; "
                           "a global shutter has no fringes")
    seconds = Estimate(frequency / light_hz, error / light_hz, count - 2 * HARMONICS - TREND - 2)
    return Measure(name="row time", value=seconds.value, unit="s", interval=seconds.interval, interval_kind=ANALYTIC, n=count,
                   source=source)


def _fringes(rows: Array) -> tuple[float, float, float]:
    """Returns (periods per row, its standard error, amplitude of the fundamental over its standard error).

    The model is a polynomial times 1 and waves: shading dims the fringes as it dims the rest. The error is the sandwich
    estimator's, since shot noise is not the same in light and dark rows.
    """
    begin = _begin(rows)
    found = least_squares(lambda p: _model(p, len(rows)) - rows, begin, x_scale=np.maximum(np.abs(begin), 1e-3), method="trf")
    inverse = np.linalg.pinv(found.jac.T @ found.jac)
    covariance = inverse @ (found.jac.T * found.fun**2) @ found.jac @ inverse * len(rows) / (len(rows) - len(begin))
    errors = np.sqrt(np.diag(covariance))
    amplitude = float(np.hypot(*found.x[TREND + 2:TREND + 4]))
    noise = float(np.hypot(*errors[TREND + 2:TREND + 4])) / 2**0.5
    return float(found.x[0]), float(errors[0]), amplitude / max(noise, float(np.finfo(float).tiny))


def _model(p: Array, count: int) -> Array:
    """Returns the rows [count] of (periods per row, polynomial, cosine and sine of each harmonic)."""
    phase = 2 * np.pi * p[0] * np.arange(count)
    waves = p[TREND + 2:].reshape(HARMONICS, 2)
    fringes = sum((a * np.cos(k * phase) + b * np.sin(k * phase) for k, (a, b) in enumerate(waves, 1)), np.ones(count))
    return np.polynomial.polynomial.polyval(np.linspace(-1, 1, count), p[1:TREND + 2]) * fringes


def _begin(rows: Array) -> Array:
    """Returns where to begin: the trend of the rows, and the highest peak of what is left."""
    count = len(rows)
    trend = np.polynomial.polynomial.polyfit(np.linspace(-1, 1, count), rows, TREND)
    rest = rows / np.polynomial.polynomial.polyval(np.linspace(-1, 1, count), trend) - 1
    trials = np.arange(SCAN * LEAST_PERIODS * 0.8, SCAN * count / LEAST_ROWS_PER_PERIOD) / (SCAN * count)
    wave = np.exp(-2j * np.pi * np.outer(trials, np.arange(count)))
    heights = wave @ rest * 2 / count
    best = int(np.abs(heights).argmax())
    return np.array([trials[best], *trend, heights[best].real, -heights[best].imag, *([0.0] * (2 * HARMONICS - 2))])


# --- latency --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Latency:
    """`latency`: mean seconds from shown to seen. `jitter`: its standard deviation. `drift`: clock seen over clock shown, less 1."""

    latency: Measure
    jitter: Measure
    drift: Measure


def latency(shown_s: Sequence[float], seen_s: Sequence[float], *, frame_s: float | None = None, source: Source = "simulated") -> Latency:
    """Returns latency, jitter and drift from when each event was shown and when the camera saw it, on clocks set alike.

    `frame_s`: time from frame to frame; an event that came later than the median by most of it or more was missed by the frame that
    should have seen it. Raises PrivcamError for too few events, events out of order, seen before shown, frames that were missed,
    and clocks that drift apart by more than the jitter explains.
    """
    shown, seen = np.asarray(shown_s, float), np.asarray(seen_s, float)
    if shown.shape != seen.shape or shown.ndim != 1 or len(shown) < MIN_PAIRS:
        raise PrivcamError("too few events", got=f"{shown.shape} shown, {seen.shape} seen", allowed=f"one each, at least {MIN_PAIRS}",
                           todo="show more events; leave out of both lists what was not seen")
    if (np.diff(shown) <= 0).any() or (np.diff(seen) <= 0).any():
        raise PrivcamError("events are out of order", got=f"event {int(np.argmax((np.diff(shown) <= 0) | (np.diff(seen) <= 0))) + 1}",
                           allowed="each later than the one before", todo="match events by what was shown, not by when it was seen")
    apart = seen - shown
    if apart.min() <= 0:
        raise PrivcamError("seen before it was shown", got=f"{apart.min():.4g} s at event {int(apart.argmin())}", allowed="above 0 s",
                           todo="set both clocks alike, or match the events again")
    limit = float("inf") if frame_s is None else LATE_PART * frame_s
    late = np.flatnonzero(apart - np.median(apart) > limit)
    if len(late):
        raise PrivcamError("frames were missed", got=f"events {late[:8].tolist()} came a frame late",
                           allowed=f"within {limit:.4g} s of the median",
                           todo="lower the frame rate, free the link, or show events further apart")
    n, mean, spread = len(apart), float(apart.mean()), float(apart.std(ddof=1))
    drift = line(shown, apart)[0]
    if spread > 0 and abs(drift.value) > SIGNIFICANCE * drift.error and abs(drift.value) * float(np.ptp(shown)) > spread:
        raise PrivcamError("the clocks drift apart", got=f"{drift.value:+.3g} s per s",
                           allowed=f"within {SIGNIFICANCE:g} standard errors of 0",
                           todo="read both times from one clock, or measure for less long")
    ends = spread * np.sqrt((n - 1) / stats.chi2.ppf([0.975, 0.025], n - 1))
    centre = Estimate(mean, spread / n**0.5, n - 1)
    rows = (("latency", mean, "s", centre.interval), ("jitter", spread, "s", (float(ends[0]), float(ends[1]))),
            ("clock drift", drift.value, "1", drift.interval))
    measures = [Measure(name=name, value=value, unit=unit, interval=interval, interval_kind=ANALYTIC, n=n, source=source)
                for name, value, unit, interval in rows]
    return Latency(*measures)


# --- slots ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Slots:
    """`open_part` [slots]: of each slot's light that the camera collected, with errors. `bits` [slots]: 1 open, 0 closed.

    `offset_slots`: by how much the camera's slots begin later than the light's, in slots; None where all bits are alike, so that
    no edge tells.
    """

    open_part: tuple[Estimate, ...]
    bits: tuple[int, ...]
    offset_slots: Estimate | None


def slots(signals_dn: Array, dark_dn: Array, lit_dn: Array, code: Sequence[int]) -> Slots:
    """Returns which slots of an exposure were open, from exposures in each of which a light is on in one slot.

    `signals_dn` [slots, repeats]: the signal of an exposure with the light on in that slot alone; `dark_dn` [repeats]: light off;
    `lit_dn` [slots, repeats]: as `signals_dn`, all slots open. `code` [slots]: the bits that the camera was asked for, repeating itself
    from exposure to exposure. Raises PrivcamError for a light too faint, a slot neither open nor closed beyond what the offset
    explains, and bits other than asked for.
    """
    signals, lit, dark, asked = np.asarray(signals_dn, float), np.asarray(lit_dn, float), np.asarray(dark_dn, float), np.asarray(code)
    _refuse_slots(signals, lit, dark, asked)
    base, base_error = float(dark.mean()), float(dark.std(ddof=1) / len(dark) ** 0.5)
    tops, errors = lit.mean(axis=1) - base, _errors(lit)
    weak = np.flatnonzero(tops < LEAST_CONTRAST * np.hypot(errors, base_error))
    if len(weak):
        raise PrivcamError("the light is too faint", got=f"slot {int(weak[0])}: {tops[weak[0]]:.3g} DN above dark",
                           allowed=f"{LEAST_CONTRAST:g} standard errors", todo="brighten the light or repeat more often")
    parts = (signals.mean(axis=1) - base) / tops
    spread = np.sqrt(_errors(signals) ** 2 + (parts * errors) ** 2 + ((1 - parts) * base_error) ** 2) / tops
    offset = _offset(parts, spread, asked)
    _refuse_bits(parts, spread, asked, 0.0 if offset is None else offset.value)
    freedom = float(signals.shape[1] - 1)
    return Slots(tuple(Estimate(float(p), float(e), freedom) for p, e in zip(parts, spread, strict=True)),
                 tuple(int(bit) for bit in asked), offset)


def _errors(values: Array) -> Array:
    return np.asarray(values.std(axis=1, ddof=1) / values.shape[1] ** 0.5)


def _refuse_slots(signals: Array, lit: Array, dark: Array, asked: NDArray[np.integer]) -> None:
    if signals.ndim != 2 or signals.shape != lit.shape or len(asked) != len(signals) or min(signals.shape[1], len(dark)) < MIN_REPEATS:
        raise PrivcamError("too few exposures", got=f"{signals.shape}, {lit.shape}, {dark.shape} for {len(asked)} slots",
                           allowed=f"[slots, repeats] with at least {MIN_REPEATS} repeats",
                           todo="expose with the light in each slot, lit and dark")
    if not np.isin(asked, (0, 1)).all():
        raise PrivcamError("a code has bits", got=asked.tolist(), allowed="0 and 1")


def _drawn(asked: NDArray[np.integer], offset: float) -> Array:
    """Returns the open part of each of the light's slots where the camera's begin `offset` slots later (earlier below 0)."""
    share = abs(offset)
    return (1 - share) * asked + share * np.roll(asked, 1 if offset > 0 else -1)


def _offset(parts: Array, errors: Array, asked: NDArray[np.integer]) -> Estimate | None:
    """Fits the offset of less than half a slot; late and early are tried, the better one counts."""
    found = []
    for sign in (1, -1):
        slope = sign * (_drawn(asked, sign * 1.0) - asked)
        weight = 1 / np.maximum(errors, 1e-9) ** 2
        power = float((weight * slope**2).sum())
        if power == 0:
            return None
        value = float((weight * slope * (parts - asked)).sum()) / power
        value = sign * float(np.clip(sign * value, 0, 0.5))
        left = float((weight * (parts - _drawn(asked, value)) ** 2).sum())
        found.append((left, Estimate(value, power**-0.5 * max(left / (len(parts) - 1), 1.0) ** 0.5, float(len(parts) - 1))))
    return min(found, key=lambda one: one[0])[1]


def _refuse_bits(parts: Array, errors: Array, asked: NDArray[np.integer], offset: float) -> None:
    off = parts - _drawn(asked, offset)
    wrong = np.flatnonzero(np.abs(off) > UNCLEAR[0] + SIGNIFICANCE * errors)
    if len(wrong):
        seen = ["open" if parts[i] > UNCLEAR[1] else "closed" if parts[i] < UNCLEAR[0] else "unclear" for i in wrong]
        named = [f"slot {i}: {state} ({parts[i]:.2f})" for i, state in zip(wrong, seen, strict=True)]
        raise PrivcamError("slots are not as asked for", got=", ".join(named[:8]),
                           allowed=f"{asked.tolist()}", todo="check the order of the code, and that light and camera start on one trigger")

"""Photon transfer after EMVA 1288 release 4: `plan` lists the shots, `fit` turns their frames into figures.

Both are pure: nothing here touches a camera. Every figure is a `Measure` with a 95 % interval and the frames' source.
Deliberately not here: colour (give one plane of the mosaic at a time), masters (`calibration.masters`), the page
(`calibration.datasheet`).

Reference: EMVA Standard 1288, Release 4.0 Linear (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration import refusals, spatial, temporal
from calibration.intervals import ANALYTIC, NORMAL_95, Estimate, product
from calibration.stacks import Level, Sweep
from optics_sim.design import Sensor
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure, Source
from optics_sim.sensor.planning import clip_level_e, quantum_efficiencies

Role = Literal["level", "dark", "flat stack", "dark stack"]
Interval = tuple[float, float]
OVERSHOOT = 1.15  # of saturation: the last level
NEIGHBOURS = "levels that may be the maximum"
BOOTSTRAP = "95 % bootstrap"


@dataclass(frozen=True)
class Shot:
    """Frames to take: `count` of them, at `exposure_s`, of a light that puts `photons_per_px` on a pixel in that time."""

    role: Role
    exposure_s: float
    photons_per_px: float
    count: int


def plan(sensor: Sensor, light_photons_per_px_s: float, *, analogue_gain: float = 1.0, levels: int = 50, stack: int = 50) -> list[Shot]:
    """Returns the shots of a sweep over exposure time under one even light, in the order to take them.

    Levels are equally spaced up to 15 % above saturation, a pair of bright and a pair of dark frames each; then a stack at
    half of saturation and one without light. Raises PrivcamError when there is no light or there are too few levels.
    """
    if light_photons_per_px_s <= 0:
        raise PrivcamError("no light to expose for", got=light_photons_per_px_s, allowed="photons per pixel and second above 0",
                           todo="measure the light with a calibrated photodiode")
    rate = light_photons_per_px_s * max(quantum_efficiencies(sensor)) + sensor.dark_current_e_per_s
    return sweep(clip_level_e(sensor, analogue_gain) / rate, light_photons_per_px_s, levels=levels, stack=stack)


def sweep(full_s: float, light_photons_per_px_s: float, *, levels: int = 50, stack: int = 50) -> list[Shot]:
    """Returns the same shots for a light that fills the sensor in `full_s`, as `calibration.saturation` finds it."""
    least = int(np.ceil(OVERSHOOT * refusals.MIN_LEVELS)) + 1
    if levels < least or stack < refusals.MIN_STACK:
        raise PrivcamError("too few frames", got=f"{levels} levels, stacks of {stack}",
                           allowed=f"at least {least} and {refusals.MIN_STACK}", todo="ask for more: the standard takes 50 levels")
    times = [float(t) for t in np.linspace(OVERSHOOT * full_s / levels, OVERSHOOT * full_s, levels)]
    bright = [Shot("level", t, light_photons_per_px_s * t, 2) for t in times]
    dark = [Shot("dark", t, 0.0, 2) for t in times]
    half = full_s / 2
    return [*bright, Shot("flat stack", half, light_photons_per_px_s * half, stack), *dark, Shot("dark stack", half, 0.0, stack)]


def roles(shots: int) -> list[Role]:
    """Returns what each of so many shots is for, in the order of `sweep`; PrivcamError for a number that no sweep has."""
    levels = (shots - 2) // 2
    if levels < 1 or shots % 2:
        raise PrivcamError("not the shots of a sweep", got=shots, allowed="two for each level, and two stacks", todo="take the plan's")
    lit, dark = list[Role](["level"]), list[Role](["dark"])
    return [*lit * levels, "flat stack", *dark * levels, "dark stack"]


def gather(shots: Sequence[Shot], frames: Sequence[NDArray[np.integer]], *, bits: int, source: Source, photons_known: bool = True,
           temperature_c: float | None = None) -> Sweep:
    """Returns the sweep of a plan's frames, one array [n, row, column] for each shot in its order.

    `photons_known`: whether the light was measured; without it there is no quantum efficiency. `temperature_c`: of the sensor.
    Raises PrivcamError when the arrays do not fit the shots.
    """
    got, asked = [len(stack) for stack in frames], [shot.count for shot in shots]
    if got != asked:
        wrong = next((i for i, pair in enumerate(zip(got, asked, strict=False)) if pair[0] != pair[1]), min(len(got), len(asked)))
        raise PrivcamError("frames do not fit the plan", got=f"{len(got)} shots; shot {wrong} differs", allowed=f"{len(asked)} shots",
                           todo="give one array for each shot, with as many frames as it asks for")
    by_role: dict[str, list[Level]] = {"level": [], "dark": [], "flat stack": [], "dark stack": []}
    for shot, stack in zip(shots, frames, strict=True):
        photons = shot.photons_per_px if photons_known or shot.photons_per_px == 0 else None
        by_role[shot.role].append(Level(shot.exposure_s, photons, stack, temperature_c))
    return Sweep(bits=bits, levels=tuple(by_role["level"]), darks=tuple(by_role["dark"]), flat=by_role["flat stack"][0],
                 dark=by_role["dark stack"][0], source=source)


@dataclass(frozen=True, eq=False)
class PhotonTransfer:
    """The figures by name, the curve they come from, and the spectrograms by what was transformed."""

    figures: dict[str, Measure]
    curve: temporal.Curve
    spectrograms: dict[str, spatial.Spectrogram]
    source: Source

    def __getitem__(self, name: str) -> Measure:
        """Returns one figure; PrivcamError when the frames did not allow it."""
        if name not in self.figures:
            raise PrivcamError("no such figure in this photon transfer", got=name, allowed=", ".join(self.figures),
                               todo="quantum efficiency needs photons, dark current three exposure times, doubling three temperatures")
        return self.figures[name]

    def model_snr(self, photons_per_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the SNR that the figures predict: signal over dark, quantisation and shot noise together."""
        gain, response = self["gain"].value or 0.0, self["responsivity"].value or 0.0
        signal = response * photons_per_px
        return signal / np.sqrt((self["dark noise dn"].value or 0.0) ** 2 + gain * signal)


def check(sweep: Sweep) -> list[PrivcamError]:
    """Returns every reason why the sweep cannot be used; none when it can."""
    found = refusals.form(sweep)
    return found or refusals.content(sweep, temporal.curve(sweep))


def fit(sweep: Sweep, *, generator: np.random.Generator) -> PhotonTransfer:
    """Returns the figures of a sweep. `generator` draws the bootstrap of the linearity error.

    Raises PrivcamError with what to take again when the frames cannot carry them.
    """
    refusals.refuse(refusals.form(sweep))
    c = temporal.curve(sweep)
    refusals.refuse(refusals.content(sweep, c))
    book = _Book(sweep.source)
    gain, response = temporal.gain(c), temporal.responsivity(c)
    dark = temporal.dark_variance(sweep)
    _sensitivity(book, c, gain, response, dark)
    _saturation(book, c, gain, response, dark)
    _dark_current(book, sweep, gain)
    _linearity(book, c, generator)
    _pixels(book, sweep, gain)
    return PhotonTransfer(book.figures, c, _spectrograms(sweep), sweep.source)


class _Book:
    """Collects figures, all with the same source."""

    def __init__(self, source: Source) -> None:
        self.figures: dict[str, Measure] = {}
        self._source: Source = source

    def note(self, name: str, value: float, interval: Interval, unit: str, n: int, *, kind: str = ANALYTIC, note: str = "") -> None:
        self.figures[name] = Measure(name=name, value=value, interval=interval, unit=unit, n=n, interval_kind=kind,
                                     source=self._source, note=note)

    def estimate(self, name: str, estimate: Estimate, unit: str, n: int, note: str = "") -> None:
        self.note(name, estimate.value, estimate.interval, unit, n, note=note)

    def root(self, name: str, estimate: Estimate, unit: str, n: int) -> None:
        value, interval = estimate.root()
        self.note(name, value, interval, unit, n, note="not to be told from zero" if interval[0] == 0 else "")


def _sensitivity(book: _Book, c: temporal.Curve, gain: Estimate, response: Estimate, dark: Estimate) -> None:
    levels = c.fit.stop
    book.estimate("gain", gain, "DN/e-", levels)
    book.estimate("responsivity", response, "DN/photon" if c.photons_known else "DN/s", levels)
    if c.photons_known:
        book.estimate("quantum efficiency", product((response, 1), (gain, -1)), "1", levels)
    book.note("light flicker", c.flicker, (c.flicker, c.flicker), "1", levels, kind="no interval: a condition, not a figure",
              note="relative rms change of the light from frame to frame")
    darks = len(set(c.dark_index.tolist()))
    bounded = dark.value < temporal.DARK_VARIANCE_FLOOR_DN2
    floor = Estimate(temporal.DARK_VARIANCE_FLOOR_DN2, 0.0) if bounded else dark
    net = product((Estimate(floor.value - temporal.QUANTISATION_DN2, floor.error, floor.freedom), 1), (gain, -2))
    for name, unit, estimate in (("dark noise dn", "DN", floor), ("dark noise", "e-", net)):
        value, interval = estimate.root()
        book.note(name, value, (0.0, interval[1]) if bounded else interval, unit, darks,
                  note="an upper bound: rounding hides the dark noise" if bounded else "")


def _saturation(book: _Book, c: temporal.Curve, gain: Estimate, response: Estimate, dark: Estimate) -> None:
    top, (first, last) = c.saturation_index, c.saturation_span
    n = len(c.light)
    book.note("saturation dn", float(c.signal[top]), (float(c.signal[first]), float(c.signal[last])), "DN", n, kind=NEIGHBOURS)
    if c.photons_known:
        book.note("saturation photons", float(c.light[top]), (float(c.light[first]), float(c.light[last])), "photons", n, kind=NEIGHBOURS)
        electrons = c.light * product((response, 1), (gain, -1)).value
        spread = product((response, 1), (gain, -1)).relative
    else:
        electrons, spread = c.signal / gain.value, gain.relative
    low, high = float(electrons[first]) * (1 - NORMAL_95 * spread), float(electrons[last]) * (1 + NORMAL_95 * spread)
    full = float(electrons[top])
    book.note("saturation", full, (low, high), "e-", n, kind=NEIGHBOURS)
    book.note("snr max", full**0.5, (low**0.5, high**0.5), "1", n, kind=NEIGHBOURS)
    _threshold(book, c, gain, response, dark, (full, low, high))


def _threshold(book: _Book, c: temporal.Curve, gain: Estimate, response: Estimate, dark: Estimate,
               full_e: tuple[float, float, float]) -> None:
    """Notes the light at which the SNR is 1, and the dynamic range down to it."""
    variance = max(dark.value, temporal.DARK_VARIANCE_FLOOR_DN2)
    sigma = Estimate(variance**0.5, dark.error / (2 * variance**0.5))
    in_dn = Estimate(sigma.value + gain.value / 2, float(np.hypot(sigma.error, gain.error / 2)))
    in_e = Estimate(in_dn.value / gain.value, float(np.hypot(sigma.error / gain.value, sigma.value * gain.error / gain.value**2)))
    n = c.fit.stop
    book.estimate("sensitivity threshold e", in_e, "e-", n)
    if c.photons_known:
        book.estimate("sensitivity threshold", product((in_dn, 1), (response, -1)), "photons", n)
    full, low, high = full_e
    reach = NORMAL_95 * in_e.relative
    interval = (low / in_e.value * (1 - reach), high / in_e.value * (1 + reach))
    book.note("dynamic range", full / in_e.value, interval, "1", n, kind=NEIGHBOURS)


def _dark_current(book: _Book, sweep: Sweep, gain: Estimate) -> None:
    book.estimate("black level", temporal.black_level(sweep), "DN", len(sweep.darks), "mean raw number of no light in no time")
    current = temporal.dark_current(sweep.darks, gain)
    temperature = sweep.dark.temperature_c
    at = "" if temperature is None else f"at {temperature:g} C"
    if current is not None:
        for name, estimate in zip(("dark current from mean", "dark current from variance"), current, strict=True):
            book.estimate(name, estimate, "e-/s", len(sweep.darks), note=at)
    doubling = temporal.doubling_temperature(sweep.warm_darks, gain)
    if doubling is not None:
        book.estimate("doubling temperature", doubling, "K", len(sweep.warm_darks))


def _linearity(book: _Book, c: temporal.Curve, generator: np.random.Generator) -> None:
    n = c.linear.stop - c.linear.start
    names = {"mean": "linearity error", "low": "linearity error low", "high": "linearity error high"}
    for part, (value, interval) in temporal.linearity(c, generator).items():
        book.note(names[part], value, interval, "1", n, kind=BOOTSTRAP)


def _pixels(book: _Book, sweep: Sweep, gain: Estimate) -> None:
    flat, dark = sweep.flat, sweep.dark
    for part, estimate in spatial.dark_variances(dark).items():
        name = "dsnu" if part == "total" else f"dsnu {part}"
        error = float(np.hypot(estimate.error, 2 * estimate.value * gain.relative))
        book.root(name, Estimate(estimate.value / gain.value**2, error / gain.value**2), "e-", dark.moments.pixels)
    for part, estimate in spatial.response_variances(flat, dark).items():
        book.root("prnu" if part == "total" else f"prnu {part}", estimate, "1", flat.moments.pixels)


def _spectrograms(sweep: Sweep) -> dict[str, spatial.Spectrogram]:
    noise = spatial.stack_noise(sweep.dark)
    response = sweep.flat.mean_image - sweep.dark.mean_image
    images = {"dsnu": (sweep.dark.mean_image, noise), "prnu": (response, noise + spatial.stack_noise(sweep.flat))}
    return {f"{name} along {along}": spatial.spectrogram(image, level, along=along)
            for name, (image, level) in images.items() for along in ("rows", "columns")}

"""The range of every value of a float network on calibration frames: the whole of it, or what clips a little to be finer.

    extremes      least and greatest value seen
    percentile    all but one in ten thousand values at either end
    least_error   both ends times the factor that makes clipping and rounding together least, of the values seen

Deliberately not here: steps and zero points (`optics_sim.network_scales`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.float_run import values_of_clip
from optics_sim.errors import PrivcamError
from optics_sim.network import FloatNetwork
from optics_sim.network_scales import Range

BINS = 2048
TAIL = 1e-4
FACTORS = np.linspace(0.3, 1.0, 71)
Counts = NDArray[np.int64]
Clip = Mapping[str, NDArray[Any]]


def observed(network: FloatNetwork, clip: Clip, method: str = "extremes") -> dict[str, Range]:
    """Returns (least, greatest) of every value for inputs [T, ...]. Raises PrivcamError for an unknown method."""
    if method not in METHODS:
        raise PrivcamError("unknown way to choose ranges", got=method, allowed=sorted(METHODS))
    ranges = _extremes(network, clip)
    if METHODS[method] is None:
        return ranges
    return {name: METHODS[method](counts, *ranges[name]) for name, counts in _counted(network, clip, ranges).items()}  # type: ignore[misc]


def _extremes(network: FloatNetwork, clip: Clip) -> dict[str, Range]:
    found: dict[str, Range] = {}
    for values in values_of_clip(network, clip):
        for name, array in values.items():
            low, high = found.get(name, (np.inf, -np.inf))
            found[name] = (min(low, float(array.min())), max(high, float(array.max())))
    if bad := [name for name, ends in found.items() if not np.isfinite(ends).all()]:
        raise PrivcamError("the float network does not give numbers", got=bad, todo="mend its weights: some are infinite or no numbers")
    return found


def _counted(network: FloatNetwork, clip: Clip, ranges: Mapping[str, Range]) -> dict[str, Counts]:
    counts = {name: np.zeros(BINS, np.int64) for name in ranges}
    for values in values_of_clip(network, clip):
        for name, array in values.items():
            low, high = ranges[name]
            if high > low:
                counts[name] += np.histogram(array, BINS, (low, high))[0]
    return counts


def _middles(low: float, high: float) -> NDArray[np.float64]:
    return low + (np.arange(BINS) + 0.5) * (high - low) / BINS


def _percentile(counts: Counts, low: float, high: float) -> Range:
    if not counts.any():
        return low, high
    below = np.cumsum(counts) / counts.sum()
    middles = _middles(low, high)
    kept = (below > TAIL) & (np.concatenate([[0.0], below[:-1]]) < 1 - TAIL)
    return float(middles[kept].min()), float(middles[kept].max())


def _least_error(counts: Counts, low: float, high: float) -> Range:
    if not counts.any():
        return low, high
    middles = _middles(low, high)
    reach = (min(low, 0.0), max(high, 0.0))

    def error(factor: float) -> float:
        clipped = np.clip(middles, factor * reach[0], factor * reach[1])
        step = factor * (reach[1] - reach[0]) / 255
        return float((counts * ((middles - clipped) ** 2 + step**2 / 12)).sum())
    best = min(FACTORS[::-1], key=error)
    return float(max(low, best * reach[0])), float(min(high, best * reach[1]))


METHODS: Mapping[str, Callable[[Counts, float, float], Range] | None] = {
    "extremes": None, "percentile": _percentile, "least_error": _least_error,
}

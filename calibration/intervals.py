"""Estimates with standard errors, and the 95 % intervals they become.

Deliberately not here: what is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

TAIL = 0.025
NORMAL_95 = float(stats.norm.ppf(1 - TAIL))
ANALYTIC = "95 % analytic"
SPREAD_PER_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, and the degrees of freedom behind that error (infinite: known)."""

    value: float
    error: float
    freedom: float = float("inf")

    @property
    def interval(self) -> tuple[float, float]:
        """Returns the symmetric 95 % interval, by Student's t where the error itself was estimated."""
        reach = self.error * (float(stats.t.ppf(1 - TAIL, self.freedom)) if np.isfinite(self.freedom) else NORMAL_95)
        return (self.value - reach, self.value + reach)

    @property
    def relative(self) -> float:
        """Returns the error over the value."""
        return abs(self.error / self.value)

    def root(self) -> tuple[float, tuple[float, float]]:
        """Returns the square root and its interval; what is below 0 counts as 0."""
        low, high = (float(np.sqrt(max(end, 0.0))) for end in self.interval)
        return float(np.sqrt(max(self.value, 0.0))), (low, high)


def product(*factors: tuple[Estimate, float]) -> Estimate:
    """Returns the product of independent estimates, each to a power; the relative errors add as squares."""
    value = float(np.prod([estimate.value**power for estimate, power in factors]))
    relative = np.sqrt(sum((power * estimate.relative) ** 2 for estimate, power in factors))
    return Estimate(value, abs(value) * float(relative), min(estimate.freedom for estimate, _ in factors))


def line(x: ArrayLike, y: ArrayLike) -> tuple[Estimate, Estimate]:
    """Returns (slope, offset) of the ordinary least-squares line; errors from its own residuals, n - 2 degrees of freedom."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    centre, spread = x.mean(), float(((x - x.mean()) ** 2).sum())
    slope = float(((x - centre) * y).sum()) / spread
    offset = float(y.mean()) - slope * centre
    freedom = len(x) - 2
    scale = float(((y - slope * x - offset) ** 2).sum()) / freedom
    return (Estimate(slope, float(np.sqrt(scale / spread)), freedom),
            Estimate(offset, float(np.sqrt(scale * (1 / len(x) + centre**2 / spread))), freedom))


def through_zero(x: NDArray[np.float64], y: NDArray[np.float64], covariance: NDArray[np.float64]) -> Estimate:
    """Returns the slope of the least-squares line through 0, all points of equal weight, as release 4 fits gain and responsivity.

    `covariance` [n, n] of y carries the error. Where the points lie further from the line than their own errors explain in
    19 of 20 cases (a lamp that is not quite steady, a curve that is not quite straight), the error is widened by that ratio.
    """
    weights = x / float((x**2).sum())
    slope = float(weights @ y)
    own = float(np.sqrt(weights @ covariance @ weights))
    residual = y - slope * x
    freedom = len(x) - 1
    surprise = float((residual**2 / np.maximum(np.diag(covariance), np.finfo(float).tiny)).sum()) / freedom
    explained = surprise <= float(stats.chi2.ppf(0.95, freedom)) / freedom
    return Estimate(slope, own if explained else own * float(np.sqrt(surprise)))

"""How long an even light has to be counted until the sensor saturates: `search` says what to expose next, `full_exposure` the answer.

What saturates, full well or converter, makes no difference. Both are pure: nothing here touches a camera.
Deliberately not here: the sweep that follows (`calibration.photon_transfer`), and point sources (`calibration.ladder`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from optics_sim.errors import PrivcamError

STEP = 4.0  # from one trial to the next
IN_PROPORTION = 0.85  # of the light's step: a signal that rises by less has saturated
LEAST_DN = 4.0  # of signal: a trial below it says nothing


@dataclass(frozen=True)
class Trial:
    """One exposure of the even light, and the mean signal over dark that it gave."""

    exposure_s: float
    signal_dn: float


def search(trials: Sequence[Trial], *, first_s: float, shortest_s: float, longest_s: float) -> float | None:
    """Returns the exposure to try next, or None when the trials tell where the sensor saturates; steps of 4 from `first_s`.

    Raises PrivcamError where the shortest exposure saturates, or the longest does not.
    """
    found = sorted(trials, key=lambda one: one.exposure_s)
    if not found:
        return min(max(first_s, shortest_s), longest_s)
    bent = _bent(found)
    if bent is None:
        if found[-1].exposure_s * STEP > longest_s:
            last = found[-1]
            raise PrivcamError("the even light does not saturate the sensor", got=f"{last.signal_dn:.0f} DN in {last.exposure_s:g} s",
                               allowed=f"saturation within {longest_s:g} s", todo="brighten the light, or raise the gain")
        return found[-1].exposure_s * STEP
    if bent:  # one more beyond it, for a sensor that saturates softly
        further = found[-1].exposure_s * STEP
        return None if bent + 2 < len(found) or further > longest_s else further
    if found[0].exposure_s / STEP < shortest_s:
        raise PrivcamError("the even light saturates the sensor at once", got=f"{found[0].signal_dn:.0f} DN in {found[0].exposure_s:g} s",
                           allowed=f"proportional signals from {shortest_s:g} s on", todo="dim the light")
    return found[0].exposure_s / STEP


def full_exposure(trials: Sequence[Trial]) -> float:
    """Returns the exposure in seconds at which the sensor is just full; PrivcamError where the trials do not tell."""
    found = sorted(trials, key=lambda one: one.exposure_s)
    bent = _bent(found)
    if not bent:
        raise PrivcamError("these trials do not tell where the sensor saturates", got=len(found), todo="go on as `search` says")
    below = found[bent - 1]
    return max(one.signal_dn for one in found) * below.exposure_s / below.signal_dn


def _bent(found: Sequence[Trial]) -> int | None:
    """Returns the last trial that is still in proportion to the one before (0: nobody knows of the first), None while all are."""
    for i, (a, b) in enumerate(pairwise(found)):
        if a.signal_dn >= LEAST_DN and b.signal_dn < IN_PROPORTION * a.signal_dn * b.exposure_s / a.exposure_s:
            return i
    return None

"""Photon transfer of a 50-level sweep beside the `emva1288` package (1.0.2), from frames in memory to figures.

Both get the same frames: 50 bright and 50 dark pairs, a stack of 50 bright and 50 dark. The package gives figures without
intervals and checks nothing; ours does both within the time.

Run: python -m benchmarks.photon_transfer [--rounds N] [--threads N] [--results FILE]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from emva1288.process import routines
from emva1288.process.data import Data1288
from emva1288.process.results import Results1288

from benchmarks._timing import Bench, benches
from calibration.photon_transfer import PhotonTransfer, fit
from calibration.stacks import Level, Sweep

GAIN, BLACK_DN, BITS = 0.25, 60, 12
LEVELS, STACK = 50, 50
NAMES = ("K", "QE", "sigma_d", "SNR_max", "DR", "u_p_min", "DSNU1288", "PRNU1288", "LE_min", "LE_max", "u_I_mean", "u_I_var")


def frames(side: tuple[int, int], count: int, electrons: float, rng: np.random.Generator) -> np.ndarray:
    """Returns `count` frames of a camera with shot noise and 8 electrons of dark noise."""
    noisy = electrons + np.sqrt(electrons + 64.0) * rng.standard_normal((count, *side), dtype=np.float32)
    return np.clip(np.rint(BLACK_DN + GAIN * noisy), 0, 2**BITS - 1).astype(np.uint16)


def sweep(side: tuple[int, int], seed: int = 0) -> Sweep:
    """Returns a sweep over exposure time, up to 15 % above saturation; half of the photons become electrons."""
    rng = np.random.default_rng(seed)
    full = (2**BITS - 1 - BLACK_DN) / GAIN
    light = np.linspace(1.15 * full / LEVELS, 1.15 * full, LEVELS)

    def level(electrons: float, exposure_s: float, count: int) -> Level:
        return Level(exposure_s, 2 * electrons, frames(side, count, electrons, rng))

    return Sweep(bits=BITS, source="simulated", levels=tuple(level(float(e), 1e-6 * float(e), 2) for e in light),
                 darks=tuple(level(0.0, 1e-6 * float(e), 2) for e in light), flat=level(full / 2, 0.01, STACK),
                 dark=level(0.0, 0.01, STACK))


def ours(given: Sweep) -> PhotonTransfer:
    """Returns every figure; the levels are made anew, for they keep their sums."""

    def new(level: Level) -> Level:
        return Level(level.exposure_s, level.photons_per_px, level.frames)

    again = Sweep(bits=given.bits, source=given.source, levels=tuple(map(new, given.levels)), darks=tuple(map(new, given.darks)),
                  flat=new(given.flat), dark=new(given.dark))
    return fit(again, generator=np.random.default_rng(0))


def theirs(given: Sweep) -> dict[str, float]:
    """Returns the package's figures from the same frames."""

    def pair(level: Level) -> dict[str, Any]:
        images = routines.get_int_imgs(list(level.frames))
        return {"sum": images["sum"].sum(), "pvar": images["pvar"].sum(), "dmean": images["dmean"]}

    temporal = {bright.exposure_s * 1e9: {0.0: pair(dark), bright.photons_per_px: pair(bright)}
                for bright, dark in zip(given.levels, given.darks, strict=True)}
    spatial = {stack.photons_per_px: routines.get_int_imgs(list(stack.frames)) for stack in (given.dark, given.flat)}
    rows, columns = given.flat.frames.shape[1:]
    data = Data1288({"temporal": temporal, "spatial": {given.flat.exposure_s * 1e9: spatial}, "width": columns, "height": rows})
    results = Results1288(data.data)
    return {name: getattr(results, name) for name in NAMES}


def photon_transfer(bench: Bench) -> None:
    """Compares both on a small crop and on the size of a whole small sensor."""
    vars(np).setdefault("asfarray", lambda values: np.asarray(values, float))  # the package calls what numpy 2 took away
    for side in ((160, 160), (480, 640)):
        given = sweep(side)
        pixels = given.flat.frames[0].size * (4 * LEVELS + 2 * STACK)
        calls: dict[str, Callable[[], object]] = {"privcam": partial(ours, given), "emva1288 1.0.2": partial(theirs, given)}
        bench.compare(f"Photon transfer, {side[0]} x {side[1]} pixels, {4 * LEVELS + 2 * STACK} frames", calls, "emva1288 1.0.2",
                      floor=f"{2 * pixels / 1e6:.0f} MB of raw numbers are read once at least")


if __name__ == "__main__":
    benches(__doc__ or "", [photon_transfer])

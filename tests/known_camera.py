"""A camera of known numbers in numpy, that photon transfer has to find again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calibration.stacks import Level, Sweep


@dataclass(frozen=True)
class KnownCamera:
    gain: float = 0.25
    efficiency: float = 0.6
    dark_noise_e: float = 9.0
    dark_current_e_s: float = 0.0
    dsnu_e: float = 4.0
    prnu: float = 0.01
    row_dsnu_e: float = 0.0
    black_dn: float = 30.0
    bits: int = 10
    side: int = 32

    @property
    def full_e(self) -> float:
        return (2**self.bits - 1 - self.black_dn) / self.gain

    def frames(self, count: int, photons: float, exposure_s: float, rng: np.random.Generator, pattern) -> np.ndarray:
        offset, response = pattern
        shape = (count, self.side, self.side)
        light = rng.poisson(np.broadcast_to(self.efficiency * photons * response, shape))
        electrons = light + rng.poisson(self.dark_current_e_s * exposure_s, shape) + rng.normal(0, self.dark_noise_e, shape) + offset
        return np.clip(np.rint(self.black_dn + self.gain * electrons), 0, 2**self.bits - 1).astype(np.uint16)

    def pattern(self, rng: np.random.Generator):
        shape = (self.side, self.side)
        offset = rng.normal(0, self.dsnu_e, shape) + rng.normal(0, self.row_dsnu_e, (self.side, 1))
        return offset, 1 + rng.normal(0, self.prnu, shape)

    def sweep(self, seed: int, levels: int = 20, stack: int = 16, *, photons_known: bool = True, exposures: bool = False) -> Sweep:
        """With `exposures` the light is steady and the time changes, with a dark pair at each; else one time for all."""
        rng = np.random.default_rng(seed)
        pattern = self.pattern(rng)
        full = self.full_e / self.efficiency
        times = np.linspace(1.15 / levels, 1.15, levels) if exposures else np.full(levels, 0.5)
        light = np.linspace(1.15 * full / levels, 1.15 * full, levels)

        def level(photons, time, count):
            return Level(float(time), float(photons) if photons_known or photons == 0 else None,
                         self.frames(count, photons, time, rng, pattern))

        return Sweep(
            bits=self.bits, source="simulated", levels=tuple(level(p, t, 2) for p, t in zip(light, times, strict=True)),
            darks=tuple(level(0.0, t, 2) for t in (times if exposures else times[:1])),
            flat=level(full / 2, 0.5, stack), dark=level(0.0, 0.5, stack),
        )


def with_level(sweep: Sweep, index: int, **changes) -> Sweep:
    levels = list(sweep.levels)
    levels[index] = replace(levels[index], **changes)
    return replace(sweep, levels=tuple(levels))

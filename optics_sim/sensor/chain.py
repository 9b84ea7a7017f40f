"""The elementwise chain from irradiance to raw DN on a whole frame, and the normal numbers it eats.

Random numbers cost more than memory: one in-place `normal_` per frame (in parallel where there are several
generators), and everything after it in one pass over memory where a compiler is there. The compiled pass and the
eager one give the same bits. Deliberately not here: Poisson electrons, bins, the sensor's maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from optics_sim.compiled import compiled
from optics_sim.errors import PrivcamError

Chain = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class Level(NamedTuple):
    """Numbers of one sensor and exposure, in the order `gaussian_chain` unpacks."""

    dark_e: float
    read_variance_e2: float
    full_well_e: float
    gain_dn_per_e: float
    black_level_dn: float
    maximum_dn: float


def gaussian_chain(
    irradiance: Tensor, response: Tensor, offset_e: Tensor, row_e: Tensor, normal: Tensor, level: Tensor, half: Tensor
) -> Tensor:
    """Returns raw DN [..., rows, columns], integer-valued, with Gaussian shot noise.

    DN = round(gain * (min(m + sqrt(m_+ + read^2) * z, well) + offset + row) + black), clipped to the converter, with
    m = irradiance * response + dark. One normal number z per pixel carries shot and read noise together: their
    variances add. `response` [rows, columns]: electrons per (photon/s), the pixel's own gain included; `row_e`
    [..., rows, 1]; `level`: the six numbers of `Level`; `half`: 0.5, so that rounding is floor(x + half).
    **Overwrites `normal`** and returns it: fresh memory costs more than the arithmetic. The others stay as they are.
    """
    dark, read, well, gain, black, maximum = level.unbind()
    mean = (irradiance * response).add_(dark)
    electrons = normal.mul_(mean.clamp_min(0).add_(read).sqrt_()).add_(mean).clamp_max_(well)
    signal = electrons.add_(offset_e).add_(row_e).mul_(gain).add_(black).add_(half)
    return signal.floor_().clamp_min_(0).clamp_max_(maximum)


@cache
def compiled_chain() -> Chain:
    """Returns `gaussian_chain` as one pass over memory; the eager one where nothing can compile it.

    The first call compiles for some seconds. Equal to the eager chain bit for bit: no contraction of
    multiply and add, and IEEE square roots, in both.
    """
    return compiled(gaussian_chain)


def spawn(generator: torch.Generator, count: int) -> list[torch.Generator]:
    """Returns `count` generators on the same device, seeded by draws from this one: same parent, same children."""
    if count < 1:
        raise PrivcamError("at least one generator is needed", got=count, allowed="1 or more")
    seeds = torch.randint(0, 2**62, (count,), generator=generator, device=generator.device)
    return [torch.Generator(generator.device).manual_seed(int(seed)) for seed in seeds.tolist()]


def normal(shape: Sequence[int], generators: Sequence[torch.Generator], *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Returns standard normal numbers of a shape; each generator fills its own slice, in parallel.

    The numbers depend on the generators and how many there are, never on how threads are scheduled.
    """
    out = torch.empty(tuple(shape), dtype=dtype, device=generators[0].device)
    if len(generators) == 1:
        return out.normal_(generator=generators[0])
    parts = out.view(-1).chunk(len(generators))
    with ThreadPoolExecutor(len(generators)) as pool:
        list(pool.map(lambda pair: pair[0].normal_(generator=pair[1]), zip(parts, generators, strict=False)))
    return out

"""BDQ's soft encoder, forward and backward on 4 clips of 16x112x112, against the ways one writes it first.

Run: python -m benchmarks.bdq [--threads N] [--rounds N] [--results FILE]
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks._timing import Bench, benches, peak_mb
from optics_sim.encoders import bdq_soft
from optics_sim.encoders.bdq import Bdq
from optics_sim.encoders.gaussian import gaussian_weights
from optics_sim.encoding import BdqEncoder

Forward = Callable[[Bdq, Tensor], Tensor]
SHAPE = (4, 16, 112, 112)
THRESHOLDS = 15


def differences(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns differences of frames blurred by a 2-D convolution."""
    weights = gaussian_weights(encoder.sigma_px(), encoder.spec.kernel_px)
    radius = encoder.spec.kernel_px // 2
    padded = F.pad(codes.reshape(-1, 1, *codes.shape[-2:]), (radius,) * 4, mode="replicate")
    blurred = F.conv2d(padded, (weights[:, None] * weights)[None, None]).reshape(codes.shape)
    return blurred[:, 1:] - blurred[:, :-1]


def broadcast(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes by the formula as published: one axis more for the thresholds, then a sum."""
    thresholds, _, slope, _ = encoder._scale(codes.dtype)
    return torch.sigmoid(slope * (differences(encoder, codes)[..., None] - thresholds)).sum(-1)


def loop(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes by one sigmoid at a time."""
    return _sigmoids(encoder, differences(encoder, codes))


def released(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes in the steps of the released code: a 3-D convolution, a roll in time, one sigmoid at a time."""
    weights = gaussian_weights(encoder.sigma_px(), encoder.spec.kernel_px)
    padded = F.pad(codes, (encoder.spec.kernel_px // 2,) * 4, mode="replicate")[:, None]
    blurred = F.conv3d(padded, (weights[:, None] * weights)[None, None, None])
    return _sigmoids(encoder, (blurred - torch.roll(blurred, 1, 2))[:, 0, 1:])


def eager(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes of our encoder where nothing can compile it."""
    bdq_soft.LARGE, large = codes.numel() + 1, bdq_soft.LARGE
    try:
        return encoder(codes, hard=False)
    finally:
        bdq_soft.LARGE = large


def ours(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes of our encoder."""
    return encoder(codes, hard=False)


def _sigmoids(encoder: Bdq, values: Tensor) -> Tensor:
    thresholds, _, slope, _ = encoder._scale(values.dtype)
    total = torch.zeros_like(values)
    for threshold in thresholds:
        total = total + torch.sigmoid(slope * (values - threshold))
    return total


CONTENDERS: dict[str, Forward] = {
    "published formula, broadcast": broadcast, "steps of the released code": released, "2-D convolution and loop": loop,
    "ours, eager": eager, "ours": ours}


def bdq(bench: Bench) -> None:
    """Times forward with backward, and forward alone; says the peak memory and the error beside double precision."""
    encoder = Bdq(BdqEncoder(input_range=(-60, 60)))
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-128, 128, SHAPE, generator=generator).float()
    watched = codes.clone().requires_grad_()
    given = torch.randn(SHAPE[0], SHAPE[1] - 1, *SHAPE[2:], generator=generator)
    learned = list(encoder.parameters())

    def trained(forward: Forward) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: torch.autograd.grad(forward(encoder, codes), learned, given)

    def trained_with_clips(forward: Forward) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: torch.autograd.grad(forward(encoder, watched), [*learned, watched], given)

    def judged(forward: Forward) -> Callable[[], Tensor]:
        return lambda: torch.no_grad()(forward)(encoder, codes)

    base, clips, count = "published formula, broadcast", f"BDQ, {SHAPE[0]} clips {SHAPE[1]}x{SHAPE[2]}x{SHAPE[3]}", given.numel()
    alone = {f"floor: {2 * THRESHOLDS} divisions a value": divisions(2 * THRESHOLDS * count)}
    bench.compare(f"{clips}, forward and gradient to 16 parameters",
                  {**{name: trained(call) for name, call in CONTENDERS.items()}, **alone}, base,
                  floor=f"{2 * THRESHOLDS * count / 1e6:.0f} million divisions, timed alone above, and "
                        f"{4 * (2 * codes.numel() + 2 * count) / 1e6:.0f} MB (the clips twice, codes, their gradient)")
    bench.compare(f"{clips}, forward and gradient to 16 parameters and the clips",
                  {name: trained_with_clips(call) for name, call in CONTENDERS.items()}, base)
    bench.compare(f"{clips}, forward", {name: judged(call) for name, call in CONTENDERS.items()}, base)
    double, exact = copy.deepcopy(encoder).double(), codes.double().requires_grad_()
    reference = torch.autograd.grad(loop(double, exact), [*double.parameters(), exact], given.double())
    bench.say("\n| | peak memory MB | largest relative error of a gradient |\n|---|---|---|")
    for name, call in CONTENDERS.items():
        peak = peak_mb(trained(call))
        error = max(float((mine - theirs).abs().max() / theirs.abs().max())
                    for mine, theirs in zip(trained_with_clips(call)(), reference, strict=True))
        bench.say(f"| {name} | {peak:.0f} | {error:.1e} |")
        bench.rows.append({"case": "BDQ, peak memory and error", "contender": name, "peak_mb": peak, "value": error})


def divisions(count: int) -> Callable[[], None]:
    """Returns a call that makes so many divisions, in the cache."""
    numbers = torch.linspace(0.5, 2.0, 1 << 15)

    def run() -> None:
        for _ in range(count // numbers.numel()):
            torch.reciprocal(numbers, out=numbers)

    return run


if __name__ == "__main__":
    benches(__doc__ or "", [bdq])

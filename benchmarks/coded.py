"""A coded exposure of 16 slots at 270x480, forward and gradient to the bits, against the ways one writes it first.

Run: python -m benchmarks.coded [--threads N] [--results FILE]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks._timing import Bench, benches, peak_mb
from optics_sim.sensor.coded import coded_sum

SHAPE = (2, 16, 270, 480)


def step(forward: Callable[[Tensor, Tensor], Tensor], clip: Tensor, bits: Tensor, slope: Tensor) -> Tensor:
    """Returns the gradient in the bits of one forward and backward."""
    return torch.autograd.grad(forward(clip, bits), bits, slope)[0]


def coded(bench: Bench) -> None:
    """Times the sum over the slots and its gradient, and says the peak memory and how far the results differ."""
    generator = torch.Generator().manual_seed(0)
    clip, slope = torch.rand(SHAPE, generator=generator), torch.rand(2, *SHAPE[2:], generator=generator)
    bits = (torch.rand(SHAPE[1:], generator=generator) < 0.5).float().requires_grad_()
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "naive product and sum": lambda frames, code: (frames * code).sum(1),
        "einsum": lambda frames, code: torch.einsum("nthw,thw->nhw", frames, code),
        "ours": coded_sum,
    }
    calls = {name: lambda way=way: step(way, clip, bits, slope) for name, way in ways.items()}
    alone = {"floor: memory alone": lambda: (clip.sum(), bits.detach().sum(), clip.sum(), torch.ones_like(bits))}
    moved = 4 * (2 * clip.numel() + 2 * bits.numel() + 2 * slope.numel())
    bench.compare("coded exposure, forward and gradient, 2x16x270x480", {**calls, **alone}, "naive product and sum",
                  floor=f"{moved / 1e6:.0f} MB (the clip read twice, the bits read and their gradient written, two images)")
    timed = {row["contender"]: row["median_ms"] for row in bench.rows[-len(calls) - len(alone):]}
    naive = calls["naive product and sum"]()
    bench.say("\n| | peak memory MB | GB/s of the floor's bytes | largest difference |\n|---|---|---|---|")
    bench.say(f"| floor: memory alone | | {moved / timed['floor: memory alone'] / 1e6:.1f} | |")
    for name, call in calls.items():
        peak, difference = peak_mb(call), float((call() - naive).abs().max())
        bench.say(f"| {name} | {peak:.0f} | {moved / timed[name] / 1e6:.1f} | {difference:.1e} |")
        bench.rows.append({"case": "coded exposure, peak memory and difference", "contender": name, "peak_mb": peak, "value": difference})


if __name__ == "__main__":
    benches(__doc__ or "", [coded])

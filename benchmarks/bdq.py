"""BDQ's soft encoder, forward and backward on 4 clips of 16x112x112, against the published formula and a plain loop.

Run: python -m benchmarks.bdq [--threads N] [--rounds N] [--results FILE]
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks._timing import Bench, benches
from optics_sim.encoders import bdq as module
from optics_sim.encoders.bdq import Bdq
from optics_sim.encoders.gaussian import gaussian_weights
from optics_sim.encoding import BdqEncoder

SHAPE = (4, 16, 112, 112)
THRESHOLDS = 15


def differences(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns differences of frames blurred by a 2-D convolution, as the released code does it."""
    weights = gaussian_weights(encoder.sigma_px(), encoder.spec.kernel_px)
    radius = encoder.spec.kernel_px // 2
    padded = F.pad(codes.reshape(-1, 1, *codes.shape[-2:]), (radius,) * 4, mode="replicate")
    blurred = F.conv2d(padded, (weights[:, None] * weights)[None, None]).reshape(codes.shape)
    return blurred[:, 1:] - blurred[:, :-1]


def broadcast(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes by the formula as published: one axis more for the thresholds, then a sum."""
    thresholds, _, slope = encoder._scale(codes.dtype)
    return torch.sigmoid(slope * (differences(encoder, codes)[..., None] - thresholds)).sum(-1)


def loop(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes by one sigmoid at a time."""
    thresholds, _, slope = encoder._scale(codes.dtype)
    values = differences(encoder, codes)
    total = torch.zeros_like(values)
    for threshold in thresholds:
        total = total + torch.sigmoid(slope * (values - threshold))
    return total


def eager(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes of our encoder where nothing can compile it."""
    module.LARGE, large = codes.numel() + 1, module.LARGE
    try:
        return encoder(codes, hard=False)
    finally:
        module.LARGE = large


def ours(encoder: Bdq, codes: Tensor) -> Tensor:
    """Returns the soft codes of our encoder."""
    return encoder(codes, hard=False)


CONTENDERS: dict[str, Callable[[Bdq, Tensor], Tensor]] = {
    "published formula, broadcast": broadcast, "2-D convolution and loop": loop, "ours, eager": eager, "ours": ours}


def bdq(bench: Bench) -> None:
    """Times forward with backward, and forward alone; says the peak memory and how far the results differ."""
    encoder = Bdq(BdqEncoder(input_range=(-60, 60)))
    codes = torch.randint(-128, 128, SHAPE, generator=torch.Generator().manual_seed(0)).float()

    def trained(forward: Callable[[Bdq, Tensor], Tensor]) -> Callable[[], list[Tensor]]:
        return lambda: list(torch.autograd.grad(forward(encoder, codes).square().mean(), list(encoder.parameters())))

    def judged(forward: Callable[[Bdq, Tensor], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.no_grad()(forward)(encoder, codes)

    base = "published formula, broadcast"
    count = codes.numel()
    bench.compare("BDQ, 4 clips 16x112x112, forward and gradient to 16 parameters",
                  {name: trained(call) for name, call in CONTENDERS.items()}, base,
                  floor=f"{count * 4 * 4 / 1e6:.0f} MB (clip and gradient read, code written) and "
                        f"{2 * THRESHOLDS * count / 1e6:.0f} million divisions")
    bench.compare("BDQ, 4 clips 16x112x112, forward", {name: judged(call) for name, call in CONTENDERS.items()}, base)
    reference = trained(broadcast)()
    bench.say("\n| | peak memory MB | largest relative difference of a gradient |\n|---|---|---|")
    for name, call in CONTENDERS.items():
        peak = peak_mb(trained(call))
        difference = max(float((mine - theirs).abs().max() / theirs.abs().max())
                         for mine, theirs in zip(trained(call)(), reference, strict=True))
        bench.say(f"| {name} | {peak:.0f} | {difference:.1e} |")
        bench.rows.append({"case": "BDQ, peak memory and difference", "contender": name, "peak_mb": peak, "value": difference})


def peak_mb(call: Callable[[], object]) -> float:
    """Returns how far the process grew in memory during a call, in MB, by the kernel's own high-water mark (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls left free would hide growth
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kb("VmRSS")
    call()
    return (_status_kb("VmHWM") - before) / 1024


def _status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    benches(__doc__ or "", [bdq])

"""The lensless forward model and its gradient to the mask, against direct convolution and the peers.

Which transforms each contender pays for: LenslessPiCam keeps its PSF transformed and pays for the scene and the way
back, as "PSF kept" does; "scenes kept" (a training set) pays for the PSF and the way back; the others for all three.
With the gradient to the mask, every contender pays for the result's gradient and the mask's, too.

Run: python -m benchmarks.forward [--peer-python PYTHON] [--threads N] [--results FILE]
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks._timing import Bench, benches
from optics_sim.optics.convolution import convolve, grid_of, scene_spectrum, transformed_psf


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _gradient(forward: Callable[[Tensor], Tensor], psf: Tensor, like: Tensor) -> Callable[[], Any]:
    leaf = psf.clone().requires_grad_()
    return lambda: torch.autograd.grad(forward(leaf), leaf, like)


def small_contenders(gradient: bool) -> dict[str, Callable[[], Any]]:
    """Returns calls for 32 scenes of 63x63 and a 32x32 mask, `valid`."""
    scenes, psf = _random(32, 63, 63), _random(32, 32, seed=1)
    cached = scene_spectrum(scenes, (32, 32), "valid")
    forwards: dict[str, Callable[[Tensor], Tensor]] = {
        "F.conv2d": lambda p: F.conv2d(scenes[:, None], p.flip(-2, -1)[None, None])[:, 0],
        "F.conv2d, batch as groups": lambda p: F.conv2d(
            scenes[None], p.flip(-2, -1).expand(32, 1, 32, 32), groups=32)[0],
        "ours": lambda p: convolve(scenes, p, "valid"),
        "ours, scenes kept": cached.convolve,
    }
    like = torch.ones(32, 32, 32)
    return {name: _gradient(f, psf, like) if gradient else partial(f, psf) for name, f in forwards.items()}


def full_contenders(height: int, width: int, gradient: bool) -> dict[str, Callable[[], Any]]:
    """Returns calls for one colour scene and a PSF of its size, `same`."""
    scenes, psf = _random(1, 3, height, width), _random(3, height, width, seed=1)
    cached = scene_spectrum(scenes, (height, width), "same")
    padded = (2 * height, 2 * width)

    def plain(p: Tensor) -> Tensor:
        product = torch.fft.rfft2(scenes, s=padded) * torch.fft.rfft2(p, s=padded)
        top, left = height // 2, width // 2
        return torch.fft.irfft2(product, s=padded)[..., top : top + height, left : left + width]

    forwards: dict[str, Callable[[Tensor], Tensor]] = {
        "torch.fft, doubled": plain,
        "ours": lambda p: convolve(scenes, p, "same"),
        "ours, scenes kept": cached.convolve,
    }
    like = torch.ones(1, 3, height, width)
    if not gradient:
        kept = transformed_psf(psf, (height, width), "same")
        forwards["ours, PSF kept"] = lambda p: kept.convolve(scenes)
    return {name: _gradient(f, psf, like) if gradient else partial(f, psf) for name, f in forwards.items()}


def forward(bench: Bench) -> None:
    """Times the forward model and its gradient at three sizes."""
    small_peers = {"LenslessPiCam torch (PSF kept)": "lensless 32 32 1 32 63 torch", "deepinv conv2d": "deepinv 32 63 32"}
    for gradient in (False, True):
        what = "forward and gradient to the mask" if gradient else "forward"
        bench.compare(f"32 scenes 63x63, mask 32x32, {what}", small_contenders(gradient), "F.conv2d",
                      {} if gradient else small_peers,
                      f"{(2 if gradient else 1) * 67.1:.0f} million operations if summed directly; transforms of 64x64: "
                      f"{_small_operations(gradient):.0f} million")
        for height, width in ((270, 480), (1520, 2028)):
            size = f"{height} {width} 3 1 0"
            full_peers = {f"LenslessPiCam {engine} (PSF kept)": f"lensless {size} {engine}" for engine in ("numpy", "torch")}
            bench.compare(f"{height}x{width}x3, PSF of that size, {what}", full_contenders(height, width, gradient),
                          "torch.fft, doubled" if gradient or bench.peer is None else "LenslessPiCam numpy (PSF kept)",
                          {} if gradient else full_peers, _full_floor(height, width))


def _small_operations(gradient: bool) -> float:
    """Returns millions of operations of the transforms of 32 planes 64x64: forward and back, twice with the gradient."""
    points = 64 * 64
    return (2 + gradient) * 32 * 2.5 * points * math.log2(points) / 1e6


def _full_floor(height: int, width: int) -> str:
    """Returns bytes and operations of one forward with the PSF kept: scene read, spectrum read, result written."""
    rows, columns = grid_of((height, width), (height, width), "same").fft
    half = columns // 2 + 1
    moved = 3 * (2 * 4 * height * width + 8 * rows * half)
    work = 3 * (2 * height * 2.5 * columns * math.log2(columns) + half * 2 * 5 * rows * math.log2(rows))
    return f"{moved / 1e6:.0f} MB and {work / 1e9:.2f} billion operations for a forward with the PSF kept, on {rows}x{columns}"


if __name__ == "__main__":
    benches(__doc__ or "", [forward])

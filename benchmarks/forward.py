"""The lensless forward model and its gradient to the mask, against direct convolution and the peers.

LenslessPiCam keeps its PSF transformed and pays for the scene; "ours, scenes cached" keeps the scene and pays for
the PSF: the same number of transforms. "ours" pays for both.

Run: python -m benchmarks.forward [--peer-python PYTHON] [--threads N] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks._timing import Peer, alternate, arguments, table, timed, write
from optics_sim.optics.convolution import convolve, scene_spectrum


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
        "ours, scenes cached": cached.convolve,
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
        "ours, scenes cached": cached.convolve,
    }
    like = torch.ones(1, 3, height, width)
    return {name: _gradient(f, psf, like) if gradient else partial(f, psf) for name, f in forwards.items()}


def peer_contenders(peer: Peer | None, cases: dict[str, str]) -> dict[str, Callable[[], float]]:
    """Returns the peers that are installed, each a question to their process."""
    if peer is None:
        return {}
    return {name: partial(peer.ask, case) for name, case in cases.items() if peer.ask(case) is not None}


def main() -> None:
    """Prints the tables."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(options.threads)
    script = Path(__file__).with_name("_peers.py")
    peer = Peer(options.peer_python, script, options.threads) if options.peer_python else None
    rows: list[dict[str, Any]] = []
    small_peers = {"LenslessPiCam torch": "lensless 32 32 1 32 63 torch", "deepinv": "deepinv 32 63 32"}
    for gradient in (False, True):
        what = "forward and gradient to the mask" if gradient else "forward"
        run(f"32 scenes 63x63, mask 32x32, {what}", small_contenders(gradient), "F.conv2d",
            peer_contenders(peer, {} if gradient else small_peers), options.rounds, rows)
        for height, width in ((270, 480), (1520, 2028)):
            size = f"{height} {width} 3 1 0"
            full_peers = {f"LenslessPiCam {engine}": f"lensless {size} {engine}" for engine in ("numpy", "torch")}
            run(f"{height}x{width}x3, PSF of that size, {what}", full_contenders(height, width, gradient), "torch.fft, doubled",
                peer_contenders(peer, {} if gradient else full_peers), options.rounds, rows)
    if peer is not None:
        peer.close()
    write(options.json, rows, options.threads)


def run(title: str, ours: dict[str, Callable[[], Any]], base: str, peers: dict[str, Callable[[], float]], rounds: int,
        rows: list[dict[str, Any]]) -> None:
    """Times one case in alternating rounds, prints its table and keeps its rows."""
    contenders = {name: partial(timed, call) for name, call in ours.items()} | peers
    text, new = table(title, alternate(contenders, rounds), base)
    print(text, flush=True)
    rows += new


if __name__ == "__main__":
    main()

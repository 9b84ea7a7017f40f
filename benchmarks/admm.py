"""100 ADMM iterations at 270x480x3 against LenslessPiCam, with the relative difference of the results.

Run: python -m benchmarks.admm [--peer-python PYTHON] [--threads N] [--json FILE]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._timing import Peer, alternate, arguments, table, timed, write
from optics_sim.attacks.admm import admm_full
from optics_sim.optics.convolution import convolve

SHAPE = (270, 480)
ITERATIONS = 100


def case() -> tuple[Tensor, Tensor]:
    """Returns a measurement [3, H, W] of a made-up scene, and a sparse caustic-like PSF of unit norm."""
    generator = torch.Generator().manual_seed(0)
    psf = (torch.rand(3, *SHAPE, generator=generator) < 0.02).float()
    psf = psf / psf.norm()
    scene = torch.zeros(3, *SHAPE)
    scene[:, 90:180, 160:300] = torch.rand(3, 1, 1, generator=generator)
    data = convolve(scene, psf, "same")
    return data / data.max(), psf


def main() -> None:
    """Prints the table and how far the results differ."""
    options = arguments(__doc__ or "")
    torch.set_num_threads(options.threads)
    data, psf = case()
    contenders: dict[str, Callable[[], float]] = {
        "ours, eager": partial(timed, lambda: admm_full(data, psf, ITERATIONS)),
        "ours, compiled": partial(timed, lambda: admm_full(data, psf, ITERATIONS, compiled=True)),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        np.savez(files / "case.npz", psf=psf.numpy(), data=data.numpy(), iterations=ITERATIONS)
        peer = None
        if options.peer_python:
            peer = Peer(options.peer_python, Path(__file__).with_name("_peers.py"), options.threads)
            for engine in ("numpy", "torch"):
                question = f"admm {engine} {files / 'case.npz'} {files / engine}.npy"
                contenders[f"LenslessPiCam {engine}"] = partial(peer.ask, question)
        base = "LenslessPiCam numpy" if peer else "ours, eager"
        text, rows = table("ADMM, 100 iterations, 270x480x3", alternate(contenders, options.rounds), base)
        print(text)
        if peer is not None:
            rows += _differences(data, psf, files)
            peer.close()
    write(options.json, rows, options.threads)


def _differences(data: Tensor, psf: Tensor, files: Path) -> list[dict[str, Any]]:
    rows = []
    for compiled in (False, True):
        ours = admm_full(data, psf, ITERATIONS, compiled=compiled).numpy()
        for engine in ("numpy", "torch"):
            theirs = np.load(files / f"{engine}.npy")
            difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
            name = "compiled" if compiled else "eager"
            print(f"relative difference, ours {name} to LenslessPiCam {engine}: {difference:.2e}")
            rows.append({"case": "relative difference", "contender": f"{name} to {engine}", "value": difference})
    return rows


if __name__ == "__main__":
    main()

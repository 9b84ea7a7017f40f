"""100 ADMM iterations at 270x480x3 against LenslessPiCam, with the relative difference of the results.

Run: python -m benchmarks.admm [--peer-python PYTHON] [--threads N] [--results FILE]
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks._timing import Bench, benches
from optics_sim.attacks.admm import admm_full
from optics_sim.optics.convolution import convolve

SHAPE = (270, 480)
ITERATIONS = 100
ENGINES = ("numpy", "torch")


def case() -> tuple[Tensor, Tensor]:
    """Returns a measurement [3, H, W] of a made-up scene, and a sparse caustic-like PSF of unit norm."""
    generator = torch.Generator().manual_seed(0)
    psf = (torch.rand(3, *SHAPE, generator=generator) < 0.02).float()
    psf = psf / psf.norm()
    scene = torch.zeros(3, *SHAPE)
    scene[:, 90:180, 160:300] = torch.rand(3, 1, 1, generator=generator)
    data = convolve(scene, psf, "same")
    return data / data.max(), psf


def admm(bench: Bench) -> None:
    """Times 100 iterations, and says how far the results differ."""
    data, psf = case()
    ours = {"ours": lambda: admm_full(data, psf, ITERATIONS)}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        np.savez(files / "case.npz", psf=psf.numpy(), data=data.numpy(), iterations=ITERATIONS)
        peers = {f"LenslessPiCam {engine}": f"admm {engine} {files / 'case.npz'} {files / engine}.npy" for engine in ENGINES}
        rows, columns = 540, 960
        work = ITERATIONS * 4 * 3 * 2.5 * rows * columns * math.log2(rows * columns)
        moved = ITERATIONS * 11 * 3 * 4 * rows * columns
        bench.compare("ADMM, 100 iterations, 270x480x3", ours, "LenslessPiCam numpy", peers,
                      f"{work / 1e9:.0f} billion operations (four real transforms) and {moved / 1e9:.1f} GB (eleven passes)")
        if bench.peer is not None:
            _differences(admm_full(data, psf, ITERATIONS).numpy(), files, bench)


def _differences(ours: np.ndarray, files: Path, bench: Bench) -> None:
    for engine in ENGINES:
        if not (files / f"{engine}.npy").is_file():
            continue
        theirs = np.load(files / f"{engine}.npy")
        difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
        bench.say(f"\nRelative difference to LenslessPiCam {engine}: {difference:.2e}")
        bench.rows.append({"case": "ADMM, relative difference", "contender": f"ours to {engine}", "value": difference})


if __name__ == "__main__":
    benches(__doc__ or "", [admm])

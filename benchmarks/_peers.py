"""Runs in the peers' own environment: times LenslessPiCam and deepinv on the case named on each input line.

Answers one JSON line per case: seconds per call, or null where the peer is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch


def _random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@lru_cache(maxsize=2)
def _lensless(height: int, width: int, colours: int, batch: int, scene: int, engine: str) -> Callable[[], Any]:
    from lensless.recon.rfft_convolve import RealFFTConvolve2D

    psf = np.zeros((1, scene or height, scene or width, colours), dtype=np.float32)
    psf[:, :height, :width] = _random(0, 1, height, width, colours)
    images = _random(1, batch, 1, scene or height, scene or width, colours)
    if engine == "numpy":
        operator = RealFFTConvolve2D(psf, dtype=np.float32)
        return lambda: operator.convolve(images[0])
    operator = RealFFTConvolve2D(torch.from_numpy(psf), dtype=torch.float32)
    batch_of_images = torch.from_numpy(images)
    return lambda: operator.convolve(batch_of_images)


_KEPT: list[Any] = []


def _shim_torchvision() -> None:
    """Lets `import torchvision` pass where its binary part does not fit torch's build; nothing timed here uses that part.

    Once such a torchvision is installed, LenslessPiCam does not import without this either.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    if subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


@lru_cache(maxsize=1)
def _deepinv(batch: int, scene: int, mask: int) -> Callable[[], Any]:
    from deepinv.physics.functional import conv2d

    images = torch.from_numpy(_random(1, batch, 1, scene, scene))
    psf = torch.from_numpy(_random(0, 1, 1, mask, mask))
    return lambda: conv2d(images, psf, padding="valid")


def _admm(engine: str, path: str) -> Callable[[], Any]:
    from lensless import ADMM

    case = np.load(path)
    psf, data = case["psf"].transpose(1, 2, 0)[None].copy(), case["data"].transpose(1, 2, 0)[None].copy()
    if engine == "torch":
        psf, data = torch.from_numpy(psf), torch.from_numpy(data)

    def run() -> np.ndarray:
        solver = ADMM(psf)
        solver.set_data(data)
        return np.asarray(solver.apply(n_iter=int(case["iterations"]), disp_iter=None, plot=False)).squeeze()

    return run


def _answer(words: list[str]) -> Any:
    kind, *rest = words
    if kind == "admm":
        run = _admm(rest[0], rest[1])
        begin = time.perf_counter()
        result = run()
        elapsed = time.perf_counter() - begin
        np.save(rest[2], result.transpose(2, 0, 1))
        return elapsed
    run = _lensless(*map(int, rest[:-1]), rest[-1]) if kind == "lensless" else _deepinv(*map(int, rest))
    run()
    calls, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < 0.02 or not calls:
        run()
        calls += 1
    return (time.perf_counter() - begin) / calls


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w")
    _shim_torchvision()
    os.dup2(2, 1)  # what a peer prints must not mix with the answers
    for line in sys.stdin:
        try:
            answer = _answer(line.split())
        except ImportError:
            answer = None
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

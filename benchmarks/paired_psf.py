"""Ten real diffuser and lens pairs: the PSF from nine of them predicts the tenth, and opens its capture.

Prints, for each fold, the held-out residual, its ratio to that of the best flipped control, and the high-passed correlation
beside the highest control's. With --pictures it writes the PSF of each fold, the lens picture and what FISTA recovers from
the capture; the pictures may show people, so keep them out of the repository.

Run: python -m benchmarks.paired_psf FOLDER [--factor N] [--chosen] [--pictures FOLDER] (FOLDER holds pairs.json)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from calibration.paired_psf import Pair, PairedPsf, Settings, fit, measure
from optics_sim.attacks.linear import fista
from optics_sim.data.diffusercam import RealPair, load_pairs

CANDIDATES = tuple(Settings(reach=1.6, tone=tone) for tone in (1.0, 1.4, 1.8))
FINE = Settings(reach=1.6, tone=1.4, weight=1e-5, iterations=200)  # for looking: sharper than prediction needs
BRIGHTEST = 0.995  # quantile that is shown as white
SHOWN_GAMMA = 1 / 1.6


def shown(picture: np.ndarray) -> np.ndarray:
    """Returns a picture [row, column, colour] as 8 bits to look at."""
    return (255 * np.clip(picture / np.quantile(picture, BRIGHTEST), 0, 1) ** SHOWN_GAMMA).astype(np.uint8)


def recovered(pair: RealPair, psf: PairedPsf) -> np.ndarray:
    """Returns the scene [row, column, colour] that one PSF for all colours makes of a capture."""
    capture = torch.from_numpy(np.moveaxis(pair.capture, -1, 0).copy())
    shape = (int(capture.shape[1]), int(capture.shape[2]))
    return np.moveaxis(fista(capture, torch.from_numpy(psf.psf), shape, "same", iterations=200, weight=1e-3).numpy(), 0, -1)


def write(pair: RealPair, psf: PairedPsf, folder: Path) -> None:
    """Writes NAME.png (lens picture beside what is recovered) and NAME-psf.png."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.hstack([shown(pair.lens ** psf.settings.tone), shown(recovered(pair, psf))])).save(folder / f"{pair.name}.png")
    light = np.clip(psf.psf / np.quantile(psf.psf, 0.9995), 0, 1)
    Image.fromarray((255 * light).astype(np.uint8)).save(folder / f"{pair.name}-psf.png")


def main() -> None:
    """Prints the table of folds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--factor", type=int, default=6)
    parser.add_argument("--chosen", action="store_true", help="choose tone among the nine, by inner folds")
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    real = load_pairs(arguments.folder, arguments.factor)
    pairs = [Pair(*pair.gray()) for pair in real]
    print("held out  residual  ratio to best flip  high-passed correlation  highest control  tone")
    for i, (name, pair) in enumerate(zip([one.name for one in real], pairs, strict=True)):
        rest = [*pairs[:i], *pairs[i + 1:]]
        psf = measure(rest, CANDIDATES) if arguments.chosen else fit(rest, Settings())
        found = psf.likeness(pair)
        control = max(one.correlation for one in found.controls.values())
        print(f"{name:8}  {found.score.residual:8.3f}  {found.residual_ratio:18.2f}  {found.score.correlation:23.3f}  {control:15.3f}"
              f"  {psf.settings.tone:4}", flush=True)
        if arguments.pictures:
            write(real[i], fit(rest, FINE), arguments.pictures)


if __name__ == "__main__":
    main()

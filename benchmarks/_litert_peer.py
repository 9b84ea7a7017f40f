"""Runs in litert-torch's own environment: converts an obfuscator by that toolchain's defaults, as floats and as int8.

python benchmarks/_litert_peer.py HEIGHT WIDTH FRAMES.npy OUT     # writes OUT/float.tflite and OUT/int8.tflite
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from ai_edge_quantizer import quantizer, recipe

from optics_sim.encoders.obfuscator import Obfuscator
from optics_sim.encoding import ObfuscatorEncoder


def convert(size: tuple[int, int], frames: np.ndarray, out: Path) -> None:
    """Writes both files; `frames` [n, h, w] are the calibration."""
    module = Obfuscator(ObfuscatorEncoder()).plain(size).eval()
    given: Any = litert_torch.to_channel_last_io(module, args=[0], outputs=[0])
    litert_torch.convert(given, (torch.zeros(1, *size, 1),)).export(str(out / "float.tflite"))
    made = quantizer.Quantizer(str(out / "float.tflite"))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    data = {"serving_default": [{"args_0": frame[None, ..., None].astype(np.float32)} for frame in frames]}
    made.quantize(made.calibrate(data)).export_model(str(out / "int8.tflite"), overwrite=True)


if __name__ == "__main__":
    convert((int(sys.argv[1]), int(sys.argv[2])), np.load(sys.argv[3], allow_pickle=False), Path(sys.argv[4]))

"""Run by the Raspberry Pi's Python in tests/test_pi_wheels.py: encodes each folder's golden frames and says what it found.

    pi_run.py reference|fast FOLDER...     prints one line of JSON
"""

from __future__ import annotations

import hashlib
import json
import platform
import resource
import sys
import time
from pathlib import Path

began = time.process_time()

import numpy as np  # noqa: E402

with_numpy, numpy_kib = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

from firmware_export.tflite_encoder import TfliteEncoder, interpreter_module  # noqa: E402
from optics_sim.errors import PrivcamError  # noqa: E402

with_encoder, encoder_kib = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def largest_differences(folder, fast):
    """Returns, for each output, how many codes differ and by how many levels at most; the golden files' hashes are checked."""
    manifest = json.loads((folder / "golden.json").read_text())
    encoder = TfliteEncoder.load(folder, fast=fast, digest=manifest["design"])
    arrays = {}
    for name in (*manifest["inputs"], *manifest["outputs"]):
        data = (folder / f"{name}.npy").read_bytes()
        if hashlib.sha256(data).hexdigest() != manifest["sha256"][f"{name}.npy"]:
            raise PrivcamError("a golden file was changed", got=name)
        arrays[name] = np.load(folder / f"{name}.npy", allow_pickle=False)
    found = encoder.run({name: arrays[name] for name in manifest["inputs"]})
    off = {name: np.abs(arrays[name].astype(int) - codes) for name, codes in found.items()}
    return {name: {"codes": values.size, "differ": int(np.sum(values > 0)), "most": int(values.max())} for name, values in off.items()}


def answer(mode, folders):
    try:
        found = {folder.name: largest_differences(folder, mode == "fast") for folder in folders}
    except PrivcamError as error:
        return {"error": str(error)}
    return {"found": found, "torch": "torch" in sys.modules}


if __name__ == "__main__":
    said = answer(sys.argv[1], [Path(folder) for folder in sys.argv[2:]])
    machine = {"machine": platform.machine(), "python": platform.python_version(), "numpy": np.__version__,
               "interpreter": interpreter_module().__name__}
    cost = {"numpy_s": with_numpy - began, "encoder_s": with_encoder - with_numpy, "numpy_kib": numpy_kib, "encoder_kib": encoder_kib,
            "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    sys.stdout.write(json.dumps({**said, **machine, **cost}) + "\n")

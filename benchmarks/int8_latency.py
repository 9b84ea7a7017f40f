"""One frame of an obfuscator at 320 x 200 on this machine: integers against floats, ours against its own toolchain's.

    python -m benchmarks.int8_latency [--rounds N] [--threads N] [--peer-python P]

`--peer-python` has litert-torch 0.10.0, ai-edge-quantizer 0.10.0 and what privcam needs; without it its lines are missing.
Weights are drawn, not trained: they take as long.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._timing import Bench, alternate, machine, pin, table, timed
from firmware_export.quantise import quantised
from firmware_export.tflite import TfliteArtifact
from firmware_export.tflite_encoder import interpreter_module
from optics_sim.data.synthetic import synthetic_people
from optics_sim.encoders.obfuscator import Obfuscator
from optics_sim.encoding import ObfuscatorEncoder
from optics_sim.learning.trace import traced

SIZE = (200, 320)
FRAMES = 16


def frames() -> np.ndarray:
    """Returns calibration frames [n, h, w]: drawn people as readout codes."""
    return np.rint(synthetic_people(4, 4, 0).gray(SIZE) * 255 - 128).astype(np.int8)[:FRAMES]


def theirs(file: Path, threads: int) -> Any:
    """Returns an interpreter of a file of another toolchain, its tensors allocated."""
    module = interpreter_module()
    found = module.Interpreter(model_path=str(file), num_threads=threads)
    found.allocate_tensors()
    return found


def ran(interpreter: Any, frame: np.ndarray) -> np.ndarray:
    """Returns the picture [h, w] in 0..1 that an interpreter makes of a frame, at its own input's step."""
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    value = frame[None, ..., None].astype(np.float32)
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        value = np.clip(np.rint(value / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_tensor(given["index"], value)
    interpreter.invoke()
    result = interpreter.get_tensor(made["index"])[0, ..., 0]
    scale, zero = made["quantization"]
    return (result.astype(np.float32) - zero) * scale if made["dtype"] == np.int8 else result


def latency(bench: Bench, peers: Path | None) -> None:
    """Times one frame each way, and says how large each file is and how far its picture is from torch's."""
    shown = frames()
    module = Obfuscator(ObfuscatorEncoder()).plain(SIZE).eval()
    made = quantised(traced(module, torch.zeros(1, 1, *SIZE)), shown)
    one = torch.from_numpy(shown[:1, None]).float()
    with torch.no_grad():
        wanted = module(one)[0, 0].numpy()
    fast, exact = (TfliteArtifact(made.graph, fast=kind, threads=bench.threads) for kind in (True, False))
    frame = {made.graph.inputs[0]: shown[:1, ..., None]}
    calls: dict[str, Callable[[], Any]] = {
        "torch, floats": lambda: module(one), "ours, int8, fast path": lambda: fast.step(frame),
        "ours, int8, reference kernels": lambda: exact.step(frame)}
    pictures = {name: (next(iter(way.step(frame).values()))[0, ..., 0] + 128.0) / 256 for name, way in
                (("ours, int8, fast path", fast), ("ours, int8, reference kernels", exact))}
    sizes = {name: len(next(iter(fast.files.values()))) for name in pictures}
    for name, file in (("litert-torch, floats", "float.tflite"), ("litert-torch, int8, its defaults", "int8.tflite")):
        if peers is not None:
            other = theirs(peers / file, bench.threads)
            pictures[name], sizes[name] = ran(other, shown[0]), (peers / file).stat().st_size
            calls[name] = other.invoke
    with torch.no_grad():
        found = alternate({name: lambda call=call: timed(call) for name, call in calls.items()}, bench.rounds)
    text, rows = table(f"obfuscator, one frame of 320 x 200, {bench.threads} thread(s)", found, "torch, floats")
    bench.say(text)
    bench.rows += rows
    bench.say("\n| | bytes | mean error of a pixel, of 1 | largest |\n|---|---|---|---|")
    for name, picture in pictures.items():
        off = np.abs(picture - wanted)
        bench.say(f"| {name} | {sizes[name]} | {off.mean():.5f} | {off.max():.4f} |")


def main() -> None:
    """Measures with the options of the command line and writes the results beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peer-python", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results-int8.md"))
    options = parser.parse_args()
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        peers = None
        if options.peer_python:
            peers = Path(name)
            np.save(peers / "frames.npy", frames())
            script = Path(__file__).with_name("_litert_peer.py")
            command = [str(options.peer_python), str(script), *map(str, SIZE), str(peers / "frames.npy"), str(peers)]
            subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(script.parents[1])})
        for threads in sorted(options.threads, reverse=True):  # who is pinned to few CPUs cannot be given more
            pin(threads, None)
            torch.set_num_threads(threads)
            bench = Bench(options.rounds, threads, None)
            bench.say(machine(threads, options.rounds))
            latency(bench, peers)
            lines += [*bench.lines, ""]
    options.results.write_text("\n".join(["# One frame as integers", "", *lines]), encoding="utf-8")


if __name__ == "__main__":
    main()

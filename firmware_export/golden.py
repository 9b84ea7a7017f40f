"""Golden vectors: frames and the codes that a device must give for them, as plain files with their hashes.

The frames are drawn, saturated, constant and made to be awkward: checkerboards, single bright pixels, edges, steps of one
level, flashes. `frames.bin` and `codes.bin` are what goes over a wire: frame after frame, input after input.
Deliberately not here: running a device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Graph
from firmware_export.graph_file import npy_bytes
from firmware_export.int8 import Reference
from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError

MANIFEST = "golden.json"


def golden_clip(graph: Graph, generator: np.random.Generator, frames: int = 100) -> dict[str, NDArray[np.int8]]:
    """Returns inputs [frames, ...] of every kind; every second one is drawn. Raises PrivcamError for fewer than 2."""
    if frames < 2:
        raise PrivcamError("too few golden frames", got=frames, allowed="at least 2", todo="ask for 100")
    return {name: _clip(graph[name].shape[1:], generator, frames) for name in graph.inputs}


def golden_files(graph: Graph, generator: np.random.Generator, frames: int = 100) -> dict[str, bytes]:
    """Returns the files of a drawn clip and of the codes that the integer reference gives for it."""
    clip = golden_clip(graph, generator, frames)
    return vector_files(graph, clip, Reference(graph).run(clip))


def vector_files(graph: Graph, clip: Mapping[str, NDArray[Any]], codes: Mapping[str, NDArray[Any]]) -> dict[str, bytes]:
    """Returns the files by name: each input and output as NPY, all of them as raw bytes, and a manifest with SHA-256."""
    files = {f"{name}.npy": npy_bytes(array) for name, array in (*clip.items(), *codes.items())}
    files |= {"frames.bin": interleaved(clip), "codes.bin": interleaved(codes)}
    manifest = {"design": graph.design, "graph": graph.digest, "frames": len(clip[graph.inputs[0]]), "warmup": graph.warmup,
                "inputs": graph.inputs, "outputs": graph.outputs,
                "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}}
    return {**files, MANIFEST: (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()}


def write_golden(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes golden files into a folder, which is made where it is missing; the manifest last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: (name == MANIFEST, name)):
        write_atomically(folder / name, files[name])


def read_golden(folder: Path) -> dict[str, NDArray[Any]]:
    """Returns every array under its name. Raises PrivcamError for a file whose hash is not the manifest's."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for name, digest in manifest["sha256"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise PrivcamError("a golden file was changed", got=name, todo="write the golden files again")
    return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in (*manifest["inputs"], *manifest["outputs"])}


def interleaved(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Returns arrays [frames, ...] as they go over a wire: frame after frame, array after array in each."""
    return np.concatenate([array.reshape(len(array), -1) for array in arrays.values()], axis=1).tobytes()


def _clip(shape: tuple[int, ...], generator: np.random.Generator, frames: int) -> NDArray[np.int8]:
    awkward = _awkward(shape, generator)
    drawn = generator.integers(-128, 128, (frames, *shape)).astype(np.int8)
    for index in range(1, frames, 2):
        drawn[index] = awkward[(index // 2) % len(awkward)]
    return drawn


def _awkward(shape: tuple[int, ...], generator: np.random.Generator) -> list[NDArray[np.int8]]:
    place = np.indices(shape)
    checks, stripes = place.sum(0) % 2 == 0, place[0] % 2 == 0
    point = np.full(shape, -128)
    point[tuple(size // 2 for size in shape)] = 127
    corner = np.full(shape, 127)
    corner[(0,) * len(shape)] = -128
    found = [np.full(shape, value) for value in (-128, 127, 0, 1, -1)]
    found += [np.where(checks, 127, -128), np.where(checks, -128, 127), np.where(stripes, 127, -128), point, corner,
              np.where(place[0] < shape[0] // 2, -128, 127), generator.integers(-1, 2, shape),
              np.where(generator.random(shape) < 0.5, -128, 127), np.linspace(-128, 127, int(np.prod(shape))).reshape(shape)]
    return [array.astype(np.int8) for array in found]

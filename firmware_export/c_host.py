"""The generated C, compiled and run on the host: an artefact that runs its own files.

A small `main` reads frames from the standard input and writes codes; it is a harness, no part of the firmware.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.c_code import c_files
from firmware_export.graph import Graph
from firmware_export.runner import Clip, Runner, checked
from optics_sim.errors import PrivcamError

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
HARNESS = """#include <stdio.h>

#include "model.h"

static int8_t input[MODEL_INPUT_BYTES], output[MODEL_OUTPUT_BYTES];

int main(void)
{
    model_reset();
    while (fread(input, 1, sizeof input, stdin) == sizeof input)
        if (model_step(input, output) && fwrite(output, 1, sizeof output, stdout) != sizeof output)
            return 2;
    return 0;
}
"""


def compiler() -> str | None:
    """Returns the path of the system's C compiler, or None."""
    return shutil.which(os.environ.get("CC", "cc"))


class CArtifact(Runner):
    """The C files of a graph, compiled by the system's compiler each time this is made; codes come from the program."""

    def __init__(self, graph: Graph, files: Mapping[str, bytes] | None = None, options: Sequence[str] = ()) -> None:
        super().__init__(graph)
        self.files = c_files(graph) if files is None else files
        self._folder = tempfile.TemporaryDirectory(prefix="privcam-")
        self._program = compiled(self.files, Path(self._folder.name), options)

    def run(self, clip: Clip) -> dict[str, NDArray[Any]]:
        """Returns outputs [T - warmup, ...] for inputs [T, ...]: the program run once."""
        frames = checked(self.graph, clip)
        flat = [clip[name].reshape(frames, -1) for name in self.graph.inputs]
        ran = subprocess.run([self._program], input=np.concatenate(flat, axis=1).tobytes(), capture_output=True, check=False)
        if ran.returncode:
            raise PrivcamError("the compiled network failed", got=ran.stderr.decode(errors="replace")[-2000:],
                               todo="compile with sanitizers and report this")
        return split(self.graph, ran.stdout, frames - self.graph.warmup)

    def start(self) -> None:
        """Does nothing: each run of the program starts anew."""

    def step(self, frame: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[Any]]:
        """Raises PrivcamError: the program runs whole clips."""
        raise PrivcamError("the compiled network runs whole clips", todo="use `run`")


def split(graph: Graph, data: bytes, frames: int) -> dict[str, NDArray[np.int8]]:
    """Returns the outputs [frames, ...] of a program's bytes, output after output in each frame."""
    sizes = [graph[name].size_bytes for name in graph.outputs]
    if len(data) != frames * sum(sizes):
        raise PrivcamError("the compiled network gave another number of codes", got=len(data), allowed=frames * sum(sizes))
    parts = np.split(np.frombuffer(data, np.int8).reshape(frames, -1), np.cumsum(sizes)[:-1], axis=1)
    return {name: part.reshape(frames, *graph[name].shape[1:]) for name, part in zip(graph.outputs, parts, strict=True)}


def compiled(files: Mapping[str, bytes], folder: Path, options: Sequence[str] = ()) -> Path:
    """Returns the program made of the files and the harness. Raises PrivcamError without a compiler or with its complaint."""
    if (found := compiler()) is None:
        raise PrivcamError("there is no C compiler", todo="install gcc or clang, or name one in CC")
    for name, data in {**files, "main.c": HARNESS.encode()}.items():
        (folder / name).write_bytes(data)
    program = folder / "program"
    sources = sorted(str(folder / name) for name in (*files, "main.c") if name.endswith(".c"))
    ran = subprocess.run([found, *STRICT, *options, *sources, "-o", str(program)], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise PrivcamError("the generated C does not compile", got=ran.stderr[-2000:], todo="report this: it should")
    return program

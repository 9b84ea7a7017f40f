"""An exported TFLite file as an encoder, on a Raspberry Pi or anywhere: the file, numpy and an interpreter are all it needs.

Names, states, warm-up and the design's digest are read from the file. `fast=False` takes TFLite's reference kernels, which equal
the integer reference bit for bit everywhere; `fast=True` takes the optimised ones, which round once where those round twice.
Deliberately not here: making a file (`tflite`), graphs, pydantic.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import State, Tensor
from firmware_export.runner import ClipRunner, blank_states, check_frames
from firmware_export.tflite_note import Note, read_note
from optics_sim.errors import PrivcamError

INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
FILE = "encoder.tflite"
INSTALL = "pip install 'privcam[pi]' on a Raspberry Pi, 'privcam[export]' elsewhere"


@dataclass(frozen=True)
class FileEdges:
    """What a file takes, gives and keeps, by its signature. Tensors are those of the edges alone."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[State, ...]
    warmup: int
    tensors: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        """Returns the tensor of a name. Raises KeyError for an unknown one."""
        return self.tensors[name]


class TfliteEncoder(ClipRunner):
    """A TFLite file of ours, run by the interpreter that is installed.

    `digest` is the design's that the codes are meant for: a file of another one is refused. `design` is the file's.
    Raises PrivcamError for a file that is damaged or not ours, without an interpreter, and where it does not work with this numpy.
    """

    def __init__(self, data: bytes, *, fast: bool = True, threads: int = 1, digest: str | None = None, name: str = FILE) -> None:
        note = read_note(data)
        if digest is not None and note.design != digest:
            raise PrivcamError("the file is the encoder of another design", got=note.design or "none", allowed=digest,
                               todo="copy the file that was exported with this design")
        self.files, self.design, self.note, self.fast = {name: data}, note.design, note, fast
        self.module = interpreter_module()
        self._interpreter = _interpreter(self.module, data, fast=fast, threads=threads)
        self._run = self._interpreter.get_signature_runner()
        super().__init__(_edges(note, self._run))
        self.start()

    @classmethod
    def load(cls, path: Path | str, *, fast: bool = True, threads: int = 1, digest: str | None = None) -> Self:
        """Returns the encoder of a file, or of `encoder.tflite` in a folder. Raises PrivcamError where there is none."""
        file = Path(path) / FILE if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise PrivcamError("there is no such encoder", got=str(file), todo="give the exported folder, or the .tflite file in it")
        return cls(file.read_bytes(), fast=fast, threads=threads, digest=digest, name=file.name)

    def start(self) -> None:
        """Forgets every earlier frame."""
        self._states = blank_states(self.edges)
        self._done = 0

    def step(self, frame: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs for one frame [1, ...] of every input and keeps the states. Those of the warm-up are no codes."""
        if check_frames(self.edges, frame) != {1}:
            raise PrivcamError("one frame at a time", got={name: array.shape for name, array in frame.items()}, todo="use `run` for clips")
        found = self._run(**{name: frame[name] for name in self.edges.inputs}, **self._states)
        self._states = {name: found[f"{name}_next"] for name in self._states}
        self._done += 1
        return {name: found[name] for name in self.edges.outputs}

    def feed(self, frame: NDArray[np.int8]) -> NDArray[Any] | None:
        """Returns the code of the next frame [h, w] or [h, w, c], or None where it is one of the warm-up.

        For a network of one input and one output, as a call is.
        """
        (name, out), clip = self.names_of_one(), frame[None]
        codes = self.step({name: self.with_channel(clip)})[out]
        return self.without_channel(codes, clip)[0] if self._done > self.edges.warmup else None


def interpreter_module() -> ModuleType:
    """Returns the module of the TFLite interpreter that is installed. Raises PrivcamError where none can be imported."""
    reasons = {}
    for name in INTERPRETERS:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons[name] = str(error)
    raise PrivcamError("no TFLite interpreter can be imported", got=reasons, allowed=INTERPRETERS, todo=INSTALL)


def _interpreter(module: ModuleType, data: bytes, *, fast: bool, threads: int) -> Any:
    kind = module.OpResolverType.AUTO if fast else module.OpResolverType.BUILTIN_REF
    try:
        return module.Interpreter(model_content=data, num_threads=threads, experimental_op_resolver_type=kind)
    except SystemError as error:  # what a C extension made for numpy 1 raises
        raise PrivcamError("this interpreter does not work with this numpy", got=f"{module.__name__}, numpy {np.__version__}: {error}",
                           allowed="ai-edge-litert, or tflite-runtime with numpy 1",
                           todo="pip install ai-edge-litert; where there is none, pip install 'numpy<2'") from error
    except ValueError as error:
        raise PrivcamError("the interpreter refuses the file", got=str(error), todo="copy it again and compare its SHA-256") from error


def _edges(note: Note, runner: Any) -> FileEdges:
    takes, gives = runner.get_input_details(), runner.get_output_details()
    after = {name: f"{name}_next" for name in note.states}
    if set(takes) != {*note.inputs, *note.states} or set(gives) != {*note.outputs, *after.values()}:
        raise PrivcamError("the file's signature is not what its metadata says", got=(sorted(takes), sorted(gives)), allowed=note,
                           todo="export the file again")
    tensors = {name: _tensor(name, details) for name, details in {**takes, **gives}.items()}
    return FileEdges(note.inputs, note.outputs, tuple(State(*names) for names in after.items()), note.warmup, tensors)


def _tensor(name: str, details: Mapping[str, Any]) -> Tensor:
    scale, zero_point = details["quantization"]
    return Tensor(name, tuple(map(int, details["shape"])), np.dtype(details["dtype"]).name, (float(scale),), int(zero_point))

"""A graph as a TFLite file, and the file as a callable artefact.

The bytes are the same for the same graph: nothing of the clock, the machine or the order of a dictionary is in them. Inputs,
outputs and states have signature names; the signature's own name says how many codes are withheld (`encode_after_1`). The
description and the metadata entry `privcam` carry the design's digest and the graph's.
Bit for bit, the reference kernels alone are ours: the fast path rounds once where they round twice.
Deliberately not here: what each operator becomes (`tflite_lowering`).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.check import require
from firmware_export.graph import Graph
from firmware_export.runner import Runner, blank_states
from firmware_export.tflite_file import FileWriter
from firmware_export.tflite_lowering import lower
from optics_sim.errors import PrivcamError

INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
METADATA = "privcam"


def tflite_bytes(graph: Graph) -> bytes:
    """Returns the graph as a TFLite file. Raises PrivcamError for a graph that cannot run, or without ai-edge-litert."""
    require(graph)
    writer = FileWriter()
    for tensor in graph.tensors:
        writer.add_tensor(tensor)
    for operator in graph.operators:
        lower(writer, graph, operator)
    inputs = [*graph.inputs, *(state.before for state in graph.states)]
    outputs = {**{name: name for name in graph.outputs}, **{f"{state.before}_next": state.after for state in graph.states}}
    note = {"design": graph.design, "graph": graph.digest, "warmup": graph.warmup, "inputs": graph.inputs, "outputs": graph.outputs,
            "states": [state.before for state in graph.states]}
    return writer.pack(signature=f"encode_after_{graph.warmup}", inputs={name: name for name in inputs}, outputs=outputs,
                       description=f"{graph.name}, design {graph.design or 'not given'}",
                       metadata={METADATA: json.dumps(note, sort_keys=True).encode()})


def interpreter_module() -> ModuleType:
    """Returns the module of the TFLite interpreter that is installed. Raises PrivcamError where there is none."""
    for name in INTERPRETERS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise PrivcamError("no TFLite interpreter is installed", allowed=INTERPRETERS, todo="pip install 'privcam[export]'")


class TfliteArtifact(Runner):
    """The file run by TFLite: by its reference kernels, which equal the integer reference, or by the fast path.

    `graph` gives the names and shapes alone; what runs is `data`.
    """

    def __init__(self, graph: Graph, data: bytes | None = None, *, fast: bool = False, threads: int = 1) -> None:
        super().__init__(graph)
        self.files = {f"{graph.name}.tflite": tflite_bytes(graph) if data is None else data}
        module = interpreter_module()
        kind = module.OpResolverType.AUTO if fast else module.OpResolverType.BUILTIN_REF
        (content,) = self.files.values()
        self._interpreter = module.Interpreter(model_content=content, num_threads=threads, experimental_op_resolver_type=kind)
        self._run = self._interpreter.get_signature_runner()
        self.start()

    def start(self) -> None:
        """Forgets every earlier frame."""
        self._states = blank_states(self.graph)

    def step(self, frame: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs for one frame [1, ...] and keeps the states."""
        found = self._run(**frame, **self._states)
        self._states = {name: found[f"{name}_next"] for name in self._states}
        return {name: found[name] for name in self.graph.outputs}

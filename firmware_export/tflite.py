"""A graph as a TFLite file, and the file as a callable artefact.

The bytes are the same for the same graph: nothing of the clock, the machine or the order of a dictionary is in them. Inputs,
outputs and states have signature names; the signature's own name says how many codes are withheld (`encode_after_1`). The
description and the metadata entry `privcam` carry the design's digest and the graph's.
Bit for bit, the reference kernels alone are ours: the fast path rounds once where they round twice.
Deliberately not here: what each operator becomes (`tflite_lowering`), running a file without its graph (`tflite_encoder`).
"""

from __future__ import annotations

from firmware_export.check import require
from firmware_export.graph import Graph
from firmware_export.tflite_encoder import TfliteEncoder
from firmware_export.tflite_file import FileWriter
from firmware_export.tflite_lowering import lower
from firmware_export.tflite_note import METADATA, Note


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
    note = Note(graph.design, graph.digest, graph.warmup, graph.inputs, graph.outputs, tuple(state.before for state in graph.states))
    return writer.pack(signature=f"encode_after_{graph.warmup}", inputs={name: name for name in inputs}, outputs=outputs,
                       description=f"{graph.name}, design {graph.design or 'not given'}",
                       metadata={METADATA: note.as_bytes()})


class TfliteArtifact(TfliteEncoder):
    """The file of a graph, run by TFLite: by its reference kernels, which equal the integer reference, or by the fast path.

    What runs is `data`, which is the graph's own file where it is not given.
    """

    def __init__(self, graph: Graph, data: bytes | None = None, *, fast: bool = False, threads: int = 1) -> None:
        super().__init__(tflite_bytes(graph) if data is None else data, fast=fast, threads=threads, name=f"{graph.name}.tflite")
        self.graph = graph

"""A graph as one file, and back: the integer reference's own bytes.

An NPZ archive: `graph.json` is the graph without its constants, each constant is an array under its tensor's name. The same
graph gives the same bytes. The digest of what was read is compared with the one that was written.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.check import require
from firmware_export.graph import Graph, Operator, State, Tensor
from optics_sim.errors import PrivcamError

SCHEMA = 1
_GRAPH, _NEVER = "graph.json", (1980, 1, 1, 0, 0, 0)  # the first date that an archive can hold


def graph_bytes(graph: Graph) -> bytes:
    """Returns the file of a graph. Raises PrivcamError for a graph that cannot run."""
    require(graph)
    tensors = [{**{name: value for name, value in vars(tensor).items() if name != "data"}, "constant": tensor.data is not None}
               for tensor in graph.tensors]
    plain = {"schema": SCHEMA, "digest": graph.digest, "name": graph.name, "design": graph.design, "warmup": graph.warmup,
             "inputs": graph.inputs, "outputs": graph.outputs, "states": [dataclasses.asdict(state) for state in graph.states],
             "operators": [dataclasses.asdict(operator) for operator in graph.operators], "tensors": tensors}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        _add(archive, _GRAPH, json.dumps(plain, sort_keys=True).encode())
        for tensor in graph.tensors:
            if tensor.data is not None:
                _add(archive, f"{tensor.name}.npy", npy_bytes(tensor.data))
    return stream.getvalue()


def graph_from(data: bytes) -> Graph:
    """Returns the graph of a file. Raises PrivcamError for a file that is not one, is of another version or was changed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            plain = json.loads(archive.read(_GRAPH))
            graph = _graph(plain, archive)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise PrivcamError("this is not the file of an integer network", got=f"{type(error).__name__}: {error}",
                           todo="export the encoder again") from None
    if graph.digest != plain["digest"]:
        raise PrivcamError("this network was changed after it was written", got=graph.digest, allowed=plain["digest"],
                           todo="export the encoder again")
    require(graph)
    return graph


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Returns an array as an NPY file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


# --- helpers --------------------------------------------------------------------------------------
def _graph(plain: dict[str, Any], archive: zipfile.ZipFile) -> Graph:
    if plain["schema"] != SCHEMA:
        raise PrivcamError("this network's file is of another version", got=plain["schema"], allowed=SCHEMA,
                           todo="export the encoder with this version of privcam")
    tensors = [_tensor(dict(entry), archive) for entry in plain["tensors"]]
    operators = [Operator(**_with_tuples(entry)) for entry in plain["operators"]]
    states = [State(**entry) for entry in plain["states"]]
    return Graph(plain["name"], tuple(tensors), tuple(operators), tuple(plain["inputs"]), tuple(plain["outputs"]), tuple(states),
                 plain["warmup"], plain["design"])


def _tensor(entry: dict[str, Any], archive: zipfile.ZipFile) -> Tensor:
    held = entry.pop("constant")
    data = np.load(io.BytesIO(archive.read(f"{entry['name']}.npy")), allow_pickle=False) if held else None
    return Tensor(**_with_tuples(entry), data=data)


def _with_tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: _tuples(value) for name, value in entry.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _NEVER), data)

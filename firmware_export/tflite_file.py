"""The parts of a TFLite file, collected and packed: tensors, operators, signature, metadata.

Written through the object interface of `ai_edge_litert.schema_py_generated`, the file format's own schema.
Reference: TensorFlow Lite schema, version 3.
Deliberately not here: graphs of ours (`tflite`, `tflite_lowering`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.graph import Tensor
from firmware_export.tflite_note import IDENTIFIER
from optics_sim.errors import PrivcamError

OLD_CODES = 127
"""Operator codes up to here are also written in the field that older readers look at."""


def schema() -> Any:
    """Returns the schema's module. Raises PrivcamError where ai-edge-litert is not installed."""
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError as error:
        raise PrivcamError("writing TFLite files needs ai-edge-litert", got=str(error), todo="pip install 'privcam[export]'") from error


class FileWriter:
    """Collects one subgraph. Tensors are named; a name stands for its index in the file."""

    def __init__(self) -> None:
        self.schema = schema()
        self.tensors: list[Any] = []
        self.places: dict[str, int] = {}
        self.operators: list[Any] = []
        self.codes: list[int] = []
        self.buffers: list[bytes] = [b""]

    def add_tensor(self, tensor: Tensor) -> str:
        """Returns the name of a graph's tensor, now in the file with its scales."""
        found = self.schema.TensorT()
        found.shape, found.name = list(tensor.shape), tensor.name
        found.type = getattr(self.schema.TensorType, tensor.dtype.upper())
        found.buffer = 0 if tensor.data is None else self._buffer(tensor.data.tobytes())
        found.quantization = self.schema.QuantizationParametersT()
        found.quantization.scale = list(tensor.scale)
        found.quantization.zeroPoint = [tensor.zero_point] * len(tensor.scale)
        found.quantization.quantizedDimension = tensor.axis
        return self._place(tensor.name, found)

    def add_plain(self, name: str, shape: Sequence[int], dtype: str, data: NDArray[Any] | None = None) -> str:
        """Returns the name of a tensor of plain numbers: an index, a whole-number intermediate."""
        found = self.schema.TensorT()
        found.shape, found.name, found.type = list(shape), name, getattr(self.schema.TensorType, dtype.upper())
        found.buffer = 0 if data is None else self._buffer(np.ascontiguousarray(data).tobytes())
        return self._place(name, found)

    def add_operator(self, code: str, inputs: Sequence[str], output: str, options: str = "", **values: Any) -> str:
        """Returns the output's name, of one operator with its builtin options (`options` is the schema's name for them)."""
        number = getattr(self.schema.BuiltinOperator, code)
        if number not in self.codes:
            self.codes.append(number)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.codes.index(number)
        operator.inputs, operator.outputs = [self.places[name] for name in inputs], [self.places[output]]
        if options:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, f"{options}T")()
            vars(operator.builtinOptions).update(values)
        self.operators.append(operator)
        return output

    def pack(self, *, signature: str, inputs: Mapping[str, str], outputs: Mapping[str, str], description: str,
             metadata: Mapping[str, bytes]) -> bytes:
        """Returns the file; `inputs` and `outputs` are tensors by the name they have in the signature."""
        flatbuffers = importlib.import_module("flatbuffers")
        model = self.schema.ModelT()
        model.version, model.description = 3, description
        model.metadata = [self._metadata(name, data) for name, data in metadata.items()]
        model.operatorCodes = [self._code(number) for number in self.codes]
        model.subgraphs, model.signatureDefs = [self._subgraph(inputs, outputs)], [self._signature(signature, inputs, outputs)]
        model.buffers = [self._buffer_table(data) for data in self.buffers]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _subgraph(self, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Any:
        found = self.schema.SubGraphT()
        found.name, found.tensors, found.operators = "main", self.tensors, self.operators
        found.inputs = [self.places[name] for name in inputs.values()]
        found.outputs = [self.places[name] for name in outputs.values()]
        return found

    def _signature(self, key: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> Any:
        found = self.schema.SignatureDefT()
        found.signatureKey, found.subgraphIndex = key, 0
        found.inputs = [self._map(name, tensor) for name, tensor in inputs.items()]
        found.outputs = [self._map(name, tensor) for name, tensor in outputs.items()]
        return found

    def _map(self, name: str, tensor: str) -> Any:
        found = self.schema.TensorMapT()
        found.name, found.tensorIndex = name, self.places[tensor]
        return found

    def _metadata(self, name: str, data: bytes) -> Any:
        found = self.schema.MetadataT()
        found.name, found.buffer = name, self._buffer(data)
        return found

    def _code(self, number: int) -> Any:
        found = self.schema.OperatorCodeT()
        found.builtinCode, found.deprecatedBuiltinCode, found.version = number, min(number, OLD_CODES), 1
        return found

    def _buffer_table(self, data: bytes) -> Any:
        found = self.schema.BufferT()
        found.data = np.frombuffer(data, np.uint8) if data else None
        return found

    def _buffer(self, data: bytes) -> int:
        self.buffers.append(data)
        return len(self.buffers) - 1

    def _place(self, name: str, tensor: Any) -> str:
        if name in self.places:
            raise PrivcamError("two tensors of the file have one name", got=name, todo="name the graph's tensors otherwise")
        self.places[name] = len(self.tensors)
        self.tensors.append(tensor)
        return name

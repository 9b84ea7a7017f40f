"""TFLite-Micro's interpreter as an artefact, for tests alone."""

from __future__ import annotations

import importlib

import numpy as np

from firmware_export.graph import DTYPES
from firmware_export.runner import Runner
from firmware_export.tflite import tflite_bytes

ARENA_BYTES = 16_000_000


class MicroArtifact(Runner):
    """A graph's TFLite file run by tflite-micro; inputs and outputs lie in the file's order."""

    def __init__(self, graph):
        super().__init__(graph)
        self.files = {f"{graph.name}.tflite": tflite_bytes(graph)}
        runtime = importlib.import_module("tflite_micro").runtime
        self._interpreter = runtime.Interpreter.from_bytes(next(iter(self.files.values())), arena_size=ARENA_BYTES)
        self.start()

    def start(self):
        before = [self.graph[state.before] for state in self.graph.states]
        self._states = [np.full(tensor.shape, tensor.zero_point, DTYPES[tensor.dtype]) for tensor in before]

    def step(self, frame):
        for index, array in enumerate([*(frame[name] for name in self.graph.inputs), *self._states]):
            self._interpreter.set_input(array, index)
        self._interpreter.invoke()
        outputs = len(self.graph.outputs)
        self._states = [self._interpreter.get_output(outputs + index) for index in range(len(self._states))]
        return {name: self._interpreter.get_output(index).astype(np.int8) for index, name in enumerate(self.graph.outputs)}

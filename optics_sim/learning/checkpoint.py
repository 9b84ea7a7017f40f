"""Training state on disk: tensors in safetensors, the rest as JSON in its header, written atomically; no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from optics_sim.design import write_atomically


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes nested dicts and lists of tensors and JSON values as one file."""
    tensors: dict[str, Tensor] = {}
    plain = _strip(state, "", tensors)
    write_atomically(path, to_bytes(tensors, metadata={"plain": json.dumps(plain)}))


def load(path: Path) -> dict[str, Any]:
    """Returns the state written by `save`, tensors on the CPU."""
    with safe_open(path, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
        plain = json.loads(stream.metadata()["plain"])
    return _fill(plain, tensors)


def _strip(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"$tensor": path}
    if isinstance(value, dict):
        return {"$dict": [[key, _strip(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_strip(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]
    return value


def _fill(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if "$tensor" in value:
            return tensors[value["$tensor"]]
        return {key: _fill(item, tensors) for key, item in value["$dict"]}
    if isinstance(value, list):
        return [_fill(item, tensors) for item in value]
    return value


def generator_state(generator: torch.Generator) -> Tensor:
    """Returns a generator's state as a tensor that `save` can write."""
    return generator.get_state()

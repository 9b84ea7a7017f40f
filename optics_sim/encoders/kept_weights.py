"""What encoders with many weights have in common: they are drawn from a seed, or read from a file that the design names."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Self, cast

import torch
from safetensors.torch import load, save
from torch import nn

from optics_sim.design import write_atomically
from optics_sim.encoding import DegraderEncoder, ObfuscatorEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.recognisers import initialise
from optics_sim.learning.seeds import torch_generator

NetworkEncoder = DegraderEncoder | ObfuscatorEncoder


class KeptWeights(nn.Module):
    """An encoder whose weights are in a file; `spec` is the design's table that names it. Makers call `start` last."""

    spec: Any

    def __init__(self, spec: NetworkEncoder) -> None:
        super().__init__()
        self.spec = spec

    def start(self, stream: str) -> None:
        """Reads the weights from the spec's file, or draws them from its seed where there is none."""
        if self.spec.file is None:
            initialise(self, torch_generator(self.spec.seed, stream))
        else:
            self.load_state_dict(load(self.spec.file.read()))

    def save(self, file: Path) -> NetworkEncoder:
        """Writes the weights and returns (and keeps) the spec that names them; saving a design takes them along."""
        data = save({name: value.detach().contiguous() for name, value in self.state_dict().items()})
        write_atomically(file, data)
        self.spec = self.spec.model_copy(update={"weights": str(file), "sha256": hashlib.sha256(data).hexdigest()})
        return cast(NetworkEncoder, self.spec)

    def to_spec(self) -> NetworkEncoder:
        """Returns the spec; PrivcamError when the weights are no longer those that it names."""
        if not self._same_as(type(self)(self.spec)):
            raise PrivcamError(f"the {self.spec.kind}'s weights are in no file", got=self.spec.weights or "weights of a seed",
                               todo="call save(file) first")
        return cast(NetworkEncoder, self.spec)

    def _same_as(self, named: Self) -> bool:
        theirs = named.state_dict()
        return all(torch.equal(value.to("cpu"), theirs[name]) for name, value in self.state_dict().items())

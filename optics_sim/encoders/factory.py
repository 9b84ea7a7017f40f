"""From an encoder's plain data to its module: the one place that chooses by `kind`."""

from __future__ import annotations

from typing import Protocol, assert_never, cast

import torch
from torch import Tensor, nn

from optics_sim.encoders.baselines import Blur, LowResolution, MotionNoise, Noise, Pixelate, Readout
from optics_sim.encoders.bdq import Bdq
from optics_sim.encoders.degrader import Degrader
from optics_sim.encoders.obfuscator import Obfuscator
from optics_sim.encoding import (
    BdqEncoder,
    BlurEncoder,
    DegraderEncoder,
    Encoder,
    LowResolutionEncoder,
    MotionNoiseEncoder,
    NoiseEncoder,
    ObfuscatorEncoder,
    PixelateEncoder,
    ReadoutEncoder,
)


class LearnableEncoder(Protocol):
    """An encoder that training changes: it gives itself back as plain data."""

    def to_spec(self) -> Encoder:
        """Returns the encoder as a design's `encoder` table."""
        ...


def encoder_module(spec: Encoder) -> nn.Module:
    """Returns the module of an encoder, called as `module(codes [n, T, h, w], generator=None, hard=True)`."""
    match spec:
        case ReadoutEncoder():
            return Readout(spec)
        case BdqEncoder():
            return Bdq(spec)
        case LowResolutionEncoder():
            return LowResolution(spec)
        case BlurEncoder():
            return Blur(spec)
        case PixelateEncoder():
            return Pixelate(spec)
        case NoiseEncoder():
            return Noise(spec)
        case MotionNoiseEncoder():
            return MotionNoise(spec)
        case DegraderEncoder():
            return Degrader(spec)
        case ObfuscatorEncoder():
            return Obfuscator(spec)
    assert_never(spec)


def encode(encoder: nn.Module, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
    """Returns an encoder's codes of readout codes [n, T, h, w]."""
    return cast(Tensor, encoder(codes, generator=generator, hard=hard))

"""What the camera computes after its readout, as plain data: BDQ and the encoders it is compared with.

Deliberately not here: torch (the modules are in `optics_sim.encoders`, made by `encoder_module`), and exposure codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from optics_sim.named_file import SHA256_MEANING, NamedFile
from optics_sim.plain import Plain

MIN_GAP_CODES = 2.0
"""Two thresholds are at least two steps of the 8-bit input apart: fixed-point rounding cannot skip a level."""
GAP_TOLERANCE_CODES = 1e-6  # what a learned threshold loses on its way through a sum of floats
FULL_RANGE = (-255.0, 255.0)  # no difference of two 8-bit frames leaves it


def even_thresholds(input_range: Sequence[float], levels: int) -> tuple[float, ...]:
    """Returns the levels - 1 evenly spaced thresholds 0.5, 1.5, ... of a range scaled to 0..levels - 1, in code levels."""
    low, high = input_range
    return tuple(low + (index + 0.5) * (high - low) / (levels - 1) for index in range(levels - 1))


class ReadoutEncoder(Plain):
    """No encoder after the readout: the code is the binned 8-bit measurement."""

    kind: Literal["readout"] = "readout"


class BdqEncoder(Plain):
    """Blur, difference of consecutive frames, quantisation (Kumawat and Nagahara, ECCV 2022); each can be left out.

    With the difference, T frames give T - 1 codes. `thresholds` may be left out: they are then evenly spaced.
    """

    kind: Literal["bdq"] = "bdq"
    blur: bool = Field(True, description="blur each frame by a Gaussian first")
    difference: bool = Field(True, description="of each blurred frame and the one before")
    quantise: bool = Field(True, description="to the number of thresholds below the value, 0 to levels - 1")
    sigma_px: float = Field(1.0, gt=0, description="of the Gaussian, in code pixels")
    kernel_px: int = Field(5, ge=1, le=31, description="side of the Gaussian's window, odd")
    levels: int = Field(16, ge=2, le=16, description="of the code; 16 is 4 bit")
    input_range: tuple[float, float] = Field(
        FULL_RANGE, description="(low, high) in code levels: what the soft quantiser scales to 0..levels - 1"
    )
    thresholds: tuple[float, ...] = Field((), description="levels - 1 ascending numbers in code levels, at least 2 apart")
    hardness: float = Field(5.0, gt=0, le=8, description="slope of the soft quantiser's sigmoids on that scale")

    @model_validator(mode="before")
    @classmethod
    def _evenly_spaced(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("thresholds"):
            return data
        try:
            even = even_thresholds(data.get("input_range", FULL_RANGE), data.get("levels", 16))
        except (TypeError, ValueError, ZeroDivisionError):
            return data  # the fields' own checks say what is wrong
        return {**data, "thresholds": even}

    @model_validator(mode="after")
    def _is_realisable(self) -> BdqEncoder:
        if self.kernel_px % 2 == 0:
            raise ValueError("kernel_px must be odd")
        if self.input_range[0] >= self.input_range[1]:
            raise ValueError("input_range must be (low, high) with low below high")
        if len(self.thresholds) != self.levels - 1:
            raise ValueError(f"{self.levels} levels need {self.levels - 1} thresholds, not {len(self.thresholds)}")
        if any(above - below < MIN_GAP_CODES - GAP_TOLERANCE_CODES for below, above in pairwise(self.thresholds)):
            raise ValueError(f"thresholds must ascend by at least {MIN_GAP_CODES} code levels; widen input_range")
        return self


class LowResolutionEncoder(Plain):
    """The mean of square blocks, at the small size (extreme low resolution: Ryoo et al., AAAI 2017)."""

    kind: Literal["low_resolution"] = "low_resolution"
    factor: int = Field(ge=1, description="code pixels a side in one block; rows and columns that fill none are dropped")


class BlurEncoder(Plain):
    """A Gaussian blur of each frame, its window cut at three sigma."""

    kind: Literal["blur"] = "blur"
    sigma_px: float = Field(gt=0, le=64, description="of the Gaussian, in code pixels")


class PixelateEncoder(Plain):
    """The mean of square blocks, at the full size; blocks at the lower and right border may be cut."""

    kind: Literal["pixelate"] = "pixelate"
    block_px: int = Field(ge=1, description="side of a block in code pixels")


class NoiseEncoder(Plain):
    """Independent Gaussian noise on every pixel of every frame."""

    kind: Literal["noise"] = "noise"
    sigma: float = Field(ge=0, description="standard deviation in code levels")
    seed: int = Field(0, description="draws the noise where no generator is given: then the same in every clip")


class MotionNoiseEncoder(Plain):
    """A noise texture moved by the clip's optical flow: motion without appearance (after Ilic et al., CVPR 2024)."""

    kind: Literal["motion_noise"] = "motion_noise"
    seed: int = Field(0, description="draws the texture where no generator is given: then the same in every clip")
    window_px: float = Field(1.5, gt=0, description="sigma of the Gaussian window of the flow's least squares")
    pyramid: int = Field(3, ge=1, le=6, description="scales of the flow, each half as large")
    iterations: int = Field(3, ge=1, le=20, description="of the flow at each scale")


class NetworkWeights(Plain):
    """Weights of a network that is part of an encoder: in a file, or drawn from a seed."""

    weights: str = Field("", description="safetensors file, from the design's folder; none: weights drawn from `seed`")
    sha256: str = Field("", description=SHA256_MEANING)
    seed: int = Field(0, description="draws the weights where there is no file")

    @property
    def file(self) -> NamedFile | None:
        """The file of weights, where there is one."""
        return NamedFile("encoder.weights", self.weights, self.sha256) if self.weights else None


class DegraderEncoder(NetworkWeights):
    """A small residual network on each frame, quantised (after Wu et al., TPAMI 2020, whose network is larger)."""

    kind: Literal["degrader"] = "degrader"
    width: int = Field(8, ge=1, description="channels of the first layer; 32 with 5 blocks is Johnson's network")
    blocks: int = Field(2, ge=0, description="residual blocks")
    levels: int = Field(16, ge=2, le=256, description="of the code, 0 to levels - 1")


class ObfuscatorEncoder(NetworkWeights):
    """A MobileNet-style autoencoder on each frame, small enough for a microcontroller (after De Coninck et al., 2021)."""

    kind: Literal["obfuscator"] = "obfuscator"
    width: int = Field(16, ge=2, multiple_of=2, description="channels of the first layer; 16 has 0.15 M parameters")
    code_channels: int = Field(8, ge=1, description="channels at the narrowest place, an eighth of the size each way")


Encoder = Annotated[
    ReadoutEncoder | BdqEncoder | LowResolutionEncoder | BlurEncoder | PixelateEncoder | NoiseEncoder | MotionNoiseEncoder
    | DegraderEncoder | ObfuscatorEncoder,
    Field(discriminator="kind"),
]

"""The forward model: everything light does, then what the camera computes, as one module.

`forward` never changes state and never looks at the rest of the batch. Randomness is an argument.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optics_sim.design import CameraDesign, Convolution, DefocusOptics, LenslessOptics, RowsPattern
from optics_sim.encoders.factory import LearnableEncoder, encode, encoder_module
from optics_sim.errors import PrivcamError
from optics_sim.optics.convolution import convolve
from optics_sim.optics.mask import LearnableMask
from optics_sim.optics.patterns import transmission
from optics_sim.optics.psf import design_psf, lensless_psf
from optics_sim.sensor.coded import CodedExposure
from optics_sim.sensor.learned_coding import LearnableCoding
from optics_sim.sensor.model import SensorModel

WAVE_MARGIN = 2  # code pixels added on each side of a PSF for diffracted light


class PrivacyCamera(nn.Module):
    """A camera made of a design: scene in, int8 code out, differentiable down to the mask.

    `mask`, `encoder` and `coding` are parts that learn, each in place of the design's own: a mask, an encoder with
    `to_spec`, an exposure code. A fixed PSF is computed once. A design with an exposure code makes one image of each clip.
    """

    _fixed_psf: Tensor

    def __init__(self, design: CameraDesign, mask: LearnableMask | None = None, encoder: nn.Module | None = None,
                 coding: LearnableCoding | None = None) -> None:
        super().__init__()
        if mask is not None and not isinstance(design.optics, LenslessOptics):
            raise PrivcamError("only lensless optics have a learnable mask", got=design.optics.kind, allowed="lensless",
                               todo="set optics.kind = \"lensless\"")
        if coding is not None and design.coding is None:
            raise PrivcamError("a learnable code needs a coded design", got=None, allowed="a design with `coding`",
                               todo="set design.coding to coding.to_coding()")
        self.design = design
        self.mask = mask
        self.coded = None if design.coding is None else CodedExposure(
            design.coding, design.sensor, design.exposure, design.readout, coding)
        self.sensor = SensorModel(design.sensor, design.exposure, design.readout)
        self.encoder = encoder_module(design.encoder).requires_grad_(False) if encoder is None else encoder
        self._encoder_learns = encoder is not None
        self.register_buffer("_fixed_psf", None if mask is not None else _psf(design))

    @classmethod
    def from_design(cls, design: CameraDesign) -> PrivacyCamera:
        """Returns the camera of a finished design."""
        return cls(design)

    def to_design(self, name: str | None = None) -> CameraDesign:
        """Returns this camera's design: itself when nothing was learned, else what was (pattern, encoder, code) and its parent."""
        changes: dict[str, object] = {}
        if self.mask is not None:
            changes["optics.pattern"] = self.mask.to_pattern().model_dump()
        if self._encoder_learns:
            changes["encoder"] = cast(LearnableEncoder, self.encoder).to_spec().model_dump()
        if self.coded is not None and self.coded.learned is not None:
            changes["coding"] = self.coded.learned.to_coding().model_dump()
        if not changes:
            return self.design
        return self.design.replace(**changes, **({"name": name} if name else {}))

    def transmission(self) -> Tensor | None:
        """Returns the mask's transmission [row, column], or None for a camera that has no mask."""
        if self.mask is not None:
            return cast(Tensor, self.mask())
        if not isinstance(self.design.optics, LenslessOptics):
            return None
        optics = self.design.optics
        return torch.as_tensor(transmission(optics.pattern, optics.cells, optics.cell_m), device=self._fixed_psf.device)

    def psf(self, propagation: str | None = None) -> Tensor:
        """Returns the point-spread function [h, w] on the code-pixel grid; its sum is the light let through.

        `propagation` overrules the design's ("wave" or "geometric").
        """
        if self.mask is not None:
            optics = cast(LenslessOptics, self.design.optics)
            kind = propagation or optics.propagation
            return lensless_psf(self.mask(), optics, self.design.code_pitch_m, propagation=kind, margin=_margin(kind))
        if propagation is not None:
            return _psf(self.design, propagation).to(self._fixed_psf.device)
        return self._fixed_psf

    def relative_irradiance(self, scene: Tensor, psf: Tensor | None = None) -> Tensor:
        """Returns the light on each code pixel [..., h, w] relative to a white field through an open aperture."""
        if tuple(scene.shape[-2:]) != tuple(self.design.scene):
            raise PrivcamError("the scene has the wrong size", got=tuple(scene.shape[-2:]), allowed=self.design.scene,
                               todo="resize the scene or set `scene` in the design")
        return image_through(scene, self.psf() if psf is None else psf, self.design)

    def capture(self, scene: Tensor, *, generator: torch.Generator, psf: Tensor | None = None,
                photons_scale: Tensor | float = 1.0) -> Tensor:
        """Returns the binned sensor values [..., h, w] in DN above black level: all that light does.

        `scene` [..., H, W] is linear radiance relative to white. `photons_scale` multiplies the exposure. With a
        `coding` in the design the scene is a clip [..., slots, H, W] and the values are of its one coded image.
        """
        photons = self.relative_irradiance(scene, psf) * self.design.exposure.white_photons_per_px_s * photons_scale
        if self.coded is not None:
            return self.coded.binned(photons, generator=generator)
        return self.sensor.binned(photons, generator=generator)

    def forward(self, scene: Tensor, *, generator: torch.Generator, psf: Tensor | None = None,
                photons_scale: Tensor | float = 1.0, hard: bool = True) -> Tensor:
        """Returns the encoder's code; for the readout alone [..., h, w]: floats on the int8 grid, straight-through gradient.

        An encoder takes clips, scene [..., T, H, W]. `hard` codes are what the camera sends, soft ones (`hard=False`) are
        for training the encoder.
        """
        codes = self.sensor.code(self.capture(scene, generator=generator, psf=psf, photons_scale=photons_scale))
        return encode(self.encoder, codes, generator=generator, hard=hard)


def image_through(scene: Tensor, psf: Tensor, design: CameraDesign) -> Tensor:
    """Returns scene (*) psf on the code-pixel grid of a design; light from outside the field has `surround` radiance."""
    optics = design.optics
    mode, surround = mode_and_surround(design)
    margin = (psf.shape[-1] - optics.cells[1]) // 2 if isinstance(optics, LenslessOptics) and mode == "valid" else 0
    if isinstance(optics, LenslessOptics) and psf.shape[-2] - optics.cells[0] < 0:
        raise PrivcamError("the PSF is smaller than the mask", got=tuple(psf.shape), allowed=f"at least {optics.cells}",
                           todo="make the mask cell as large as a code pixel divided by 1 + d/D")
    if margin:
        scene = F.pad(scene, (margin,) * 4, value=surround)
    elif surround and mode not in ("same", "valid"):
        raise PrivcamError("light from outside the field needs a field with edges", got=f"surround {surround} with {mode} convolution",
                           allowed="convolution valid or same, or surround 0", todo="change one of the two")
    elif mode == "same" and surround:
        return convolve(scene - surround, psf, mode) + surround * psf.sum()
    return convolve(scene, psf, mode)


def mode_and_surround(design: CameraDesign) -> tuple[Convolution, float]:
    """Returns the convolution mode of a design and the radiance outside its field."""
    if isinstance(design.optics, LenslessOptics | DefocusOptics):
        return design.optics.convolution, design.optics.surround
    return "same", 0.0


def _margin(propagation: str) -> int:
    return WAVE_MARGIN if propagation == "wave" else 0


def _psf(design: CameraDesign, propagation: str | None = None) -> Tensor:
    if not isinstance(design.optics, LenslessOptics):
        return design_psf(design)
    optics = design.optics
    kind = propagation or optics.propagation
    open_cells = torch.as_tensor(transmission(optics.pattern, optics.cells, optics.cell_m))
    return lensless_psf(open_cells, optics, design.code_pitch_m, propagation=kind, margin=_margin(kind)).detach()


def pattern_of(array: Tensor) -> RowsPattern:
    """Returns the design-file pattern of a binary transmission tensor [row, column]."""
    return RowsPattern.from_array(array.detach().cpu().numpy())

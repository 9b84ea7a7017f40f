"""Linear inversion of a design's codes with a PSF the attacker believes in (the right one, or not quite)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from optics_sim.attacks import linear
from optics_sim.camera import PrivacyCamera, image_through, mode_and_surround
from optics_sim.design import CameraDesign, LenslessOptics, RowsPattern
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Judging, Training
from optics_sim.sensor.model import SensorModel
from optics_sim.sensor.planning import quantum_efficiencies

FAINT_E = 50.0  # electrons at which the sensor's linear response is read off


def methods(judging: Judging) -> dict[str, Callable[..., Tensor]]:
    """Returns the inversion methods by name, each f(light, psf, scene_shape, mode) -> scenes."""
    return {
        "wiener": linear.wiener,
        "tikhonov": linear.tikhonov,
        "fista": partial(linear.fista, iterations=judging.fista_iterations),
        "admm_tv": partial(linear.admm_tv, iterations=judging.admm_iterations),
    }


def relative_light(codes: Tensor, design: CameraDesign) -> Tensor:
    """Returns the relative irradiance that a code stands for: the readout's arithmetic undone with known constants."""
    sensor = SensorModel(design.sensor, design.exposure, design.readout)
    white = design.exposure.white_photons_per_px_s
    faint = FAINT_E / (sum(quantum_efficiencies(design.sensor)) / 3 * design.exposure.exposure_s)  # photons/px/s, far from full
    levels = [sensor.binned_moments(torch.full((1, *design.readout.shape), light))[0].mean() for light in (0.0, faint)]
    unit = (levels[1] - levels[0]) / faint * white
    return ((codes + 128.0) * 2.0**design.readout.shift - float(levels[0])) / float(unit)


@dataclass(frozen=True)
class Inverter:
    """A linear attacker: the design's geometry and constants, and the PSF it believes in."""

    design: CameraDesign
    psf: Tensor
    judging: Judging
    training: Training = field(default_factory=Training)

    def run(self, method: str, codes: Tensor) -> Tensor:
        """Returns scenes [n, H, W] in 0..1 recovered from codes [n, h, w]. Raises PrivcamError for an unknown method."""
        return self.invert(method, relative_light(codes, self.design))

    def invert(self, method: str, light: Tensor) -> Tensor:
        """Returns scenes [n, H, W] in 0..1 recovered from relative irradiance [n, h, w]; errors as `run`."""
        table = methods(self.judging)
        if method not in table:
            raise PrivcamError("unknown inversion", got=method, allowed=sorted(table), todo="choose one of these")
        height, width = self.design.scene
        if float(self.psf.sum()) == 0.0:  # a capped camera: nothing to invert, show what there is
            return F.interpolate(light[:, None], (height, width), mode="bilinear")[:, 0].clamp(0, 1)
        mode, surround = mode_and_surround(self.design)
        if surround:  # what a black scene would measure is light from outside alone; what is left is radiance >= 0
            light = light - image_through(light.new_zeros(height, width), self.psf, self.design)
        margin = self._margin()
        scenes = table[method](light, self.psf, (height + 2 * margin, width + 2 * margin), mode)
        return scenes[..., margin:margin + height, margin:margin + width].clamp(0, 1)

    def believing(self, pattern: RowsPattern) -> Inverter:
        """Returns the same attacker with another mask in mind, as bright as the true one (brightness can be seen)."""
        wrong = PrivacyCamera.from_design(self.design.replace(**{"optics.pattern": pattern.model_dump()}))
        psf = wrong.psf().to(self.psf.device)
        return replace(self, psf=psf * (self.psf.sum() / psf.sum()))

    def _margin(self) -> int:
        optics = self.design.optics
        if not isinstance(optics, LenslessOptics) or optics.convolution != "valid":
            return 0
        return (self.psf.shape[-1] - optics.cells[1]) // 2

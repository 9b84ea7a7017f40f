"""The steps from an author's design to a trained one: start, learn the mask, set the exposure, train the recogniser."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from optics_sim.camera import PrivacyCamera
from optics_sim.design import (
    BlackOptics,
    CameraDesign,
    Exposure,
    IdentityOptics,
    LenslessOptics,
    OpenPattern,
    Pattern,
    Readout,
)
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Adapting, Experiment, Training
from optics_sim.learning.recognisers import Recogniser, recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import Labelled, OnEpoch, Trainer, train
from optics_sim.optics.convolution import output_shape
from optics_sim.optics.mask import LearnableMask
from optics_sim.optics.patterns import default_lensless
from optics_sim.sensor import presets
from optics_sim.sensor.planning import dark_sigma_dn, fitting_shift, quarter_well_exposure_s

BIN = 40  # raw pixels per code pixel, each way: 62 um on an IMX477
MASK_TO_SENSOR_M = 3e-3
SCENE_TO_MASK_M = 0.4
WHITE_PHOTONS_PER_PX_S = 4e5  # assumed: 300 lux on a white scene, open 2 mm aperture at 3 mm, 1.55 um pixel, 550 nm
BRIGHT_QUANTILE = 0.999  # of the code pixels must fit into 8 bits
BLACK_NOISE_LEVELS = 8  # code levels that the noise of the black control spans
Regime = Literal["quarter_well", "common"]


def start_design(pattern: Pattern, scene: tuple[int, int] = (63, 63), cells: tuple[int, int] = (32, 32), *,
                 sensor: str = "imx477", bin_px: int = BIN, name: str = "lensless") -> CameraDesign:
    """Returns a lensless design at the default scale: the valid convolution of a scene with a mask on a real sensor.

    Raises PrivcamError when the sensor is too small for the code.
    """
    chosen = presets.load(sensor)
    code = output_shape(scene, cells, "valid")
    return CameraDesign(
        name=name, scene=scene, sensor=chosen,
        optics=default_lensless(pattern, cells, chosen.pixel_pitch_m * bin_px, MASK_TO_SENSOR_M, SCENE_TO_MASK_M),
        exposure=Exposure(exposure_s=0.01, white_photons_per_px_s=WHITE_PHOTONS_PER_PX_S),
        readout=centred_readout(code, chosen.shape, bin_px, chosen.black_level_dn))


def control_design(kind: Literal["identity", "black"], like: CameraDesign) -> CameraDesign:
    """Returns the control camera of a kind: the code is the scene (noise-free), or nothing but a capped sensor."""
    sensor = presets.load("ideal") if kind == "identity" else like.sensor
    optics = IdentityOptics() if kind == "identity" else BlackOptics()
    readout = centred_readout(like.scene, sensor.shape, 1 if kind == "identity" else _fitting_bin(like), sensor.black_level_dn)
    shift = max(0, sensor.bit_depth - 8) if kind == "identity" else _noise_shift(like, readout)
    return CameraDesign(name=kind, scene=like.scene, optics=optics, sensor=sensor, exposure=like.exposure,
                        readout=readout.model_copy(update={"shift": shift}))


def _noise_shift(like: CameraDesign, readout: Readout) -> int:
    """Returns the shift at which a capped sensor's noise spans several code levels: its codes are noise, not a constant."""
    pixels = readout.bin[0] * readout.bin[1]
    sigma_dn = dark_sigma_dn(like.sensor, like.exposure.analogue_gain, like.exposure.exposure_s) * pixels**0.5
    return max(0, int(math.log2(max(sigma_dn / BLACK_NOISE_LEVELS, 1.0))))


def _fitting_bin(like: CameraDesign) -> int:
    return min(like.sensor.shape[0] // like.scene[0], like.sensor.shape[1] // like.scene[1], like.readout.bin[0])


def centred_readout(code: tuple[int, int], sensor_shape: tuple[int, int], bin_px: int, black_level_dn: float) -> Readout:
    """Returns the readout of the middle of a sensor, on even rows and columns; PrivcamError when the code does not fit."""
    height, width = code[0] * bin_px, code[1] * bin_px
    if height > sensor_shape[0] or width > sensor_shape[1]:
        raise PrivcamError("the code does not fit on the sensor", got=f"{code} code pixels of {bin_px} raw pixels",
                           allowed=f"at most {sensor_shape} raw pixels", todo="use fewer code pixels or a smaller bin")
    top, left = (sensor_shape[0] - height) // 2 // 2 * 2, (sensor_shape[1] - width) // 2 // 2 * 2
    return Readout(crop=(top, left, height, width), bin=(bin_px, bin_px), black_level_dn=round(black_level_dn), shift=14)


def exposed(design: CameraDesign, scenes: Tensor, regime: Regime = "quarter_well") -> CameraDesign:
    """Returns the design with its exposure and readout shift set on training scenes [n, H, W], or clips [n, T, H, W].

    `quarter_well`: the mean code pixel fills a quarter of the well. `common`: the exposure at which the *open* mask
    would do so, whatever this one lets through. The shift is the smallest that keeps 99.9 % of code pixels in 8 bits.
    An exposure code does not lengthen the exposure: its closed slots cost their light.
    """
    reference = design
    if regime == "common" and isinstance(design.optics, LenslessOptics):
        reference = design.replace(**{"optics.pattern": OpenPattern().model_dump()})
    camera = PrivacyCamera.from_design(reference).to(scenes.device)
    light = camera.relative_irradiance(scenes.flatten(0, -3).mean(0)).mean() * design.exposure.white_photons_per_px_s
    if light <= 0:
        return design  # a capped camera: nothing to expose for
    exposure_s = quarter_well_exposure_s(design.sensor, float(light), analogue_gain=design.exposure.analogue_gain)
    timed = design.replace(**{"exposure.exposure_s": exposure_s, "parent": design.parent})
    return timed.replace(**{"readout.shift": _shift(timed, scenes), "parent": design.parent})


def _shift(design: CameraDesign, scenes: Tensor) -> int:
    camera = PrivacyCamera.from_design(design).to(scenes.device)
    photons = camera.relative_irradiance(scenes[:512]) * design.exposure.white_photons_per_px_s
    sums = camera.sensor.binned_moments(photons)[0] if camera.coded is None else camera.coded.moments(photons)[0]
    return fitting_shift(float(torch.quantile(sums.flatten()[:2**23], BRIGHT_QUANTILE)))


def learn_mask(design: CameraDesign, data: Labelled, experiment: Experiment, *, checkpoint: Path | None = None,
               on_epoch: OnEpoch | None = None) -> tuple[CameraDesign, Recogniser]:
    """Returns the design with a learned mask, and the recogniser that grew up with it."""
    plan = experiment.training
    optics = design.optics
    if not isinstance(optics, LenslessOptics):
        raise PrivcamError("only lensless optics have a mask to learn", got=optics.kind, allowed="lensless",
                           todo="train the recogniser alone")
    generator = torch_generator(experiment.seed, "mask", device=data.scenes.device)
    start = torch_generator(experiment.seed, "mask-start")
    mask = LearnableMask.sparse(optics.cells, plan.mask.start_open_fraction, start,
                                min_feature_cells=plan.mask.min_feature_cells, open_max=plan.mask.max_open_fraction)
    opened = exposed(design.replace(**{"optics.pattern": OpenPattern().model_dump(), "parent": design.parent}), data.scenes)
    camera = PrivacyCamera(opened, mask).to(data.scenes.device)
    network = _fresh(plan, data, experiment.seed, "mask")
    train(Trainer(camera, network, data, plan, generator), checkpoint=checkpoint, on_epoch=on_epoch)
    return camera.to_design(design.name).replace(parent=design.digest), network


def train_recogniser(design: CameraDesign, data: Labelled, experiment: Experiment, *, checkpoint: Path | None = None,
                     on_epoch: OnEpoch | None = None) -> Recogniser:
    """Returns a fresh recogniser trained on the codes of a finished design."""
    plan = experiment.training.model_copy(update={"constraint": "none"})
    generator = torch_generator(experiment.seed, "recogniser", device=data.scenes.device)
    network = _fresh(plan, data, experiment.seed, "recogniser")
    camera = PrivacyCamera.from_design(design).to(data.scenes.device)
    train(Trainer(camera, network, data, plan, generator), checkpoint=checkpoint, on_epoch=on_epoch)
    return network.eval()


def adapt_recogniser(design: CameraDesign, network: Recogniser, data: Labelled, experiment: Experiment, adapting: Adapting, *,
                     checkpoint: Path | None = None, on_epoch: OnEpoch | None = None) -> Recogniser:
    """Returns a trained recogniser, trained on with the codes of another design: the camera as it was really built.

    `network` itself is not changed. Its input constants are measured anew.
    """
    plan = experiment.training.model_copy(
        update={"constraint": "none", "epochs": adapting.epochs, "learning_rate": adapting.learning_rate})
    generator = torch_generator(experiment.seed, "adapt", device=data.scenes.device)
    adapted = copy.deepcopy(network).to(data.scenes.device)
    camera = PrivacyCamera.from_design(design).to(data.scenes.device)
    train(Trainer(camera, adapted, data, plan, generator), checkpoint=checkpoint, on_epoch=on_epoch)
    return adapted.eval()


def _fresh(plan: Training, data: Labelled, seed: int, stage: str) -> Recogniser:
    classes = int(data.labels.max()) + 1
    network = recogniser(plan.recogniser, classes, torch_generator(seed, stage, "weights"))
    return network.to(data.scenes.device)

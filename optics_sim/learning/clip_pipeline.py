"""The steps from an author's camera for clips to a finished one: lens, exposure, encoder."""

from __future__ import annotations

from pathlib import Path

from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.design import CameraDesign, DefocusOptics, Exposure
from optics_sim.encoders.bdq import Bdq
from optics_sim.encoders.factory import encoder_module
from optics_sim.encoders.kept_weights import KeptWeights
from optics_sim.encoders.obfuscator import Obfuscator
from optics_sim.encoding import Encoder
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.learning.clips import encoder_game, picture_game, readout_codes
from optics_sim.learning.pipeline import WHITE_PHOTONS_PER_PX_S, centred_readout, exposed
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import OnEpoch, train
from optics_sim.sensor import presets

STILL_SHARE = 0.25
"""Of the epochs: while an encoder with a network of its own stays the picture that it begins as, and the others learn."""
FOCAL_LENGTH_M, APERTURE_M, SCENE_TO_LENS_M = 6e-3, 2e-3, 3.0


def clip_design(scene: tuple[int, int], encoder: Encoder, *, sensor: str = "imx477", name: str = "clips") -> CameraDesign:
    """Returns a camera with a lens in focus, whose code pixels are as many raw pixels as fit on the sensor."""
    chosen = presets.load(sensor)
    bin_px = min(chosen.shape[0] // scene[0], chosen.shape[1] // scene[1]) // 2 * 2
    optics = DefocusOptics(focal_length_m=FOCAL_LENGTH_M, aperture_m=APERTURE_M, scene_to_lens_m=SCENE_TO_LENS_M,
                           lens_to_sensor_m=1 / (1 / FOCAL_LENGTH_M - 1 / SCENE_TO_LENS_M))
    return CameraDesign(name=name, scene=scene, optics=optics, sensor=chosen, encoder=encoder,
                        exposure=Exposure(exposure_s=0.01, white_photons_per_px_s=WHITE_PHOTONS_PER_PX_S),
                        readout=centred_readout(scene, chosen.shape, bin_px, chosen.black_level_dn))


def exposed_for(design: CameraDesign, cohort: ClipCohort) -> CameraDesign:
    """Returns the design with exposure and shift set on single frames of the training clips."""
    return exposed(design, cohort.train.values[:, :: max(1, cohort.train.values.shape[1] // 4)].flatten(0, 1))


def learned_encoder(design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, folder: Path, *,
                    on_epoch: OnEpoch | None = None) -> CameraDesign:
    """Returns the design with its encoder trained against the adversary; its parent is the design it began as.

    The design is kept in `folder` (with the weights of an encoder that has many), and so is a training that stopped.
    """
    if (folder / "design.toml").exists():
        return CameraDesign.load(folder)
    device = cohort.train.values.device
    camera = PrivacyCamera.from_design(design).to(device)
    drawn, clips = torch_generator(experiment.seed, "encoder", "codes", device=device), cohort.encoder_train
    codes = clips.with_values(readout_codes(camera, clips.values, drawn))
    encoder = encoder_module(design.encoder).to(device)
    if isinstance(encoder, Bdq):
        encoder.measure_range(codes.values)
        encoder.raw_sigma.requires_grad_(experiment.training.learn_sigma and encoder.spec.blur)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, first = folder / "training.part.safetensors", folder / "pictures.part.safetensors"
    if isinstance(encoder, Obfuscator):
        train(picture_game(encoder, codes, experiment.training, experiment.seed), checkpoint=first)
    still = int(STILL_SHARE * experiment.training.epochs) if isinstance(encoder, KeptWeights) else 0
    game = encoder_game(encoder, codes, experiment.training, experiment.seed, still_epochs=still)
    train(game, checkpoint=checkpoint, on_epoch=on_epoch)
    if isinstance(encoder, KeptWeights):
        encoder.save(folder / "encoder.safetensors")
    trained = PrivacyCamera(design, encoder=encoder).to_design()
    trained.save(folder)
    for part in (checkpoint, first):
        part.unlink(missing_ok=True)
    return trained

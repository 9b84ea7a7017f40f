"""The steps from an exposure code to a finished camera: optics, exposure, and what learns of code and mask."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from optics_sim.camera import PrivacyCamera
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.coding import Coding, LongCoding, RowsColumnsCoding, ShortCoding, Shutter, SingleBumpCoding, TileCoding
from optics_sim.design import CameraDesign, LenslessOptics, OpenPattern
from optics_sim.encoding import ReadoutEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.learning.clip_pipeline import clip_design
from optics_sim.learning.coded import Aim, coding_game
from optics_sim.learning.pipeline import control_design, exposed, start_design
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import OnEpoch, train
from optics_sim.optics.mask import LearnableMask
from optics_sim.sensor.learned_coding import LearnableCoding, decorrelate

EXPOSED_CLIPS = 64
SUPPOSED = "supposed: no sensor sold for these boards has it"
LEARNABLE = (TileCoding, SingleBumpCoding, RowsColumnsCoding)
Optics = Literal["lens", "mask"]


def coded_design(scene: tuple[int, int], coding: Coding, optics: Optics, shutter: Shutter, name: str) -> CameraDesign:
    """Returns a coded camera behind a lens in focus or an open lensless aperture, its sensor given a shutter of that kind."""
    if optics == "lens":
        design = clip_design(scene, ReadoutEncoder(), name=name)
    else:
        design = start_design(OpenPattern(), scene, (scene[0] // 2, scene[1] // 2), name=name)
    sources = {**design.sensor.sources, "shutter": SUPPOSED} if shutter != design.sensor.shutter else design.sensor.sources
    return design.replace(coding=coding.model_dump(), parent=None, **{"sensor.shutter": shutter, "sensor.sources": sources})


def coded_control(kind: Literal["identity", "black"], cohort: ClipCohort, scene: tuple[int, int]) -> CameraDesign:
    """Returns the control camera of a kind: one clear frame of each clip (noise-free), or a capped sensor's long exposure."""
    like = coded_exposed(coded_design(scene, LongCoding(slots=cohort.train.values.shape[1]), "lens", "pixelwise", kind), cohort)
    design = control_design(kind, like)
    if kind == "black":
        return design.replace(coding=like.coding and like.coding.model_dump(), parent=None)
    slots = cohort.train.values.shape[1]
    return design.replace(coding=ShortCoding(slots=slots).model_dump(), parent=None,
                          **{"exposure.exposure_s": slots * design.exposure.exposure_s})


def coded_exposed(design: CameraDesign, cohort: ClipCohort) -> CameraDesign:
    """Returns the coded design with exposure and shift set on the training clips."""
    return exposed(design, cohort.train.values[:EXPOSED_CLIPS])


def learned_code(design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, folder: Path, *, aim: Aim | None,
                 mask: bool = False, decorrelation_steps: int = 0, on_epoch: OnEpoch | None = None) -> CameraDesign:
    """Returns the design with its code (and mask) learned, exposed anew; its parent is the design it began as.

    First `decorrelation_steps` without a task, then the game with `aim` (None: no game). The code learns where its kind
    can; others stay. Kept in `folder`, and so is a game that stopped. PrivcamError where nothing could learn.
    """
    if (folder / "design.toml").exists():
        return CameraDesign.load(folder)
    device = cohort.train.values.device
    camera = _camera(design, experiment, mask).to(device)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "training.part.safetensors"
    code = camera.coded.learned if camera.coded is not None else None
    if decorrelation_steps and isinstance(code, LearnableCoding):
        seen = camera.relative_irradiance(cohort.encoder_train.values)
        decorrelate(code, seen, decorrelation_steps, torch_generator(experiment.seed, "decorrelation", device=device))
    if aim is not None:
        game = coding_game(camera, aim, cohort.encoder_train, experiment.training, experiment.seed)
        train(game, checkpoint=checkpoint, on_epoch=on_epoch)
    trained = coded_exposed(camera.to_design(), cohort).replace(parent=design.digest)
    trained.save(folder)
    checkpoint.unlink(missing_ok=True)
    return trained


def _camera(design: CameraDesign, experiment: ClipExperiment, learn_mask: bool) -> PrivacyCamera:
    code, mask = None, None
    if isinstance(design.coding, LEARNABLE):
        code = LearnableCoding.from_coding(design.coding)
    if learn_mask:
        if not isinstance(design.optics, LenslessOptics):
            raise PrivcamError("only lensless optics have a mask to learn", got=design.optics.kind, allowed="lensless")
        plan = experiment.training.mask
        mask = LearnableMask.sparse(design.optics.cells, plan.start_open_fraction, torch_generator(experiment.seed, "mask-start"),
                                    min_feature_cells=plan.min_feature_cells, open_max=plan.max_open_fraction)
    if code is None and mask is None:
        raise PrivcamError("nothing of this camera can learn", got=design.coding and design.coding.kind,
                           allowed="a tile, single_bump or rows_columns code, or a mask", todo="choose another code")
    return PrivacyCamera(design, mask, coding=code)

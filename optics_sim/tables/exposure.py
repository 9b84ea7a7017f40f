"""The table of coded exposure: one image instead of a clip, by codes drawn and learned, behind a lens or a mask.

Every row is one camera, judged as those of the BDQ table: fresh recognisers on actors never seen, attackers who know the
same people from other recordings. `video` is the camera without a code: every frame read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from optics_sim.attacks.clip_evaluate import evaluate_clips
from optics_sim.attacks.coded_evaluate import evaluate_coded
from optics_sim.attacks.evaluate import digest_of
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.coding import (
    Coding,
    GlobalFlutterCoding,
    LongCoding,
    PixelwiseCoding,
    RowsColumnsCoding,
    ShortCoding,
    Shutter,
    SingleBumpCoding,
    TileCoding,
)
from optics_sim.design import CameraDesign
from optics_sim.encoding import ReadoutEncoder
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.learning.clip_pipeline import clip_design, exposed_for
from optics_sim.learning.coded import Aim
from optics_sim.learning.coded_pipeline import Optics, coded_control, coded_design, coded_exposed, learned_code
from optics_sim.learning.journal import LossJournal
from optics_sim.plain import Plain
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, cohort_of, run_clip_rows, said
from optics_sim.tables.work import Say

DECORRELATION_STEPS = 300
CONTROLS = ("identity", "black")
SAME_PEOPLE = {"alpha": 0.0, "unseen_people": 0.0}  # code and network learn from everyone, as published


class Variant(Plain):
    """One row of the table: a code as it begins, what of the camera learns, and with which aim."""

    coding: Coding
    optics: Optics = "lens"
    shutter: Shutter = "pixelwise"
    aim: Aim | None = None
    mask: bool = Field(False, description="the mask learns too")
    decorrelation_steps: int = 0
    overrides: Mapping[str, object] = Field({"alpha": 0.0}, description="of the experiment's training: nobody is hidden from")

    @property
    def learned(self) -> bool:
        """Whether anything of the camera learns."""
        return self.aim is not None or self.decorrelation_steps > 0


def variants() -> dict[str, Variant]:
    """Returns the coded cameras by label; `video` and the two controls are made apart."""
    tile, bump, lines = TileCoding(), SingleBumpCoding(), RowsColumnsCoding()
    return {
        "long": Variant(coding=LongCoding()), "short": Variant(coding=ShortCoding(slot=8)),
        "flutter": Variant(coding=GlobalFlutterCoding()), "random tile": Variant(coding=tile),
        "random slots": Variant(coding=TileCoding(open_slots=1)),
        "random pixelwise": Variant(coding=PixelwiseCoding()), "random bump": Variant(coding=bump),
        "tile": Variant(coding=tile, aim="actions"),
        "tile same people": Variant(coding=tile, aim="actions", overrides=SAME_PEOPLE), "bump": Variant(coding=bump, aim="actions"),
        "rows and columns": Variant(coding=lines, aim="actions"),
        "decorrelated": Variant(coding=tile, decorrelation_steps=DECORRELATION_STEPS),
        "decorrelated first": Variant(coding=tile, aim="actions", decorrelation_steps=DECORRELATION_STEPS),
        "tile for video": Variant(coding=tile, aim="video"), "bump for video": Variant(coding=bump, aim="video"),
        "tile against adversary": Variant(coding=tile, aim="actions", overrides={}),
        "tile by frames": Variant(coding=tile, aim="actions", shutter="rolling"),
        "mask": Variant(coding=LongCoding(), optics="mask", aim="actions", mask=True),
        "mask and tile": Variant(coding=tile, optics="mask", aim="actions", mask=True),
    }


LABELS = ("video", *variants(), *CONTROLS)
CORE = ("video", "long", "short", "random tile", "random slots", "tile", *CONTROLS)


def judge_exposure_row(setting: ClipSetting, task: ClipTask) -> str:
    """Makes one row, or finds it, and returns a line about it."""
    cohort, experiment, folder = cohort_of(setting, task.seed), setting.of_seed(task.seed), Path(setting.out) / task.folder
    if task.label == "video":
        design = exposed_for(clip_design(setting.scene, ReadoutEncoder(), name="video"), cohort)
        return said(evaluate_clips("video", design, cohort, experiment, judges=setting.judges, folder=folder))
    if task.label in CONTROLS:
        design = coded_control("identity" if task.label == "identity" else "black", cohort, setting.scene)
    else:
        design, experiment = _coded(task.label, setting, cohort, experiment, folder)
    return said(evaluate_coded(task.label, design, cohort, experiment, judges=setting.judges, folder=folder))


def _coded(label: str, setting: ClipSetting, cohort: ClipCohort, experiment: ClipExperiment,
           folder: Path) -> tuple[CameraDesign, ClipExperiment]:
    """Returns a row's finished design and the experiment it was made with; a learned one is kept under all it depends on."""
    variant = variants()[label]
    training = experiment.training.model_copy(update=dict(variant.overrides))
    experiment = experiment.model_copy(update={"training": training})
    coding = variant.coding.model_copy(update={"slots": experiment.frames} | ({"seed": experiment.seed} if _drawn(variant) else {}))
    design = coded_exposed(coded_design(setting.scene, coding, variant.optics, variant.shutter, label), cohort)
    if not variant.learned:
        return design, experiment
    key = digest_of(design.digest, training.model_dump(mode="json"), experiment.seed, variant.model_dump(mode="json"),
                    tensors=[cohort.encoder_train.values])
    with LossJournal(folder / "training", label, training.epochs) as journal:
        return learned_code(design, cohort, experiment, folder / f"code-{key[:12]}", aim=variant.aim, mask=variant.mask,
                            decorrelation_steps=variant.decorrelation_steps, on_epoch=journal), experiment


def _drawn(variant: Variant) -> bool:
    return "seed" in type(variant.coding).model_fields


def run_exposure_table(setting: ClipSetting, labels: tuple[str, ...], seeds: int, say: Say, *, workers: int = 2) -> None:
    """Makes every row of the table, resuming from what is there; PrivcamError for a label that is no row."""
    run_clip_rows(judge_exposure_row, LABELS, setting, labels, seeds, say, workers=workers)

"""The BDQ paper's table: encoders for clips, fixed and learned, recognised and attacked, on cross-actor splits.

One task is one row: an encoder is trained against its adversary where it has something to learn, then frozen and
judged by fresh networks. Every row keeps its own folder, so a table resumes from what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from optics_sim.attacks.clip_evaluate import evaluate_clips
from optics_sim.attacks.evaluate import digest_of
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.design import CameraDesign
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
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.learning.clip_pipeline import clip_design, exposed_for, learned_encoder
from optics_sim.learning.journal import LossJournal
from optics_sim.learning.pipeline import control_design
from optics_sim.plain import Plain
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, cohort_of, run_clip_rows, said
from optics_sim.tables.work import Say

ALPHAS = (0.5, 1.0, 4.0, 8.0)  # beside the experiment's own
NETWORK_RATE = 1e-3  # at that of BDQ's 16 numbers a network's codes soon become constant


class Variant(Plain):
    """One row of the table: an encoder as it begins, whether it is trained, and how it is judged."""

    encoder: Encoder
    learned: bool = False
    overrides: Mapping[str, object] = Field(default_factory=dict, description="of the experiment's training")
    hard: bool = True


def _bdq(parts: str, **more: object) -> BdqEncoder:
    return BdqEncoder.model_validate({"blur": "B" in parts, "difference": "D" in parts, "quantise": "Q" in parts, **more})


def variants() -> dict[str, Variant]:
    """Returns the whole grid by label: the ablation, its variations, the sweep of alpha, the baselines, both controls."""
    table = {"raw": Variant(encoder=ReadoutEncoder()), "D": Variant(encoder=_bdq("D"))}
    table |= {parts: Variant(encoder=_bdq(parts), learned=True) for parts in ("B", "Q", "BD", "BQ", "DQ", "BDQ")}
    table["BDQ fixed sigma"] = Variant(encoder=_bdq("BDQ"), learned=True, overrides={"learn_sigma": False})
    table["BDQ soft"] = Variant(encoder=_bdq("BDQ"), learned=True, hard=False)
    table["BDQ 4 levels"] = Variant(encoder=_bdq("BDQ", levels=4), learned=True)
    table["BDQ against sums"] = Variant(encoder=_bdq("BDQ"), learned=True, overrides={"adversary_sees": ("frame", "sum")})
    table |= {f"BDQ alpha {alpha:g}": Variant(encoder=_bdq("BDQ"), learned=True, overrides={"alpha": alpha}) for alpha in ALPHAS}
    table |= {f"low resolution {factor}": Variant(encoder=LowResolutionEncoder(factor=factor)) for factor in (4, 8, 16)}
    slowly = {"encoder_learning_rate": NETWORK_RATE}
    table |= {"blur 4": Variant(encoder=BlurEncoder(sigma_px=4.0)), "pixelate 8": Variant(encoder=PixelateEncoder(block_px=8)),
              "noise 40": Variant(encoder=NoiseEncoder(sigma=40.0)), "motion noise": Variant(encoder=MotionNoiseEncoder()),
              "degrader": Variant(encoder=DegraderEncoder(), learned=True, overrides=slowly),
              "obfuscator": Variant(encoder=ObfuscatorEncoder(), learned=True, overrides=slowly)}
    return table | {control: Variant(encoder=ReadoutEncoder()) for control in ("identity", "black")}


CORE = ("raw", "D", "BDQ", "low resolution 8", "identity", "black")


def judge_clip_row(setting: ClipSetting, task: ClipTask) -> str:
    """Makes one row, or finds it, and returns a line about it."""
    variant, cohort = variants()[task.label], cohort_of(setting, task.seed)
    experiment = setting.of_seed(task.seed)
    training = experiment.training.model_copy(update=dict(variant.overrides))
    experiment = experiment.model_copy(update={"training": training})
    folder = Path(setting.out) / task.folder
    design = _design(task.label, variant, setting.scene, cohort)
    if variant.learned:
        design = _learned(design, cohort, experiment, folder)
    return said(evaluate_clips(task.label, design, cohort, experiment, hard=variant.hard, judges=setting.judges, folder=folder))


def _design(label: str, variant: Variant, scene: tuple[int, int], cohort: ClipCohort) -> CameraDesign:
    design = exposed_for(clip_design(scene, variant.encoder, name=label), cohort)
    if label not in ("identity", "black"):
        return design
    return control_design("identity" if label == "identity" else "black", design)


def _learned(design: CameraDesign, cohort: ClipCohort, experiment: ClipExperiment, folder: Path) -> CameraDesign:
    """Returns the design with its trained encoder, kept in the row's folder under all that it depends on."""
    key = digest_of(design.digest, experiment.training.model_dump(mode="json"), experiment.seed, tensors=[cohort.encoder_train.values])
    with LossJournal(folder / "training", design.name, experiment.training.epochs) as journal:
        return learned_encoder(design, cohort, experiment, folder / f"encoder-{key[:12]}", on_epoch=journal)


def run_clip_table(setting: ClipSetting, labels: tuple[str, ...], seeds: int, say: Say, *, workers: int = 2) -> None:
    """Makes every row of the table, resuming from what is there; PrivcamError for a label that is no row."""
    run_clip_rows(judge_clip_row, variants(), setting, labels, seeds, say, workers=workers)

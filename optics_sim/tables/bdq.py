"""The BDQ paper's table: encoders for clips, fixed and learned, recognised and attacked, on cross-actor splits.

One task is one row: an encoder is trained against its adversary where it has something to learn, then frozen and
judged by fresh networks. Every row keeps its own folder, so a table resumes from what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from optics_sim.attacks.clip_evaluate import evaluate_clips
from optics_sim.attacks.evaluate import Row, digest_of
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.data.clips import ClipSet, load_clips
from optics_sim.design import CameraDesign
from optics_sim.encoding import (
    BdqEncoder,
    BlurEncoder,
    DegraderEncoder,
    Encoder,
    LowResolutionEncoder,
    MotionNoiseEncoder,
    NoiseEncoder,
    PixelateEncoder,
    ReadoutEncoder,
)
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_cohort import ClipCohort, gather_clips
from optics_sim.learning.clip_pipeline import clip_design, exposed_for, learned_encoder
from optics_sim.learning.journal import LossJournal
from optics_sim.learning.pipeline import control_design
from optics_sim.plain import Plain
from optics_sim.tables.work import Say, announce, run_all

ALPHAS = (0.5, 1.0, 4.0, 8.0)  # beside the experiment's own


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
    table |= {"blur 4": Variant(encoder=BlurEncoder(sigma_px=4.0)), "pixelate 8": Variant(encoder=PixelateEncoder(block_px=8)),
              "noise 40": Variant(encoder=NoiseEncoder(sigma=40.0)), "motion noise": Variant(encoder=MotionNoiseEncoder()),
              "degrader": Variant(encoder=DegraderEncoder(), learned=True)}
    return table | {control: Variant(encoder=ReadoutEncoder()) for control in ("identity", "black")}


CORE = ("raw", "D", "BDQ", "low resolution 8", "identity", "black")


class ClipSetting(Plain):
    """Everything that a task needs to know, as data that travels to a worker process."""

    data: str
    out: str
    scene: tuple[int, int] = (64, 64)
    experiment: ClipExperiment = ClipExperiment()
    device: str = "cpu"


class ClipTask(Plain):
    """One row: its label and seed."""

    label: str
    seed: int

    @property
    def folder(self) -> str:
        """The row's folder below the table's."""
        return f"rows/{self.label.replace(' ', '_')}-seed{self.seed}"


@lru_cache(maxsize=2)
def _clips(data: str, frames: int, windows: int) -> ClipSet:
    return load_clips(data, frames=frames, windows=windows)


@lru_cache(maxsize=2)
def _cohort(setting: ClipSetting, seed: int) -> ClipCohort:
    experiment = _seeded(setting, seed)
    return gather_clips(_clips(setting.data, experiment.frames, experiment.windows), experiment, setting.scene)


def _seeded(setting: ClipSetting, seed: int) -> ClipExperiment:
    return setting.experiment.model_copy(update={"seed": seed})


def judge_clip_row(setting: ClipSetting, task: ClipTask) -> str:
    """Makes one row, or finds it, and returns a line about it."""
    variant, cohort = variants()[task.label], _cohort(setting, task.seed).to(setting.device)
    experiment = _seeded(setting, task.seed)
    training = experiment.training.model_copy(update=dict(variant.overrides))
    experiment = experiment.model_copy(update={"training": training})
    folder = Path(setting.out) / task.folder
    design = _design(task.label, variant, setting.scene, cohort)
    if variant.learned:
        design = _learned(design, cohort, experiment, folder)
    row = evaluate_clips(task.label, design, cohort, experiment, hard=variant.hard, folder=folder)
    best = max((s.value or 0.0 for s in row.samples if s.name.startswith("identity/")), default=0.0)
    return f"{task.label}, seed {task.seed}: action {row.sample('accuracy').value:.3f}, strongest identity attack {best:.3f}"


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
    """Makes every row of a table, resuming from what is there; PrivcamError for a label that is no row."""
    unknown = sorted(set(labels) - set(variants()))
    if unknown:
        raise PrivcamError("no such row in this table", got=unknown, allowed=list(variants()), todo="choose from these")
    first = setting.experiment.seed
    tasks = [ClipTask(label=label, seed=seed) for seed in range(first, first + seeds) for label in labels]
    announce(run_all(judge_clip_row, [(setting, task) for task in tasks], workers), "row", len(tasks), say)


def read_clip_rows(out: Path) -> dict[str, list[Row]]:
    """Returns the rows of a table folder by label, in the grid's order, seeds in order."""
    rows = [Row.model_validate_json(file.read_text(encoding="utf-8")) for file in out.glob("rows/*/row.json")]
    found = {label: sorted((row for row in rows if row.label == label), key=lambda row: row.seed) for label in variants()}
    return {label: mine for label, mine in found.items() if mine}

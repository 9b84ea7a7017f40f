"""The lensless paper's table: masks, fixed and learned, recognised and attacked, each in two exposures.

What is trained is one task per file: a learned mask (by label, weight and seed) or a judged row (by label, exposure
and seed). Every task keeps its own folder, so a table resumes from what is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from optics_sim.attacks.evaluate import Row, digest_of, evaluate
from optics_sim.attacks.judge import Judges
from optics_sim.camera import PrivacyCamera
from optics_sim.data.faces import FaceSet, load
from optics_sim.data.synthetic import synthetic_people
from optics_sim.design import (
    CameraDesign,
    OpenPattern,
    Pattern,
    PinholePattern,
    RandomPattern,
    RowsPattern,
    write_atomically,
)
from optics_sim.errors import PrivcamError
from optics_sim.experiment import ConstraintKind, Experiment
from optics_sim.learning.cohort import Cohort, gather
from optics_sim.learning.journal import LossJournal
from optics_sim.learning.pipeline import BIN, Regime, control_design, exposed, learn_mask, start_design
from optics_sim.learning.seeds import derived_seed, torch_generator
from optics_sim.learning.train import correct
from optics_sim.plain import Plain
from optics_sim.tables.work import Say, announce, run_all

FIXED = ("pinhole", "open", "random")
LEARNED: dict[str, ConstraintKind] = {"lwoc": "none", "sim": "sim", "tv": "tv", "inv": "inv", "rip": "rip"}
CONTROLS: tuple[Literal["identity", "black"], ...] = ("identity", "black")
REGIMES: tuple[Regime, ...] = ("quarter_well", "common")
WEIGHTS = (0.03, 0.1, 0.3, 1.0)
ACCURACY_SLACK = 0.05  # of validation accuracy that a constraint may cost
APERTURE_LIMIT = 0.9
CURVE_LABELS = ("random", "lwoc")  # rows whose decoder is also trained on fewer and more pairs
CURVE_COUNTS = (100, 3000)


class Setting(Plain):
    """Everything that a task needs to know, as data that travels to a worker process."""

    data: str
    others: tuple[str, ...] = ()
    out: str
    scene: tuple[int, int] = (63, 63)
    cells: tuple[int, int] = (32, 32)
    sensor: str = "imx477"
    bin_px: int = BIN
    experiment: Experiment = Experiment()
    verifier: str | None = None
    detector: str | None = None
    device: str = "cpu"
    start: str | None = None
    curve: bool = True

    def of_seed(self, seed: int) -> Experiment:
        """Returns the experiment with another seed."""
        return self.experiment.model_copy(update={"seed": seed})

    @property
    def judges(self) -> Judges:
        """The public networks the user gave."""
        return Judges.load(self.verifier, self.detector)


@lru_cache(maxsize=2)
def cohort_of(setting: Setting, seed: int) -> Cohort:
    """Returns the cohort of a seed, on the setting's device."""
    faces = load_faces(setting.data)
    others = tuple(load_faces(name) for name in setting.others)
    return gather(faces, setting.of_seed(seed), setting.scene, others).to(setting.device)


@lru_cache(maxsize=4)
def load_faces(name: str) -> FaceSet:
    """Returns a data set by name or path; `synthetic:people:images:seed` is generated."""
    if name.startswith("synthetic:"):
        people, images, seed = (int(part) for part in name.split(":")[1:])
        return synthetic_people(people, images, seed)
    return load(name, drop_small=True)


def fixed_pattern(label: str, seed: int) -> Pattern:
    """Returns the pattern of a fixed row; the random one differs from seed to seed."""
    patterns: dict[str, Pattern] = {"pinhole": PinholePattern(), "open": OpenPattern(),
                                    "random": RandomPattern(seed=derived_seed(seed, "random mask") % 2**31)}
    return patterns[label]


@dataclass(frozen=True)
class MaskTask:
    """One learned mask: its label, the weight of its loss and the seed; in the sweep of weights with half the epochs."""

    label: str
    weight: float
    seed: int
    sweep: bool = False

    @property
    def folder(self) -> str:
        """The task's folder below the table's."""
        return f"{'sweep' if self.sweep else 'masks'}/{self.label}-{self.weight:g}-seed{self.seed}"


def learn(setting: Setting, task: MaskTask) -> str:
    """Learns a mask and keeps it with its validation accuracy and aperture; returns what to say about it."""
    folder = Path(setting.out) / task.folder
    experiment = _constrained(setting, task)
    cohort = cohort_of(setting, task.seed)
    design = starting(setting, OpenPattern(), task.label)
    key = mask_key(design, experiment, cohort)
    if _mask_result(setting, task, key) is not None:
        return f"{task.folder}: there already"
    folder.mkdir(parents=True, exist_ok=True)
    with LossJournal(folder, task.folder, experiment.training.epochs) as journal:
        learned, network = learn_mask(design, cohort.train, experiment, checkpoint=folder / f"training.{key[:12]}.safetensors",
                                      on_epoch=journal)
    finished = exposed(learned, cohort.train.scenes)
    camera = PrivacyCamera.from_design(finished).to(setting.device)
    hits = correct(camera, network, cohort.validation, torch_generator(task.seed, "validation", device=setting.device))
    aperture = float(camera.transmission().mean())  # type: ignore[union-attr]
    finished.save(folder)
    result = {"key": key, "validation_accuracy": float(hits.float().mean()), "aperture": aperture, "weight": task.weight}
    write_atomically(folder / "mask.json", json.dumps(result, indent=1).encode())
    for part in folder.glob("training.*.safetensors"):
        part.unlink()
    return f"{task.folder}: validation {result['validation_accuracy']:.3f}, aperture {aperture:.3f}"


def starting(setting: Setting, pattern: Pattern, name: str) -> CameraDesign:
    """Returns the design a task starts from: the author's with another pattern, or the default one."""
    if setting.start is None:
        return start_design(pattern, setting.scene, setting.cells, sensor=setting.sensor, bin_px=setting.bin_px, name=name)
    author = CameraDesign.load(Path(setting.start))
    return author.replace(**{"optics.pattern": pattern.model_dump(), "name": name})


def mask_key(design: CameraDesign, experiment: Experiment, cohort: Cohort) -> str:
    """Returns a digest of everything a learned mask depends on."""
    plan = [experiment.seed, experiment.training.model_dump(mode="json")]
    parts = (cohort.train, cohort.validation)
    return digest_of(design.digest, plan, tensors=[tensor for part in parts for tensor in (part.labels, part.scenes)])


def _constrained(setting: Setting, task: MaskTask) -> Experiment:
    training = setting.experiment.training
    epochs = max(1, training.epochs // 2) if task.sweep else training.epochs
    training = training.model_copy(
        update={"constraint": LEARNED[task.label], "constraint_weight": task.weight, "epochs": epochs})
    return setting.of_seed(task.seed).model_copy(update={"training": training})


def _mask_result(setting: Setting, task: MaskTask, key: str | None = None) -> dict[str, float] | None:
    file = Path(setting.out) / task.folder / "mask.json"
    if not file.exists():
        return None
    result = json.loads(file.read_text(encoding="utf-8"))
    return result if key is None or result["key"] == key else None


def chosen_weights(setting: Setting, weights: tuple[float, ...] = WEIGHTS) -> dict[str, float]:
    """Returns the weight of each loss: the largest whose validation accuracy is within 5 points of the unconstrained
    mask's and whose aperture is at most 0.9, on the first seed. Where none is, the smallest weight, which then says so by its row.
    """
    free = _mask_result(setting, MaskTask("lwoc", 0.0, setting.experiment.seed, sweep=True))
    floor = (free["validation_accuracy"] if free else 0.0) - ACCURACY_SLACK
    chosen = {"lwoc": 0.0}
    for label in LEARNED:
        if label == "lwoc":
            continue
        results = [_mask_result(setting, MaskTask(label, weight, setting.experiment.seed, sweep=True)) for weight in weights]
        good = [r["weight"] for r in results if r and r["validation_accuracy"] >= floor and r["aperture"] <= APERTURE_LIMIT]
        chosen[label] = max(good, default=min(weights))
    return chosen


@dataclass(frozen=True)
class RowTask:
    """One judged row: label, exposure, seed, and the weight of its loss."""

    label: str
    regime: Regime
    seed: int
    weight: float = 0.0

    @property
    def folder(self) -> str:
        """The task's folder below the table's."""
        return f"rows/{self.label}-{self.regime}-seed{self.seed}"


def row_design(setting: Setting, task: RowTask, cohort: Cohort) -> CameraDesign:
    """Returns the finished design of a row: mask, exposure and shift."""
    if task.label in CONTROLS:
        like = starting(setting, OpenPattern(), task.label)
        return exposed(control_design(task.label, exposed(like, cohort.train.scenes)), cohort.train.scenes)
    if task.label in FIXED:
        design = written_out(starting(setting, fixed_pattern(task.label, task.seed), task.label))
    else:
        design = CameraDesign.load(Path(setting.out) / MaskTask(task.label, task.weight, task.seed).folder)
    return exposed(design, cohort.train.scenes, task.regime)


def written_out(design: CameraDesign) -> CameraDesign:
    """Returns the same design with its pattern written out as rows, so that the file shows what is printed."""
    array = PrivacyCamera.from_design(design).transmission()
    if array is None:
        return design
    return design.replace(**{"optics.pattern": RowsPattern.from_array(array.numpy()).model_dump(), "parent": design.parent})


def judge_row(setting: Setting, task: RowTask) -> str:
    """Judges a row and keeps it; returns what to say about it."""
    cohort = cohort_of(setting, task.seed)
    design = row_design(setting, task, cohort)
    counts = CURVE_COUNTS if setting.curve and task.label in CURVE_LABELS and task.regime == "quarter_well" else ()
    row = evaluate(task.label, design, cohort, setting.of_seed(task.seed), setting.judges, decoder_counts=counts,
                   geometric=task.seed == setting.experiment.seed and task.regime == "quarter_well" and task.label not in CONTROLS,
                   folder=Path(setting.out) / task.folder)
    accuracy = row.sample("accuracy").value
    return f"{task.folder}: accuracy {accuracy:.3f}"


def row_tasks(setting: Setting, seeds: int, weights: dict[str, float]) -> list[RowTask]:
    """Returns the tasks of a whole table: the controls of seed 0 first, then every mask in both exposures, seed by seed."""
    first = setting.experiment.seed
    tasks = [RowTask(kind, "quarter_well", first) for kind in CONTROLS]
    return tasks + [RowTask(label, regime, seed, weights.get(label, 0.0)) for seed in range(first, first + seeds)
                    for regime in REGIMES for label in (*FIXED, *LEARNED)]


def main_mask(setting: Setting) -> MaskTask:
    """Returns the mask that a single design learns: the experiment's constraint and weight."""
    training = setting.experiment.training
    label = next(label for label, kind in LEARNED.items() if kind == training.constraint)
    return MaskTask(label, training.constraint_weight, setting.experiment.seed)


def design_rows(setting: Setting) -> list[RowTask]:
    """Returns the cameras judged beside a single design: the longest first, fixed masks to compare with, both controls."""
    seed, mask = setting.experiment.seed, main_mask(setting)
    labels = (*CONTROLS[:1], mask.label, *FIXED, *CONTROLS[1:])
    return [RowTask(label, "quarter_well", seed, mask.weight) for label in labels]


def run_table(setting: Setting, seeds: int, say: Say, *, workers: int = 2, weights: tuple[float, ...] = WEIGHTS,
              weights_from: Path | None = None) -> dict[str, float]:
    """Trains and judges everything a table needs, resuming from what is there; returns the loss weights.

    They are chosen by a sweep on seed 0, or taken from the folder of another table (`weights_from`).
    """
    chosen = _weights_of(weights_from) if weights_from else _swept(setting, weights, workers, say)
    write_atomically(_made(Path(setting.out)) / "weights.json", json.dumps(chosen, indent=1).encode())
    say("loss weights: " + ", ".join(f"{label} {weight:g}" for label, weight in chosen.items()))
    first = setting.experiment.seed
    masks = [MaskTask(label, weight, seed) for seed in range(first, first + seeds) for label, weight in chosen.items()]
    announce(run_all(learn, [(setting, task) for task in masks], workers), "mask", len(masks), say)
    rows = row_tasks(setting, seeds, chosen)
    announce(run_all(judge_row, [(setting, task) for task in rows], workers), "row", len(rows), say)
    return chosen


def _swept(setting: Setting, weights: tuple[float, ...], workers: int, say: Say) -> dict[str, float]:
    seed = setting.experiment.seed
    tasks = [MaskTask("lwoc", 0.0, seed, sweep=True)]
    tasks += [MaskTask(label, weight, seed, sweep=True) for label in LEARNED if label != "lwoc" for weight in weights]
    announce(run_all(learn, [(setting, task) for task in tasks], workers), "sweep", len(tasks), say)
    return chosen_weights(setting, weights)


def _weights_of(folder: Path) -> dict[str, float]:
    try:
        return json.loads((folder / "weights.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PrivcamError("no loss weights there", got=str(folder), allowed="the folder of a table that chose its weights",
                           todo="finish that table first, or let this one choose its own") from None


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_rows(out: Path) -> dict[tuple[str, str], list[Row]]:
    """Returns the rows of a table folder by (label, regime), seeds in order."""
    table: dict[tuple[str, str], list[Row]] = {}
    for file in sorted(out.glob("rows/*/row.json")):
        row = Row.model_validate_json(file.read_text(encoding="utf-8"))
        regime = file.parent.name.removeprefix(f"{row.label}-").rsplit("-seed", 1)[0]
        table.setdefault((row.label, regime), []).append(row)
    return {key: sorted(rows, key=lambda row: row.seed) for key, rows in table.items()}

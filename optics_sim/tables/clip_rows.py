"""What the tables on clips share: their setting, their tasks, and how rows are made, resumed and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from optics_sim.attacks.evaluate import Row
from optics_sim.attacks.judge import Judges
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.data.clips import ClipSet, load_clips
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_cohort import ClipCohort, gather_clips
from optics_sim.plain import Plain
from optics_sim.tables.work import Say, announce, run_all


class ClipSetting(Plain):
    """Everything that a task needs to know, as data that travels to a worker process."""

    data: str
    out: str
    scene: tuple[int, int] = (64, 64)
    experiment: ClipExperiment = ClipExperiment()
    verifier: str | None = None
    detector: str | None = None
    device: str = "cpu"

    @property
    def judges(self) -> Judges:
        """The public networks the user gave."""
        return _judges(self.verifier, self.detector)

    def of_seed(self, seed: int) -> ClipExperiment:
        """Returns the experiment with another seed."""
        return self.experiment.model_copy(update={"seed": seed})


class ClipTask(Plain):
    """One row: its label and seed."""

    label: str
    seed: int

    @property
    def folder(self) -> str:
        """The row's folder below the table's."""
        return f"rows/{self.label.replace(' ', '_')}-seed{self.seed}"


Judged = Callable[[ClipSetting, ClipTask], str]


_judges = lru_cache(maxsize=2)(Judges.load)


@lru_cache(maxsize=2)
def _clips(data: str, frames: int, windows: int) -> ClipSet:
    return load_clips(data, frames=frames, windows=windows)


@lru_cache(maxsize=2)
def cohort_of(setting: ClipSetting, seed: int) -> ClipCohort:
    """Returns the cohort of a setting and seed, read once by each worker."""
    experiment = setting.of_seed(seed)
    return gather_clips(_clips(setting.data, experiment.frames, experiment.windows), experiment, setting.scene).to(setting.device)


def said(row: Row) -> str:
    """Returns a line about a finished row."""
    return (f"{row.label}, seed {row.seed}: action {row.sample('accuracy').value:.3f}, strongest identity attack "
            f"{row.sample('strongest').value:.3f}")


def run_clip_rows(judge: Judged, known: Iterable[str], setting: ClipSetting, labels: tuple[str, ...], seeds: int, say: Say, *,
                  workers: int = 2) -> None:
    """Makes every row of a table, resuming from what is there; PrivcamError for a label that is not `known`."""
    allowed = list(known)
    unknown = sorted(set(labels) - set(allowed))
    if unknown:
        raise PrivcamError("no such row in this table", got=unknown, allowed=allowed, todo="choose from these")
    first = setting.experiment.seed
    tasks = [ClipTask(label=label, seed=seed) for seed in range(first, first + seeds) for label in labels]
    announce(run_all(judge, [(setting, task) for task in tasks], workers), "row", len(tasks), say)


def read_clip_rows(out: Path, order: Iterable[str]) -> dict[str, list[Row]]:
    """Returns the rows of a table folder by label, in the given order, seeds in order."""
    rows = [Row.model_validate_json(file.read_text(encoding="utf-8")) for file in out.glob("rows/*/row.json")]
    found = {label: sorted((row for row in rows if row.label == label), key=lambda row: row.seed) for label in order}
    return {label: mine for label, mine in found.items() if mine}

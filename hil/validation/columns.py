"""One column of the table: recognition and every attack on one camera, on a twin's codes or on captured ones.

People, pictures, seeds and judging are those of the run's own tables. Deliberately not here: the attacks (`optics_sim.attacks`), and
what is captured (`frames.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hil.validation.frames import Captured
from hil.validation.run_folder import DesignRun
from hil.validation.showing import Part
from optics_sim.attacks.evaluate import Row, accuracy_sample, depends_on, evaluate, keep_row, kept_row
from optics_sim.attacks.judge import Judges, judge
from optics_sim.attacks.view import View, victims_view
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.experiment import Experiment
from optics_sim.learning.cohort import Cohort, Populations
from optics_sim.learning.recognisers import Recogniser
from optics_sim.learning.seeds import torch_generator
from optics_sim.learning.train import correct, recognised
from optics_sim.measure import Source
from optics_sim.report.resampling import Sample
from optics_sim.tables.lensless import CONTROLS, RowTask, row_design

ROWS = "rows"


# --- recognition ----------------------------------------------------------------------------------
def twin_recognition(design: CameraDesign, networks: Mapping[str, Recogniser], cohort: Cohort, seed: int) -> list[Sample]:
    """Returns the accuracy of each network, by sample name, on a twin's codes of the enrolled's test pictures."""
    camera = PrivacyCamera.from_design(design).to(cohort.test.scenes.device)
    return [accuracy_sample(name, correct(camera, network, cohort.test, _drawn(seed, "accuracy", cohort)), cohort.test, seed)
            for name, network in networks.items()]


def captured_recognition(captured: Captured, networks: Mapping[str, Recogniser], cohort: Cohort, seed: int) -> list[Sample]:
    """Returns the accuracy of each network, by sample name, on captured codes of the enrolled's test pictures."""
    codes = _tensor(captured, "test", cohort)
    return [accuracy_sample(name, recognised(network, codes, cohort.test.labels), cohort.test, seed) for name, network in networks.items()]


# --- attacks --------------------------------------------------------------------------------------
def attacked(label: str, design: CameraDesign, cohort: Cohort, experiment: Experiment, judges: Judges, folder: Path,
             network: Recogniser, captured: Captured | None = None) -> Row:
    """Returns the row of all attacks by attackers who know `design`; read from `folder` where nothing it depends on has changed.

    On the twin of that design, or, where codes were `captured`, on those: the attackers then train on the twin's codes, and on
    captured ones of their own people where such were taken.
    """
    key = depends_on(design, experiment, cohort, (label, "" if captured is None else captured.digest, *judges.digests))
    place = folder / ROWS / label
    if (kept := kept_row(place, key)) is not None:
        return kept
    camera = PrivacyCamera.from_design(design).to(cohort.train.scenes.device)
    view = None if captured is None else _captured_view(captured, camera, cohort, experiment)
    people = cohort.populations if captured is None else _with_captured(cohort.populations, captured)
    judgement = judge(camera, people, experiment, judges, view=view)
    row = Row(label=label, seed=experiment.seed, design_digest=design.digest, depends_on=key, cohort=cohort.note,
              samples=tuple(judgement.samples))
    keep_row(place, row, design, network.state_dict(), judgement.pictures)
    return row


def _captured_view(captured: Captured, camera: PrivacyCamera, cohort: Cohort, experiment: Experiment) -> View:
    view = victims_view(camera, cohort.populations, _drawn(experiment.seed, "view", cohort))
    own, known = captured.showing.parts["attacker"], _tensor(captured, "attacker", cohort)
    if view.pairs is None or view.labelled is None:
        raise ValueError("the strongest view has pairs and labels")
    pairs = (torch.cat([known, view.pairs[0]]), torch.cat([own.scenes, view.pairs[1]]))
    labelled = (torch.cat([known, view.labelled[0]]), torch.cat([own.labels, view.labelled[1]]))
    return replace(view, codes=_tensor(captured, "victims", cohort), pairs=pairs, labelled=labelled)


def _with_captured(people: Populations, captured: Captured) -> Populations:
    """Returns the populations with what is known of the attacker's captured pictures, which lie before the others in its view."""
    chosen = captured.showing.attacker_pictures
    return replace(people, attributes={name: (torch.cat([known[chosen], known]), asked) for name, (known, asked) in
                                       people.attributes.items()})


def control_rows(run: DesignRun, cohort: Cohort, experiment: Experiment, folder: Path) -> dict[str, Row]:
    """Returns the rows of the identity and the black camera by kind: the run's own where they are of these people and pictures."""
    rows: dict[str, Row] = {}
    for kind in CONTROLS:
        task = RowTask(kind, "quarter_well", experiment.seed)
        place, kept = folder / ROWS / kind, run.folder / task.folder / "row.json"
        if kept.is_file() and not (place / "row.json").exists():
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(place / "row.json", kept.read_bytes())
        rows[kind] = evaluate(kind, row_design(run.setting, task, cohort), cohort, experiment, run.setting.judges, folder=place)
    return rows


# --- both -----------------------------------------------------------------------------------------
def joined(row: Row, *parts: tuple[Sequence[Sample], Source]) -> Row:
    """Returns a row whose samples are those of the parts, each part with the source that it has."""
    samples = (sample.model_copy(update={"source": source}) for part, source in parts for sample in part)
    return row.model_copy(update={"samples": tuple(samples)})


def of_codes(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the samples that come from codes: a clear scene and a mean face were seen by no camera."""
    return [sample for sample in samples if not sample.name.startswith(("scene/", "mean_face/"))]


def _tensor(captured: Captured, part: Part, cohort: Cohort) -> Tensor:
    codes = captured.codes_of(part)
    return torch.from_numpy(codes).to(cohort.test.scenes)


def _drawn(seed: int, stage: str, cohort: Cohort) -> torch.Generator:
    return torch_generator(seed, stage, device=cohort.test.scenes.device)

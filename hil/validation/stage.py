"""Validation as one stage: show, capture, recognise, attack, compare. What `privcam validate` does, and what a longer job calls.

    validated = validate(DesignRun.load(folder), opened, out, Asked(as_built=..., adapting=Adapting()), say, clock)

Deliberately not here: what each step does (the modules beside this one), options (`hil/verbs/validate.py`), and the page
(`optics_sim.report.validation_table`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch

from hil.bench import Bench
from hil.capture_set.stored import CaptureSet
from hil.session import finished_session, occasion, run_session
from hil.validation import adapting as adaptation
from hil.validation.columns import attacked, captured_recognition, control_rows, joined, of_codes, twin_recognition
from hil.validation.distance import distance_samples
from hil.validation.frames import Captured, check_camera, read_frames
from hil.validation.on_device import FILE, Named, hits, kept_names, named_by
from hil.validation.run_folder import DesignRun
from hil.validation.showing import Showing, prepare
from optics_sim.attacks.evaluate import Row, accuracy_sample
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Adapting, Experiment
from optics_sim.learning.cohort import Cohort
from optics_sim.learning.recognisers import Recogniser
from optics_sim.report.resampling import Sample
from optics_sim.report.validation_table import ADAPTED, AS_BUILT, CAPTURED, DEVICE, LONGER, NOMINAL, OWN, UNCALIBRATED, Validated

SESSION = "session"
TOLD_EVERY = 25  # shots
Say = Callable[[str], None]
OpenBench = Callable[[Path, int], AbstractContextManager[Bench]]
"""Opens the bench, given the folder of the pictures to show and how often frames were taken into it (see `Bench.open`)."""


@dataclass(frozen=True)
class Asked:
    """What to validate besides the run: against which as-built design, adapting now or with what was `adapted` (a folder), on how much.

    `per_person`: at most so many pictures of each of the enrolled and of each victim. `attack_pictures` of the attacker's people are
    captured too. `seed` of attackers and adaptation (the people stay the run's). `device`: the bench has one. `trusted`: the data
    need not be bit for bit those of the run. `controls` may be left out where the run's own stand beside the columns, and
    `uncalibrated` attackers, who know the nominal design alone, where the question is not what calibrating gives an attacker.
    """

    as_built: CameraDesign | None = None
    adapting: Adapting | None = None
    adapted: Path | None = None
    per_person: int | None = None
    attack_pictures: int = 0
    seed: int | None = None
    device: bool = False
    trusted: bool = False
    controls: bool = True
    uncalibrated: bool = True


def validate(run: DesignRun, opened: OpenBench, out: Path, asked: Asked, say: Say, clock: Callable[[], str]) -> Validated:
    """Returns the columns of a run: nominal twin, as-built twin where there is one, and captured; everything below `out` resumes.

    Raises PrivcamError for inputs that do not belong together, before anything is shown.
    """
    cohort, experiment = people_of(run, asked)
    own, adapted = _networks(run, cohort, experiment, asked, out, say)
    captured, named = capture(run, opened, out / SESSION, prepare(cohort, run.design, out / SESSION, attack_pictures=asked.attack_pictures),
                              asked, say, clock)
    networks = {OWN: own} | ({} if adapted is None else {ADAPTED: adapted.network, LONGER: adapted.undisturbed})
    rows = _columns(run, asked, cohort, experiment, networks, captured, named, out, say)
    controls: dict[str, Row] = {}
    if asked.controls:
        say("judging the controls: identity and black camera")
        controls = control_rows(run, cohort, experiment, out)
    return Validated(rows=rows, controls=controls, design=run.design.digest,
                     as_built=None if asked.as_built is None else asked.as_built.digest, camera=captured.camera.name,
                     replayed=captured.replayed, board=None if named is None else f"{named.board}, {named.build}")


def opener(bench: Path, say: Say) -> OpenBench:
    """Returns what opens the bench of a file for a validation; `say` gets what a rig has to tell."""
    def opened(pictures: Path, occasion: int) -> AbstractContextManager[Bench]:
        return Bench.open(bench, pictures=pictures, occasion=occasion, tell=say)

    return opened


def people_of(run: DesignRun, asked: Asked) -> tuple[Cohort, Experiment]:
    """Returns the run's people, as many pictures of each as are asked for, and its experiment with the seed of now."""
    cohort = run.cohort(trusted=asked.trusted)
    if asked.per_person is not None:
        cohort = cohort.thinned(asked.per_person)
    experiment = run.experiment if asked.seed is None else run.experiment.model_copy(update={"seed": asked.seed})
    return cohort, experiment


# --- networks -------------------------------------------------------------------------------------
def _networks(run: DesignRun, cohort: Cohort, experiment: Experiment, asked: Asked, out: Path,
              say: Say) -> tuple[Recogniser, adaptation.Adapted | None]:
    own = run.recogniser()
    if own.head.out_features != len(cohort.people):
        raise PrivcamError("the recogniser names other people", got=f"{own.head.out_features} classes",
                           allowed=f"{len(cohort.people)} enrolled", todo="give the data of the run")
    if asked.as_built is None:
        if asked.adapting is not None or asked.adapted is not None:
            raise PrivcamError("a recogniser is adapted to an as-built twin", got="none", todo="calibrate, and give --as-built")
        return own, None
    if asked.adapting is not None:
        return own, adaptation.adapt(run, asked.as_built, cohort, experiment, asked.adapting, out, say)
    folder = asked.adapted or (out if adaptation.is_adapted(out) else None)
    return own, None if folder is None else adaptation.read_adapted(folder, run, asked.as_built)


# --- the bench ------------------------------------------------------------------------------------
def capture(run: DesignRun, opened: OpenBench, folder: Path, showing: Showing, asked: Asked, say: Say,
            clock: Callable[[], str]) -> tuple[Captured, Named | None]:
    """Returns what the bench captured of a showing, and whom its device named; what is there already is not taken again."""
    done = finished_session(showing.plan, folder)
    if done is not None:
        captured = read_frames(done, run.design, showing)
        named = kept_names(folder / FILE, captured) if asked.device else None
        if named is not None or not asked.device:
            say(f"{len(done)} frames are there already")
            return captured, named
    with opened(folder, occasion(folder)) as bench:
        _check_bench(bench, run, asked)
        say(f"capturing {showing.plan.frames} pictures with {bench.camera.info.name}")
        taken = run_session(showing.plan, bench.table, folder, clock=clock, tell=_now_and_then(say))
        return _named(bench, taken, run, showing, folder, asked)


def _named(bench: Bench, taken: CaptureSet, run: DesignRun, showing: Showing, folder: Path, asked: Asked) -> tuple[Captured, Named | None]:
    captured = read_frames(taken, run.design, showing)
    if bench.device is None or not asked.device:
        return captured, None
    classes = int(run.recogniser().head.out_features)
    return captured, named_by(bench.device, captured, run.design, classes, folder / FILE)


def _check_bench(bench: Bench, run: DesignRun, asked: Asked) -> None:
    check_camera(bench.camera.info, run.design)
    known = {run.design.digest, *([] if asked.as_built is None else [asked.as_built.digest])}
    if bench.design is not None and not {bench.design.digest, bench.design.parent} & known:
        raise PrivcamError("the bench's camera is of another design", got=bench.design.digest[:12],
                           allowed=f"{run.design.digest[:12]}, or one made from it", todo="name the run's design in the bench file")


def _now_and_then(say: Say) -> Say:
    """Returns a teller that passes every 25th line about a shot, and all other lines."""
    told = 0

    def tell(text: str) -> None:
        nonlocal told
        shot = text.startswith("shot ")
        if not shot or told % TOLD_EVERY == 0:
            say(text)
        told += shot

    return tell


# --- columns --------------------------------------------------------------------------------------
def _columns(run: DesignRun, asked: Asked, cohort: Cohort, experiment: Experiment, networks: dict[str, Recogniser], captured: Captured,
             named: Named | None, out: Path, say: Say) -> dict[str, Row]:
    own, judges, seed = networks[OWN], run.setting.judges, experiment.seed
    twins = {NOMINAL: run.design} | ({} if asked.as_built is None else {AS_BUILT: asked.as_built})
    rows, everywhere = {}, {name: network for name, network in networks.items() if name != LONGER}
    for label, design in twins.items():
        say(f"recognising and attacking: {label.replace('_', ' ')} twin")
        row = attacked(label, design, cohort, experiment, judges, out, own)
        far = distance_samples(design, cohort.test, captured.sums_of("test"), seed)
        rows[label] = joined(row, (twin_recognition(design, networks if label == NOMINAL else everywhere, cohort, seed), "simulated"),
                             (far, captured.source), (row.samples, "simulated"))
    known = {CAPTURED: twins.get(AS_BUILT, run.design)} | ({UNCALIBRATED: run.design} if AS_BUILT in twins and asked.uncalibrated else {})
    for label, design in known.items():
        say(f"attacking what was captured, by attackers who know the {'nominal' if design is run.design else 'as-built'} design")
        row = attacked(label, design, cohort, experiment, judges, out, own, captured)
        rows[label] = joined(row, (of_codes(row.samples), captured.source))
    seen = (captured_recognition(captured, everywhere, cohort, seed), captured.source)
    by_device = [] if named is None else [([_by_device(named, captured, cohort, seed)], named.source)]
    rows[CAPTURED] = joined(rows[CAPTURED], seen, *by_device, (rows[CAPTURED].samples, captured.source))
    return rows


def _by_device(named: Named, captured: Captured, cohort: Cohort, seed: int) -> Sample:
    return accuracy_sample(DEVICE, torch.from_numpy(hits(named, captured)), cohort.test, seed)

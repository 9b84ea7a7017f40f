"""The tables of a validation: recognition and attacks on the nominal twin, the as-built twin and the captured frames, side by side.

Deliberately not here: showing, capturing and attacking (`hil.validation`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from optics_sim.attacks.evaluate import Row
from optics_sim.design import write_atomically
from optics_sim.measure import Measure, Source
from optics_sim.report import figures
from optics_sim.report.design_page import CAPTIONS, PEOPLE_SHOWN, shown
from optics_sim.report.intervals import Verdict
from optics_sim.report.lensless_table import Table, as_markdown, controls_table
from optics_sim.report.page import Cell, Page
from optics_sim.report.rows import compare, measure, names, strongest_measure
from optics_sim.run import Run

NOMINAL, AS_BUILT, CAPTURED, UNCALIBRATED = "nominal", "as_built", "captured", "captured_nominal_attackers"
COLUMNS = (NOMINAL, AS_BUILT, CAPTURED)
OWN, ADAPTED, LONGER, DEVICE = "accuracy", "adapted/accuracy", "longer/accuracy", "device/accuracy"
RECOGNISERS = {OWN: "the run's recogniser", ADAPTED: "after adapting it to the as-built twin",
               LONGER: "trained on just as long for the nominal twin",
               DEVICE: "the run's recogniser, on the device"}
WITHIN = 0.02  # of the undisturbed camera: the goal
TITLES = {NOMINAL: "Nominal twin", AS_BUILT: "As-built twin", CAPTURED: "Captured",
          UNCALIBRATED: "Captured, attackers who know the nominal design"}
SHOWN = ("scene", "code", "tikhonov", "decoder")
METRICS = {"auc": "verification AUC", "rank1": "rank-1", "psnr": "PSNR, dB", "ssim": "SSIM", "face_found": "face found"}


@dataclass(frozen=True)
class Validated:
    """What a validation found: rows by column, those of the controls by kind, digests of both designs, who captured.

    `replayed`: the frames were taken before. `board`: what the device was, None where there was none.
    """

    rows: Mapping[str, Row]
    controls: Mapping[str, Row]
    design: str
    as_built: str | None
    camera: str
    replayed: bool
    board: str | None

    @property
    def source(self) -> Source:
        """Where the captured frames came from."""
        return self.rows[CAPTURED].samples[0].source

    def title(self, label: str) -> str:
        """Returns a column's title, which says where its numbers come from."""
        return f"{TITLES[label]} ({self.source if label in (CAPTURED, UNCALIBRATED) else 'simulated'})"

    @property
    def measures(self) -> list[Measure]:
        """Every number, named by its column."""
        rows = {**self.rows, **{f"control/{kind}": row for kind, row in self.controls.items()}}
        return [measure([row], name, f"{label}/{name}") for label, row in rows.items() for name in names([row])]


def validation_tables(found: Validated) -> list[Table]:
    """Returns the tables of a validation, for its own page or a longer job's: numbers side by side, goals, distance, attacks."""
    return [_recognition(found), _goals(found), _distance(found), _attacks(found)]


def write_validation(out: Path, found: Validated, record: Run) -> Path:
    """Writes page, `report.json` and `report.md` into a folder; returns the page's path."""
    tables = validation_tables(found)
    controls = [controls_table([row], kind) for kind, row in found.controls.items()]
    record.report(found.measures, design=found.design, as_built=found.as_built, camera=found.camera, replayed=found.replayed,
                  device=found.board, goals=_goal_records(found))
    parts = [f"# Validation of design {found.design[:12]}", _who(found), *(as_markdown(table) for table in (*tables, *controls))]
    write_atomically(out / "report.md", ("\n\n".join(parts) + "\n").encode())
    page = Page("Validation on the bench", f"design {found.design[:12]}, captured with {found.camera}")
    page.section("In short", _summary(found))
    for table in tables:
        page.section(table[2]).table(*table)
    _pictures(page, out, found)
    page.section("Controls", "An attack that cannot break a clear camera proves nothing; one that breaks a capped camera cheats."
                 + ("" if controls else " Those of the run stand on the run's own page."))
    for table in controls:
        page.table(*table)
    return page.section("Everything").measures(found.measures).write(out / "validation.html")


# --- tables ---------------------------------------------------------------------------------------
def _columns(found: Validated) -> list[str]:
    return [label for label in COLUMNS if label in found.rows]


def _recognition(found: Validated) -> Table:
    columns = _columns(found)
    known = dict.fromkeys(name for label in columns for name in names([found.rows[label]]) if name in RECOGNISERS)
    body: list[list[Cell]] = [[f"Enrolled people named, {RECOGNISERS[name]}", *(measure([found.rows[c]], name) for c in columns)]
                              for name in RECOGNISERS if name in known]
    body.append(["Strongest attacker on strangers, AUC", *(strongest_measure([found.rows[c]]) for c in columns)])
    body.append(["which", *(strongest_measure([found.rows[c]]).note for c in columns)])
    notes = ["The same people and pictures in every column; people are resampled. Attackers know the design of their column, of the "
             "captured one the as-built design where there is one." + (" The frames were taken before." if found.replayed else "")]
    return ["", *(found.title(c) for c in columns)], body, "The same numbers from both twins and from captured frames", notes


def _goals(found: Validated) -> Table:
    body: list[list[Cell]] = [[what, value, "" if said is None else said] for what, value, said in _found_goals(found)]
    return ["What", "Difference", "Goal"], body, "What building the camera cost, and what adapting recovers", [
        f"Of the same people in pairs. The goal: after adapting, within {WITHIN:g} of the undisturbed camera, the nominal twin. A "
        "difference with a simulated side is called simulated."]


def _found_goals(found: Validated) -> list[tuple[str, Measure, Verdict | None]]:
    nominal, captured, built = found.rows[NOMINAL], found.rows[CAPTURED], found.rows.get(AS_BUILT)
    told: list[tuple[str, Measure, Verdict | None]] = [
        ("Recognition: captured minus nominal twin", compare([captured], [nominal], OWN)[0], None)]
    if built is not None:
        told.append(("Recognition: as-built twin minus captured", compare([built], [captured], OWN)[0], None))
    if captured.sample(ADAPTED).value is not None:
        for name, whose in ((OWN, "nominal twin"), (LONGER, "nominal twin trained on just as long")):
            value, said = compare([_as(captured, ADAPTED)], [_as(nominal, name)], OWN, -WITHIN)
            told.append((f"Recognition: captured, after adapting, minus {whose}: above {-WITHIN:g}", value, said))
    value = compare([captured], [nominal], "strongest_auc")[0]
    told.append((f"Strongest attacker's AUC: captured minus nominal twin: within {WITHIN:g}", value, _near(value)))
    if UNCALIBRATED in found.rows:
        told.append(("Strongest attacker's AUC on captured frames: who knows the as-built design minus who knows the nominal one",
                     compare([captured], [found.rows[UNCALIBRATED]], "strongest_auc")[0], None))
    return told


def _as(row: Row, name: str) -> Row:
    """Returns a row whose recogniser is the one of that name."""
    return row.model_copy(update={"samples": (row.sample(name).model_copy(update={"name": OWN}),)})


def _near(value: Measure) -> Verdict | None:
    """Returns whether a difference is within the goal to both sides."""
    if value.interval is None:
        return None
    low, high = value.interval
    if low >= -WITHIN and high <= WITHIN:
        return "held"
    return "not held" if low > WITHIN or high < -WITHIN else "undecided"


def _goal_records(found: Validated) -> list[dict[str, object]]:
    return [{"what": what, "difference": value.value, "interval": value.interval, "verdict": said}
            for what, value, said in _found_goals(found)]


def _distance(found: Validated) -> Table:
    body: list[list[Cell]] = []
    for label in (c for c in _columns(found) if c != CAPTURED):
        row = found.rows[label]
        body.append([TITLES[label], *(measure([row], f"distance/{name}") for name in (
            "correlation", "correlation/flipped", "correlation/shifted", "beats_controls", "residual", "residual/flipped",
            "residual/shifted", "light"))])
    headers = ["Twin", "Correlation, high-passed", "flipped", "shifted", "above every control", "Residual", "flipped", "shifted",
               "Light, captured over twin"]
    return headers, body, "From the twins to the captured frames", [
        "Sums of the raw pixels of each code pixel, black level off, against the twin's noiseless ones; mean over the enrolled's test "
        "pictures. Flipped: the most alike of three flips of the scene. Residual: |capture - a twin| / |capture| with the best a; no "
        f"picture here had a part in calibrating. Source of the frames: {found.source}."]


def _attacks(found: Validated) -> Table:
    columns = [*_columns(found), *([UNCALIBRATED] if UNCALIBRATED in found.rows else [])]
    told = [name for name in names([found.rows[NOMINAL]]) if name.rpartition("/")[2] in METRICS and not name.startswith("mean_face")]
    body: list[list[Cell]] = [[_said(name), *(measure([found.rows[c]], name) for c in columns)] for name in told]
    return ["Attack", *(found.title(c) for c in columns)], body, "Every attack, on people who are not enrolled", [
        "Each attacker is trained afresh on the codes of the twin it knows, on captured ones too where such were taken of its people. "
        "Chance is AUC 0.5. `scene` is the public network on the clear scene, which no camera has seen."]


def _said(name: str) -> str:
    attack, _, metric = name.rpartition("/")
    return f"{attack.replace('_', ' ').replace('/', ', ')}: {METRICS[metric]}"


# --- words and pictures ---------------------------------------------------------------------------
def _who(found: Validated) -> str:
    built = "no as-built design was given" if found.as_built is None else f"as-built design {found.as_built[:12]}"
    return f"Captured frames: {found.source}, by {found.camera}; {built}. {found.rows[NOMINAL].cohort} Mean [95 % interval over people]."


def _summary(found: Validated) -> str:
    said = [f"The run's recogniser names {measure([found.rows[c]], OWN).text(2)} ({TITLES[c].lower()})" for c in _columns(found)]
    after = measure([found.rows[CAPTURED]], ADAPTED)
    words = "; ".join(said) + (f"; on captured frames after adapting {after.text(2)}." if after.value is not None else ".")
    return f"{words}\n\n{_who(found)}"


def _pictures(page: Page, out: Path, found: Validated) -> None:
    rows = {label: _held(out, label) for label in _columns(found)}
    page.section("What each camera records and what attackers make of it", "People who are not enrolled.")
    people = np.unique(rows[NOMINAL]["person"], return_index=True)[1][:PEOPLE_SHOWN]
    for person in people:
        for label, pictures in rows.items():
            kept = [name for name in SHOWN if name in pictures]
            page.figure(figures.image_row([shown(pictures[n][person], n) for n in kept], [CAPTIONS[n] for n in kept], height=126),
                        f"Stranger {int(rows[NOMINAL]['person'][person]) + 1}, {TITLES[label].lower()}.",
                        "scene, measurement and what attackers recover, side by side")


def _held(out: Path, label: str) -> dict[str, NDArray[np.float32]]:
    return {name: images.numpy() for name, images in load_file(out / "rows" / label / "pictures.safetensors").items()}


def adapted_tables(measures: Sequence[Measure]) -> list[Table]:
    """Returns the table of what adapting recovers on the twins alone."""
    body: list[list[Cell]] = [[one.name.replace("_", "-").replace("/", ", "), one] for one in measures]
    return [(["Recognition of the enrolled (simulated)", "Share"], body, "What adapting recovers, on the twins", [
        "Validation pictures may choose how to adapt; test pictures chose nothing."])]

"""The page of one design for clips: what the camera sees as it moves, what attackers got, and what else was compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from optics_sim.attacks.evaluate import Row
from optics_sim.design import CameraDesign
from optics_sim.learning.journal import read_losses
from optics_sim.report import figures
from optics_sim.report.bdq_table import ATTACKS, cost_table, learned_table, restored_table, trade_table
from optics_sim.report.clip_tables import CONTROLS, attacks_table, controls_table, scatter
from optics_sim.report.films import side_by_side
from optics_sim.report.lensless_table import Table
from optics_sim.report.page import Page
from optics_sim.report.rows import measure, names
from optics_sim.run import Run
from optics_sim.tables.bdq import variants
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, read_clip_rows

FRAME_S = 0.1
CAPTIONS = {"scene": "scene", "code": "code", "restored": "restored by a 3D U-Net"}
Pictures = dict[str, NDArray[np.float32]]


def write_clip_design(out: Path, setting: ClipSetting, main: str, record: Run, exported: Sequence[Table] = ()) -> Path:
    """Writes `report.json` and the page of a kept design into a run folder; returns the page's path."""
    rows = read_clip_rows(out, variants())
    folder, design = out / ClipTask(label=main, seed=setting.experiment.seed).folder, CameraDesign.load(out / "design")
    measures = [measure(group, name, f"{label}/{name}") for label, group in rows.items() for name in names(group)]
    record.report(measures, design=design.digest, parent=design.parent)
    page = _opening(setting, design, rows[main][0])
    _films(page, out, setting, main)
    page.section("Trade-off", "To the right, actions are recognised better; lower, the strongest attacker names fewer actors.")
    page.figure(scatter(rows), "Encoders compared, each with freshly trained networks.", "scatter plot of action and identity accuracy")
    tables = (trade_table(rows), attacks_table(rows, "Encoder", ATTACKS), restored_table(rows), learned_table(out, rows), cost_table(rows))
    for table in tables:
        page.table(*table)
    page.section("Controls", "An attack that cannot break a clear camera proves nothing; one that breaks a capped camera cheats.")
    for kind in CONTROLS:
        page.table(*controls_table(rows[kind], kind))
    _training(page, folder)
    for table in exported:
        page.section(table[2]).table(*table)
    return page.section("Everything").measures(measures).write(out / "design.html")


def _opening(setting: ClipSetting, design: CameraDesign, row: Row) -> Page:
    drawn = setting.data.startswith("synthetic:")
    page = Page("A privacy camera for actions", f"design {design.digest[:12]}, on {'drawn people' if drawn else Path(setting.data).name}")
    page.callout("simulated", "Every number on this page comes from the simulator: light, sensor and attackers are computed."
                 + (" The people are drawn by a generator; nobody on this page exists." if drawn else ""))
    action, identity = row.sample("accuracy").measure(), row.sample("strongest").measure()
    return page.section("In short", f"The camera's codes name the action of people never seen in {action.text(2)} of clips. The strongest "
                        f"attacker ({identity.note}), who knows the same people from other recordings, names the actor in "
                        f"{identity.text(2)}. One seed: a claim needs `privcam table bdq`.").section("Who is who", row.cohort)


def _films(page: Page, out: Path, setting: ClipSetting, main: str) -> None:
    page.section("What the camera sees", "People that attackers know from other recordings.")
    for label in (main, "raw"):
        held = load_file(out / ClipTask(label=label, seed=setting.experiment.seed).folder / "pictures.safetensors")
        pictures: Pictures = {name: clips.numpy() for name, clips in held.items()}
        for number in range(len(pictures["scene"]) if label == main else 1):
            clips = {CAPTIONS[name]: pictures[name][number] for name in CAPTIONS if name in pictures}
            radiance = [CAPTIONS[name] for name in ("scene", "restored")]
            page.figure(side_by_side(clips, radiance, FRAME_S), f"{label}, clip {number + 1}.",
                        "moving pictures side by side: scene, code, and what a decoder made of it")


def _training(page: Page, folder: Path) -> None:
    curves = read_losses(folder / "training")
    chosen = {name: curve for name, curve in curves.items() if name.endswith(("accuracy", "entropy"))}
    if chosen:
        page.section("Training").figure(figures.curve_figure(chosen, "epoch", "value"),
                                        "The game: the camera's recogniser, and the adversary on single frames.", "training curves")

"""The page, the report and the Markdown of the BDQ table, from the rows that are there."""

from __future__ import annotations

from pathlib import Path

from optics_sim.design import CameraDesign
from optics_sim.encoders.cost import BDQ_PUBLISHED, WU
from optics_sim.encoding import BdqEncoder
from optics_sim.report import metrics
from optics_sim.report.clip_tables import Rows, attacks_table, cameras, orderings_table, strongest_text, write_clip_tables
from optics_sim.report.lensless_table import Table
from optics_sim.report.page import Cell
from optics_sim.report.rows import measure
from optics_sim.run import Run
from optics_sim.tables import published_clips as published
from optics_sim.tables.bdq import ALPHAS, variants
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, read_clip_rows

ATTACKS = (
    "frame: one frame alone; frames: all frames of a clip; gait: a 3D network; sum: on running sums of codes; restored: on what a "
    "3D U-Net reconstructs; linear: discriminants of each pixel's mean and spread over time."
)


def write_bdq_table(out: Path, setting: ClipSetting, record: Run) -> Path:
    """Writes page, `report.json` and `table.md` into the table's folder; returns the page's path."""
    rows = read_clip_rows(out, variants())
    tables = [trade_table(rows), attacks_table(rows, "Encoder", ATTACKS), restored_table(rows), learned_table(out, rows),
              orderings_table(rows, published.ORDERINGS), _sweep(rows), cost_table(rows)]
    heading = ("Blur, difference, quantise", "actions stay recognisable; who acts should not")
    return write_clip_tables(out, setting, record, rows, heading, tables, published.ORDERINGS)


def trade_table(rows: Rows) -> Table:
    """Returns the table of actions recognised and identities attacked, beside published figures."""
    headers = ["Encoder", "Action accuracy", "Strongest identity attack", "which", "(A + 1 - P) / 2", "Paper's action, KTH",
               "Paper's identity, KTH"]
    body: list[list[Cell]] = []
    for label, group in cameras(rows):
        paper = published.KTH.get(label, (None, None))
        body.append([label, measure(group, "accuracy"), measure(group, "strongest"), strongest_text(group), measure(group, "trade"),
                     *paper])
    return headers, body, "What is recognised, and who", [f"Paper: {published.SOURCE}. Orderings may be compared, numbers may not."]


def restored_table(rows: Rows) -> Table:
    """Returns the table of what the 3D U-Net reconstructs, beside the mean clip."""
    columns = ("restored/psnr", "mean_clip/psnr", "restored/ssim", "mean_clip/ssim")
    body: list[list[Cell]] = [[label, *(measure(group, name) for name in columns)] for label, group in cameras(rows)]
    return ["Encoder", "PSNR, dB", "of the mean clip", "SSIM", "of the mean clip"], body, "What a 3D U-Net reconstructs", [
        "The mean clip is what an attacker has without any camera."]


def learned_table(out: Path, rows: Rows) -> Table:
    """Returns the table of the learned blur, range and thresholds."""
    body: list[list[Cell]] = []
    for label, group in cameras(rows):
        for row in group:
            spec = CameraDesign.load(out / ClipTask(label=label, seed=row.seed).folder).encoder
            if isinstance(spec, BdqEncoder):
                ends = f"{spec.thresholds[0]:.1f} to {spec.thresholds[-1]:.1f}" if spec.quantise else "-"
                body.append([label, row.seed, f"{spec.sigma_px:.3f}" if spec.blur else "-",
                             f"{spec.input_range[0]:.1f} to {spec.input_range[1]:.1f}", ends])
    return ["Encoder", "Seed", "Sigma, px", "Input range, code levels", "Thresholds, code levels"], body, "What was learned", []


def _sweep(rows: Rows) -> Table:
    labels = [label for label in ("BDQ", *(f"BDQ alpha {alpha:g}" for alpha in ALPHAS)) if label in rows]
    points = [(measure(rows[label], "accuracy").value or 0.0, 1 - (measure(rows[label], "strongest").value or 0.0))
              for label in labels]
    front = {labels[index] for index in metrics.pareto_front(points)} if points else set()
    body: list[list[Cell]] = [[label, *(measure(rows[label], name) for name in ("accuracy", "strongest")),
                               "yes" if label in front else "no"] for label in labels]
    area = f"{metrics.hypervolume_2d(points, (0.0, 0.0)):.3f}" if points else "-"
    return ["Encoder", "Action accuracy", "Strongest identity attack", "on the front"], body, "The weight of the adversary", [
        f"Area below the front of (action accuracy, 1 - identity), from (0, 0): {area}."]


def cost_table(rows: Rows) -> Table:
    """Returns the table of parameters and operations, beside published ones."""
    counts = ("parameters", "operations_paper", "operations")
    body: list[list[Cell]] = [[label, *(round(measure(group, name).value or 0) for name in counts)]
                              for label, group in cameras(rows) if group[0].sample("operations").value is not None]
    for name, cost in (("BDQ, published", BDQ_PUBLISHED), ("Wu et al., published", WU)):
        body.append([name, cost.parameters, round(cost.flop), None])
    return ["Encoder", "Parameters", "FLOP, blur only (the paper's count)", "FLOP, all of it"], body, "Cost of one clip", [
        "Published: 16 frames of 224x224x3."]

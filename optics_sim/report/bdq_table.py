"""The page, the report and the Markdown of the BDQ table, from the rows that are there."""

from __future__ import annotations

from pathlib import Path

from optics_sim.design import CameraDesign, write_atomically
from optics_sim.encoders.cost import BDQ_PUBLISHED, WU
from optics_sim.encoding import BdqEncoder
from optics_sim.measure import Measure
from optics_sim.report import metrics
from optics_sim.report.clip_tables import CONTROLS, Rows, cameras, cohort_note, controls_table, scatter, strongest_text
from optics_sim.report.lensless_table import Table, as_markdown
from optics_sim.report.page import Cell, Page
from optics_sim.report.rows import compare, measure, names
from optics_sim.run import Run
from optics_sim.tables import published_clips as published
from optics_sim.tables.bdq import ALPHAS, variants
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, read_clip_rows


def write_bdq_table(out: Path, setting: ClipSetting, record: Run) -> Path:
    """Writes page, `report.json` and `table.md` into the table's folder; returns the page's path."""
    rows = read_clip_rows(out, variants())
    measures = [measure(group, name, f"{label}/{name}") for label, group in rows.items() for name in names(group)]
    plain = {**setting.model_dump(mode="json", exclude={"out"}), "data": Path(setting.data).name}
    record.report(measures, setting=plain, orderings=_ordering_records(rows), cohort=cohort_note(rows))
    tables = _tables(out, rows)
    parts = [f"# {_title(setting, rows)}", f"Everything is simulated. {cohort_note(rows)} Mean [95 % interval over people and seeds]."]
    write_atomically(out / "table.md", ("\n\n".join([*parts, *map(as_markdown, tables)]) + "\n").encode())
    return _page(setting, rows, tables, measures).write(out / "table.html")


def _title(setting: ClipSetting, rows: Rows) -> str:
    seeds = max((len(group) for group in rows.values()), default=0)
    return f"Blur, difference, quantise on {Path(setting.data).name}, {seeds} seed(s)"


def _tables(out: Path, rows: Rows) -> list[Table]:
    found = [trade_table(rows), attacks_table(rows),
             restored_table(rows), learned_table(out, rows), _orderings(rows), _sweep(rows), cost_table(rows)]
    return found + [controls_table(rows[kind], kind) for kind in CONTROLS if kind in rows]


def _page(setting: ClipSetting, rows: Rows, tables: list[Table], measures: list[Measure]) -> Page:
    page = Page(_title(setting, rows), "actions stay recognisable; who acts should not")
    page.section("Who is who", cohort_note(rows))
    page.figure(scatter(rows), "Actions recognised against the strongest identity attack; down and to the right is better.",
                "scatter plot of action accuracy and the strongest identity attack, one point an encoder")
    for table in tables:
        page.section(table[2])
        page.table(*table)
    return page.section("Everything").measures(measures)


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


def attacks_table(rows: Rows) -> Table:
    """Returns the table of every identity attacker on every encoder."""
    attacks = list(dict.fromkeys(name for _, group in cameras(rows) for name in names(group) if name.startswith("identity/")))
    body: list[list[Cell]] = [[label, *(measure(group, name) for name in attacks)] for label, group in cameras(rows)]
    return ["Encoder", *(name.removeprefix("identity/") for name in attacks)], body, "Who was it? Every attacker, trained afresh", [
        "frame: one frame alone; frames: all frames of a clip; gait: a 3D network; sum: on running sums of codes; restored: on what a "
        "3D U-Net reconstructs; linear: discriminants of each pixel's mean and spread over time."]


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


def _ordering_records(rows: Rows) -> list[dict[str, object]]:
    records: list[dict[str, object]] = []
    for name, above, below, says in published.ORDERINGS:
        found, said = compare(rows.get(above, []), rows.get(below, []), name)
        records.append({"measure": name, "above": above, "below": below, "says": says, "difference": found.value,
                        "interval": found.interval, "verdict": said})
    return records


def _orderings(rows: Rows) -> Table:
    body: list[list[Cell]] = []
    titles = {"strongest": "identity", "accuracy": "action", "trade": "(A + 1 - P) / 2"}
    for name, above, below, says in published.ORDERINGS:
        found, said = compare(rows.get(above, []), rows.get(below, []), name)
        body.append([f"{titles[name]}: {above} above {below}", says, found, said or "not run"])
    return ["Ordering", "The paper says", "Difference here", "Verdict"], body, "Does the paper's ordering hold?", [
        "Held when the whole interval of the difference is above zero, not held when it is below, undecided otherwise."]


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
    body: list[list[Cell]] = [[label, measure(group, "parameters"), measure(group, "operations_paper"), measure(group, "operations")]
                              for label, group in cameras(rows) if group[0].sample("operations").value is not None]
    for name, cost in (("BDQ, published", BDQ_PUBLISHED), ("Wu et al., published", WU)):
        body.append([name, cost.parameters, cost.flop, None])
    return ["Encoder", "Parameters", "FLOP, blur only (the paper's count)", "FLOP, all of it"], body, "Cost of one clip", [
        "Published: 16 frames of 224x224x3."]

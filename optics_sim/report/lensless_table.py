"""The page, the report and the CSV of the lensless table, from the rows that are there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from optics_sim.attacks.evaluate import Row
from optics_sim.design import CameraDesign, LenslessOptics, write_atomically
from optics_sim.measure import Measure
from optics_sim.report import figures
from optics_sim.report.page import Cell, Page
from optics_sim.report.rows import compare, control_findings, measure, names, strongest_measure
from optics_sim.run import Run
from optics_sim.tables import published
from optics_sim.tables.lensless import CONTROLS, FIXED, LEARNED, REGIMES, Setting, read_rows

Rows = dict[tuple[str, str], list[Row]]
TITLES = {"pinhole": "Pinhole", "open": "Full open", "random": "Random", "lwoc": "Learned, no constraint", "sim": "Learned, Sim",
          "tv": "Learned, TV", "inv": "Learned, Inv", "rip": "Learned, RIP", "identity": "Identity camera", "black": "Black camera"}
REGIME_TITLES = {"quarter_well": "exposure set per mask to a quarter of the well", "common": "one exposure for all masks"}
RECOVERIES = ("mean_face", "wiener", "tikhonov", "fista", "admm_tv", "wrong_mask", "wrong_cells_1%", "wrong_cells_5%", "decoder")
RECOVERED = (("public/auc", "Public face network on what was recovered: verification AUC"),
             ("psnr", "Recovered against true scene: PSNR, dB"), ("ssim", "Recovered against true scene: SSIM"),
             ("nmi", "Recovered against true scene: normalised mutual information, 1 to 2"),
             ("face_found", "Share of recovered pictures in which a face detector finds a face"))
Table = tuple[list[str], list[list[Cell]], str, list[str]]
GOAL = 0.10  # learned above random


def write_table(out: Path, setting: Setting, record: Run) -> Path:
    """Writes page, `report.json` and `table.csv` into the table's folder; returns the page's path."""
    rows = read_rows(out)
    measures = _all_measures(rows)
    record.report(measures, setting=_named(setting), orderings=_ordering_records(rows),
                  weights=json.loads((out / "weights.json").read_text(encoding="utf-8")))
    write_atomically(out / "table.csv", _csv(rows).encode())
    write_atomically(out / "table.md", _markdown(setting, rows).encode())
    return _page(out, setting, rows, measures).write(out / "table.html")


def _named(setting: Setting) -> dict[str, object]:
    """Returns the setting with names in place of this machine's paths, so that a report can be shown to others."""
    plain = setting.model_dump(mode="json", exclude={"out"})
    named = {key: Path(plain[key]).name for key in ("data", "verifier", "detector", "start") if plain[key]}
    return {**plain, **named, "others": [Path(other).name for other in setting.others]}


def _markdown(setting: Setting, rows: Rows) -> str:
    """Returns the table's heart as Markdown: recognition, attacks on strangers, orderings and goals; no picture."""
    size = (setting.scene[0], setting.cells[0])
    seeds = max((len(group) for group in rows.values()), default=0)
    parts = [f"# Lensless privacy camera, scene {size[0]}, mask {size[1]}, {Path(setting.data).name}, {seeds} seed(s)",
             f"Everything is simulated. {next(iter(rows.values()))[0].cohort} Mean [95 % interval over people and seeds]."]
    for regime in (name for name in REGIMES if _masks(rows, name)):
        parts.append(f"## {REGIME_TITLES[regime].capitalize()}")
        tables = [_recognition(rows, regime, size), _identity(rows, regime)]
        tables += [_recovered(rows, regime, metric, caption) for metric, caption in RECOVERED]
        parts += [as_markdown(table) for table in tables]
    parts += ["## Orderings and goals", as_markdown(_orderings(rows, size)), as_markdown(_goals(rows)), as_markdown(_curve(rows))]
    parts += [as_markdown(controls_table(rows[(kind, "quarter_well")], kind)) for kind in CONTROLS if (kind, "quarter_well") in rows]
    return "\n\n".join(parts) + "\n"


def as_markdown(table: Table) -> str:
    """Returns a table as Markdown, its caption above and its notes below."""
    headers, body, caption, notes = table
    lines = [f"**{caption}**", "", "| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    lines += ["| " + " | ".join(_cell_text(cell) for cell in row) + " |" for row in body]
    return "\n".join([*lines, "", *notes]).rstrip()


def _cell_text(cell: Cell) -> str:
    if isinstance(cell, Measure):
        return cell.text(3 if cell.unit == "1" else 2)
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return "-" if cell is None else str(cell)


def _all_measures(rows: Rows) -> list[Measure]:
    return [measure(group, name, f"{label}/{regime}/{name}") for (label, regime), group in rows.items() for name in names(group)]


def _csv(rows: Rows) -> str:
    columns = sorted({name for group in rows.values() for name in names(group)})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["mask", "exposure", "seeds", *(f"{c}{part}" for c in columns for part in ("", " low", " high"))])
    for (label, regime), group in rows.items():
        cells: list[object] = [label, regime, len(group)]
        for name in columns:
            found = measure(group, name)
            cells += [found.value, *(found.interval or (None, None))]
        writer.writerow(cells)
    return text.getvalue()


def _page(out: Path, setting: Setting, rows: Rows, measures: list[Measure]) -> Page:
    size = (setting.scene[0], setting.cells[0])
    seeds = max((len(group) for group in rows.values()), default=0)
    page = Page(f"Lensless privacy camera, scene {size[0]}, mask {size[1]}", f"{setting.data.rsplit('/', 1)[-1]}, {seeds} seed(s)")
    first = next(iter(rows.values()))[0]
    page.section("Who is who", first.cohort)
    for regime in (name for name in REGIMES if _masks(rows, name)):
        page.section(f"Recognition and masks: {REGIME_TITLES[regime]}")
        page.table(*_recognition(rows, regime, size))
        page.section(f"Attacks on strangers: {REGIME_TITLES[regime]}")
        page.table(*_identity(rows, regime))
        for metric, caption in RECOVERED:
            page.table(*_recovered(rows, regime, metric, caption))
        page.figure(tradeoff(_masks(rows, regime)), "Recognition of the enrolled against the strongest attacker on strangers.",
                    "scatter plot of accuracy and strongest AUC, one point a mask")
    page.section("Does the paper's ordering hold?", "The interval is that of the difference in accuracy, in pairs of the same seeds "
                 "and people: held when all of it is above zero, not held when all is below, undecided otherwise.")
    page.table(*_orderings(rows, size))
    page.section("Goals")
    page.table(*_goals(rows))
    page.section("Pairs an attacker needs")
    page.table(*_curve(rows))
    page.section("Controls", "An attack that cannot break a clear camera proves nothing; one that breaks a capped camera cheats.")
    for kind in CONTROLS:
        if (kind, "quarter_well") in rows:
            page.table(*controls_table(rows[(kind, "quarter_well")], kind))
    page.section("Masks")
    page.gallery(_mask_pictures(out, rows))
    return page.section("Everything").measures(measures)


def _masks(rows: Rows, regime: str) -> list[tuple[str, list[Row]]]:
    return [(label, rows[(label, regime)]) for label in (*FIXED, *LEARNED) if (label, regime) in rows]


def _recognition(rows: Rows, regime: str, size: tuple[int, int]) -> Table:
    accuracy, masks = published.ACCURACY.get(size, {}), published.MASKS.get(size, {})
    headers = ["Mask", "Accuracy", "Paper, other data", "Accuracy, shadow without diffraction (seed 0)", "Blurriness", "Paper",
               "Aperture ratio", "Paper", "Light throughput", "Condition number", "Exposure"]
    body: list[list[Cell]] = []
    for label, group in _masks(rows, regime):
        paper = masks.get(label, (None, None))
        body.append([TITLES[label], measure(group, "accuracy"), accuracy.get(label, 0.0) / 100 if label in accuracy else None,
                     measure(group, "accuracy_geometric"), measure(group, "blurriness"), paper[0], measure(group, "aperture"),
                     paper[1], measure(group, "throughput"), measure(group, "condition"), measure(group, "exposure")])
    return headers, body, "What the enrolled lose, and what the mask looks like", [
        f"Paper: {published.SOURCE}. Other data and another network: orderings may be compared, numbers may not.",
        "Accuracy is the identity retrained on the enrolled: what the code carries, a use and not a privacy figure.",
        "Exposures above the sensor's limit would need several frames."]


def _identity(rows: Rows, regime: str) -> Table:
    headers = ["Mask", "Strongest attacker, AUC", "which", "Network on codes, AUC", "Network, rank-1", "LDA on codes, AUC",
               "LDA, rank-1", "Public network on the code, AUC", "Face found in the code", "Public network on the clear scene, AUC"]
    body: list[list[Cell]] = []
    for label, group in _masks(rows, regime):
        best = strongest_measure(group)
        body.append([TITLES[label], best, best.note, *(measure(group, f"code/{attack}/{metric}") for attack in ("network", "lda")
                     for metric in ("auc", "rank1")), measure(group, "code/public/auc"), measure(group, "code/face_found"),
                     measure(group, "scene/public/auc")])
    return headers, body, "Who is it? People not enrolled, whom no attacker has seen", ["Chance is AUC 0.5."]


def _recovered(rows: Rows, regime: str, metric: str, caption: str) -> Table:
    first = "scene" if metric in ("public/auc", "face_found") else None
    columns = [*([first] if first else []), *RECOVERIES]
    body: list[list[Cell]] = [[TITLES[label], *(measure(group, f"{name}/{metric}") for name in columns)]
                              for label, group in _masks(rows, regime)]
    notes = ["The mean face is what an attacker has without any camera."] if metric in ("psnr", "ssim", "nmi") else []
    return ["Mask", *(name.replace("_", " ") for name in columns)], body, caption, notes


def tradeoff(masks: Iterable[tuple[str, Sequence[Row]]]) -> str:
    """Returns the SVG of accuracy against the strongest attacker, one point for each (label, rows over seeds)."""
    points = []
    for label, group in masks:
        accuracy, best = measure(group, "accuracy"), strongest_measure(group)
        points.append((TITLES[label], accuracy.value or 0.0, accuracy.interval, best.value or 0.5, best.interval))
    return figures.tradeoff_figure(points, "accuracy on the enrolled", "strongest attacker's AUC on strangers", better=(1, -1), chance=0.5)


def _ordering_records(rows: Rows) -> list[dict[str, object]]:
    records: list[dict[str, object]] = []
    for regime in REGIMES:
        for above, below in published.ORDERINGS:
            found, said = compare(rows.get((above, regime), []), rows.get((below, regime), []), "accuracy")
            records.append({"above": above, "below": below, "exposure": regime, "difference": found.value,
                            "interval": found.interval, "verdict": said})
    return records


def _orderings(rows: Rows, size: tuple[int, int]) -> Table:
    paper = published.ACCURACY.get(size, {})
    body: list[list[Cell]] = []
    for record in _ordering_records(rows):
        above, below = str(record["above"]), str(record["below"])
        gap = paper[above] - paper[below] if above in paper and below in paper else None
        found, said = compare(rows.get((above, str(record["exposure"])), []), rows.get((below, str(record["exposure"])), []), "accuracy")
        body.append([f"{TITLES[above]} above {TITLES[below]}", str(record["exposure"]).replace("_", " "),
                     None if gap is None else gap / 100, found, said or "not run"])
    return ["Ordering", "Exposure", "Paper's gap, other data", "Difference here", "Verdict"], body, "Orderings", []


def _goals(rows: Rows) -> Table:
    body: list[list[Cell]] = []
    for regime in REGIMES:
        found, said = compare(rows.get(("lwoc", regime), []), rows.get(("random", regime), []), "accuracy", GOAL)
        body.append([f"learned at least {GOAL:.2f} above random ({regime})", found, said or "not run"])
        for label in ("sim", "tv", "inv", "rip"):
            body.append(_loss_goal(rows, regime, label))
    return ["Goal", "Measured", "Verdict"], body, "Goals", [
        "For each loss the attack that it lowers most surely is shown; the smallest of many differences is looked for, so read "
        "an interval that only just excludes zero as undecided."]


def _loss_goal(rows: Rows, regime: str, label: str) -> list[Cell]:
    mine, free = rows.get((label, regime), []), rows.get(("lwoc", regime), [])
    title = f"{TITLES[label]} better than unconstrained in an attack, accuracy within 5 points ({regime})"
    cost, _ = compare(free, mine, "accuracy")
    if not mine or not free or cost.value is None:
        return [title, None, "not run"]
    attacks = ["strongest_auc", *(n for n in names(mine) if n.rpartition("/")[2] in ("auc", "psnr", "ssim") and "scene" not in n)]
    gains = [compare(free, mine, name)[0] for name in attacks if not name.startswith(("mean_face", "wrong"))]
    sure = [g for g in gains if g.value is not None and g.interval is not None]
    best = max(sure, key=lambda g: (g.interval or (0.0, 0.0))[0] / max(abs(g.value or 0.0), 1e-9), default=None)
    if best is None or best.interval is None:
        return [title, None, "not run"]
    equal = cost.value <= 0.05
    said = "held" if best.interval[0] > 0 and equal else ("not held" if not equal else "undecided")
    return [f"{title}: accuracy {-cost.value:+.3f}, {best.name} lowered by", best, said]


def _curve(rows: Rows) -> Table:
    body: list[list[Cell]] = []
    for label in ("random", "lwoc"):
        group = rows.get((label, "quarter_well"), [])
        for title, name in (("100", "decoder_100"), ("1,000", "decoder"), ("3,000 or all there are", "decoder_3000")):
            body.append([TITLES[label], title, *(measure(group, f"{name}/{m}") if group else None
                                                 for m in ("psnr", "ssim", "public/auc", "face_found"))])
    return ["Mask", "Plaintext pairs", "PSNR, dB", "SSIM", "Public network, AUC", "Face found"], body, "Learned decoder", [
        "Pairs are pictures of other people; how many there are in all is said under \"Who is who\"."]


def controls_table(group: Sequence[Row], kind: str) -> Table:
    """Returns the table of a control camera: each attack, what was demanded of it, and whether it passed."""
    findings = control_findings(group, kind)
    passed = sum(ok for *_, ok in findings)
    body: list[list[Cell]] = [[name, value, demand, "passed" if ok else "FAILED"] for name, value, demand, ok in findings]
    return ["Attack", "Value", "Demanded", "Control"], body, f"{TITLES[kind]}: {passed} of {len(findings)} passed", []


def _mask_pictures(out: Path, rows: Rows) -> list[tuple[bytes | str, str]]:
    pictures: list[tuple[bytes | str, str]] = []
    for label, group in _masks(rows, "quarter_well"):
        design = CameraDesign.load(out / f"rows/{label}-quarter_well-seed{group[0].seed}")
        optics = design.optics
        if isinstance(optics, LenslessOptics) and optics.pattern.kind == "rows":
            pictures.append((figures.mask_png_with_scale(optics.pattern.array(), optics.cell_m), f"{TITLES[label]} (seed {group[0].seed})"))
    return pictures

"""What the pages of the tables on clips share: who is who, the scatter plot, the controls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optics_sim.attacks.evaluate import Row
from optics_sim.design import write_atomically
from optics_sim.measure import Measure
from optics_sim.report import figures
from optics_sim.report.intervals import Verdict
from optics_sim.report.lensless_table import Table, as_markdown
from optics_sim.report.page import Cell, Page
from optics_sim.report.rows import compare, measure, names
from optics_sim.run import Run
from optics_sim.tables.clip_rows import ClipSetting
from optics_sim.tables.published_clips import Ordering

Rows = dict[str, list[Row]]
CONTROLS = ("identity", "black")


def cohort_note(rows: Rows) -> str:
    """Returns who trains, is tested and is attacked, as the first row says it: each seed draws anew."""
    first = next(iter(rows.values()))[0]
    return f"Seed {first.seed}: {first.cohort.removesuffix('.')}."


def cameras(rows: Rows) -> list[tuple[str, list[Row]]]:
    """Returns the rows that are no controls."""
    return [(label, group) for label, group in rows.items() if label not in CONTROLS]


def strongest_text(group: list[Row]) -> str:
    """Returns the names of the strongest attacks, one for each seed, repeated ones once."""
    return ", ".join(dict.fromkeys(row.sample("strongest").note for row in group))


def scatter(rows: Rows) -> str:
    """Returns the SVG of action accuracy against the strongest identity attack, one point a camera."""
    points = []
    for label, group in cameras(rows):
        action, identity = measure(group, "accuracy"), measure(group, "strongest")
        points.append((label, action.value or 0.0, action.interval, identity.value or 0.0, identity.interval))
    return figures.tradeoff_figure(points, "action accuracy on actors never seen", "strongest identity attack", better=(1, -1), chance=None)


def controls_table(group: list[Row], kind: str) -> Table:
    """Returns the table of a control camera: each attack, what was demanded of it, and whether it passed."""
    body: list[list[Cell]] = []
    passed = 0
    for row in group:
        for found in (s for s in row.samples if s.name.startswith("identity/")):
            low, high = found.shuffled or (0.0, 0.0)
            value = found.value or 0.0
            good = value > high if kind == "identity" else low - 1e-9 <= value <= high + 1e-9
            passed += good
            demand = f"above {high:.3f}" if kind == "identity" else f"{low:.3f} to {high:.3f}"
            body.append([found.name, found.measure(), f"{demand} (people shuffled)", "passed" if good else "FAILED"])
    return ["Attack", "Value", "Demanded", "Control"], body, f"The {kind} camera: {passed} of {len(body)} passed", []


# --- the whole table ------------------------------------------------------------------------------
def write_clip_tables(out: Path, setting: ClipSetting, record: Run, rows: Rows, heading: tuple[str, str], tables: Sequence[Table],
                      orderings: Sequence[Ordering]) -> Path:
    """Writes page, `report.json` and `table.md` into the table's folder; returns the page's path. `heading`: title and subtitle."""
    measures = [measure(group, name, f"{label}/{name}") for label, group in rows.items() for name in names(group)]
    plain = {**setting.model_dump(mode="json", exclude={"out", "verifier", "detector"}), "data": Path(setting.data).name}
    record.report(measures, setting=plain, orderings=ordering_records(rows, orderings), cohort=cohort_note(rows))
    seeds = max((len(group) for group in rows.values()), default=0)
    title = f"{heading[0]} on {Path(setting.data).name}, {seeds} seed(s)"
    tables = [*tables, *(controls_table(rows[kind], kind) for kind in CONTROLS if kind in rows)]
    parts = [f"# {title}", f"Everything is simulated. {cohort_note(rows)} Mean [95 % interval over people and seeds]."]
    write_atomically(out / "table.md", ("\n\n".join([*parts, *map(as_markdown, tables)]) + "\n").encode())
    page = Page(title, heading[1]).section("Who is who", cohort_note(rows))
    page.figure(scatter(rows), "Actions recognised against the strongest identity attack; down and to the right is better.",
                "scatter plot of action accuracy and the strongest identity attack, one point a camera")
    for table in tables:
        page.section(table[2])
        page.table(*table)
    return page.section("Everything").measures(measures).write(out / "table.html")


# --- attacks and orderings ------------------------------------------------------------------------
TITLES = {"strongest": "identity", "accuracy": "action", "trade": "(A + 1 - P) / 2", "inverted/psnr": "GAP-TV, dB"}


def attacks_table(rows: Rows, first: str, note: str) -> Table:
    """Returns the table of every identity attacker on every camera; `first` heads the column of cameras."""
    attacks = list(dict.fromkeys(name for _, group in cameras(rows) for name in names(group) if name.startswith("identity/")))
    body: list[list[Cell]] = [[label, *(measure(group, name) for name in attacks)] for label, group in cameras(rows)]
    return [first, *(name.removeprefix("identity/") for name in attacks)], body, "Who was it? Every attacker, trained afresh", [note]


def ordering_records(rows: Rows, orderings: Sequence[Ordering]) -> list[dict[str, object]]:
    """Returns the orderings with their difference, interval and verdict, for the report."""
    records: list[dict[str, object]] = []
    for ordering in orderings:
        found, said = _compared(rows, ordering)
        records.append({**ordering._asdict(), "difference": found.value, "interval": found.interval, "verdict": said})
    return records


def orderings_table(rows: Rows, orderings: Sequence[Ordering]) -> Table:
    """Returns the table of orderings and whether they held here."""
    body: list[list[Cell]] = []
    for ordering in orderings:
        found, said = _compared(rows, ordering)
        title = f"{TITLES.get(ordering.measure, ordering.measure)}: {ordering.above} above {ordering.below}"
        body.append([title, ordering.says, ordering.who, found, said or "not run"])
    return ["Ordering", "What is said", "Who says it", "Difference here", "Verdict"], body, "Does it hold here?", [
        "Held when the whole interval of the difference is above zero, not held when it is below, undecided otherwise."]


def _compared(rows: Rows, ordering: Ordering) -> tuple[Measure, Verdict | None]:
    return compare(rows.get(ordering.above, []), rows.get(ordering.below, []), ordering.measure)

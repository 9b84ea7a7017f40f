"""The table of what rounding to integers does to recognition and to each attack: rows of one encoder, judged on several codes."""

from __future__ import annotations

from pathlib import Path

from optics_sim.report.clip_tables import Rows, attacks_table, cameras, strongest_text, write_clip_tables
from optics_sim.report.lensless_table import Table
from optics_sim.report.page import Cell
from optics_sim.report.rows import compare, measure, names
from optics_sim.run import Run
from optics_sim.tables.clip_rows import ClipSetting

NOTE = "float: the table's own rows. The others: the same design, its codes computed by what was exported, every network trained afresh."


def write_integer_table(out: Path, setting: ClipSetting, record: Run, rows: Rows, first: str, title: str) -> Path:
    """Writes page, `report.json` and `table.md` into a folder; returns the page's path. `first` is the label of the float rows."""
    tables = [_trade(rows), attacks_table(rows, "Codes of", NOTE), _differences(rows, first)]
    return write_clip_tables(out, setting, record, rows, (title, "floats and integers side by side"), tables, ())


def _trade(rows: Rows) -> Table:
    body: list[list[Cell]] = []
    for label, group in cameras(rows):
        body.append([label, *(measure(group, name) for name in ("accuracy", "strongest", "trade")), strongest_text(group)])
    return ["Codes of", "Action accuracy", "Strongest identity attack", "(A + 1 - P) / 2", "which"], body, "What is recognised, and who", []


def _differences(rows: Rows, first: str) -> Table:
    others = [label for label in rows if label != first]
    told = ["accuracy", "strongest", *(name for name in names(rows[first]) if name.startswith("identity/"))]
    body: list[list[Cell]] = [[name.removeprefix("identity/"), *(compare(rows[label], rows[first], name)[0] for label in others)]
                              for name in told]
    return ["Measure", *(f"{label} minus {first}" for label in others)], body, "Difference, same seeds and people", [
        "Networks are trained afresh for each: part of a difference is the luck of a training."]

"""What the pages of the tables on clips share: who is who, the scatter plot, the controls."""

from __future__ import annotations

from optics_sim.attacks.evaluate import Row
from optics_sim.report import figures
from optics_sim.report.lensless_table import Table
from optics_sim.report.page import Cell
from optics_sim.report.rows import measure

Rows = dict[str, list[Row]]
CONTROLS = ("identity", "black")


def cohort_note(rows: Rows) -> str:
    """Returns who trains, is tested and is attacked, as the first row says it."""
    return next(iter(rows.values()))[0].cohort


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

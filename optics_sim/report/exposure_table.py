"""The page, the report and the Markdown of the table of coded exposure, from the rows that are there."""

from __future__ import annotations

from pathlib import Path

from optics_sim.coding import realised_by
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.report.clip_tables import Rows, cameras, cohort_note, controls_table, scatter, strongest_text
from optics_sim.report.lensless_table import Table, as_markdown
from optics_sim.report.page import Cell, Page
from optics_sim.report.rows import compare, measure, names
from optics_sim.run import Run
from optics_sim.sensor import presets
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, read_clip_rows
from optics_sim.tables.exposure import CONTROLS, LABELS
from optics_sim.tables.published_exposure import ORDERINGS

PI_SENSORS = ("imx477", "imx296")


def write_exposure_table(out: Path, setting: ClipSetting, record: Run) -> Path:
    """Writes page, `report.json` and `table.md` into the table's folder; returns the page's path."""
    rows = read_clip_rows(out, LABELS)
    measures = [measure(group, name, f"{label}/{name}") for label, group in rows.items() for name in names(group)]
    plain = {**setting.model_dump(mode="json", exclude={"out"}), "data": Path(setting.data).name}
    record.report(measures, setting=plain, orderings=ordering_records(rows), cohort=cohort_note(rows))
    tables = [trade_table(rows), recovered_table(rows), attacks_table(rows), made_table(out, rows), orderings_table(rows)]
    tables += [controls_table(rows[kind], kind) for kind in CONTROLS if kind in rows]
    title = f"Coded exposure on {Path(setting.data).name}, {max((len(group) for group in rows.values()), default=0)} seed(s)"
    parts = [f"# {title}", f"Everything is simulated. {cohort_note(rows)} Mean [95 % interval over people and seeds]."]
    write_atomically(out / "table.md", ("\n\n".join([*parts, *map(as_markdown, tables)]) + "\n").encode())
    page = Page(title, "one image instead of a clip")
    page.section("Who is who", cohort_note(rows))
    page.figure(scatter(rows), "Actions recognised against the strongest identity attack; down and to the right is better.",
                "scatter plot of action accuracy and the strongest identity attack, one point a camera")
    for table in tables:
        page.section(table[2])
        page.table(*table)
    return page.section("Everything").measures(measures).write(out / "table.html")


def trade_table(rows: Rows) -> Table:
    """Returns the table of actions recognised and identities attacked."""
    headers = ["Camera", "Action accuracy", "Strongest identity attack", "which", "(A + 1 - P) / 2"]
    body: list[list[Cell]] = []
    for label, group in cameras(rows):
        action, identity, trade = (measure(group, name) for name in ("accuracy", "strongest", "trade"))
        body.append([label, action, identity, strongest_text(group), trade])
    return headers, body, "What is recognised, and who", [
        "video: every frame is read, and a 3D network looks. All others: one image of each clip, and the better of two 2D networks "
        "on validation."]


def recovered_table(rows: Rows) -> Table:
    """Returns the table of how well the clip is recovered from one image."""
    headers = ["Camera", "GAP-TV, dB", "ADMM-TV, dB", "3D U-Net, dB", "mean clip, dB", "GAP-TV, SSIM", "3D U-Net, SSIM", "mean clip, SSIM"]
    columns = ("inverted/psnr", "admm_tv/psnr", "restored/psnr", "mean_clip/psnr", "inverted/ssim", "restored/ssim", "mean_clip/ssim")
    body: list[list[Cell]] = [[label, *(measure(group, name) for name in columns)] for label, group in cameras(rows)]
    return headers, body, "What is recovered of the clip", [
        "Behind a mask the first column is Wiener's inversion of each pixel's light spread over its open slots. The 3D U-Net goes on "
        "from the first column and knows the attacker's own clips. The mean clip is what an attacker has without any camera."]


def attacks_table(rows: Rows) -> Table:
    """Returns the table of every identity attacker on every camera."""
    attacks = list(dict.fromkeys(name for _, group in cameras(rows) for name in names(group) if name.startswith("identity/")))
    body: list[list[Cell]] = [[label, *(measure(group, name) for name in attacks)] for label, group in cameras(rows)]
    return ["Camera", *(name.removeprefix("identity/") for name in attacks)], body, "Who was it? Every attacker, trained afresh", [
        "image: the coded image alone; inverted: frames recovered by the model; restored: by a 3D U-Net; frame, frames, gait, sum: of the "
        "video. A public face network judges only where faces are known to have 48 pixels or more."]


def made_table(out: Path, rows: Rows) -> Table:
    """Returns the table of how each code is made: by the row's own sensor, and by what a Raspberry Pi has."""
    headers = ["Camera", "Code", "Open", "Shutter of the row's sensor", "so it is made by"]
    headers += [f"an {name.upper()} makes it by" for name in PI_SENSORS]
    body: list[list[Cell]] = []
    for label, group in cameras(rows):
        design = CameraDesign.load(out / ClipTask(label=label, seed=group[0].seed).folder)
        if design.coding is not None:
            shutters = (design.sensor.shutter, *(presets.load(name).shutter for name in PI_SENSORS))
            made = [realised_by(design.coding, shutter) for shutter in shutters]
            body.append([label, design.coding.kind, measure(group, "open_fraction"), design.sensor.shutter,
                         *(f"{one.how.replace('_', ' ')}, {one.frames} reading(s)" for one in made)])
    return headers, body, "How the codes are made", [
        "A shutter in each pixel is supposed: these sensors do not have it. `tile by frames` is what their rolling shutter can do."]


def ordering_records(rows: Rows) -> list[dict[str, object]]:
    """Returns the orderings with their difference, interval and verdict, for the report."""
    records: list[dict[str, object]] = []
    for name, above, below, says, who in ORDERINGS:
        found, said = compare(rows.get(above, []), rows.get(below, []), name)
        records.append({"measure": name, "above": above, "below": below, "says": says, "who": who, "difference": found.value,
                        "interval": found.interval, "verdict": said})
    return records


def orderings_table(rows: Rows) -> Table:
    """Returns the table of orderings and whether they held here."""
    titles = {"strongest": "identity", "accuracy": "action", "inverted/psnr": "GAP-TV, dB"}
    body: list[list[Cell]] = []
    for name, above, below, says, who in ORDERINGS:
        found, said = compare(rows.get(above, []), rows.get(below, []), name)
        body.append([f"{titles[name]}: {above} above {below}", says, who, found, said or "not run"])
    return ["Ordering", "What is said", "Who says it", "Difference here", "Verdict"], body, "Does it hold here?", [
        "Held when the whole interval of the difference is above zero, not held when it is below, undecided otherwise."]

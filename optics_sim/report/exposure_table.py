"""The page, the report and the Markdown of the table of coded exposure, from the rows that are there."""

from __future__ import annotations

from pathlib import Path

from optics_sim.coding import realised_by
from optics_sim.design import CameraDesign
from optics_sim.report.clip_tables import Rows, attacks_table, cameras, orderings_table, strongest_text, write_clip_tables
from optics_sim.report.lensless_table import Table
from optics_sim.report.page import Cell
from optics_sim.report.rows import measure
from optics_sim.run import Run
from optics_sim.sensor import presets
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, read_clip_rows
from optics_sim.tables.exposure import LABELS
from optics_sim.tables.published_exposure import ORDERINGS

PI_SENSORS = ("imx477", "imx296")

ATTACKS = (
    "image: the coded image alone; inverted: frames recovered by the model; restored: by a 3D U-Net; frame, frames, gait, sum: of the "
    "video. A public face network judges only where faces are known to have 48 pixels or more."
)


def write_exposure_table(out: Path, setting: ClipSetting, record: Run) -> Path:
    """Writes page, `report.json` and `table.md` into the table's folder; returns the page's path."""
    rows = read_clip_rows(out, LABELS)
    tables = [trade_table(rows), recovered_table(rows), attacks_table(rows, "Camera", ATTACKS), made_table(out, rows),
              orderings_table(rows, ORDERINGS)]
    return write_clip_tables(out, setting, record, rows, ("Coded exposure", "one image instead of a clip"), tables, ORDERINGS)


def trade_table(rows: Rows) -> Table:
    """Returns the table of actions recognised and identities attacked."""
    headers = ["Camera", "Action accuracy", "Strongest identity attack", "which", "(A + 1 - P) / 2"]
    body: list[list[Cell]] = []
    for label, group in cameras(rows):
        action, identity, trade = (measure(group, name) for name in ("accuracy", "strongest", "trade"))
        body.append([label, action, identity, strongest_text(group), trade])
    return headers, body, "What is recognised, and who", [
        "video: every frame is read, and a 3D network looks. All others: one image of each clip, and a 2D network."]


def recovered_table(rows: Rows) -> Table:
    """Returns the table of how well the clip is recovered from one image."""
    headers = ["Camera", "GAP-TV, dB", "ADMM-TV, dB", "3D U-Net, dB", "mean clip, dB", "GAP-TV, SSIM", "3D U-Net, SSIM", "mean clip, SSIM"]
    columns = ("inverted/psnr", "admm_tv/psnr", "restored/psnr", "mean_clip/psnr", "inverted/ssim", "restored/ssim", "mean_clip/ssim")
    body: list[list[Cell]] = [[label, *(measure(group, name) for name in columns)] for label, group in cameras(rows)]
    return headers, body, "What is recovered of the clip", [
        "Behind a mask the first column is Wiener's inversion of each pixel's light spread over its open slots. The 3D U-Net goes on "
        "from the first column and knows the attacker's own clips. The mean clip is what an attacker has without any camera."]


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

"""Draws the pictures of the page on mask export: what poppler makes of the PDFs, and klayout of the GDSII file.

The design is `examples/design.toml`, whose pattern is drawn at random. Needs pdftoppm (poppler-utils) and klayout.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from pathlib import Path

import klayout.db as db
from PIL import Image, ImageDraw

from firmware_export.masks.export import export_mask
from firmware_export.masks.printer.sheet_files import export_sheet, plan_for
from optics_sim.design import CameraDesign, write_atomically

HERE = Path(__file__).parent
DPI, HEIGHT_PX = 1200, 640
WINDOW_NM = 1_400_000  # half of the GDSII picture's side: the pattern and its border


def main() -> None:
    """Writes `mask-pdf.png`, `mask-gds.png` and `mask-sheet.png` beside this file."""
    design = CameraDesign.load(HERE.parents[1] / "examples" / "design.toml")
    with tempfile.TemporaryDirectory() as folder:
        files = {entry["format"]: Path(folder) / entry["file"]
                 for entry in export_mask(design, ["pdf", "gds"], Path(folder)).manifest["files"]}
        _write("mask-pdf.png", _rendered(files["pdf"]))
        _write("mask-gds.png", _polygons(files["gds"]))
        sheet = export_sheet(plan_for(None), ["pdf"], Path(folder))["files"][0]["file"]
        _write("mask-sheet.png", _rendered(Path(folder) / sheet))


def _rendered(file: Path) -> Image.Image:
    seen = subprocess.run(["pdftoppm", "-r", str(DPI), "-gray", "-singlefile", file], capture_output=True, check=True).stdout
    picture = Image.open(io.BytesIO(seen))
    return picture.resize((round(picture.width * HEIGHT_PX / picture.height), HEIGHT_PX), Image.Resampling.LANCZOS)


def _polygons(file: Path) -> Image.Image:
    layout = db.Layout()
    layout.read(str(file))
    picture = Image.new("RGB", (HEIGHT_PX, HEIGHT_PX), "white")
    draw, scale = ImageDraw.Draw(picture), HEIGHT_PX / 2 / WINDOW_NM
    shapes = layout.top_cell().begin_shapes_rec(layout.layer(1, 0))
    while not shapes.at_end():
        box = shapes.shape().bbox()
        x0, x1, y0, y1 = (HEIGHT_PX / 2 + scale * value for value in (box.left, box.right, -box.top, -box.bottom))
        draw.rectangle((x0, y0, x1, y1), fill="#b9cbe8", outline="#1f4e9c")
        shapes.next()
    return picture


def _write(name: str, picture: Image.Image) -> None:
    target = io.BytesIO()
    picture.quantize(32).save(target, "PNG", optimize=True)
    write_atomically(HERE / name, target.getvalue())


if __name__ == "__main__":
    main()

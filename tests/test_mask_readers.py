"""Mask files under other people's eyes: klayout, poppler, librsvg, gerbv and plain triangles see the design's cells."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import find_objects, label

from firmware_export.masks.export import export_mask
from firmware_export.masks.formats import FORMATS
from firmware_export.masks.options import MaskOptions
from optics_sim.design import CameraDesign, RowsPattern

EXAMPLE = CameraDesign.load(Path(__file__).parents[1] / "examples" / "design.toml")
Image.MAX_IMAGE_PIXELS = None
CELL_NM = 50_000
DPI = 5080  # 5 um a dot
DOT_NM = 25.4e6 / DPI
TOOLS = {"pdftoppm": "poppler-utils", "pdfinfo": "poppler-utils", "rsvg-convert": "librsvg2-bin", "gerbv": "gerbv"}
# No island and no corner contact, and no turn or mirror leaves it as it is.
ROWS = ("0111110011", "0100000010", "0100000110", "0111100100", "0100001100", "0100000000", "1100011111")
CLEAR = np.array([[c == "1" for c in row] for row in ROWS])
EMULSIONS = ("up", "down")


def tool(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not here: apt install {TOOLS[name]}")
    return name


def exported(name, tmp_path, **options):
    if FORMATS[name].needs:
        pytest.importorskip(FORMATS[name].needs, reason=f"{FORMATS[name].needs} is not installed: pip install 'privcam[masks]'")
    design = EXAMPLE.replace(**{"optics.pattern": RowsPattern(rows=ROWS).model_dump(), "optics.cells": CLEAR.shape,
                                "optics.cell_m": CELL_NM * 1e-9})
    made = export_mask(design, [name], tmp_path, MaskOptions(**options))
    return tmp_path / made.manifest["files"][0]["file"], made.manifest


def expected(emulsion):
    return CLEAR[:, ::-1] if emulsion == "down" else CLEAR


def test_the_pattern_shows_every_turn_and_mirror():
    turned = [np.rot90(side, quarter) for side in (CLEAR, CLEAR[:, ::-1]) for quarter in range(4)]
    views = [np.ascontiguousarray(view) for view in turned]
    assert len({(view.shape, view.tobytes()) for view in views}) == 8


# --- vectors: exact by XOR ------------------------------------------------------------------------
@pytest.mark.parametrize("emulsion", EMULSIONS)
@pytest.mark.parametrize("name", ["gds", "oasis", "dxf"])
def test_klayout_finds_no_difference(name, emulsion, tmp_path):
    db = pytest.importorskip("klayout.db", reason="klayout is not installed: pip install klayout")
    file, manifest = exported(name, tmp_path, emulsion=emulsion)
    layout, options = db.Layout(), db.LoadLayoutOptions()
    if name == "dxf":
        options.dxf_unit, options.dxf_dbu, options.dxf_polyline_mode = 1000.0, 0.001, 2
    layout.read(str(file), options)
    assert layout.dbu == pytest.approx(1e-3, rel=1e-12)
    drawn, cut = (db.Region(layout.top_cell().begin_shapes_rec(_layer(layout, name, which))) for which in ("drawn", "cut"))
    drawn.merge()
    rows, columns = CLEAR.shape
    half_y, half_x = rows * CELL_NM // 2, columns * CELL_NM // 2
    wanted = db.Region()
    for row, column in np.argwhere(expected(emulsion)).tolist():
        left, top = column * CELL_NM - half_x, half_y - row * CELL_NM
        wanted.insert(db.Box(left, top - CELL_NM, left + CELL_NM, top))
    window = db.Region(db.Box(-half_x - 10**6, -half_y - 10**6, half_x + 10**6, half_y + 10**6))
    assert ((drawn & window) ^ wanted).is_empty()
    assert drawn.area() * 1e-18 == pytest.approx(manifest["files"][0]["drawn_area_m2"], rel=1e-12)
    height, width = manifest["sheet"]["trim_m"]
    assert (cut.bbox().height() * 1e-9, cut.bbox().width() * 1e-9) == pytest.approx((height, width), abs=1e-12)
    assert cut.bbox().center() == db.Point(0, 0)


def _layer(layout, name, which):
    if name == "dxf":
        return next(index for index in layout.layer_indexes() if layout.get_info(index).name == {"drawn": "MASK", "cut": "CUT"}[which])
    return layout.layer({"drawn": 1, "cut": 2}[which], 0)


@pytest.mark.parametrize("emulsion", EMULSIONS)
def test_the_triangles_of_a_print_are_its_opaque_parts(emulsion, tmp_path):
    file, manifest = exported("stl", tmp_path, emulsion=emulsion, thickness_m=0.5e-3)
    data = file.read_bytes()
    corners = np.frombuffer(data[84:], [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])["v"].astype(float)
    assert len(corners) == int.from_bytes(data[80:84], "little")
    volume_mm3 = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume_mm3 == pytest.approx(manifest["files"][0]["drawn_area_m2"] * 1e6 * 0.5, rel=1e-6)
    size = np.ptp(corners.reshape(-1, 3), axis=0)
    assert size[[1, 0]] == pytest.approx([1e3 * length for length in manifest["sheet"]["bleed_m"]], abs=2e-6)
    lid = corners[(corners[:, :, 2] == corners[:, :, 2].max()).all(axis=1)][:, :, :2]
    rows, columns = CLEAR.shape
    seen = [[not _covered(lid, (x - (columns - 1) / 2) * CELL_NM * 1e-6 + 1e-3, -(y - (rows - 1) / 2) * CELL_NM * 1e-6 + 7e-4)
             for x in range(columns)] for y in range(rows)]
    assert np.array_equal(seen, expected(emulsion))


def _covered(triangles, x, y):
    """Whether a point lies in any triangle: on the same side of its three edges."""
    a, b = triangles, np.roll(triangles, -1, axis=1)
    side = (b[..., 0] - a[..., 0]) * (y - a[..., 1]) - (b[..., 1] - a[..., 1]) * (x - a[..., 0])
    return bool(((side > 0).all(axis=1) | (side < 0).all(axis=1)).any())


# --- rasters: exact but for one dot along the edges -------------------------------------------------
def pdf_picture(file, tmp_path):
    sharp = ("-gray", "-singlefile", "-aa", "no", "-aaVector", "no")
    subprocess.run([tool("pdftoppm"), "-r", str(DPI), *sharp, file, tmp_path / "seen"], check=True)
    return np.asarray(Image.open(tmp_path / "seen.pgm")) < 128


def svg_picture(file, tmp_path):
    subprocess.run([tool("rsvg-convert"), "-d", str(DPI), "-p", str(DPI), "-b", "white", "--unlimited", "-o", tmp_path / "seen.png", file],
                   check=True)
    return np.asarray(Image.open(tmp_path / "seen.png").convert("L")) < 128


def png_picture(file, tmp_path):
    return ~np.asarray(Image.open(file))


def gerber_picture(file, tmp_path):
    look = ("-x", "png", "-D", str(DPI), "-B", "0", "-b", "#ffffff", "-f", "#000000")
    subprocess.run([tool("gerbv"), *look, "-o", tmp_path / "seen.png", file], check=True, capture_output=True)
    return np.asarray(Image.open(tmp_path / "seen.png").convert("L")) < 128


PICTURES = {"pdf": pdf_picture, "svg": svg_picture, "png": png_picture, "gerber": gerber_picture}


@pytest.mark.parametrize("emulsion", EMULSIONS)
@pytest.mark.parametrize("name", PICTURES)
def test_a_rendered_sheet_shows_the_cells_in_place_and_size(name, emulsion, tmp_path):
    file, manifest = exported(name, tmp_path, emulsion=emulsion, dots_per_cell=10)
    dark = PICTURES[name](file, tmp_path)
    clear = dark if name == "gerber" else ~dark
    middle = _middle_of_marks(clear) if name == "gerber" else tuple(length / 2 for length in dark.shape)
    if name in ("svg", "png"):
        assert dark.shape == pytest.approx([length * 1e9 / DOT_NM for length in manifest["sheet"]["bleed_m"]], abs=1.01)
        assert not clear[[2, -3]].any() and not clear[:, [2, -3]].any()  # the bleed reaches the edge
    y, x = (((np.arange(length) + 0.5) - centre) * DOT_NM / CELL_NM + count / 2
            for length, centre, count in zip(dark.shape, middle, CLEAR.shape, strict=True))
    near_y, near_x = (np.abs(line - np.rint(line)) * CELL_NM <= 1.05 * DOT_NM for line in (y, x))
    framed = np.pad(expected(emulsion), 10)
    inside_y, inside_x = ((line > -9) & (line < count + 9) for line, count in zip((y, x), CLEAR.shape, strict=True))
    wanted = framed[np.ix_(np.floor(y[inside_y]).astype(int) + 10, np.floor(x[inside_x]).astype(int) + 10)]
    seen = clear[np.ix_(inside_y, inside_x)]
    sure = ~(near_y[inside_y][:, None] | near_x[inside_x][None, :])
    assert sure.mean() > 0.5
    assert np.array_equal(seen[sure], wanted[sure])


def _middle_of_marks(clear):
    """gerbv crops to what is drawn: the four crosses, alike above and below, left and right, show where the axis is."""
    side = 10 * 100_000 / DOT_NM
    boxes = [box for box in find_objects(label(clear)[0]) if all(abs(s.stop - s.start - side) <= 2 for s in box)]
    assert len(boxes) == 4
    return tuple(float(np.mean([(box[axis].start + box[axis].stop) / 2 for box in boxes])) for axis in (0, 1))


def test_a_pdf_page_is_larger_than_the_sheet_by_less_than_a_point(tmp_path):
    file, manifest = exported("pdf", tmp_path)
    answer = subprocess.run([tool("pdfinfo"), "-box", file], capture_output=True, text=True, check=True)
    boxes = {line.split(":")[0]: [float(word) for word in line.split()[1:5]] for line in answer.stdout.splitlines() if "Box:" in line}
    for name, length in (("TrimBox", "trim_m"), ("BleedBox", "bleed_m")):
        left, bottom, right, top = boxes[name]
        assert [top - bottom, right - left] == pytest.approx([m / 0.0254 * 72 for m in manifest["sheet"][length]], abs=0.011)
    assert all(0 <= page - m / 0.0254 * 72 < 1 for page, m in zip(boxes["MediaBox"][3:1:-1], manifest["sheet"]["bleed_m"], strict=True))

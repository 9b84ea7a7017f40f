"""Mask files: exact, reproducible, the right way round, and refused where they are not what they should be."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firmware_export.masks import font
from firmware_export.masks.export import HOW_TO_PRINT, MANIFEST, export_mask, job_for, read_back
from firmware_export.masks.formats import FORMATS
from firmware_export.masks.layout import INK, lines_nm, nm, pattern_of, sheet_of
from firmware_export.masks.options import MaskOptions, Process
from firmware_export.masks.region import difference, from_rectangles, minus, pieces, rectangles, union
from firmware_export.masks.rules import RULES, check
from firmware_export.masks.stencil import bridges, faults
from hil import cli
from optics_sim.design import CameraDesign, DefocusOptics, MuraPattern, PinholePattern, RandomPattern, RowsPattern
from optics_sim.errors import PrivcamError

EXAMPLE = CameraDesign.load(Path(__file__).parents[1] / "examples" / "design.toml")
F = ("111110", "100000", "100000", "111100", "100000", "100000", "100000")
CELL_M = 50e-6


def design_of(rows, cell_m=CELL_M):
    return EXAMPLE.replace(**{"optics.pattern": RowsPattern(rows=rows).model_dump(), "optics.cells": (len(rows), len(rows[0])),
                              "optics.cell_m": cell_m})


def drawn_random(cells=(9, 13), seed=3, cell_m=CELL_M):
    return EXAMPLE.replace(**{"optics.pattern": RandomPattern(seed=seed).model_dump(), "optics.cells": cells, "optics.cell_m": cell_m})


def available(name):
    if FORMATS[name].needs:
        pytest.importorskip(FORMATS[name].needs, reason=f"{FORMATS[name].needs} is not installed: pip install 'privcam[masks]'")
    return name


@pytest.fixture(params=FORMATS)
def name(request):
    return available(request.param)


def job(name, design, options=None):
    options = options or MaskOptions()
    pattern = pattern_of(design)
    return job_for(FORMATS[name], pattern, sheet_of(pattern, options, ("PRIVCAM",), design.digest), design.digest, options)


def clear_cells(name, found, design, drawn=None):
    """The middle of each cell in a figure that was read back, True where clear; the file's own left and right."""
    optics = design.optics
    y, x = ((np.arange(n) - (n - 1) / 2) * optics.cell_m * 1e9 for n in optics.cells)
    return found.at(x, y) == ((drawn or FORMATS[name].drawn) == "clear")


# --- every format ---------------------------------------------------------------------------------
@pytest.mark.parametrize("emulsion", ["up", "down"])
def test_an_f_lands_the_right_way_round_and_is_mirrored_exactly_once(name, emulsion):
    design = design_of(F)
    made = job(name, design, MaskOptions(emulsion=emulsion))
    seen = clear_cells(name, read_back(FORMATS[name], FORMATS[name].write(made), made), design)
    expected = np.array([[c == "1" for c in row] for row in F])
    assert np.array_equal(seen, expected[:, ::-1] if emulsion == "down" else expected)


@pytest.mark.parametrize("cell_m", [CELL_M, 62e-6 / 1.0075, 10.5e-6])
def test_what_is_written_is_read_back_equal(name, cell_m):
    made = job(name, drawn_random(cell_m=cell_m), MaskOptions(bridge_m=cell_m / 5, dots_per_cell=3))
    read_back(FORMATS[name], FORMATS[name].write(made), made)


def test_polarity_inverted_is_the_complement_in_the_sheet(name):
    if name == "stl":
        pytest.skip("a print is its opaque parts")
    design = design_of(F)
    figures = {}
    for drawn in ("clear", "opaque"):
        made = job(name, design, MaskOptions(drawn=drawn))
        figures[drawn] = read_back(FORMATS[name], FORMATS[name].write(made), made)
        assert np.array_equal(clear_cells(name, figures[drawn], design, drawn)[0], [True] * 5 + [False])
    assert minus(figures["clear"], figures["opaque"]).area_nm2 == figures["clear"].area_nm2
    whole = union(figures["clear"], figures["opaque"])
    assert len(pieces(whole)) == 1 and (whole.covered.all() or name == "png")


def test_bytes_repeat(name, tmp_path):
    options = MaskOptions(bridge_m=8e-6)
    made = [export_mask(drawn_random(), [name], tmp_path / folder, options) for folder in ("a", "b")]
    assert made[0].manifest == made[1].manifest
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    assert hashlib.sha256(next((tmp_path / "a").glob("mask-*")).read_bytes()).hexdigest() == made[0].manifest["files"][0]["sha256"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_file_that_was_cut_is_refused(name, share):
    made = job(name, design_of(F))
    data = FORMATS[name].write(made)
    with pytest.raises(PrivcamError, match="does not read back"):
        read_back(FORMATS[name], data[:int(share * len(data))], made)


def test_another_design_s_file_is_refused(name):
    made, other = job(name, design_of(F)), job(name, design_of((*F[:6], "110000")))
    with pytest.raises(PrivcamError, match="places differ"):
        read_back(FORMATS[name], FORMATS[name].write(other), made)


def test_the_other_hand_is_refused(name):
    made, other = job(name, design_of(F)), job(name, design_of(F), MaskOptions(emulsion="down"))
    with pytest.raises(PrivcamError, match="places differ"):
        read_back(FORMATS[name], FORMATS[name].write(other), made)


def test_cells_are_compared_without_the_layout():
    made = job("svg", design_of(F))
    wrong = replace(made, pattern=replace(made.pattern, clear=made.pattern.clear[::-1]))
    with pytest.raises(PrivcamError, match="design's array"):
        read_back(FORMATS["svg"], FORMATS["svg"].write(made), wrong)




@pytest.mark.parametrize("vector", [v for v in FORMATS if v != "png"])
def test_one_nanometre_is_refused(vector):
    available(vector)
    made = job(vector, design_of(F))
    moved = replace(made, region=from_rectangles(np.array([(*box[:3], box[3] + 1) for box in rectangles(made.region).tolist()])))
    if vector == "stl":
        pytest.skip("its 32-bit numbers are refused where they do not hold 1 nm")
    with pytest.raises(PrivcamError, match="places differ"):
        read_back(FORMATS[vector], FORMATS[vector].write(moved), made)


# --- all or nothing -------------------------------------------------------------------------------
def test_one_bad_file_and_nothing_is_left(tmp_path, monkeypatch):
    good = FORMATS["svg"]
    monkeypatch.setitem(FORMATS, "svg", replace(good, write=lambda job: good.write(job).replace(b"M", b"M1", 1)))
    with pytest.raises(PrivcamError, match="slanted"):
        export_mask(design_of(F), ["png", "dxf", "svg"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_manifest_says_what_was_written(tmp_path):
    design = design_of(F)
    made = export_mask(design, ["svg", "png", "gerber", "svg"], tmp_path, MaskOptions(emulsion="down"))
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest == made.manifest and manifest["design"]["digest"] == design.digest
    assert [entry["format"] for entry in manifest["files"]] == ["svg", "png", "gerber"]
    assert {path.name for path in tmp_path.iterdir()} == {*(entry["file"] for entry in manifest["files"]), MANIFEST, HOW_TO_PRINT}
    for entry in manifest["files"]:
        data = (tmp_path / entry["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (entry["bytes"], entry["sha256"]) and entry["mirrored"]
    text = (tmp_path / HOW_TO_PRINT).read_text()
    assert "must not mirror again" in text and "0.350000 mm high and 0.300000 mm wide" in text


# --- the sheet ------------------------------------------------------------------------------------
@pytest.mark.parametrize("count, cell_m", [(32, 62e-6 / 1.0075), (33, 62e-6 / 1.0075), (511, 1.3e-7), (1, 3e-6)])
def test_lines_never_add_up_their_rounding(count, cell_m):
    lines = lines_nm(count, cell_m)
    assert np.abs(lines - (np.arange(count + 1) - count / 2) * cell_m * 1e9).max() <= 0.5 + 1e-6
    assert np.array_equal(lines, -lines[::-1])


def sheet(design=None, **options):
    design = design or design_of(F)
    return sheet_of(pattern_of(design), MaskOptions(**options), ("PRIVCAM", "EMULSION UP"), design.digest)


def test_the_digest_can_be_read_from_the_sheet():
    """The labels are found again by comparing dots with the alphabet, as an eye does."""
    design = design_of(F)
    dot = 100_000
    found = sheet(design)
    lowest = int(found.clear.y_nm[-1]) + round((1 - INK) * dot)  # below the last line's last dot and its gap
    text = ""
    for line in range(4):
        top, left = lowest - (7 + 9 * (3 - line)) * dot, -(16 * font.ADVANCE - 1) * dot // 2
        for letter in range(16):
            x = left + (letter * font.ADVANCE + np.arange(font.WIDTH) + INK / 2) * dot
            seen = found.clear.at(x, top + (np.arange(font.HEIGHT) + INK / 2) * dot)
            text += next(c for c in "0123456789ABCDEF" if np.array_equal(font.dots(c), seen))
    assert text == design.digest.upper()


def test_letters_differ_and_no_letter_has_an_island():
    letters = font._ROWS
    assert len({font.dots(letter).tobytes() for letter in letters}) == len(letters)
    assert all(np.array_equal(font.dots("?"), font.dots("-")) for _ in letters)
    found = sheet()
    islands, corners = faults(minus(found.whole, found.clear))
    assert islands == corners == []


def test_marks_keep_away_from_the_pattern_and_the_border_from_the_edge():
    found = sheet(border_m=0.7e-3, bleed_m=0.2e-3)
    half_y, half_x = 175_000, 150_000
    keep = from_rectangles([(-half_x - 700_000, -half_y - 700_000, half_x + 700_000, half_y + 700_000)])
    inner = from_rectangles([(-half_x, -half_y, half_x, half_y)])
    assert minus(found.clear, minus(found.clear, minus(keep, inner))).area_nm2 == 0
    assert int(found.clear.y_nm[-1]) + 700_000 == found.trim_nm[0]
    assert [b - t for b, t in zip(found.bleed_nm, found.trim_nm, strict=True)] == [200_000, 200_000]


def test_the_scale_bar_is_as_long_as_it_says():
    found = sheet(scale_bar_m=2e-3)
    bare = sheet(scale_bar_m=1e-3)
    bars = [part for part in pieces(found.clear) if _width(part) == 2_000_000]
    assert len(bars) == 1 and not any(_width(part) == 2_000_000 for part in pieces(bare.clear))


def _width(part):
    columns = np.flatnonzero(part.covered.any(axis=0))
    return int(part.x_nm[columns[-1] + 1] - part.x_nm[columns[0]])


def test_a_sheet_without_marks_is_the_pattern():
    found = sheet(marks=False)
    assert not len(difference(found.clear, pattern_of(design_of(F)).region))
    assert found.trim_nm == (175_000 + 1_000_000, 150_000 + 1_000_000)


# --- stencils -------------------------------------------------------------------------------------
RING = ("11111", "10001", "10101", "10001", "11111")


@pytest.mark.parametrize("stencil", ["gerber", "stl"])
def test_islands_are_named_and_bridges_hold_them(stencil, tmp_path):
    design = design_of(RING)
    with pytest.raises(PrivcamError, match=r"fall out.*island of 20000 um2 at \(y -50.000 um, x 0.000 um\).*bridge_m"):
        export_mask(design, [stencil], tmp_path)
    assert list(tmp_path.iterdir()) == []
    made = export_mask(design, [stencil], tmp_path, MaskOptions(bridge_m=10e-6))
    assert made.manifest["bridges"]["count"] == 1
    assert made.manifest["bridges"]["clear_share_lost"] == pytest.approx(10 / 50 / 17)  # one cell of 17, a fifth of its width


def test_corner_contacts_alone_hold_nothing():
    with pytest.raises(PrivcamError, match="corner contact at"):
        job("gerber", design_of(("10", "01")))


def test_bridges_join_everything_with_a_tree():
    pattern = pattern_of(drawn_random((20, 20)))
    held = minus(pattern.region, from_rectangles(bridges(pattern, 8_000)))
    frame = from_rectangles([(-10**6, -10**6, 10**6, 10**6)])
    assert faults(minus(frame, held)) == ([], [])
    assert len(faults(minus(frame, pattern.region))[0]) > 5
    assert len(bridges(pattern_of(design_of(RING)), 8_000)) == 1
    assert len(bridges(pattern_of(design_of(F)), 8_000)) == 0


@pytest.mark.parametrize("width_nm", [0, 50_000])
def test_a_bridge_runs_inside_a_cell(width_nm):
    with pytest.raises(PrivcamError, match="inside a cell"):
        bridges(pattern_of(design_of(RING)), width_nm)


def test_a_print_is_its_opaque_parts():
    with pytest.raises(PrivcamError, match="opaque body"):
        FORMATS["stl"].write(job("stl", design_of(F), MaskOptions(drawn="clear")))


def test_a_sheet_beyond_32_bit_floats_is_refused():
    with pytest.raises(PrivcamError, match="32-bit"):
        made = job("stl", design_of(F), MaskOptions(border_m=40e-3))
        read_back(FORMATS["stl"], FORMATS["stl"].write(made), made)


# --- dots -----------------------------------------------------------------------------------------
def test_a_cell_that_is_no_whole_number_of_dots_is_refused_with_what_fits():
    with pytest.raises(PrivcamError, match=r"whole number of dots; got: 4.7244 dots.*2540.00") as caught:
        FORMATS["png"].write(job("png", drawn_random((32, 32)), MaskOptions(dpi=2400)))
    assert "dpi" in caught.value.todo


@pytest.mark.parametrize("options, dots", [({"dots_per_cell": 3}, 3), ({"dpi": 2540}, 5), ({"dpi": 508.2}, 1)])
def test_the_picture_states_its_scale(options, dots):
    made = job("png", design_of(F), MaskOptions(marks=False, **options))
    picture = Image.open(io.BytesIO(FORMATS["png"].write(made)))
    per_metre = picture.info["dpi"][0] / 0.0254
    assert per_metre * CELL_M == pytest.approx(dots, rel=1e-3)
    opaque = ~np.asarray(picture)
    rows, columns = np.nonzero(~opaque)
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (7 * dots, 5 * dots)


# --- bad input ------------------------------------------------------------------------------------
def test_a_lens_has_no_mask(tmp_path):
    lens = EXAMPLE.model_copy(update={"optics": DefocusOptics(focal_length_m=3e-3, aperture_m=1e-3, lens_to_sensor_m=3.1e-3)})
    with pytest.raises(PrivcamError, match="no mask to print; got: defocus optics"):
        export_mask(lens, ["pdf"], tmp_path)


@pytest.mark.parametrize("formats, words", [([], "no format"), (["pdf", "bmp"], "no such mask format; got: bmp")])
def test_formats_that_are_none(formats, words, tmp_path):
    with pytest.raises(PrivcamError, match=words):
        export_mask(design_of(F), formats, tmp_path)


@pytest.mark.parametrize("cell_m", [5e-9, 0.5])
def test_masks_beyond_drawing_are_refused(cell_m):
    with pytest.raises(PrivcamError, match="too fine or too large"):
        pattern_of(design_of(F, cell_m))


def test_sheets_beyond_drawing_are_refused():
    with pytest.raises(PrivcamError, match="sheet is too large"):
        sheet(text_dot_m=1e-2)


@pytest.mark.parametrize("data, field", [({"emulsion": "left"}, "emulsion"), ({"border_m": -1}, "border_m"), ({"boarder": 1}, "boarder")])
def test_wrong_options_are_named(data, field):
    with pytest.raises(PrivcamError, match=f"`{field}` is not valid"):
        MaskOptions.checked(data)


@pytest.mark.parametrize("text, words", [(None, "cannot be read"), ("name = ", "not valid TOML"), ("nane = 'x'", "not valid")])
def test_wrong_process_files_are_named(text, words, tmp_path):
    if text is not None:
        (tmp_path / "process.toml").write_text(text)
    with pytest.raises(PrivcamError, match=words):
        Process.load(tmp_path / "process.toml")


# --- rules ----------------------------------------------------------------------------------------
FINE = {
    "opaque line too thin": {"minimum_opaque_m": 60e-6}, "clear gap too thin": {"minimum_clear_m": 60e-6},
    "corner contact": {"corner_contacts": False}, "open fraction": {"open_fraction": (0.9, 1.0)},
    "sheet too large": {"size_m": (1e-3, 1e-3)}, "cell is no whole number of dots": {"dpi": 700.0},
    "labels too fine": {"minimum_opaque_m": 40e-6},
}


@pytest.mark.parametrize("rule", FINE)
def test_each_rule_trips_alone(rule):
    found = check(drawn_random((12, 12)), Process(name="x", **FINE[rule]))
    assert {violation.rule for violation in found} - {"labels too fine"} == {rule} - {"labels too fine"}
    assert any(violation.rule == rule for violation in found)
    assert all(rule in violation.text() for violation in found if violation.rule == rule)


def test_a_process_without_limits_prints_everything():
    assert check(drawn_random(), Process(name="ideal")) == []
    assert len(RULES) == len(FINE)


def test_the_example_process_is_whole_and_checks_the_example():
    file = Path(__file__).parents[1] / "examples" / "mask-process.toml"
    process = Process.load(file)
    assert set(Process.model_fields) - {"measured"} == set(tomllib.loads(file.read_text()))
    assert [violation.got for violation in check(EXAMPLE, process)] == ["61.538 dots a cell"]  # of 1 um: cells differ by one


def test_every_violation_has_its_place_and_width():
    design = design_of(("1111", "1011", "1111", "0000"))
    found = check(design, Process(name="x", minimum_opaque_m=51e-6), MaskOptions(marks=False))
    assert [(violation.got, violation.place_m) for violation in found] == [("50.000 um", pytest.approx((-25e-6, -25e-6)))]
    assert check(design, Process(name="x", minimum_opaque_m=50e-6), MaskOptions(marks=False)) == []


def test_an_opaque_strip_on_the_border_joins_the_frame_and_a_clear_one_does_not():
    assert check(design_of(("000", "111", "111")), Process(name="x", minimum_opaque_m=120e-6), MaskOptions(marks=False)) == []
    thin = check(design_of(("111", "000", "000")), Process(name="x", minimum_clear_m=90e-6), MaskOptions(marks=False))
    assert [violation.rule for violation in thin] == ["clear gap too thin"]


@pytest.mark.parametrize("numbers, rule", [({"dot_gain_m": 30e-6}, "clear gap"), ({"dot_gain_m": -30e-6}, "opaque line"),
                                           ({"edge_blur_m": 30e-6}, "clear gap")])
def test_gain_and_blur_close_lines(numbers, rule):
    found = check(drawn_random(), Process(name="x", **numbers), MaskOptions(marks=False))
    assert any(rule in violation.rule for violation in found)


def test_corner_contacts_have_their_points():
    found = check(design_of(("10", "01")), Process(name="x", corner_contacts=False), MaskOptions(marks=False))
    assert (0.0, 0.0) in [violation.place_m for violation in found]


# --- the command ----------------------------------------------------------------------------------
def test_the_command_writes_and_the_run_says_so(tmp_path, capsys):
    design_of(F).save(tmp_path / "run" / "design")
    words = ["--format", "svg", "gerber", "--emulsion", "down", "--set", "bleed_m=0.002"]
    assert cli.main(["export", "mask", str(tmp_path / "run"), *words]) == 0
    out = tmp_path / "run" / "export" / "mask"
    assert "read back: equal" in capsys.readouterr().out
    manifest, record = (json.loads((out / file).read_text()) for file in (MANIFEST, "run.json"))
    assert manifest["options"]["emulsion"] == "down" and manifest["options"]["bleed_m"] == 0.002
    assert record["status"] == "done" and record["verb"] == "export"


def test_options_come_from_a_file_then_from_words(tmp_path):
    (tmp_path / "options.toml").write_text('emulsion = "down"\nborder_m = 2e-3\n')
    design_of(F).save(tmp_path)
    words = ["export", "mask", str(tmp_path), "--format", "svg", "--out", str(tmp_path / "x"), "--options", str(tmp_path / "options.toml")]
    assert cli.main([*words, "--emulsion", "up"]) == 0
    options = json.loads((tmp_path / "x" / MANIFEST).read_text())["options"]
    assert (options["emulsion"], options["border_m"]) == ("up", 2e-3)


def test_a_process_that_cannot_print_it_is_1_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "process.toml").write_text('name = "coarse"\nminimum_clear_m = 60e-6\n')
    design_of(F).save(tmp_path)
    words = ["export", "mask", str(tmp_path), "--format", "svg", "--out", str(tmp_path / "x"), "--process", str(tmp_path / "process.toml")]
    assert cli.main(words) == 1
    assert "clear gap too thin at (y" in capsys.readouterr().out and not (tmp_path / "x").exists()
    assert cli.main([*words, "--anyway"]) == 0


def test_a_problem_is_one_line_and_2(tmp_path, capsys):
    EXAMPLE.replace(**{"optics.pattern": MuraPattern(prime=31).model_dump(), "optics.cells": (31, 31)}).save(tmp_path)
    assert cli.main(["export", "mask", str(tmp_path), "--format", "stl", "--out", str(tmp_path / "x")]) == 2
    assert "would fall out" in capsys.readouterr().err
    assert json.loads((tmp_path / "x" / "run.json").read_text())["status"] == "failed"


def test_a_pinhole_is_one_square():
    design = EXAMPLE.replace(**{"optics.pattern": PinholePattern().model_dump()})
    pattern = pattern_of(design)
    assert pattern.region.area_nm2 == pytest.approx((design.optics.cell_m * 1e9) ** 2, rel=1e-4)
    assert nm(design.optics.cell_m) == 61538

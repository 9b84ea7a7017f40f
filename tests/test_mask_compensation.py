"""Edges moved against dot gain: exact, refused where a part would be lost, and a film that comes out nearer to the design."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation
from test_mask_region import figures, squares
from test_masks_export import CELL_M, EXAMPLE, F, available, clear_cells, design_of, drawn_random

from firmware_export.masks.compensation import Compensation
from firmware_export.masks.export import MANIFEST, export_mask, job_for, read_back
from firmware_export.masks.film import predicted, printed_film
from firmware_export.masks.formats import FORMATS
from firmware_export.masks.layout import Sheet, pattern_of, sheet_of
from firmware_export.masks.offset import compensated, gained, grown, lost, shrunk
from firmware_export.masks.options import MaskOptions, Process
from firmware_export.masks.region import Region, corner_contacts, difference, from_rectangles
from firmware_export.masks.rules import check, lost_parts
from hil import cli
from optics_sim.errors import PrivcamError

moves = st.tuples(st.integers(0, 6), st.integers(0, 6))
gains = st.tuples(st.integers(-4, 4), st.integers(-4, 4))


def process(**numbers):
    return Process(name="a printer", **numbers)


def pixels(region, margin):
    """The figure in squares of a nanometre, with a margin."""
    return np.pad(squares(region), margin)


# --- edges ----------------------------------------------------------------------------------------
@settings(max_examples=100, deadline=None)
@given(figures(), moves)
def test_growing_and_shrinking_are_those_of_squares_of_a_nanometre(region, by):
    assume(region.covered.any())
    box = np.ones((2 * by[0] + 1, 2 * by[1] + 1), bool)
    painted, margin = pixels(region, 8), 8
    y, x = ((lines[0] - margin + np.arange(n) + 0.5) for lines, n in zip((region.y_nm, region.x_nm), painted.shape, strict=True))
    assert np.array_equal(grown(region, by).at(x, y), binary_dilation(painted, box))
    assert np.array_equal(shrunk(region, by).at(x, y), ~binary_dilation(~painted, box, border_value=1))


@settings(max_examples=100, deadline=None)
@given(figures(), gains)
def test_gain_gives_the_figure_back_but_for_what_is_named(region, gain):
    wrong = difference(gained(compensated(region, gain), gain), region)
    opaque, clear = lost(region, gain)
    boxes = from_rectangles(np.vstack([opaque, clear]))
    assert (len(wrong) > 0) == (len(opaque) + len(clear) > 0)
    for left, top, right, bottom in wrong.tolist():
        assert boxes.at(np.array([(left + right) / 2]), np.array([(top + bottom) / 2])).all()


@pytest.mark.parametrize("gain, least", [((0, 3), 7), ((0, -3), 7)])
def test_parts_survive_above_twice_the_gain_and_not_at_it(gain, least):
    for width, survives in ((least, True), (least - 1, False)):
        clear = from_rectangles([(-50, 0, 0, 20), (width, 0, 50 + width, 20)]) if gain[1] > 0 else from_rectangles([(0, 0, width, 20)])
        assert (sum(map(len, lost(clear, gain))) == 0) is survives


@pytest.mark.parametrize("gain", [(4, 4), (-4, -4), (4, -3), (-4, 3)])
def test_a_corner_contact_meets_in_its_corner_again(gain):
    clear = Region(np.array([-50, 0, 50]), np.array([-50, 0, 50]), np.array([[True, False], [False, True]]))
    drawn = compensated(clear, gain)
    assert len(corner_contacts(drawn)) == 0 or gain[0] * gain[1] < 0
    assert len(difference(gained(drawn, gain), clear)) == 0 and len(corner_contacts(gained(drawn, gain))) == 1


# --- the film -------------------------------------------------------------------------------------
def test_the_film_is_the_simulator_s_where_no_edge_moves():
    torch = pytest.importorskip("torch")
    from optics_sim.design import Printing
    from optics_sim.optics.printing import printed

    clear, blur, fine = np.random.default_rng(1).random((7, 9)) < 0.5, 9e-6, 5
    pattern = pattern_of(design_of(tuple("".join("01"[int(c)] for c in row) for row in clear)))
    y, x = (((np.arange(n * fine) + 0.5) / fine - n / 2) * CELL_M for n in clear.shape)
    ours = printed_film(pattern.region, y, x, blur, levels=(0.02, 0.9))
    film = Printing(edge_blur_m=blur, opaque_transmission=0.02, clear_transmission=0.9)
    theirs = printed(torch.from_numpy(clear).float(), film, CELL_M, fine)
    assert np.abs(ours - theirs.numpy()).max() < 1e-6  # single precision


def test_the_film_of_a_gap_has_its_gained_width():
    gap = from_rectangles([(-40_000, -10**6, 40_000, 10**6)])
    x = (np.arange(4000) - 1999.5) * 1e-7
    for blur in (0.0, 5e-6):
        for gain in (6e-6, -6e-6):
            assert printed_film(gap, np.zeros(1), x, blur, (0.0, gain)).sum() * 1e-7 == pytest.approx(80e-6 - 2 * gain, abs=1e-7)


@pytest.mark.parametrize("gain", [6e-6, -6e-6, (6e-6, -4e-6), (0.0, 5e-6)])
def test_compensation_brings_the_film_nearer_to_the_design(gain):
    without, with_it = predicted(pattern_of(drawn_random()), process(dot_gain_m=gain, edge_blur_m=4e-6)).rms
    blur_alone, _ = predicted(pattern_of(drawn_random()), process(edge_blur_m=4e-6)).rms
    assert with_it == pytest.approx(blur_alone, rel=1e-9)
    assert without > 1.2 * with_it


def test_an_ideal_process_needs_none():
    made = predicted(pattern_of(drawn_random()), process())
    assert made.rms == (0.0, 0.0) and np.array_equal(made.compensated, made.designed) and 0 < made.designed.mean() < 1


# --- files ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("gain", [(5e-6, 5e-6), (-5e-6, -5e-6), (6e-6, -5e-6)])
@pytest.mark.parametrize("name", FORMATS)
def test_files_hold_the_compensated_pattern_and_not_the_designed(name, gain):
    design, options = design_of(F), MaskOptions(dots_per_cell=50, marks=False)
    pattern = pattern_of(available(name) and design)
    sheet = sheet_of(pattern, options, ("PRIVCAM",), design.digest)
    made, plain = (job_for(FORMATS[name], pattern, sheet, design.digest, options, against)
                   for against in (Compensation(process(dot_gain_m=gain)), None))
    found = read_back(FORMATS[name], FORMATS[name].write(made), made)
    assert np.array_equal(clear_cells(name, found, design), pattern.clear)
    assert made.moved_nm == tuple(round(-move * 1e9) for move in gain)
    with pytest.raises(PrivcamError, match="places differ"):
        read_back(FORMATS[name], FORMATS[name].write(plain), made)


def test_an_edge_lies_where_the_gain_says():
    design = design_of(("000", "010", "000"))
    sheet = sheet_of(pattern_of(design), MaskOptions(marks=False), (), design.digest)
    drawn = Compensation(process(dot_gain_m=(3e-6, -2e-6))).drawn(sheet, pattern_of(design))
    assert not len(difference(drawn.clear, from_rectangles([(-23_000, -28_000, 23_000, 28_000)])))
    assert (drawn.trim_nm, drawn.bleed_nm) == (sheet.trim_nm, sheet.bleed_nm)


@pytest.mark.parametrize("gain, words", [(16e-6, "opaque part lost in compensation"), ((0.0, 16e-6), "opaque part lost in compensation"),
                                         (25e-6, "dot gain is half a cell")])
def test_what_would_be_lost_is_refused_with_its_place(gain, words, tmp_path):
    with pytest.raises(PrivcamError, match=rf"lose parts.*{words} at \(y .* um, x .* um\)"):
        export_mask(design_of(F), ["svg"], tmp_path, None, Compensation(process(dot_gain_m=gain)))
    assert list(tmp_path.iterdir()) == []
    found = check(design_of(F), process(dot_gain_m=gain), compensate=True)
    assert any(words in violation.rule for violation in found)
    assert not any("drawn" in violation.rule for violation in found)


def test_the_place_of_a_lost_part_is_its_middle():
    pattern = pattern_of(design_of(("11011", "11011", "11011")))
    thin = Region(pattern.x_nm, pattern.y_nm + 7000, pattern.clear)
    found = lost_parts(Sheet(thin, (0, 0), (0, 0)), replace(pattern, cell_m=1e-3), (0, 25_000))
    assert [(v.rule, v.place_m, v.got) for v in found] == [
        ("opaque part lost in compensation", pytest.approx((7e-6, 0.0)), "150.000 x 50.000 um")]


def test_limits_hold_for_what_is_drawn():
    design, options = design_of(("000", "010", "000")), MaskOptions(marks=False)
    limits = {"minimum_clear_m": 52e-6, "dot_gain_m": 3e-6}
    assert [v.rule for v in check(design, process(**limits), options)] == ["clear gap too thin"]
    assert check(design, process(**limits), options, compensate=True) == []  # 56 um are drawn
    thin = check(design, process(minimum_clear_m=48e-6, dot_gain_m=-3e-6), options, compensate=True)
    assert {(v.rule, v.got) for v in thin} == {("clear gap too thin as drawn", "44.000 um")}
    assert any("clear gap" in v.rule for v in check(design, process(edge_blur_m=26e-6), options, compensate=True))


def test_dots_that_are_too_coarse_say_so():
    with pytest.raises(PrivcamError, match="dots are too coarse"):
        job = MaskOptions(dots_per_cell=5)
        pattern = pattern_of(design_of(F))
        job_for(FORMATS["png"], pattern, sheet_of(pattern, job, (), "0" * 64), "0" * 64, job, Compensation(process(dot_gain_m=4e-6)))


def test_a_stencil_s_bridges_are_compensated_too(tmp_path):
    ring = design_of(("11111", "10001", "10101", "10001", "11111"))
    with pytest.raises(PrivcamError, match="opaque part lost"):
        export_mask(ring, ["gerber"], tmp_path, MaskOptions(bridge_m=8e-6, marks=False), Compensation(process(dot_gain_m=4e-6)))
    assert export_mask(ring, ["gerber"], tmp_path, MaskOptions(bridge_m=10e-6, marks=False), Compensation(process(dot_gain_m=4e-6)))


# --- the command ----------------------------------------------------------------------------------
def test_the_command_compensates_and_the_manifest_says_what(tmp_path, capsys):
    design_of(F).save(tmp_path)
    file = tmp_path / "process.toml"
    file.write_text('name = "shop"\nsource = "a film"\ndot_gain_m = [4e-6, -2e-6]\nedge_blur_m = 2e-6\n')
    words = ["export", "mask", str(tmp_path), "--format", "svg", "--out", str(tmp_path / "x"), "--process", str(file), "--compensate"]
    assert cli.main(words) == 0
    assert "compensated" in capsys.readouterr().out
    told = json.loads((tmp_path / "x" / MANIFEST).read_text())["compensation"]
    assert told["process"] == {"name": "shop", "source": "a film", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert told["opaque_edges_moved_m"] == [-4e-6, 2e-6]
    assert told["designed"]["clear_area_m2"] == pytest.approx(14 * CELL_M**2)
    assert told["drawn"]["clear_area_m2"] != told["designed"]["clear_area_m2"]
    assert told["predicted_rms_error"]["compensated"] < told["predicted_rms_error"]["uncompensated"]
    assert "OPAQUE" not in (tmp_path / "x" / "how-to-print.txt").read_text() and "compensated for shop" in (
        tmp_path / "x" / "how-to-print.txt").read_text()


def test_without_a_process_there_is_no_compensation(tmp_path, capsys):
    EXAMPLE.save(tmp_path)
    assert cli.main(["export", "mask", str(tmp_path), "--out", str(tmp_path / "x"), "--compensate"]) == 2
    assert "needs the printer's dot gain" in capsys.readouterr().err

"""Flat figures: their rectangles and outlines cover them exactly, and a difference sees one nanometre."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from firmware_export.masks.region import (
    Region,
    corner_contacts,
    difference,
    from_edges,
    from_rectangles,
    minus,
    pieces,
    rectangles,
    ring_edges,
    rings,
    spans,
    union,
    upright_edges,
)
from optics_sim.errors import PrivcamError


@st.composite
def figures(draw):
    """A figure on lines with gaps of 1 to 9 nm that begin anywhere."""
    covered = draw(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
    y, x = (np.cumsum([draw(st.integers(-50, 50)), *draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))]) for n in covered.shape)
    return Region(x.astype(np.int64), y.astype(np.int64), covered)


def painted(boxes, region):
    """Each nanometre square counted by every box that holds it: the slow and obvious way."""
    left, top = region.x_nm[0], region.y_nm[0]
    picture = np.zeros((region.y_nm[-1] - top, region.x_nm[-1] - left), int)
    for x0, y0, x1, y1 in np.asarray(boxes).tolist():
        picture[y0 - top:y1 - top, x0 - left:x1 - left] += 1
    return picture


def squares(region):
    return np.repeat(np.repeat(region.covered, np.diff(region.y_nm), 0), np.diff(region.x_nm), 1)


def outline(region):
    return np.vstack([np.zeros((0, 3), int), *(ring_edges(ring) for ring in rings(region))])


@settings(max_examples=150, deadline=None)
@given(figures())
def test_rectangles_cover_exactly_and_never_overlap(region):
    boxes = rectangles(region)
    assert np.array_equal(painted(boxes, region), squares(region).astype(int))
    assert len(boxes) <= min(sum(len(spans(line)) for line in lines) for lines in (region.covered, region.covered.T))
    assert region.area_nm2 == squares(region).sum()
    assert not len(difference(from_rectangles(boxes), region))


@settings(max_examples=150, deadline=None)
@given(figures())
def test_outlines_fill_to_the_same_figure(region):
    for edges in (outline(region), upright_edges(region)):
        assert not len(difference(from_edges(edges), region))
    for ring in rings(region):
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps == 0).sum(axis=1) == 1).all()  # along x or y, never both, never none
        assert ((steps[:, 0] == 0) != (np.roll(steps, 1, axis=0)[:, 0] == 0)).all()  # each corner turns


@settings(max_examples=50, deadline=None)
@given(figures(), figures())
def test_combining_is_that_of_sets(a, b):
    both = minus(a, minus(a, b))
    assert union(a, b).area_nm2 == a.area_nm2 + b.area_nm2 - both.area_nm2
    assert not len(difference(union(minus(a, b), both), a))
    differing = from_rectangles(difference(a, b)).area_nm2
    assert differing == a.area_nm2 + b.area_nm2 - 2 * both.area_nm2
    assert not len(difference(a.mirrored().mirrored(), a))


@settings(max_examples=50, deadline=None)
@given(figures())
def test_pieces_are_the_figure_and_hang_together_by_sides(region):
    parts = pieces(region)
    assert sum(part.area_nm2 for part in parts) == region.area_nm2
    assert all(len(pieces(part)) == 1 for part in parts)
    clockwise = sum(_signed_area(ring) for part in parts for ring in rings(part))
    assert clockwise == region.area_nm2  # outer rings count up, holes count down


def _signed_area(ring):
    x, y = ring[:, 0], ring[:, 1]
    return int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) // 2


@pytest.mark.parametrize("rows, count", [(["11", "11"], 1), (["10", "11"], 2), (["10", "01"], 2), (["111", "101", "111"], 4), (["00"], 0)])
def test_few_rectangles(rows, count):
    covered = np.array([[c == "1" for c in row] for row in rows])
    region = Region(np.arange(covered.shape[1] + 1), np.arange(covered.shape[0] + 1), covered)
    assert len(rectangles(region)) == count


def test_a_corner_contact_has_two_rings_and_a_place():
    region = from_rectangles([(0, 0, 10, 10), (10, 10, 30, 30)])
    assert corner_contacts(region).tolist() == [[10, 10]]
    assert sorted(len(ring) for ring in rings(region)) == [4, 4]
    assert [part.area_nm2 for part in pieces(region)] == [400, 100]


def test_a_difference_of_one_nanometre_is_seen_and_named():
    a, b = from_rectangles([(0, 0, 10**8, 10**8)]), from_rectangles([(0, 0, 10**8, 10**8 + 1)])
    assert difference(a, b).tolist() == [[0, 10**8, 10**8, 10**8 + 1]]
    assert a.area_nm2 == 10**16


def test_shapes_drawn_over_each_other_cancel():
    box = ring_edges([(0, 0), (5, 0), (5, 5), (0, 5)])
    assert from_edges(np.vstack([box, box])).area_nm2 == 0


def test_a_slanted_edge_is_refused():
    with pytest.raises(PrivcamError, match="slanted"):
        ring_edges([(0, 0), (5, 0), (4, 5), (0, 5)])

"""Figures have fixed bytes, and the page asks for nothing, escapes everything and claims nothing it cannot."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure
from optics_sim.report import figures
from optics_sim.report.page import Page, render_measures_table

EVIL = "<script>alert('x')</script>\"onload='"


def _measure(name="attack/wiener", value=0.5, source="simulated", **more):
    return Measure(name=name, value=value, interval=(0.4, 0.6), n=30, source=source, **more)


def _pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.fixture
def points():
    learned = ("learned & Co", 0.9, None, 0.6, (0.5, 0.7))
    return [("open", 0.6, (0.5, 0.7), 0.6, None), learned, ("pinhole", 0.95, None, 0.9, None)]


# --- figures --------------------------------------------------------------------------------------
def test_image_is_enlarged_by_whole_pixels():
    picture = _pixels(figures.image_png([[0.0, 1.0], [0.5, 2.0]], scale=3))
    assert picture.shape == (6, 6, 3)
    assert picture[0, 0, 0] == 0 and picture[2, 5, 0] == 255 and picture[5, 0, 0] == 128 and picture[5, 5, 0] == 255


def test_own_extremes_and_colour():
    assert _pixels(figures.image_png([[3.0, 5.0]], scale=1, low=None, high=None))[0, :, 0].tolist() == [0, 255]
    assert _pixels(figures.image_png(np.full((1, 1, 3), (1, 0, 0)), scale=1)).tolist() == [[[255, 0, 0]]]
    assert np.ptp(_pixels(figures.image_png([[0.5]], scale=1, cmap="viridis"))) > 0


def test_row_holds_every_image_whatever_its_size():
    picture = _pixels(figures.image_row([np.zeros((8, 8)), np.zeros((16, 16))], ["a", "a long title that wraps"], height=32))
    assert (picture[-32:, :32] == 0).all() and (picture[-32:, -40:-8] == 0).all()  # a title needs 40 pixels


def test_mask_scale_bar_has_the_length_it_says():
    cells = np.ones((20, 20))
    picture = _pixels(figures.mask_png_with_scale(cells, 100e-6, scale=10))  # 2 mm wide, so the bar is 0.5 mm
    bar = (picture[10 * 20 + 14, :56] == figures.INK).all(axis=-1).sum()  # its label begins beyond
    assert bar == pytest.approx(50, abs=1)


def test_mask_is_white_where_clear():
    picture = _pixels(figures.mask_png_with_scale([[1.0, 0.0]], 1e-4, scale=4))
    assert picture[2, 2, 0] == 255 and picture[2, 6, 0] == 0


@pytest.mark.parametrize("longest, length", [(0.99, 0.5), (1.0, 1.0), (0.0231, 0.02), (7.0, 5.0)])
def test_bar_lengths_are_round(longest, length):
    assert figures._round_length(longest) == pytest.approx(length)


def test_bytes_are_the_same_each_time_and_hold_no_date(points):
    make = (
        lambda: figures.tradeoff_figure(points, "accuracy", "AUC", better=(1, -1), chance=0.5).encode(),
        lambda: figures.curve_figure({"a": [3, 2, 1], "b": [[0, 1], [2, 3]]}, log=True).encode(),
        lambda: figures.psf_figure(np.eye(8), 62e-6),
        lambda: figures.mask_png_with_scale(np.eye(8), 62e-6),
    )
    for draw in make:
        first = draw()
        assert first == draw()
        assert not re.search(rb"20\d\d-\d\d-\d\d|Matplotlib v", first)


def test_drawing_leaves_the_global_style_alone(points):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.tradeoff_figure(points, "x", "y")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda: figures.image_png(np.zeros(4)),
        lambda: figures.image_png([[np.nan]]),
        lambda: figures.image_row([], []),
        lambda: figures.image_row([np.zeros((2, 2))], []),
        lambda: figures.mask_png_with_scale([[2.0]], 1e-3),
        lambda: figures.mask_png_with_scale([[1.0]], 0.0),
        lambda: figures.psf_figure(np.zeros(3), 1e-3),
        lambda: figures.tradeoff_figure([], "x", "y"),
        lambda: figures.tradeoff_figure([("a", 1, None, 1, None)], "x", "y", better=(1, 0)),
        lambda: figures.curve_figure({}),
        lambda: Page("t").figure(b"GIF89a", "c", "a"),
        lambda: Page("t").figure("<p>", "c", "a"),
        lambda: Page("t").figure(figures.image_png([[0.5]]), "c", "  "),
        lambda: Page("t").table(["a", "b"], [["only one"]], "c"),
        lambda: Page("t").callout("danger", "x"),
    ],
)
def test_guards(call):
    with pytest.raises(PrivcamError) as caught:
        call()
    assert caught.value.allowed and caught.value.todo


# --- the page -------------------------------------------------------------------------------------
class _Checker(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _check(html):
    checker = _Checker()
    checker.feed(html)
    assert checker.open == []
    return checker


def _full_page(points, measure=None):
    png = figures.image_png(np.eye(4))
    page = Page(EVIL, EVIL).section(EVIL, EVIL + "\n\nsecond paragraph").section("b").section("c")
    page.figure(png, EVIL, EVIL).figure(figures.tradeoff_figure(points, EVIL, EVIL), "c", "alt").gallery([(png, EVIL)])
    page.table([EVIL, "v"], [[EVIL, EVIL], ["x", measure or _measure(note=EVIL)], ["y", None], ["z", 3]], EVIL, [EVIL])
    return page.callout("warning", EVIL).measures([_measure(name=EVIL, unit=EVIL, note=EVIL)], EVIL)


def test_everything_handed_in_is_escaped_and_nothing_is_requested(points):
    checker = _check(_full_page(points).html())
    assert "script" not in checker.tags
    for _, name, value in checker.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value.startswith(("data:image/", "#section-"))
    text = re.sub(r"base64,[A-Za-z0-9+/=]*", "", _full_page(points).html())
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text


def test_page_is_accessible(points):
    html = _full_page(points).html()
    checker = _check(html)
    images = checker.tags.count("img")
    assert images == 3 == len([1 for tag, name, value in checker.attributes if (tag, name) == ("img", "alt") and value])
    assert checker.tags.count("caption") == checker.tags.count("table") == 2
    assert ("html", "lang", "en") in checker.attributes
    headers = [value for tag, name, value in checker.attributes if (tag, name) == ("th", "scope")]
    assert {"col", "row", "colgroup"} == set(headers) and len(headers) == checker.tags.count("th")


def test_interval_is_small_beside_its_value_and_an_absent_value_is_a_dash():
    html = Page("t").table(["a", "b", "c"], [["r", _measure(), Measure(name="x", value=None)]], "c").html()
    assert re.search(r"0\.500<span class=\"interval\"[^>]*>\[0\.400, 0\.600\]</span>", html)
    assert "&ndash;" in html


def test_all_simulated_page_says_so_and_can_never_say_physical(points):
    assert "SIMULATED: every number on this page was simulated" in Page("t").measures([_measure()]).html()
    drawn = figures.tradeoff_figure(points, "physical accuracy", "y")
    for page in (
        Page("Physical camera"), Page("t", "PHYSICAL"), Page("t").section("physical"), Page("t").callout("note", "physically"),
        Page("t").table(["physical"], [], "c"), Page("t").figure(drawn, "c", "a"), Page("t").measures([], "physical"),
    ):
        with pytest.raises(PrivcamError, match="physical"):
            page.measures([_measure()]).html()
    with pytest.raises(PrivcamError):
        Page("t").section("physical").html()
    with pytest.raises(PrivcamError):
        Page("t").measures([_measure(source="emulated", note="physical")]).html()


def test_mixed_page_says_which_number_is_which():
    page = Page("t").table(["a", "b", "c"], [["r", _measure(), _measure(source="physical")]], "the same on a physical camera")
    html = page.html()
    assert "1 physical, 1 simulated" in html and 'class="mixed"' in html and "SIMULATED" not in html
    assert '<span class="source">physical</span>' in html and '<span class="source">simulated</span>' in html


def test_measures_are_grouped_by_prefix():
    names = ("utility/accuracy", "attack/wiener", "utility/rank1", "alone")
    html = render_measures_table([_measure(name=name) for name in names])
    assert re.findall(r'scope="colgroup">([^<]*)<', html) == ["utility", "attack", "alone"]
    assert re.findall(r'scope="row">([^<]*)<', html) == ["accuracy", "rank1", "wiener", "alone"]


def test_page_is_written_whole_or_not_at_all(tmp_path, points):
    target = Page("t").measures([_measure()]).write(tmp_path / "new" / "index.html")
    before = target.read_bytes()
    with pytest.raises(PrivcamError):
        Page("physical").write(target)
    assert target.read_bytes() == before and [p.name for p in target.parent.iterdir()] == ["index.html"]
    assert _full_page(points).html() == _full_page(points).html()

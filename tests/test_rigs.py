"""Rigs that show: a simulated world, a person, a screen; and stimuli as data. Rigs on wires are in `test_rig_lines.py`."""

from __future__ import annotations

import hashlib
import io
import os
import pty
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from rig_contract import RigBench, RigContract

from hil.cameras.world import World
from hil.rigs.person import PersonRig, instruction
from hil.rigs.screen import ScreenRig
from hil.rigs.simulated import SimulatedRig
from hil.rigs.terminal import Terminal
from optics_sim.data.photographs import encode_uint8
from optics_sim.errors import PrivcamError
from optics_sim.shots import Plan
from optics_sim.stimulus import Dark, Even, Flat, Light, Pattern, Picture, Point, over, stimulus_of

CHECKS = Pattern(name="checks", cells=((0.0, 1.0), (1.0, 0.25)))
SPOT = Point(y_m=0.01, x_m=-0.02, distance_m=0.4)
HEADLESS = ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--kiosk", "--window-size=400,300")
EVERY = (Dark(), Flat(level=0.5), Even(level=0.5), Light(level=0.25), SPOT, CHECKS, Picture(file="a.png", sha256="0" * 64))


# --- stimuli --------------------------------------------------------------------------------------
@pytest.mark.parametrize("stimulus", EVERY, ids=lambda one: one.kind)
def test_a_stimulus_comes_back_from_its_line(stimulus) -> None:
    assert stimulus_of(stimulus.text) == stimulus
    assert "\n" not in stimulus.text and stimulus.label.startswith(stimulus.kind)


@pytest.mark.parametrize("wrong", ['{"kind":"flat","level":1.5}', '{"kind":"flat"}', '{"kind":"glow"}', "point 3", '{"kind":"dark","x":1}',
                                   '{"kind":"pattern","cells":[[1],[1,0]]}', '{"kind":"point","y_m":0,"x_m":0,"distance_m":0}'])
def test_what_is_no_stimulus_is_refused(wrong: str) -> None:
    with pytest.raises(PrivcamError, match="not a stimulus"):
        stimulus_of(wrong)


def test_a_pattern_fills_the_field_and_no_cell_is_lost() -> None:
    np.testing.assert_array_equal(over(CHECKS.radiance(), (3, 4)), [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, .25, .25]])
    with pytest.raises(PrivcamError, match="more cells"):
        over(np.zeros((5, 5)), (4, 9))


def test_a_picture_is_the_file_that_is_meant(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 128, 255]], np.uint8)).save(tmp_path / "grey.png")
    np.save(tmp_path / "light.npy", np.array([[0.0, 0.5]]))
    grey = Picture(file="grey.png").pinned(tmp_path)
    assert grey.sha256 == hashlib.sha256((tmp_path / "grey.png").read_bytes()).hexdigest()
    assert grey.radiance(tmp_path) == pytest.approx(np.array([[0, ((128 / 255 + 0.055) / 1.055) ** 2.4, 1]]), rel=1e-4)
    assert Picture(file="light.npy").radiance(tmp_path).tolist() == [[0, 0.5]]
    np.save(tmp_path / "light.npy", np.array([[0.0, 1.5]]))
    (tmp_path / "grey.png").write_bytes(b"other")
    for picture, message in ((grey, "not the picture"), (Picture(file="grey.png"), "PNG or NPY"),
                             (Picture(file="light.npy"), "linear radiance"), (Picture(file="none.png"), "cannot be read")):
        with pytest.raises(PrivcamError, match=message):
            picture.radiance(tmp_path)


def test_a_plan_is_read_and_its_pictures_are_pinned(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((1, 1)))
    text = ('[[shots]]\ncount = 2\nstimulus = {kind = "picture", file = "a.npy"}\nsettings = {exposure_s = 0.01}\n'
            '[[shots]]\nstimulus = {kind = "dark"}\nsettings = {exposure_s = 0.02, analogue_gain = 2}\n')
    (tmp_path / "plan.toml").write_text(text)
    plan = Plan.load(tmp_path / "plan.toml")
    assert (plan.frames, len(plan.shots[0].stimulus.sha256)) == (3, 64)
    (tmp_path / "plan.toml").write_text("# another file\n" + text)
    assert Plan.load(tmp_path / "plan.toml").digest == plan.digest
    np.save(tmp_path / "a.npy", np.zeros((1, 1)))
    assert Plan.load(tmp_path / "plan.toml").digest != plan.digest
    (tmp_path / "plan.toml").write_text(text.replace("count", "cuont"))
    with pytest.raises(PrivcamError, match=r"shots\.0\.cuont"):
        Plan.load(tmp_path / "plan.toml")
    with pytest.raises(ValidationError):
        Plan(shots=())


# --- the simulated rig ----------------------------------------------------------------------------
class TestSimulatedRig(RigContract):
    @pytest.fixture
    def bench(self) -> RigBench:
        world = World(scene=np.zeros((4, 4)))
        rig = SimulatedRig(world, (4, 4))

        def seen() -> object:
            return world.radiance(0).tolist(), world.point, world.capped

        return RigBench(rig, (CHECKS, SPOT), Pattern(cells=((0.5,) * 5,)), seen, lambda: setattr(world, "light", 0.7))


def test_dark_is_dark_whatever_the_lamp_does() -> None:
    world = World(scene=np.ones((2, 2)))
    rig = SimulatedRig(world, (2, 2))
    rig.show(Dark())
    world.light = 5.0
    assert world.radiance(0).max() == 0
    rig.show(Light(level=0.25))
    assert (world.radiance(0) == 0.25).all()


# --- a person -------------------------------------------------------------------------------------
class Hands:
    """A person who does what they are told."""

    def __init__(self, answer: str = "") -> None:
        self.answer, self.told = answer, []

    def __call__(self, text: str, timeout_s: float) -> str:
        self.told.append(text)
        return self.answer


class TestPersonRig(RigContract):
    @pytest.fixture
    def bench(self) -> RigBench:
        hands = Hands()
        return RigBench(PersonRig(hands, source="simulated"), (Dark(), SPOT), None, lambda: hands.told[-1], None)


def test_what_the_person_answers_is_kept_and_no_is_no() -> None:
    hands = Hands("  a bit crooked ")
    rig = PersonRig(hands, source="simulated")
    assert rig.show(Dark()).proof == "a person said 'a bit crooked'"
    assert "not touched" in rig.show(Dark()).proof and len(hands.told) == 1
    hands.answer = "No"
    with pytest.raises(PrivcamError, match="cannot be shown"):
        rig.show(Flat(level=0.5))
    with pytest.raises(PrivcamError, match="nothing is shown"):
        rig.confirm()
    hands.answer = ""
    assert rig.show(Dark()).proof == "a person pressed Enter" and len(hands.told) == 3


def test_instructions_name_everything_that_counts() -> None:
    assert len({instruction(stimulus) for stimulus in EVERY}) == len(EVERY)
    assert "20 mm left and 10 mm down" in instruction(SPOT) and "400 mm" in instruction(SPOT)


def test_a_terminal_answers_in_time_or_not_at_all() -> None:
    near, far = pty.openpty()
    with os.fdopen(far, "r") as lines, io.StringIO() as said:
        ask = Terminal(lines, said)
        with pytest.raises(PrivcamError, match="nobody answers"):
            ask("cap the lens: ", 0.05)
        os.write(near, b"typed before\n")
        typing = threading.Timer(0.2, os.write, (near, b"done so\n"))
        typing.start()
        assert ask("cap the lens: ", 5) == "done so"
        typing.join()
        assert said.getvalue() == "cap the lens: " * 2
    os.close(near)
    with open(os.devnull) as nobody, pytest.raises(PrivcamError, match="no terminal"):  # noqa: PTH123
        Terminal(nobody, io.StringIO())("cap the lens: ", 5)
    with pytest.raises(PrivcamError, match="no terminal"):
        Terminal(io.StringIO("\n"), io.StringIO())("cap the lens: ", 5)


# --- a screen -------------------------------------------------------------------------------------
class Screen:
    """Stands in for a browser: asks, "paints", and tells what it has; `spoil` changes what it tells."""

    def __init__(self, url: str, size: tuple[int, int] = (6, 8)) -> None:
        import json

        self.spoil: dict[str, object] = {}
        self.pixels = np.zeros((*size, 4), np.uint8)
        self.gone = False

        def browse() -> None:
            last = 0
            while not self.gone:
                query = f"next?after={last}&height={size[0]}&width={size[1]}"
                try:
                    with urllib.request.urlopen(url + query, timeout=10) as answer:
                        if answer.status != 200:
                            continue
                        order = json.load(answer)
                    if order["picture"]:
                        with urllib.request.urlopen(f"{url}picture/{order['number']}", timeout=10) as answer:
                            self.pixels = np.asarray(Image.open(io.BytesIO(answer.read())))
                    last = order["number"]
                    told = {"number": last, "sha256": hashlib.sha256(self.pixels.tobytes()).hexdigest(), "height": size[0],
                            "width": size[1], "full": True, "visible": True} | self.spoil
                    if not self.gone:
                        urllib.request.urlopen(urllib.request.Request(url + "seen", json.dumps(told).encode()), timeout=10)
                except OSError:
                    return

        self.thread = threading.Thread(target=browse, daemon=True)
        self.thread.start()


@pytest.fixture
def screen() -> Iterator[tuple[ScreenRig, list[Screen]]]:
    screens: list[Screen] = []
    rig = ScreenRig(browser=(), tell=lambda text: screens.append(Screen(text.split()[-1])), paint_s=1.5, settle_s=0,
                    source="emulated")
    with rig:
        yield rig, screens


class TestScreenRig(RigContract):
    @pytest.fixture
    def bench(self, screen) -> RigBench:
        rig, screens = screen
        return RigBench(rig, (Flat(level=0.5), CHECKS), Dark(), lambda: screens[0].pixels.tolist(),
                        lambda: setattr(screens[0], "gone", True))


@pytest.mark.parametrize("spoil", [{"sha256": "0" * 64}, {"visible": False}, {"full": False}, {"width": 0}, {"number": 99}])
def test_a_screen_that_shows_something_else_is_found_out(screen, spoil: dict[str, object]) -> None:
    rig, screens = screen
    rig.show(CHECKS)
    screens[0].spoil = spoil
    with pytest.raises(PrivcamError, match="screen does not"):
        rig.confirm()
    with pytest.raises(PrivcamError, match="screen does not"):
        rig.show(Flat(level=0.1))
    with pytest.raises(PrivcamError, match="nothing is shown"):
        rig.confirm()


def test_a_window_that_grew_is_painted_anew_and_what_it_showed_is_not_confirmed(screen) -> None:
    rig, screens = screen
    rig.show(CHECKS)
    screens[0].spoil = {"width": 9}
    with pytest.raises(PrivcamError, match=r"got: .*width.*9"):
        rig.confirm()
    rig.show(CHECKS)
    assert screens[0].pixels.shape == (6, 9, 4)
    rig.confirm()


def test_pixels_are_display_codes_of_the_light(screen) -> None:
    rig, screens = screen
    rig.show(CHECKS)
    assert screens[0].pixels[0, 0].tolist() == [0, 0, 0, 255]
    assert screens[0].pixels[-1, -1, 0] == encode_uint8(np.array([0.25]))[0] == 137  # sRGB of a quarter of white
    assert rig.refusal(Pattern(cells=((0.5,) * 9,))) is not None


def test_only_the_page_of_this_rig_is_listened_to(screen) -> None:
    rig, _ = screen
    url = rig._server.url
    token = url.split("/")[3]
    for wrong in (url.replace(token, "x" * len(token)), url + "picture/999", url + "other"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(wrong, timeout=5)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(urllib.request.Request(url, headers={"Host": "evil.example"}), timeout=5)


def test_a_browser_that_never_comes_is_not_waited_for() -> None:
    with pytest.raises(PrivcamError, match="no page came up"), ScreenRig(browser=("true",), open_s=0.1):
        pass
    with pytest.raises(PrivcamError, match="does not start"), ScreenRig(browser=("/no/such/browser",), open_s=0.1):
        pass
    with pytest.raises(PrivcamError, match="not open"):
        ScreenRig().show(Flat(level=0.5))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is missing")
def test_a_real_browser_paints_what_was_meant(tmp_path: Path) -> None:
    """Chromium without a screen: the page's own hash of its canvas is the one computed here."""
    with ScreenRig(browser=HEADLESS, windowed=True, settle_s=0, paint_s=60) as rig:
        assert rig.info.source == "emulated"
        rig.show(Flat(level=0.3))  # by then a window that has just come up has its size
        proofs = {rig.show(stimulus).proof for stimulus in (CHECKS, Flat(level=0.3), CHECKS)}
        rig.confirm()
        assert len(proofs) == 2

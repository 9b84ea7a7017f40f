"""bench.toml: what it may say, what it refuses, and that the file alone chooses what is simulated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_lines import Pty
from grbl_fake import GrblFake
from test_architecture import ROOT

from hil.bench import Bench
from hil.bench_file import BenchFile
from hil.cameras.replay import ReplayCamera
from hil.cli import main
from hil.rigs.gcode import GcodeStage
from hil.rigs.person import PersonRig
from hil.rigs.simulated import SimulatedRig
from optics_sim.design import PinholePattern
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.learning.pipeline import start_design
from optics_sim.shots import Plan
from optics_sim.stimulus import Dark, Flat

pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")
SIMULATED = 'design = "design/design.toml"\n[camera]\nkind = "simulated"\n[rig]\nkind = "simulated"\n'
V4L2 = '[camera]\nkind = "v4l2"\ndevice = "/dev/video9"\nsensor = "x"\nshape = [8, 8]\npixel_format = "Y10"\nblack_level_dn = 16\n'
STAGE = '[rig]\nkind = "gcode"\nport = "{port}"\n[rig.mounting]\naxis_m = [-0.1, -0.1, -0.1]\ndistance_m = 0.5\n'
PLAN = ('[[shots]]\ncount = 2\nstimulus = {kind = "dark"}\nsettings = {exposure_s = 0.004}\n'
        '[[shots]]\nstimulus = {kind = "picture", file = "half.npy"}\nsettings = {exposure_s = 0.004}\n')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    design = start_design(PinholePattern(), (31, 31), (16, 16), bin_px=4)
    design.replace(**{"exposure.white_photons_per_px_s": 5e7, "optics.propagation": "geometric"}).save(tmp_path / "design")
    (tmp_path / "bench.toml").write_text(SIMULATED)
    (tmp_path / "plan.toml").write_text(PLAN)
    np.save(tmp_path / "half.npy", np.full((1, 1), 0.5))
    return tmp_path


def written(folder: Path, text: str) -> Path:
    (folder / "bench.toml").write_text(text)
    return folder / "bench.toml"


# --- the file -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("text", "parts"), [
    (SIMULATED.replace("[rig]", "seeed = 3\n[rig]"), ("camera.simulated.seeed", "3", "Extra inputs")),
    (SIMULATED.replace('kind = "simulated"\n[rig]', 'kind = "imagined"\n[rig]'), ("camera", "'simulated', 'replay', 'folder', 'v4l2'")),
    (SIMULATED.replace("[rig]", "drop_probability = 1\n[rig]"), ("camera.simulated.drop_probability", "got: 1", "less than 1")),
    (SIMULATED + "speed = 3\n", ("rig.simulated.speed",)), (SIMULATED + "[lamp]\n", ("lamp",)), ("[rig]\n", ("camera",)),
    (SIMULATED.replace("[rig]\n", "[rig"), ("not valid TOML",)),
    (V4L2 + STAGE.format(port="/dev/x").replace("-0.1]", "-0.1]\nright = 2"), ("rig.gcode.mounting.right", "got: 2")),
    (SIMULATED.partition("\n")[2], ("`design` is missing",)),
    (SIMULATED.replace('[rig]\nkind = "simulated"', '[rig]\nkind = "person"'), ("person before simulated", "allowed: simulated")),
    (V4L2 + '[rig]\nkind = "simulated"\n', ("simulated before v4l2", "person, screen, micropython, scpi, gcode")),
    (V4L2, ("None before v4l2",)),
    ('[camera]\nkind = "replay"\nset = "x"\n[rig]\nkind = "person"\n', ("person before replay", "no rig")),
])
def test_a_wrong_file_is_named_with_its_key_and_what_is_allowed(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(PrivcamError) as caught:
        BenchFile.load(written(tmp_path, text))
    assert "bench.toml" in str(caught.value)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_reading_opens_nothing_and_a_missing_file_is_told(tmp_path: Path) -> None:
    content = BenchFile.load(written(tmp_path, V4L2 + STAGE.format(port="/dev/ttyNowhere9")))
    assert (content.camera.kind, content.rig.kind, content.device.kind) == ("v4l2", "gcode", "none")
    with pytest.raises(PrivcamError, match="no bench file"):
        BenchFile.load(tmp_path / "none.toml")


def test_the_bench_loads_no_torch_before_a_camera_is_simulated() -> None:
    code = ("import sys, pathlib, hil.bench, hil.session, hil.verbs.capture\n"
            "from hil.bench_file import BenchFile\n"
            f"BenchFile.load(pathlib.Path({str(ROOT / 'examples/bench-simulated.toml')!r}))\n"
            "raise SystemExit('torch' in sys.modules)")
    answer = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr


# --- the bench ------------------------------------------------------------------------------------
def test_the_simulated_bench_shows_to_its_camera(folder: Path) -> None:
    with Bench.open(folder / "bench.toml") as bench:
        assert isinstance(bench.rig, SimulatedRig) and bench.device is None and bench.table.design == bench.design.digest
        means = []
        for stimulus in (Dark(), Flat(level=1.0)):
            bench.rig.show(stimulus)
            means.append(next(bench.camera.capture(CaptureSettings(exposure_s=0.004), 1)).raw.mean())
    assert means[1] > means[0] + 100


def test_each_occasion_has_its_own_noise_and_the_same_one_the_same(folder: Path) -> None:
    def frame(occasion: int) -> bytes:
        with Bench.open(folder / "bench.toml", occasion=occasion) as bench:
            return next(bench.camera.capture(CaptureSettings(exposure_s=0.004), 1)).raw.tobytes()

    assert frame(0) == frame(0) != frame(1)


def test_wires_are_opened_last_and_closed_again(folder: Path, tmp_path: Path) -> None:
    """A stage on a fake of Grbl before a camera that is not there: the error is the camera's, and the stage was left alone."""
    fake = GrblFake()
    with Pty(fake.feed) as pty:
        file = written(folder, V4L2 + STAGE.format(port=pty.url))
        with pytest.raises(PrivcamError, match=r"linuxpy|no camera opens"), Bench.open(file):
            pass
    assert fake.heard == []


def test_a_rig_of_the_file_is_the_rig_of_the_bench(folder: Path, monkeypatch) -> None:
    import contextlib

    import hil.cameras.v4l2 as v4l2

    monkeypatch.setattr(v4l2.V4l2Camera, "__enter__", lambda self: self)
    monkeypatch.setattr(v4l2.V4l2Camera, "__exit__", lambda self, *error: None)
    asked: list[str] = []
    with Bench.open(written(folder, V4L2 + '[rig]\nkind = "person"\n'), ask=lambda text, timeout_s: asked.append(text) or "") as bench:
        assert isinstance(bench.rig, PersonRig)
        bench.rig.show(Dark())
    assert asked and asked[0].startswith("Cap the lens")
    fake = GrblFake()
    with contextlib.ExitStack() as stack:
        pty = stack.enter_context(Pty(fake.feed))
        with Bench.open(written(folder, V4L2 + STAGE.format(port=pty.url))) as bench:
            assert isinstance(bench.rig, GcodeStage) and bench.rig.info.source == "emulated"
    assert fake.heard == ["$H", "G21 G90"]


# --- the verb -------------------------------------------------------------------------------------
def test_capture_takes_a_plan_and_says_how_far_it_is(folder: Path, capsys) -> None:
    words = ["capture", str(folder / "bench.toml"), str(folder / "plan.toml"), "--out", str(folder / "out")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "shot 2 of 2: picture half.npy" in said and "3 frames, source simulated" in said
    assert json.loads((folder / "out" / "run.json").read_text())["status"] == "done"
    plan = Plan.load(folder / "plan.toml")
    again = written(folder, f'[camera]\nkind = "replay"\nset = "{folder / "out" / "set.h5"}"\n')
    with Bench.open(again) as bench:
        assert isinstance(bench.camera, ReplayCamera) and bench.rig is None
        assert next(bench.camera.capture(plan.shots[0].settings, 1)).replayed
    assert main(words) == 0, "a session that is done opens no bench"
    (folder / "plan.toml").write_text(PLAN.replace("0.004", "0.005"))
    assert main(words) == 2
    assert "another session" in capsys.readouterr().err


def test_a_person_without_a_terminal_is_not_waited_for(folder: Path, capsys, monkeypatch) -> None:
    import hil.cameras.v4l2 as v4l2

    monkeypatch.setattr(v4l2.V4l2Camera, "__enter__", lambda self: self)
    monkeypatch.setattr(v4l2.V4l2Camera, "__exit__", lambda self, *error: None)
    written(folder, V4L2 + '[rig]\nkind = "person"\n')
    assert main(["capture", str(folder / "bench.toml"), str(folder / "plan.toml"), "--out", str(folder / "out")]) == 2
    assert "no terminal" in capsys.readouterr().err


def test_the_example_bench_and_plan_are_valid() -> None:
    content = BenchFile.load(ROOT / "examples" / "bench-simulated.toml")
    assert (ROOT / "examples" / content.design).is_file()
    assert Plan.load(ROOT / "examples" / "plan.toml").frames == 6

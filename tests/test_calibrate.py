"""`privcam calibrate` on the simulated bench: what it finds of a camera made otherwise, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from benchmarks.calibration_coverage import MOST, bench_file
from benchmarks.geometry_coverage import hidden_camera
from calibration import saturation
from calibration.as_built import Calibration
from hil.bench import Bench, even_light
from hil.calibrate.run import load
from hil.calibrate.sensor import green
from hil.cameras.made import Made
from hil.cameras.world import World
from hil.cli import main
from hil.session import open_set
from optics_sim.design import CameraDesign, OpenPattern
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.learning.pipeline import start_design
from optics_sim.optics.point import point_irradiance
from optics_sim.stimulus import Even, Flat, Point

pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")
CAMERA = hidden_camera(3)
FEW = ["--levels", "16", "--stack", "16"]


def calibrated(bench: Path, out: Path, *words: str) -> int:
    return main(["calibrate", str(bench), "--out", str(out), *FEW, *words])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bench_file(CAMERA, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def out(bench: Path) -> Path:
    folder = bench.parent / "out"
    assert calibrated(bench, folder, "--parts", "sensor") == 0
    assert calibrated(bench, folder, "--parts", "mask") == 0
    return folder


# --- what it finds --------------------------------------------------------------------------------
def test_a_camera_made_otherwise_is_found_within_its_intervals(out: Path) -> None:
    """Of one camera, with a third of the levels: how often is in benchmarks/results-calibration.md."""
    found, sensor = load(out), CAMERA.design.sensor
    truth = {"gain": (found.sensor["gain"], sensor.gain_dn_per_e), "dark noise": (found.sensor["dark noise"], sensor.read_noise_e),
             "mask to sensor": (found.mask["mask to sensor"], CAMERA.mask_to_sensor_m),
             "shift y": (found.mask["shift y"], CAMERA.shift_m[0]),
             "shift x": (found.mask["shift x"], CAMERA.shift_m[1]),
             "rotation": (found.mask["rotation"], float(np.degrees(CAMERA.rotation_rad)))}
    for name, (figure, true) in truth.items():
        middle, half = sum(figure.interval) / 2, (figure.interval[1] - figure.interval[0]) / 2
        assert abs(middle - true) <= 1.5 * half, name
        assert figure.source == "simulated"
    assert found.sensor["black level"].value == pytest.approx(sensor.black_level_dn, abs=0.05)
    assert found.sensor["quantum efficiency"].value == pytest.approx(sensor.quantum_efficiency, rel=0.03)
    assert set(MOST) == {"gain", "read noise", "mask to sensor", "shift y", "shift x", "rotation"}


def test_the_as_built_design_is_a_child_of_the_design_and_has_what_was_measured(out: Path, bench: Path) -> None:
    nominal, built, found = CameraDesign.load(bench.parent / "design"), CameraDesign.load(out / "as_built"), load(out)
    assert built.parent == nominal.digest == found.design
    assert built.sensor.gain_dn_per_e == found.sensor["gain"].value != nominal.sensor.gain_dn_per_e
    assert built.sensor.source_of("read_noise_e") == "measured by photon transfer"
    assert built.optics.mask_to_sensor_m == found.mask["mask to sensor"].value
    assert built.optics.mount.shift_m == (found.mask["shift y"].value, found.mask["shift x"].value)


def test_the_page_has_designed_beside_measured_and_says_simulated(out: Path) -> None:
    page = (out / "calibration.html").read_text()
    assert f"{load(out).mask['mask to sensor'].value * 1e3:.3f}" in page and "3.000" in page
    assert "simulated" in page and "physical" not in re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    for name in ("sensor/datasheet.html", "sensor/masters/dark.npy", "mask/geometry.json", "run.json"):
        assert (out / name).stat().st_size > 0


# --- how it goes on -------------------------------------------------------------------------------
def test_what_is_there_is_not_taken_again_and_gives_the_same(out: Path, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: (out / name).read_bytes() for name in ("calibration.json", "as_built/design.toml", "sensor/set.h5", "mask/set.h5")}
    monkeypatch.setattr(Bench, "open", None)  # no bench is opened
    assert calibrated(bench, out) == 0
    assert {name: (out / name).read_bytes() for name in before} == before


def test_kills_at_random_moments_lose_the_frame_in_flight_at_most(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    answer = subprocess.run([sys.executable, str(Path(__file__).parent / "calibration_killer.py"), str(tmp_path), "4", "1"],
                            env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=300)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["kills"] == 4 and told["calibrations"] >= 1


# --- what it refuses ------------------------------------------------------------------------------
def test_a_mask_is_not_measured_before_its_sensor(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrated(bench, tmp_path / "out", "--parts", "mask") == 2
    assert "measure the part sensor first" in capsys.readouterr().err
    assert not (tmp_path / "out" / "calibration.json").exists()


def test_a_folder_of_another_camera_is_refused(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = bench_file(replace(CAMERA, seed=CAMERA.seed + 1), tmp_path)
    (out / "as_built" / "kept").write_text("")
    assert main(["calibrate", str(other), "--out", str(out), *FEW]) == 2
    assert "another" in capsys.readouterr().err
    assert (out / "as_built" / "kept").exists()


def test_a_bench_without_a_design_and_a_folder_without_a_calibration_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bench.toml").write_text('[camera]\nkind = "replay"\nset = "x"\n')
    assert calibrated(tmp_path / "bench.toml", tmp_path / "out") == 2
    assert "needs a design" in capsys.readouterr().err
    with pytest.raises(PrivcamError, match="run privcam calibrate"):
        load(tmp_path)


def spoiled(bench: Path, folder: Path, **made: object) -> Path:
    """A bench whose camera cannot be calibrated."""
    import tomllib

    content = tomllib.loads(bench.read_text())
    content["design"] = str(bench.parent / "design" / "design.toml")
    content["camera"]["made"].update(made)
    (folder / "bench.toml").write_text(tomli_w.dumps(content))
    return folder / "bench.toml"


@pytest.mark.parametrize(("made", "words", "told"), [
    ({"sensor": {"black_level_dn": 0.0}}, (), "raise the camera's black level"),
    ({"sensor": {"dark_current_e_per_s": 3e6}}, (), "saturate"),
    ({}, ("--longest", "0.02"), "brighten the light"),
    ({"rotation_rad": 0.9}, (), "shadow of this mask is not seen"),
    ({}, ("--distances", "0.2"), "two distances"),
])
def test_spoiled_data_are_refused_with_what_to_do(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                  made: dict[str, object], words: tuple[str, ...], told: str) -> None:
    assert calibrated(spoiled(bench, tmp_path, **made), tmp_path / "out", *words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out" / "calibration.json").exists()


@pytest.mark.parametrize(("light", "told"), [(lambda time_s: 1 + 0.1 * time_s, "drifting"),
                                             (lambda time_s: 1 + 0.03 * np.sin(1e3 * time_s), "flickering")])
def test_a_light_that_is_not_steady_is_refused(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                               monkeypatch: pytest.MonkeyPatch, light: Callable[[float], float], told: str) -> None:
    steady = World.radiance
    monkeypatch.setattr(World, "radiance", lambda world, time_s: steady(world, time_s) * light(time_s))
    assert calibrated(bench, tmp_path / "out", "--parts", "sensor") == 2
    assert told in capsys.readouterr().err


# --- its parts ------------------------------------------------------------------------------------
@pytest.mark.parametrize("first_s", [1e-4, 3e-3, 0.05, 0.4])
@pytest.mark.parametrize("soft", [False, True])
def test_the_search_finds_where_a_light_fills_the_sensor(first_s: float, soft: bool) -> None:
    def signal(exposure_s: float) -> float:
        light = 3e4 * exposure_s
        return 1500 + 1500 * (1 - np.exp(1 - light / 1500)) if soft and light > 1500 else min(light, 3000)

    trials: list[saturation.Trial] = []
    while (next_s := saturation.search(trials, first_s=first_s, shortest_s=1e-5, longest_s=10)) is not None:
        trials.append(saturation.Trial(next_s, signal(next_s)))
    assert len(trials) < 9
    assert saturation.full_exposure(trials) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(("rate", "told"), [(10.0, "brighten"), (1e9, "dim")])
def test_a_light_that_no_exposure_fits_is_told(rate: float, told: str) -> None:
    trials: list[saturation.Trial] = []
    with pytest.raises(PrivcamError, match=told):
        while (next_s := saturation.search(trials, first_s=0.01, shortest_s=1e-4, longest_s=1)) is not None:
            trials.append(saturation.Trial(next_s, min(rate * next_s, 3000)))
    with pytest.raises(PrivcamError, match="do not tell"):
        saturation.full_exposure(trials)


def test_green_pixels_are_taken_from_a_mosaic() -> None:
    mosaic = np.arange(16, dtype=np.uint16).reshape(1, 4, 4)
    assert green(mosaic, "rggb").tolist() == [[[1, 3], [9, 11]]] and green(mosaic, "grbg").tolist() == [[[0, 2], [8, 10]]]
    assert green(mosaic, "mono") is mosaic


def test_even_light_lights_the_bare_sensor_whatever_the_mask(bench: Path) -> None:
    with Bench.open(bench) as table:
        means = []
        for stimulus in (Even(level=0.5), Flat(level=0.5)):
            table.rig.show(stimulus)
            frame = next(table.camera.capture(CaptureSettings(exposure_s=0.01), 1))
            means.append(frame.raw.mean() - 64)
    sensor = CAMERA.design.sensor
    expected = 0.5 * even_light(bench) * 0.01 * sensor.quantum_efficiency * sensor.gain_dn_per_e
    assert means[0] == pytest.approx(expected, rel=0.01)
    assert means[1] < 0.6 * means[0]  # through the mask


@pytest.mark.parametrize("turn", [True, False])
def test_a_point_before_a_camera_made_as_drawn_is_seen_as_the_design_sees_it(turn: bool) -> None:
    """Two models of light: waves at an angle, and the design's own."""
    nominal = CAMERA.design.replace(**{"readout.turn": turn})
    point = Point(y_m=0.01, x_m=-0.02, distance_m=0.4)
    waves, ours = Made().seen(nominal, point), point_irradiance(nominal, point.y_m, point.x_m, point.distance_m).numpy()
    assert waves.shape == ours.shape and waves.sum() == pytest.approx(ours.sum(), rel=0.04)
    assert np.corrcoef(waves.ravel(), ours.ravel())[0, 1] > 0.97
    assert np.corrcoef(waves[::-1, ::-1].ravel(), ours.ravel())[0, 1] < 0.5


def test_what_is_made_otherwise_is_the_design_s_own_field_or_refused() -> None:
    nominal = start_design(OpenPattern(), (31, 31), (16, 16), bin_px=4)
    assert Made().design(nominal).sensor == nominal.sensor
    assert Made(sensor={"read_noise_e": 7.0}).design(nominal).sensor.read_noise_e == 7.0
    with pytest.raises(PrivcamError, match="sensor"):
        Made(sensor={"reed_noise": 7.0}).design(nominal)
    lens = nominal.replace(optics={"kind": "identity"})
    with pytest.raises(PrivcamError, match="only a mask"):
        Made(rotation_rad=0.1).design(lens)


def test_nothing_of_another_design_is_put_into_a_design(out: Path) -> None:
    with pytest.raises(PrivcamError, match="another design"):
        load(out).as_built(start_design(OpenPattern(), (31, 31), (16, 16), bin_px=4))
    assert isinstance(load(out), Calibration) and len(open_set(out / "sensor" / "set.h5")) > 0

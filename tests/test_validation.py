"""Validation of a run on a simulated bench: three columns with their sources, what a disturbed mask costs, what adapting recovers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from design_run import disturbed, made_run
from numpy.typing import NDArray

from hil.bench import Bench
from hil.cameras.simulated import SimulatedCamera
from hil.cameras.world import World
from hil.cli import main
from hil.protocols import Camera, DeviceInfo, EncoderDevice
from hil.rigs.simulated import SimulatedRig
from hil.validation.adapting import adapt, read_adapted
from hil.validation.columns import captured_recognition
from hil.validation.frames import Captured, check_camera, crop_of
from hil.validation.on_device import Named, hits
from hil.validation.run_folder import DesignRun, built_design
from hil.validation.showing import ShownPicture, prepare
from hil.validation.stage import SESSION, Asked, OpenBench, capture, validate
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Adapting
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.measure import Measure
from optics_sim.report.validation_table import (
    ADAPTED,
    AS_BUILT,
    CAPTURED,
    LONGER,
    NOMINAL,
    OWN,
    UNCALIBRATED,
    Validated,
    validation_tables,
    write_validation,
)
from optics_sim.run import Run
from optics_sim.shots import Plan

pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")
pytestmark = pytest.mark.timeout(300)
ADAPTING = Adapting(epochs=15)
BENCH = """design = "nominal"
[camera]
kind = "simulated"
[camera.made]
mask_to_sensor_m = 4.8e-3
shift_m = [70e-6, -60e-6]
rotation_rad = 1.5
[rig]
kind = "simulated"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("validation") / "run")


@pytest.fixture(scope="module")
def run(folder: Path) -> DesignRun:
    return DesignRun.load(folder)


def bench(real: CameraDesign, nominal: CameraDesign, openings: list[int] | None = None,
          around: Callable[[Camera], Camera] = lambda camera: camera, device: EncoderDevice | None = None) -> OpenBench:
    """Returns what opens a bench whose camera is really made as `real`, though its file names the nominal design."""
    @contextmanager
    def opened(pictures: Path, occasion: int) -> Iterator[Bench]:
        if openings is not None:
            openings.append(occasion)
        world = World(scene=np.zeros(real.scene))
        camera = SimulatedCamera(real, world, generator=torch.Generator().manual_seed(occasion))
        yield Bench(around(camera), SimulatedRig(world, (real.scene[0], real.scene[1]), pictures), device, nominal)
    return opened


def go(run: DesignRun, out: Path, asked: Asked, opened: OpenBench, told: list[str] | None = None) -> Validated:
    return validate(run, opened, out, asked, (told if told is not None else []).append, lambda: "then")


@pytest.fixture(scope="module")
def validated(run: DesignRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Validated]:
    out, built = tmp_path_factory.mktemp("validated"), disturbed(run.design)
    asked = Asked(as_built=built, adapting=ADAPTING, attack_pictures=6)
    return out, go(run, out, asked, bench(built, run.design))


def value(found: Validated, column: str, name: str) -> float:
    known = found.rows[column].sample(name).value
    assert known is not None
    return known


# --- three columns --------------------------------------------------------------------------------
def test_every_column_has_recognition_and_attacks_with_their_source(validated: tuple[Path, Validated]) -> None:
    _, found = validated
    assert list(found.rows) == [NOMINAL, AS_BUILT, CAPTURED, UNCALIBRATED]
    attacks = {"code/network/auc", "code/lda/auc", "tikhonov/psnr", "decoder/ssim"}
    for label in (NOMINAL, AS_BUILT, CAPTURED):
        names = {sample.name for sample in found.rows[label].samples}
        assert attacks | {OWN, ADAPTED} <= names
    assert found.source == "simulated" and {m.source for m in found.measures} == {"simulated"}
    assert {"identity", "black"} == set(found.controls)


class Emulated:
    """A simulated camera that says of itself and of its frames that they are emulated."""

    def __init__(self, camera: Camera) -> None:
        self._camera, self.info = camera, camera.info.model_copy(update={"source": "emulated"})

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        return (replace(frame, source="emulated") for frame in self._camera.capture(settings, count))


def test_without_an_as_built_design_an_undisturbed_camera_loses_nothing_and_its_numbers_say_their_source(run: DesignRun,
                                                                                                       tmp_path: Path) -> None:
    """The twins stay simulated beside a camera that says emulated, and no difference between the two claims more."""
    found = go(run, tmp_path, Asked(), bench(run.design, run.design, around=Emulated))
    assert abs(value(found, NOMINAL, OWN) - value(found, CAPTURED, OWN)) < 0.1
    assert value(found, NOMINAL, "distance/correlation") > 0.9
    sources = {m.name: m.source for m in found.measures}
    assert sources[f"captured/{OWN}"] == sources["captured/code/lda/auc"] == sources["nominal/distance/correlation"] == "emulated"
    assert sources[f"nominal/{OWN}"] == sources["nominal/code/lda/auc"] == sources["control/black/code/lda/auc"] == "simulated"
    assert "nominal/mean_face/psnr" in sources and "captured/mean_face/psnr" not in sources, "no camera has seen a mean face"
    tables = validation_tables(found)
    assert tables[0][0] == ["", "Nominal twin (simulated)", "Captured (emulated)"]
    assert all(isinstance(row[1], Measure) and row[1].source == "simulated" for row in tables[1][1])


def test_a_disturbed_mask_costs_recognition_and_the_as_built_twin_says_how_much(validated: tuple[Path, Validated]) -> None:
    _, found = validated
    lost = value(found, NOMINAL, OWN) - value(found, CAPTURED, OWN)
    assert lost >= 0.1
    assert abs(value(found, AS_BUILT, OWN) - value(found, CAPTURED, OWN)) < lost / 2
    assert value(found, CAPTURED, ADAPTED) > value(found, CAPTURED, OWN)
    assert found.rows[CAPTURED].sample(LONGER).value is None and value(found, NOMINAL, LONGER) > value(found, AS_BUILT, OWN)


def test_the_as_built_twin_is_nearer_than_the_nominal_one_and_than_wrong_scenes(validated: tuple[Path, Validated]) -> None:
    _, found = validated
    correlation = {label: value(found, label, "distance/correlation") for label in (NOMINAL, AS_BUILT)}
    assert correlation[AS_BUILT] > correlation[NOMINAL] + 0.1
    for control in ("flipped", "shifted"):
        assert correlation[AS_BUILT] > value(found, AS_BUILT, f"distance/correlation/{control}")
        assert value(found, AS_BUILT, "distance/residual") < value(found, AS_BUILT, f"distance/residual/{control}")
    assert value(found, AS_BUILT, "distance/beats_controls") > 0.9
    assert value(found, AS_BUILT, "distance/residual") < value(found, NOMINAL, "distance/residual")
    assert value(found, AS_BUILT, "distance/light") == pytest.approx(1, abs=0.02)


# --- what is kept ---------------------------------------------------------------------------------
def test_labels_say_who_is_on_each_shot(validated: tuple[Path, Validated], run: DesignRun) -> None:
    out, _ = validated
    told = json.loads((out / SESSION / "labels.json").read_text())
    shots, cohort = [ShownPicture.model_validate(shot) for shot in told["shots"]], run.cohort()
    plan = Plan.model_validate_json((out / SESSION / "plan.json").read_bytes())
    assert told["plan"] == plan.digest and [shot.file for shot in shots] == [one.stimulus.file for one in plan.shots]
    assert [shot.person for shot in shots if shot.part == "test"] == cohort.test.labels.tolist()
    assert sum(shot.part == "attacker" for shot in shots) == 6
    for shot in shots:
        people = {"test": cohort.test, "victims": cohort.populations.victims}.get(shot.part)
        if people is not None:
            np.testing.assert_array_equal(np.load(out / SESSION / shot.file), people.scenes[shot.number].numpy())


def test_page_and_reports_are_written(validated: tuple[Path, Validated], tmp_path: Path) -> None:
    out, found = validated
    shutil.copytree(out / "rows", tmp_path / "rows")
    with Run(tmp_path, "validate", {}) as record:
        page = write_validation(tmp_path, found, record).read_text(encoding="utf-8")
    for words in ("SIMULATED", "Nominal twin", "As-built twin", "Captured", "flipped", "Identity camera"):
        assert words in page
    report = json.loads((tmp_path / "report.json").read_text())
    assert {f"{column}/{OWN}" for column in (NOMINAL, AS_BUILT, CAPTURED)} <= {m["name"] for m in report["measures"]}
    assert any("after adapting" in goal["what"] for goal in report["goals"])
    assert "| Captured (simulated) |" in (tmp_path / "report.md").read_text()


def test_the_runs_recogniser_is_kept_as_it_was(validated: tuple[Path, Validated], run: DesignRun) -> None:
    out, _ = validated
    adapted = read_adapted(out, run, disturbed(run.design))
    assert adapted.provenance.adapting == ADAPTING and adapted.provenance.design == run.design.digest
    before, after = run.recogniser().state_dict(), adapted.network.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(after[name], value) for name, value in adapted.undisturbed.state_dict().items())
    with pytest.raises(PrivcamError, match="another as-built"):
        read_adapted(out, run, disturbed(run.design).replace(name="other"))


class Killed:
    """A camera whose program is stopped before its fifth frame."""

    def __init__(self, camera: Camera) -> None:
        self._camera, self._left, self.info = camera, 5, camera.info

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        return self._camera.capture(settings, count)


def test_a_capture_that_was_killed_goes_on_and_is_not_taken_twice(run: DesignRun, tmp_path: Path) -> None:
    openings, told = list[int](), list[str]()

    def take(opened: OpenBench) -> Captured:
        showing = prepare(run.cohort(), run.design, tmp_path)
        return capture(run, opened, tmp_path, showing, Asked(), told.append, lambda: "then")[0]

    with pytest.raises(KeyboardInterrupt):
        take(bench(run.design, run.design, openings, Killed))
    first = take(bench(run.design, run.design, openings))
    assert openings == [0, 1] and any(line.startswith("4 of") and "there already" in line for line in told)
    again = take(bench(run.design, run.design, openings))
    assert openings == [0, 1], "a session that is done opens no bench"
    assert again.digest == first.digest


# --- a device -------------------------------------------------------------------------------------
class Board:
    """An emulated device that names the person of the run's recogniser, in one byte."""

    def __init__(self, run: DesignRun, digest: str, code_bytes: int = 1) -> None:
        self._network, self.asked = run.recogniser(), 0
        self.info = DeviceInfo("fake", "a test", digest, 16 * 16, code_bytes, "0", "emulated")

    def encode(self, clip: NDArray[np.int8]) -> NDArray[np.int8]:
        self.asked += len(clip)
        return self._network(torch.from_numpy(clip).float()).argmax(1, keepdim=True).to(torch.int8).numpy()


def test_a_device_names_people_on_captured_frames_and_is_asked_once(run: DesignRun, tmp_path: Path) -> None:
    cohort = run.cohort().thinned(3)
    showing = prepare(cohort, run.design, tmp_path)

    def take(device: Board) -> tuple[Captured, Named | None]:
        return capture(run, bench(run.design, run.design, device=device), tmp_path, showing, Asked(device=True), lambda text: None,
                       lambda: "then")

    with pytest.raises(PrivcamError, match="encoder of another design"):
        take(Board(run, "0" * 64))
    with pytest.raises(PrivcamError, match="names nobody"):
        take(Board(run, run.design.digest, 7))
    board = Board(run, run.design.digest)
    captured, named = take(board)
    assert named is not None and named.source == "simulated", "no more than its frames"
    (said,) = captured_recognition(captured, {OWN: run.recogniser()}, cohort, 0)
    assert hits(named, captured).mean() == pytest.approx(said.value)
    assert take(board)[1] == named and board.asked == len(showing.shown)


def test_a_thinned_cohort_keeps_some_pictures_of_everybody(run: DesignRun) -> None:
    whole, few = run.cohort(), run.cohort().thinned(2)
    assert torch.equal(few.test.labels.unique(return_counts=True)[1], torch.full((4,), 2))
    victims = few.populations.victims.labels
    assert torch.equal(victims.unique(), whole.populations.victims.labels.unique()) and victims.bincount().max() == 2
    assert all(len(asked) == len(victims) for _, asked in few.populations.attributes.values())
    assert torch.equal(few.train.scenes, whole.train.scenes)


# --- the verbs ------------------------------------------------------------------------------------
def test_the_verbs_work_from_files(folder: Path, run: DesignRun, tmp_path: Path) -> None:
    disturbed(run.design).save(tmp_path / "as_built")
    run.design.save(tmp_path / "nominal")
    write_atomically(tmp_path / "bench.toml", BENCH.encode())
    adapting = ["adapt", str(folder), "--as-built", str(tmp_path / "as_built"), "--out", str(tmp_path / "a"), "--epochs", "2"]
    assert main(adapting) == 0
    made = (tmp_path / "a" / "adapted" / "recogniser.safetensors").stat().st_mtime_ns
    assert main(adapting) == 0, "and is read, not trained, the second time"
    assert (tmp_path / "a" / "adapted" / "recogniser.safetensors").stat().st_mtime_ns == made
    names = {m["name"] for m in json.loads((tmp_path / "a" / "report.json").read_text())["measures"]}
    assert {"nominal/after/accuracy", "as_built/before/accuracy", "as_built/after/accuracy"} <= names
    words = ["validate", str(tmp_path / "bench.toml"), str(folder), "--calibration", str(tmp_path), "--adapted", str(tmp_path / "a"),
             "--out", str(tmp_path / "v")]
    assert main(words) == 0
    assert json.loads((tmp_path / "v" / "run.json").read_text())["status"] == "done"
    report = {m["name"]: m["value"] for m in json.loads((tmp_path / "v" / "report.json").read_text())["measures"]}
    assert report["as_built/distance/correlation"] > report["nominal/distance/correlation"] + 0.1
    assert (tmp_path / "v" / "validation.html").is_file()


def test_a_killed_adaptation_ends_with_the_same_bits(run: DesignRun, tmp_path: Path) -> None:
    def stop(text: str) -> None:
        if text.startswith("adapted: epoch 2"):
            raise KeyboardInterrupt

    built, cohort = disturbed(run.design), run.cohort()
    with pytest.raises(KeyboardInterrupt):
        adapt(run, built, cohort, run.experiment, Adapting(epochs=4), tmp_path / "a", stop)
    for place in ("a", "b"):
        adapt(run, built, cohort, run.experiment, Adapting(epochs=4), tmp_path / place, lambda text: None)
    resumed, whole = ((tmp_path / place / "adapted" / "recogniser.safetensors").read_bytes() for place in ("a", "b"))
    assert resumed == whole


# --- refusals -------------------------------------------------------------------------------------
def test_an_as_built_design_of_another_camera_is_refused(run: DesignRun, tmp_path: Path) -> None:
    run.design.replace(name="child").replace(name="grandchild").save(tmp_path)
    with pytest.raises(PrivcamError, match="another camera"):
        built_design(tmp_path, run.design)
    run.design.replace(**{"exposure.exposure_s": 1.0}).save(tmp_path)
    with pytest.raises(PrivcamError, match="and nothing else"):
        built_design(tmp_path, run.design)


def test_folders_that_are_no_run_on_photographs_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PrivcamError, match="not the folder of a run"):
        DesignRun.load(tmp_path)
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("design"))
    with pytest.raises(PrivcamError, match="no design in this run"):
        DesignRun.load(tmp_path / "bare")
    shutil.copytree(folder, tmp_path / "clips")
    record = json.loads((folder / "run.json").read_text())
    record["arguments"].update(data=None, synthetic_clips=True)
    (tmp_path / "clips" / "run.json").write_text(json.dumps(record))
    with pytest.raises(PrivcamError, match="clips cannot be validated yet"):
        DesignRun.load(tmp_path / "clips")


def test_other_pictures_than_the_runs_are_refused(folder: Path) -> None:
    other = DesignRun.load(folder, data="synthetic:8:5:1")
    with pytest.raises(PrivcamError, match="not the pictures that the run was trained on"):
        other.cohort()
    assert len(other.cohort(trusted=True).people) == 4


def test_a_bench_of_another_design_is_refused_before_anything_is_shown(run: DesignRun, tmp_path: Path) -> None:
    stranger = run.design.replace(name="stranger", parent=None)
    with pytest.raises(PrivcamError, match="bench's camera is of another design"):
        go(run, tmp_path, Asked(), bench(run.design, stranger))
    assert not (tmp_path / SESSION / "set").exists()


class Coarse(Emulated):
    """A camera of eight bits."""

    def __init__(self, camera: Camera) -> None:
        super().__init__(camera)
        self.info = camera.info.model_copy(update={"bit_depth": 8})


def test_a_camera_that_the_readout_does_not_fit_is_refused_before_anything_is_shown(run: DesignRun, tmp_path: Path) -> None:
    with pytest.raises(PrivcamError, match="readout is of other numbers"):
        go(run, tmp_path, Asked(), bench(run.design, run.design, around=Coarse))
    assert not (tmp_path / SESSION / "set").exists()


def test_the_readouts_crop_is_taken_from_whole_frames_and_no_others(run: DesignRun) -> None:
    spec, info = run.design.readout, bench_info(run.design)
    whole = np.arange(np.prod(run.design.sensor.shape), dtype=np.uint32).astype(np.uint16).reshape(run.design.sensor.shape)
    top, left, rows, columns = spec.crop
    crop = whole[top:top + rows, left:left + columns]
    for frame in (whole, crop):
        np.testing.assert_array_equal(crop_of(frame, info.model_copy(update={"shape": frame.shape}), spec), crop)
    with pytest.raises(PrivcamError, match="does not fit these frames"):
        check_camera(info.model_copy(update={"shape": (rows + 2, columns)}), run.design)


def bench_info(design: CameraDesign) -> CameraInfo:
    return SimulatedCamera(design, World(scene=np.zeros(design.scene)), generator=torch.Generator().manual_seed(0)).info


def test_adapting_needs_an_as_built_twin(run: DesignRun, tmp_path: Path) -> None:
    with pytest.raises(PrivcamError, match="adapted to an as-built twin"):
        go(run, tmp_path, Asked(adapting=ADAPTING), bench(run.design, run.design))

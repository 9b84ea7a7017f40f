"""The main job as a user runs it: same seed, same bits; a run that is killed resumes to the same result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from optics_sim.design import CameraDesign
from optics_sim.report.study import score

pytestmark = pytest.mark.slow
TINY = ["--scene", "31", "--mask", "16", "--enrolled", "4", "--workers", "0", "--set", "training.epochs=3", "--set",
        "training.batch=16", "--set", "judging.decoder_steps=3", "--set", "judging.identity_epochs=1", "--set",
        "judging.decoder_pairs=20", "--set", "judging.admm_iterations=3", "--set", "judging.fista_iterations=3"]


def command(source: list[str], out: Path) -> list[str]:
    return [sys.executable, "-m", "hil.cli", "design", *source, "--out", str(out), *TINY]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small folder of folders, made of drawn people, read as a user's photographs are."""
    from PIL import Image

    from optics_sim.data.synthetic import synthetic_people

    faces = synthetic_people(8, 8, 0, 48)
    root = tmp_path_factory.mktemp("people")
    for number, (image, label) in enumerate(zip(faces.images, faces.labels, strict=True)):
        folder = root / faces.people[label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return ["--data", str(root)]


@pytest.fixture(scope="module")
def finished(photographs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "run"
    subprocess.run(command(photographs, out), check=True, env=environment(), capture_output=True)
    return out


def made(out: Path) -> tuple[str, bytes, str]:
    rows = sorted(out.glob("rows/*/row.json"))
    return (CameraDesign.load(out / "design").digest, (out / "design" / "recogniser.safetensors").read_bytes(),
            "".join(row.read_text() for row in rows))


def test_a_run_leaves_what_it_promises(finished: Path):
    assert json.loads((finished / "run.json").read_text())["status"] == "done"
    report = json.loads((finished / "report.json").read_text())
    assert {"name", "value", "unit", "interval", "n", "source"} <= set(report["measures"][0])
    assert {measure["source"] for measure in report["measures"]} == {"simulated"}
    page = (finished / "design.html").read_text()
    for words in ("Stranger", "Learned, no constraint", "Point-spread function", "SIMULATED", "Controls"):
        assert words in page
    for words in ("measured on the bench", "Nominal twin (simulated)", "As-built twin (simulated)", "Captured (simulated)"):
        assert words in page
    built = CameraDesign.load(finished / "calibration" / "as_built")
    assert built.parent == CameraDesign.load(finished / "design").digest
    assert (finished / "validation" / "validation.html").exists() and (finished / "bench" / "bench.toml").exists()
    assert (finished / "figures" / "mask.png").stat().st_size > 1000
    assert list(finished.glob("masks/*/tensorboard/events*"))


def test_the_study_of_a_run_can_be_scored(finished: Path):
    key = json.loads((finished / "study" / "key.json").read_text())
    answers = {pair: {"answer": "same" if value["same"] else "different"} for pair, value in key["pairs"].items()}
    assert len(answers) >= 8
    assert all(measure.n in (0, None) for measure in score(finished / "study"))


def test_the_same_seed_gives_the_same_bits(finished: Path, photographs: list[str], tmp_path: Path):
    subprocess.run(command(photographs, tmp_path / "run"), check=True, env=environment(), capture_output=True)
    assert made(tmp_path / "run") == made(finished)


@pytest.mark.parametrize("after", ["masks/*/training.*.safetensors", "rows/*/row.json"])
def test_a_killed_run_resumes_to_the_same_result(finished: Path, photographs: list[str], tmp_path: Path, after: str):
    out = tmp_path / "run"
    process = subprocess.Popen(command(photographs, out), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob(after)) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    assert not (out / "design.html").exists()
    subprocess.run(command(photographs, out), check=True, env=environment(), capture_output=True)
    assert made(out) == made(finished)


def test_a_folder_that_holds_another_run_is_refused(finished: Path, photographs: list[str]):
    other = ["table", "lensless", *photographs, "--out", str(finished)]
    ended = subprocess.run([sys.executable, "-m", "hil.cli", *other], env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "another verb" in ended.stderr

"""The design as a file and the run as a folder: what is written is what is read, and half a write is never seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optics_sim.design import CameraDesign, RowsPattern, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure
from optics_sim.run import Run, hash_path, read_record
from optics_sim.sensor import presets

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "design.toml"


@pytest.fixture
def design() -> CameraDesign:
    return CameraDesign.load(EXAMPLE)


# --- the design -----------------------------------------------------------------------------------
def test_example_is_the_default_camera(design: CameraDesign) -> None:
    optics, sides = design.optics, (63 - 32 + 1, 63 - 32 + 1)
    assert optics.kind == "lensless"
    assert design.readout.shape == sides
    assert optics.cell_m * optics.magnification == pytest.approx(design.code_pitch_m, rel=1e-6)  # cell_m has 7 digits
    assert design.code_pitch_m == pytest.approx(62e-6)
    assert design.sensor == presets.load("imx477")
    assert design.sensor.source_of("quantum_efficiency") == "assumed"
    assert "libcamera" in design.sensor.source_of("black_level_dn")


def test_saved_design_loads_equal(design: CameraDesign, tmp_path: Path) -> None:
    target = design.save(tmp_path / "new" / "folder")
    assert CameraDesign.load(target) == CameraDesign.load(target.parent) == design
    assert CameraDesign.load(target).digest == design.digest
    assert target.read_text().startswith(f"# digest {design.digest}\n")


@settings(max_examples=50, deadline=None)
@given(
    exposure_s=st.floats(1e-7, 10.0), qe=st.one_of(st.floats(0.01, 1.0), st.tuples(*[st.floats(0.01, 1.0)] * 3)),
    name=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    rows=st.integers(0, 2**16 - 1).map(lambda bits: tuple(f"{bits:016b}"[i:i + 4] for i in range(0, 16, 4))),
)
def test_any_design_survives_its_file(
    exposure_s: float, qe: float | tuple[float, float, float], name: str, rows: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    design = CameraDesign.load(EXAMPLE).replace(**{
        "exposure.exposure_s": exposure_s, "sensor.quantum_efficiency": qe, "name": name, "optics.cells": (4, 4),
        "optics.pattern": RowsPattern(rows=rows),
    })
    again = CameraDesign.load(design.save(tmp_path_factory.mktemp("design")))
    assert again == design
    assert again.digest == design.digest


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_digest_is_the_same_in_every_process(design: CameraDesign, hash_seed: str) -> None:
    code = (f"from pathlib import Path; from optics_sim.design import CameraDesign; "
            f"print(CameraDesign.load(Path({str(EXAMPLE)!r})).digest)")
    answer = subprocess.run([sys.executable, "-c", code], env=_environment(PYTHONHASHSEED=hash_seed), cwd=ROOT,
                            capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == design.digest


def test_every_field_is_in_the_digest(design: CameraDesign) -> None:
    changes = {"name": "other", "optics.cell_m": 6e-5, "optics.pattern.seed": 1, "sensor.prnu": 0.5,
               "exposure.exposure_s": 0.03, "readout.turn": False, "parent": "0" * 64}
    digests = {design.replace(**{key: value, "parent": changes["parent"] if key == "parent" else None}).digest
               for key, value in changes.items()}
    assert len(digests | {design.digest}) == len(changes) + 1


def test_replace_returns_a_child_and_leaves_the_parent(design: CameraDesign) -> None:
    before = design.digest
    child = design.replace(**{"exposure.exposure_s": 0.5})
    grandchild = child.replace(name="third")
    assert (child.parent, grandchild.parent) == (design.digest, child.digest)
    assert child.exposure.exposure_s == 0.5
    assert design.digest == before
    assert len({design.digest, child.digest, grandchild.digest}) == 3


def test_design_cannot_be_changed_in_place(design: CameraDesign) -> None:
    with pytest.raises(ValueError, match="frozen"):
        design.name = "other"


@pytest.mark.parametrize("old, new", [
    ("exposure_s = 0.02", "exposre_s = 0.02"), ("seed = 0", "sed = 0"), ('name = "imx477"', 'name = "imx477"\nzoom = 2'),
])
def test_misspelt_key_is_an_error_with_four_parts(tmp_path: Path, old: str, new: str) -> None:
    text = EXAMPLE.read_text()
    assert text.count(old) == 1
    file = tmp_path / "design.toml"
    file.write_text(text.replace(old, new))
    with pytest.raises(PrivcamError) as caught:
        CameraDesign.load(file)
    _has_four_parts(caught.value)


@pytest.mark.parametrize("path, value", [
    ("exposure.exposre_s", 1.0), ("exposre.exposure_s", 1.0), ("exposure.exposure_s", -1.0), ("exposure.exposure_s", "long"),
    ("optics.kind", "periscope"), ("optics.cells", (31, 32, 33)), ("readout.bin", (39, 40)), ("readout.shift", 31),
    ("optics.printing.clear_transmission", 0.0),
])
def test_replace_refuses_what_is_no_camera(design: CameraDesign, path: str, value: object) -> None:
    with pytest.raises(PrivcamError) as caught:
        design.replace(**{path: value})
    _has_four_parts(caught.value)


def test_pattern_must_fit_its_cells(design: CameraDesign) -> None:
    with pytest.raises(PrivcamError, match="cells"):
        design.replace(**{"optics.pattern": RowsPattern(rows=("01", "10"))})


def test_broken_and_missing_files_say_so(tmp_path: Path) -> None:
    broken = tmp_path / "design.toml"
    with pytest.raises(PrivcamError, match="no design file"):
        CameraDesign.load(tmp_path)
    broken.write_text("name = ")
    with pytest.raises(PrivcamError, match="not valid TOML"):
        CameraDesign.load(broken)


def test_rows_are_what_they_show() -> None:
    transmission = np.random.default_rng(0).integers(0, 2, (5, 7))
    pattern = RowsPattern.from_array(transmission)
    assert np.array_equal(pattern.array(), transmission)
    assert pattern.rows[0] == "".join(map(str, transmission[0]))
    for bad in (transmission * 0.5, transmission[0], transmission * 2):
        with pytest.raises(PrivcamError) as caught:
            RowsPattern.from_array(bad)
        _has_four_parts(caught.value)


# --- writing --------------------------------------------------------------------------------------
_KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from optics_sim.design import write_atomically
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), b"new " * 100_000)
"""


def test_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "design.toml"
    write_atomically(target, b"old")
    killed = subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(target)], env=_environment(), cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


def test_killed_writer_of_a_first_file_leaves_none(tmp_path: Path) -> None:
    target = tmp_path / "design.toml"
    subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(target)], env=_environment(), cwd=ROOT, check=False)
    assert not target.exists()


# --- the run --------------------------------------------------------------------------------------
def test_run_says_running_then_done(tmp_path: Path) -> None:
    with Run(tmp_path / "run", "design", {"out": tmp_path, "steps": 3}, seed=7) as run:
        assert read_record(run.folder)["status"] == "running"
        run.log(step=1, loss=0.5)
        run.log(step=2, loss=0.25)
        run.add_input("design", EXAMPLE)
        run.report([Measure(name="rank-1", value=0.5, interval=(0.4, 0.6), n=10)], seed=7)
    record = read_record(run.folder)
    assert record["status"] == "done"
    assert (record["verb"], record["seed"], record["arguments"]) == ("design", 7, {"out": str(tmp_path), "steps": 3})
    assert record["inputs"]["design"]["sha256"] == hash_path(EXAMPLE)
    assert record["ended_s"] >= record["started_s"]
    assert [json.loads(line)["step"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    measure = json.loads((run.folder / "report.json").read_text())["measures"][0]
    assert (measure["value"], measure["interval"], measure["n"], measure["source"]) == (0.5, [0.4, 0.6], 10, "simulated")


@pytest.mark.parametrize("error", [PrivcamError("no people", todo="add some"), KeyboardInterrupt()])
def test_failed_run_keeps_its_reason(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), Run(tmp_path / "run", "design", {}):
        raise error
    record = read_record(tmp_path / "run")
    assert record["status"] == "failed"
    assert type(error).__name__ in record["error"]


def test_run_refuses_the_folder_of_another_verb(tmp_path: Path) -> None:
    with Run(tmp_path, "design", {}):
        pass
    with pytest.raises(PrivcamError) as caught, Run(tmp_path, "table", {}):
        pass
    _has_four_parts(caught.value)
    assert read_record(tmp_path)["verb"] == "design"


def test_hash_sees_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "1.png").write_bytes(b"1")
    first = hash_path(folder)
    (folder / "a" / "1.png").rename(folder / "a" / "2.png")
    renamed = hash_path(folder)
    (folder / "a" / "2.png").write_bytes(b"2")
    assert len({first, renamed, hash_path(folder)}) == 3


def _has_four_parts(error: PrivcamError) -> None:
    assert error.what and error.todo
    assert error.got is not None and error.allowed is not None
    for part in (error.what, str(error.got), str(error.allowed), error.todo):
        assert part in str(error)


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}

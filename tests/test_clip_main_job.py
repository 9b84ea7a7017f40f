"""The main job on clips, whole and small: one command from drawn people who act to a page that moves."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from hil.cli import main
from optics_sim.attacks.evaluate import Row
from optics_sim.design import CameraDesign
from optics_sim.encoding import BdqEncoder

SMALL = ["--seed", "0", "--workers", "0", "--set", "training.epochs=1", "--set", "judging.epochs=1", "--set", "judging.decoder_steps=2",
         "--set", "windows=1", "--set", "frames=8", "--set", "judging.shuffles=20", "--set", 'judging.frame_networks=["small"]',
         "--set", "training.batch=4"]
DATA = "synthetic:5:3:2:0"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clips") / "run"
    assert main(["design", "--data", DATA, "--scene", "32", "--out", str(out), *SMALL]) == 0
    return out


@pytest.mark.slow
def test_page_moves_and_says_simulated(run: Path) -> None:
    page = (run / "design.html").read_text(encoding="utf-8")
    pictures = [base64.b64decode(found) for found in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)]
    assert sum(b"acTL" in picture for picture in pictures) >= 2  # animated PNG
    assert "SIMULATED" in page and "nobody on this page exists" in page and "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
def test_design_holds_the_learned_encoder(run: Path) -> None:
    design = CameraDesign.load(run / "design")
    assert isinstance(design.encoder, BdqEncoder) and design.encoder.sigma_px != 1.0
    assert design.encoder.input_range != (-255.0, 255.0) and design.parent is not None
    assert json.loads((run / "run.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_report_has_every_row_and_attack(run: Path) -> None:
    found = {measure["name"]: measure for measure in json.loads((run / "report.json").read_text())["measures"]}
    for label in ("raw", "D", "BDQ", "low resolution 8", "identity", "black"):
        for number in ("accuracy", "strongest", "trade", "identity/gait:small3d", "identity/sum frame:small", "restored/psnr"):
            assert found[f"{label}/{number}"]["value"] is not None
            assert found[f"{label}/{number}"]["source"] == "simulated"


@pytest.mark.slow
def test_a_second_run_finds_its_rows(run: Path) -> None:
    row = run / "rows" / "BDQ-seed0" / "row.json"
    before = row.stat().st_mtime_ns
    assert main(["design", "--data", DATA, "--scene", "32", "--out", str(run), *SMALL]) == 0
    assert row.stat().st_mtime_ns == before


@pytest.mark.slow
def test_table_of_chosen_rows_and_its_markdown(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table"
    words = ["table", "bdq", "--data", DATA, "--scene", "32", "--seeds", "1", "--out", str(out), *SMALL]
    assert main([*words, "--rows", "raw", "motion noise"]) == 0
    text = (out / "table.md").read_text(encoding="utf-8")
    assert "motion noise" in text and "not run" in text and "simulated" in text
    row = Row.model_validate_json((out / "rows" / "raw-seed0" / "row.json").read_text())
    assert row.model_dump() == Row.model_validate_json((run / "rows" / "raw-seed0" / "row.json").read_text()).model_dump()
    assert main([*words, "--rows", "no such row"]) == 2
    assert "no such row" in capsys.readouterr().err

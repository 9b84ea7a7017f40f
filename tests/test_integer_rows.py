"""A trained encoder judged again on exported codes: the stand-in gives the artefact's codes, the table is whole and resumes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_clip_main_job import DATA, SMALL

from firmware_export.bdq_graph import bdq_graph
from firmware_export.int8 import Reference
from firmware_export.tflite import TfliteArtifact
from hil.cli import main
from hil.encoder_graphs import kept_recogniser, quantised_encoder, quantised_recogniser, readout_frames, recogniser_problems
from hil.integer_rows import ExportedEncoder
from optics_sim.attacks.evaluate import Row
from optics_sim.design import CameraDesign
from optics_sim.encoders.obfuscator import Obfuscator
from optics_sim.encoding import BdqEncoder, ObfuscatorEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_pipeline import clip_design
from optics_sim.learning.recognisers import recogniser

needs_litert = pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")


def _codes(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randint(-128, 128, shape, generator=torch.Generator().manual_seed(seed)).float()


def test_the_stand_in_gives_the_integer_codes_of_each_clip() -> None:
    graph, clips = bdq_graph(BdqEncoder(), (16, 20)), _codes((3, 5, 16, 20))
    found = ExportedEncoder(Reference(graph), "bdq")(clips)
    assert found.shape == (3, 4, 16, 20)
    for clip, codes in zip(clips, found, strict=True):
        np.testing.assert_array_equal(Reference(graph)(clip.numpy().astype(np.int8)), codes.numpy())


@needs_litert
def test_an_obfuscator_as_integers_is_near_its_floats() -> None:
    design = clip_design((24, 32), ObfuscatorEncoder(width=4, seed=1))
    frames = readout_frames(design, "synthetic:4:3:2:0", 60)
    made = quantised_encoder(design, frames)
    codes = Reference(made.graph)(frames[:6])
    floats = Obfuscator(design.encoder)(torch.from_numpy(frames[:6]).float()).detach().numpy()
    assert codes.std() > 1 and np.abs(codes - floats).mean() < 1.0
    np.testing.assert_array_equal(TfliteArtifact(made.graph)(frames[:6]), codes)
    fitted = quantised_encoder(design, frames, epochs=2)
    assert fitted.graph.digest != made.graph.digest
    (plain,), (rounded,) = made.report.errors.values(), fitted.report.errors.values()
    assert rounded.snr_db > plain.snr_db - 1  # a small network that was hardly off: it must not be made worse


def test_a_recogniser_is_told_by_its_weights_and_named_where_it_cannot_go(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    design = clip_design((32, 32), BdqEncoder()).replace(encoder={"kind": "readout"})
    frames = readout_frames(design, "synthetic:4:3:2:0", 40)
    for kind in ("small", "mobile", "patches"):
        network = recogniser(kind, 5, torch.Generator().manual_seed(0)).eval()
        network.standardise.measure(torch.from_numpy(frames).float())
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, tmp_path / kind)
        kept = kept_recogniser(tmp_path / kind)
        assert torch.equal(kept(_codes((2, 32, 32))), network(_codes((2, 32, 32))))
        assert bool(recogniser_problems(design, kept)) == (kind == "patches")
    made = quantised_recogniser(design, kept_recogniser(tmp_path / "small"), frames)
    assert made.graph.outputs and made.report.errors[made.graph.outputs[0]].snr_db > 15
    with pytest.raises(PrivcamError, match="readout and recogniser alone"):
        quantised_recogniser(clip_design((32, 32), BdqEncoder()), kept_recogniser(tmp_path / "small"), frames)
    with pytest.raises(PrivcamError, match="keeps no recogniser"):
        kept_recogniser(tmp_path / "none")


# --- the table ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "bdq"
    rows = ["--rows", "BDQ", "obfuscator"]
    assert main(["table", "bdq", "--data", DATA, "--scene", "32", "--seeds", "1", "--out", str(out), *SMALL, *rows]) == 0
    return out


@needs_litert
@pytest.mark.slow
@pytest.mark.parametrize("row", ["BDQ", "obfuscator"])
def test_a_trained_row_is_judged_on_exported_codes(trained: Path, tmp_path: Path, row: str) -> None:
    command = ["table", "integers", "--trained", str(trained), "--row", row, "--out", str(tmp_path), "--workers", "0"]
    assert main(command) == 0
    found = {measure["name"]: measure for measure in json.loads((tmp_path / "report.json").read_text())["measures"]}
    for label in ("float", "int8", "fast path"):
        assert found[f"{label}/accuracy"]["value"] is not None and found[f"{label}/strongest"]["value"] is not None
    kept = Row.model_validate_json((tmp_path / "rows" / "int8-seed0" / "row.json").read_text())
    fast = Row.model_validate_json((tmp_path / "rows" / "fast_path-seed0" / "row.json").read_text())
    assert kept.design_digest == CameraDesign.load(trained / "rows" / f"{row}-seed0").digest
    if row == "BDQ":
        assert "every code equal" in fast.cohort and fast.samples == kept.samples
    before = (tmp_path / "rows" / "int8-seed0" / "row.json").stat().st_mtime_ns
    assert main(command) == 0
    assert (tmp_path / "rows" / "int8-seed0" / "row.json").stat().st_mtime_ns == before


def test_a_folder_that_is_no_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "integers", "--trained", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "not the folder of a table" in capsys.readouterr().err

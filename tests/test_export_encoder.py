"""`privcam export encoder`: every target gives the reference's codes, half an export is visible, what cannot run says why."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from firmware_twin import need
from int8_nets import cases

from firmware_export import targets
from firmware_export.bdq_graph import bdq_graph
from firmware_export.encoders import NEVER, encoder_graph, problems
from firmware_export.firmware_files import firmware_files
from firmware_export.golden import read_golden
from firmware_export.graph_file import graph_bytes, graph_from
from firmware_export.images import build_image
from firmware_export.int8 import Reference
from firmware_export.package import export_encoder
from firmware_export.targets import TARGETS
from hil.cli import main
from hil.devices.proof import emulated
from optics_sim.design import CameraDesign
from optics_sim.encoders.factory import encoder_module
from optics_sim.encoding import BdqEncoder, LowResolutionEncoder, PixelateEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_pipeline import clip_design

DIGEST = "ab" * 32


def _small() -> object:
    return bdq_graph(BdqEncoder(), (16, 20), design=DIGEST)


def _design(encoder: object, size: tuple[int, int] = (32, 32)) -> CameraDesign:
    return clip_design(size, encoder)


def _makeable() -> list[str]:
    return [name for name, target in TARGETS.items() if not target.lacks()]


def _needs_compiler() -> None:
    if why := TARGETS["c"].lacks():
        pytest.skip(why)


class TestGraphFile:
    def test_every_network_comes_back(self) -> None:
        for name, make in cases():
            data = graph_bytes(make(0))
            assert graph_bytes(graph_from(data)) == data, name

    def test_a_changed_constant_is_seen(self) -> None:
        graph = _small()
        data = graph_bytes(graph)
        weights = next(tensor.data for tensor in graph.tensors if tensor.data is not None).tobytes()
        place = data.index(weights)
        with pytest.raises(PrivcamError, match=r"changed|not the file"):
            graph_from(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(PrivcamError, match="not the file"):
            graph_from(b"no archive")


class TestGraphsOfDesigns:
    def test_low_resolution_is_the_rounded_mean(self) -> None:
        design = _design(LowResolutionEncoder(factor=8))
        clip = np.random.default_rng(0).integers(-128, 128, (3, 32, 32)).astype(np.int8)
        codes = Reference(encoder_graph(design))(clip)
        means = clip.reshape(3, 4, 8, 4, 8).mean((2, 4))
        assert codes.shape == (3, 4, 4)
        assert np.abs(codes - means).max() <= 0.5

    def test_pixelate_is_off_by_half_a_level_at_most(self) -> None:
        import torch

        design = _design(PixelateEncoder(block_px=8))
        clip = np.random.default_rng(0).integers(-128, 128, (3, 32, 32)).astype(np.int8)
        float_codes = encoder_module(design.encoder)(torch.as_tensor(clip[None]).float(), hard=True)[0].numpy()
        assert np.abs(Reference(encoder_graph(design))(clip) - float_codes).max() <= 0.5

    @pytest.mark.parametrize("kind", sorted(NEVER))
    def test_what_cannot_run_says_why(self, kind: str) -> None:
        needed = {"blur": {"sigma_px": 2.0}, "noise": {"sigma": 3.0}}.get(kind, {})
        design = _design(BdqEncoder()).replace(encoder={"kind": kind, **needed})
        (problem,) = problems(design)
        assert NEVER[kind][0] in str(problem)
        with pytest.raises(PrivcamError, match="cannot be exported"):
            encoder_graph(design)

    @pytest.mark.parametrize("encoder", [BdqEncoder(quantise=False), LowResolutionEncoder(factor=40), PixelateEncoder(block_px=5)])
    def test_a_kind_that_runs_may_still_have_problems(self, encoder: object) -> None:
        assert len(problems(_design(encoder))) == 1

    def test_a_design_that_runs_has_none(self) -> None:
        assert problems(_design(BdqEncoder())) == []


class TestFolder:
    def test_two_exports_are_the_same_bytes(self, tmp_path: Path) -> None:
        wanted = [target for target in _makeable() if target != "mcu"]
        first, second = (export_encoder(_small(), tmp_path / name, wanted, frames=6) for name in ("a", "b"))
        assert first.manifest == second.manifest
        for name in first.manifest["files"]:
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name

    def test_the_manifest_names_every_file(self, tmp_path: Path) -> None:
        made = export_encoder(_small(), tmp_path / "out", ["reference"], frames=4)
        found = {str(file.relative_to(made.folder)) for file in made.folder.rglob("*") if file.is_file()}
        assert found == {*made.manifest["files"], "manifest.json"}
        assert json.loads((made.folder / "manifest.json").read_text()) == made.manifest

    def test_golden_codes_are_those_of_the_file(self, tmp_path: Path) -> None:
        export_encoder(_small(), tmp_path / "out", ["reference"], frames=6)
        golden = read_golden(tmp_path / "out" / "golden")
        again = Reference(graph_from((tmp_path / "out" / "reference" / "encoder.npz").read_bytes())).run({"frame": golden["frame"]})
        np.testing.assert_array_equal(again["code"], golden["code"])

    def test_an_earlier_export_leaves_nothing_behind(self, tmp_path: Path) -> None:
        _needs_compiler()
        export_encoder(_small(), tmp_path / "out", ["reference", "c"], frames=4)
        (tmp_path / "out" / "run.json").write_text("{}")
        export_encoder(_small(), tmp_path / "out", ["reference"], frames=4)
        assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["golden", "manifest.json", "reference", "run.json"]

    def test_a_target_that_is_wrong_writes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _needs_compiler()
        right = targets.c_files
        monkeypatch.setattr(targets, "c_files", lambda graph: {
            name: data.replace(b"return 1;", b"output[3] ^= 1; return 1;") for name, data in right(graph).items()})
        export_encoder(_small(), tmp_path / "out", ["reference"], frames=4)
        before = (tmp_path / "out" / "manifest.json").read_bytes()
        with pytest.raises(PrivcamError, match="other codes than the reference"):
            export_encoder(_small(), tmp_path / "out", ["c"], frames=4)
        assert (tmp_path / "out" / "manifest.json").read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["out"]

    @pytest.mark.parametrize("wanted", [[], ["fpga"], ["reference", "uf2"]])
    def test_an_unknown_target_is_refused(self, tmp_path: Path, wanted: list[str]) -> None:
        with pytest.raises(PrivcamError, match="a target of the export"):
            export_encoder(_small(), tmp_path / "out", wanted)

    def test_a_missing_compiler_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CC", "no-such-compiler")
        with pytest.raises(PrivcamError, match="cannot make a target"):
            export_encoder(_small(), tmp_path / "out", ["c"])


class TestFirmware:
    def test_a_network_without_a_design_is_refused(self) -> None:
        with pytest.raises(PrivcamError, match="names its design"):
            firmware_files(bdq_graph(BdqEncoder(), (16, 20)))

    def test_the_host_program_answers_with_the_design(self, tmp_path: Path) -> None:
        need("host")
        made = export_encoder(_small(), tmp_path / "out", ["mcu"], on=["host"], frames=4)
        image = made.folder / "mcu" / "host" / "firmware.elf"
        assert bytes.fromhex(DIGEST) in image.read_bytes()
        assert made.manifest["targets"]["mcu"]["boards"]["host"]["bytes"]["bss"] > 0

    def test_the_copied_project_builds_the_same_bytes(self, tmp_path: Path) -> None:
        need("stm32f405")
        made = export_encoder(_small(), tmp_path / "out", ["mcu"], on=["stm32f405"], frames=4)
        home = made.folder / "mcu"
        words = ["make", "--silent", "-C", str(home / "project"), "BOARD=stm32f405", f"ENCODER={home / 'encoder'}", f"OUT={tmp_path / 'x'}"]
        subprocess.run(words, check=True)
        assert (tmp_path / "x" / "firmware.bin").read_bytes() == (home / "stm32f405" / "firmware.bin").read_bytes()

    def test_an_emulated_board_gives_the_codes(self, tmp_path: Path) -> None:
        need("mps2-an386")
        made = export_encoder(_small(), tmp_path / "out", ["mcu"], on=["mps2-an386"], frames=20, prove=emulated)
        said = made.manifest["targets"]["mcu"]["boards"]["mps2-an386"]["checked"]
        if "missing" in said:
            pytest.skip(said)
        assert said == "11 golden frames equal, emulated (QEMU mps2-an386)"

    def test_an_image_of_another_network_is_refused(self, tmp_path: Path) -> None:
        need("mps2-an386")
        other = bdq_graph(BdqEncoder(levels=4), (16, 20), design=DIGEST)
        for name, data in firmware_files(other).items():
            (tmp_path / name).write_bytes(data)
        image = build_image("mps2-an386", tmp_path, tmp_path / "built")
        clip = {"frame": np.random.default_rng(0).integers(-128, 128, (6, 16, 20, 1)).astype(np.int8)}
        graph = _small()
        try:
            said = emulated(image, graph, clip, Reference(graph).run(clip))
        except PrivcamError as error:
            assert "other codes than the reference" in str(error)
        else:
            pytest.skip(said)


class TestCommand:
    def test_a_design_becomes_a_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        _design(BdqEncoder()).save(tmp_path / "design")
        assert main(["export", "encoder", str(tmp_path / "design"), "--target", "reference", "--out", str(tmp_path / "out")]) == 0
        assert "100 golden frames equal" in capsys.readouterr().out
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert {"parameters", "macs", "arena_bytes"} <= {entry["name"] for entry in report["measures"]}
        assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "done"

    @pytest.mark.parametrize(("encoder", "code", "said"), [
        ({"kind": "bdq"}, 0, "0 reasons"), ({"kind": "degrader"}, 1, "instance norm"), ({"kind": "obfuscator"}, 0, "0 reasons")])
    def test_a_check_writes_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: dict[str, str], code: int,
                                    said: str) -> None:
        _design(BdqEncoder()).replace(encoder=encoder).save(tmp_path / "design")
        assert main(["export", "encoder", str(tmp_path / "design"), "--check"]) == code
        assert said in capsys.readouterr().out and not (tmp_path / "design" / "export").exists()

    def test_an_encoder_that_cannot_run_is_an_answer(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        design = _design(BdqEncoder()).replace(encoder={"kind": "motion_noise"})
        design.save(tmp_path / "design")
        assert main(["export", "encoder", str(tmp_path / "design"), "--out", str(tmp_path / "out")]) == 2
        assert "optical flow" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

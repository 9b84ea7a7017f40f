"""The doctor tells what is here, what is not, and what to do, on a machine without torch too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil.verbs import doctor, doctor_pi

ROOT = Path(__file__).parents[1]
BLOCKED = """
import sys
sys.modules.update(dict.fromkeys(["torch", "matplotlib", "tensorboard", "onnxruntime", "safetensors"]))
from hil.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def _without_torch(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCKED, *words], env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False, timeout=60)


def test_doctor_works_without_torch() -> None:
    answer = _without_torch("doctor", "--json")
    assert answer.returncode == 0, answer.stderr
    content = json.loads(answer.stdout)
    torch = next(part for part in content["parts"] if part["name"] == "torch")
    assert torch["found"] is None
    assert "pip install torch" in torch["remedy"]
    assert any("torch" in missing for missing in content["missing_for"].values())


def test_text_has_every_part_with_purpose_and_remedy() -> None:
    parts = doctor.inspect_machine()
    text = doctor._as_text(parts)
    for part in parts:
        assert part.name in text and part.purpose in text
        assert part.remedy
        assert part.found or part.remedy in text
    names = {part.name for part in parts}
    assert {"python", "core", "torch", "onnxruntime", "picamera2 and libcamera", "serial ports", "arm-none-eabi-gcc",
            "qemu-system-arm", "real data", "C++ compiler", "Pi camera", "memory for frames", "ai-edge-litert", "tflite-runtime"} <= names


def test_abilities_name_known_parts() -> None:
    names = {part.name for part in doctor.inspect_machine()}
    assert {need for ability in doctor.ABILITIES for need in ability.needs} <= names


def test_ability_lists_what_is_missing() -> None:
    parts = [doctor.Part(part.name, None if part.name == "torch" else "1.0", part.purpose, part.remedy)
             for part in doctor.inspect_machine()]
    missing = doctor.abilities(parts)
    assert set(map(tuple, missing.values())) == {(), ("torch",)}


def test_missing_core_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "_CORE", ("numpy", "no-such-distribution"))
    from hil.cli import main
    assert main(["doctor"]) == 1
    assert "no-such-distribution" in capsys.readouterr().out


def test_data_is_found_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "faces_orl").mkdir()
    monkeypatch.setenv("PRIVCAM_DATA", str(tmp_path))
    assert "faces_orl" in (doctor._real_data().found or "")
    monkeypatch.setenv("PRIVCAM_DATA", str(tmp_path / "nowhere"))
    assert doctor._real_data().found is None
    assert "nowhere" in doctor._real_data().remedy


def test_tool_that_fails_or_is_absent_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "brokentool"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert doctor._tool_version("brokentool") is None
    assert doctor._tool_version("no-such-tool-anywhere") is None
    broken.write_text("#!/bin/sh\necho tool 7.1\necho more\n")
    assert doctor._tool_version("brokentool") == "tool 7.1"


@pytest.mark.parametrize(("flags", "found"), [("flags : avx512f avx512_bf16 amx_bf16", "amx_bf16, avx512_bf16"), ("flags : avx512f", None)])
def test_bfloat16_is_found_in_the_processors_flags(
    flags: str, found: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    monkeypatch.setattr(doctor, "CPUINFO", tmp_path / "cpuinfo")
    part = next(part for part in doctor.inspect_machine() if part.name == "bfloat16 on the CPU")
    assert part.found == found and "float32" in part.remedy


def _doctor_on(tmp_path: Path, world: str) -> dict[str, dict]:
    """The parts as a doctor names them who finds the stand-in for Picamera2 installed."""
    for name in ("picamera2", "libcamera"):
        (tmp_path / f"{name}.py").write_text(f"import fake_picamera2\nglobals().update(vars(fake_picamera2.modules({world})[{name!r}]))\n")
    answer = subprocess.run([sys.executable, "-c", BLOCKED, "doctor", "--json"], capture_output=True, text=True, check=True, timeout=120,
                            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "tests")))})
    return {part["name"]: part for part in json.loads(answer.stdout)["parts"]}


def test_a_pi_s_camera_is_named_with_its_versions(tmp_path: Path) -> None:
    found = _doctor_on(tmp_path, "fake_picamera2.World(model='imx708_wide')")["Pi camera"]["found"]
    assert "0: imx708_wide (/base/soc" in found and "libcamera v0.7.1" in found and "kernel" in found


def test_a_pi_without_its_camera_and_with_another_numpy_is_told_what_to_do(tmp_path: Path) -> None:
    part = _doctor_on(tmp_path, "fake_picamera2.World(model='')")["Pi camera"]
    assert part["found"] is None and "cable" in part["remedy"] and "libcamera v0.7.1" in part["remedy"]
    part = _doctor_on(tmp_path, "fake_picamera2.unfit()")["Pi camera"]
    assert part["found"] is None and "numpy<2" in part["remedy"] and "docs/pi-setup.md" in part["remedy"]


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_pi.pi_stack, "free_memory", lambda: {"free": 2000, "cma": 300})
    assert doctor_pi._memory().found == "2000 MiB free, 300 MiB of it kept for cameras"
    monkeypatch.setattr(doctor_pi.pi_stack, "free_memory", lambda: {"free": 200})
    part = doctor_pi._memory()
    assert part.found is None and "512 MiB" in part.remedy and "200 MiB free" in part.remedy

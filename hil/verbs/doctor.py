"""`privcam doctor`: what this machine can do, and what each missing part would need.

It looks and changes nothing; every part is optional except the core. Works without torch.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from hil.verbs.doctor_pi import PI_LOOKS, Part

HELP = "say what this machine can do and what each missing part would need"
OLDEST_PYTHON = (3, 11)
_TOOL_TIMEOUT_S = 10
_CORE = ("numpy", "scipy", "pillow", "pyserial", "pydantic", "tomli-w")


@dataclass(frozen=True)
class Ability:
    """One thing a user may want to do, and the parts it needs."""

    name: str
    needs: tuple[str, ...]


ABILITIES = (
    Ability("read designs, sensors, lineage", ("python", "core")),
    Ability("design, train and attack a camera (privcam design, table)", ("python", "core", "torch", "design extra")),
    Ability("attack with a face network from an ONNX file (--verifier)", ("python", "core", "torch", "onnxruntime")),
    Ability("export a mask in every format (privcam export mask)", ("python", "core", "masks extra")),
    Ability("take raw frames with a Raspberry Pi's camera (privcam agent, privcam capture)",
            ("python", "core", "picamera2 and libcamera", "Pi camera")),
    Ability("reproduce the tables on real photographs", ("python", "core", "torch", "design extra", "real data")),
)


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the machine-readable form."""
    parser.add_argument("--json", action="store_true", help="print the same as JSON")


def run(arguments: Namespace) -> int:
    """Returns 0 when the core works here, 1 when it does not."""
    parts = inspect_machine()
    print(_as_json(parts) if arguments.json else _as_text(parts))
    return 0 if all(part.found for part in parts if part.name in ("python", "core")) else 1


def inspect_machine() -> list[Part]:
    """Returns every part, looked for now."""
    return [look() for look in _LOOKS]


def abilities(parts: list[Part]) -> dict[str, list[str]]:
    """Returns for each ability the names of the parts that are missing (empty: it can be done here)."""
    missing = {part.name for part in parts if part.found is None}
    return {ability.name: [need for need in ability.needs if need in missing] for ability in ABILITIES}


# --- the looks, one per part ----------------------------------------------------------------------
def _python() -> Part:
    version = platform.python_version()
    found = f"{version} ({platform.machine()})" if sys.version_info >= OLDEST_PYTHON else None
    return Part("python", found, "runs everything", f"Python 3.11 or newer; this one is {version}")


def _core() -> Part:
    return _together("core", _CORE, "designs, sensors, lineage, calibration", "pip install privcam")


def _torch() -> Part:
    purpose = "training, attacks, the differentiable camera"
    remedy = "pip install torch==2.13.0, then pip install 'privcam[design]'"
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        installed = _distribution("torch")
        broken = f"torch {installed} is installed but does not import ({error}): reinstall it; " if installed else ""
        return Part("torch", None, purpose, broken + remedy)
    cuda = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return Part("torch", f"{torch.__version__}, {torch.get_num_threads()} CPU threads, {cuda}", purpose, remedy)


def _design_extra() -> Part:
    names = ("safetensors", "tensorboard", "matplotlib", "tqdm")
    return _together("design extra", names, "weights on disk, TensorBoard curves, figures, progress",
                     "pip install 'privcam[design]'")


def _masks_extra() -> Part:
    return _together("masks extra", ("gdstk", "reportlab"), "masks as GDSII, OASIS and PDF (SVG, PNG, DXF, Gerber and STL need nothing)",
                     "pip install 'privcam[masks]'")


def _serial_ports() -> Part:
    try:
        from serial.tools import list_ports
    except ImportError:
        return Part("serial ports", None, _SERIAL_PURPOSE, "pip install privcam (pyserial is missing)")
    ports = [port.device for port in list_ports.comports()]
    return Part("serial ports", ", ".join(ports) or None, _SERIAL_PURPOSE,
                "plug a board in; your user must be in group dialout")


CPUINFO = Path("/proc/cpuinfo")
_SERIAL_PURPOSE = "a microcontroller that runs the encoder (planned)"


def _real_data() -> Part:
    place = os.environ.get("PRIVCAM_DATA", "")
    folder = Path(place)
    sets = sorted(item.name for item in folder.iterdir() if item.is_dir()) if place and folder.is_dir() else []
    return Part("real data", f"{place}: {', '.join(sets)}" if sets else None, "tests and tables on real photographs",
                "set PRIVCAM_DATA to the folder that holds faces_orl, lensless, ..."
                + (f" (it is {place!r}, which holds no data set)" if place else ""))


def _compiler() -> Part:
    name = os.environ.get("CXX") or "g++"
    return Part("C++ compiler", _tool_version(name), "torch.compile's fast paths (the eager ones work without it)",
                "Debian: apt install g++ python3-dev; macOS: xcode-select --install")


def _bfloat16() -> Part:
    """Returns whether the processor multiplies bfloat16 itself; where it does not, that precision is slower, not faster."""
    flags = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""
    found = [name for name in ("amx_bf16", "avx512_bf16", " bf16 ") if name in flags]
    return Part("bfloat16 on the CPU", ", ".join(name.strip() for name in found) or None, "training.precision = \"bfloat16\" on a CPU",
                "nothing to install: keep training.precision = \"float32\" here, bfloat16 would be emulated and slower")


def _package(name: str, purpose: str, remedy: str) -> Callable[[], Part]:
    return lambda: Part(name, _distribution(name), purpose, remedy)


def _tool(name: str, purpose: str, remedy: str) -> Callable[[], Part]:
    return lambda: Part(name, _tool_version(name), purpose, remedy)


_LOOKS: tuple[Callable[[], Part], ...] = (
    _python, _core, _torch, _design_extra,
    _package("onnxruntime", "attacks by a public face network", "pip install 'privcam[attack]'"),
    _masks_extra,
    _package("av", "clips from video files", "pip install 'privcam[video]'"),
    _compiler, _bfloat16, _real_data, *PI_LOOKS, _serial_ports,
    _package("ai-edge-litert", "writes and runs exported int8 encoders", "pip install 'privcam[export]', on a Pi 'privcam[pi]'"),
    _package("tflite-runtime", "runs them where there is no ai-edge-litert", "pip install tflite-runtime 'numpy<2'"),
    _package("pyvisa", "lamps on instruments that speak SCPI", "pip install 'privcam[rig]'"),
    _tool("arm-none-eabi-gcc", "compiles firmware (planned)", "Debian: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi"),
    _tool("qemu-system-arm", "runs firmware without a board (planned)", "Debian: apt install qemu-system-arm"),
)


# --- helpers --------------------------------------------------------------------------------------
def _together(part: str, names: tuple[str, ...], purpose: str, remedy: str) -> Part:
    """Returns one part made of several packages; it is missing when any of them is."""
    versions = {name: _distribution(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    found = None if missing else ", ".join(f"{name} {version}" for name, version in versions.items())
    return Part(part, found, purpose, f"{remedy} (missing: {', '.join(missing)})" if missing else remedy)


def _distribution(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _tool_version(name: str) -> str | None:
    """Returns the first line of `name --version`, or None where the tool is missing or does not answer."""
    path = shutil.which(name)
    if path is None:
        return None
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().split("\n")[0] or path


def _as_text(parts: list[Part]) -> str:
    width = max(len(part.name) for part in parts)
    lines = []
    for part in parts:
        lines.append(f"{part.name:{width}}  {part.found or 'missing'}")
        lines.append(f"{'':{width}}    for: {part.purpose}" + ("" if part.found else f"; to get it: {part.remedy}"))
    lines.append("\nThis machine can:")
    for name, missing in abilities(parts).items():
        lines.append(f"  {'no ' if missing else 'yes'}  {name}" + (f" (missing: {', '.join(missing)})" if missing else ""))
    return "\n".join(lines)


def _as_json(parts: list[Part]) -> str:
    content = {"parts": [asdict(part) for part in parts], "missing_for": abilities(parts)}
    return json.dumps(content, indent=1)

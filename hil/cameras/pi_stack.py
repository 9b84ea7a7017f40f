"""What a Raspberry Pi's camera stack is made of: its versions, the board, the drivers' switches, and how much memory is free.

Everything is read from files and packages; no camera is opened. Deliberately not here: the camera (`picamera2.py`).
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

from optics_sim.errors import PrivcamError
from optics_sim.measure import Source

ROOT = Path("/")
APT = ("sudo apt install python3-picamera2, and an environment made with --system-site-packages by the system's own Python: "
       "see docs/pi-setup.md")
_TOOL_TIMEOUT_S = 5.0
_SWITCHES = {"imx477": ("dpc_enable", "trigger_mode"), "imx296": ("trigger_mode",)}  # parameters of the sensors' drivers


def picamera2() -> ModuleType:
    """Returns Picamera2; PrivcamError where it, or what it needs, is missing or does not fit."""
    try:
        import_module("libcamera")
        return import_module("picamera2")
    except ImportError as error:
        raise PrivcamError("the Raspberry Pi's camera needs Picamera2 and libcamera", got=error, todo=APT) from None
    except ValueError as error:  # an extension module that was built for another numpy
        raise PrivcamError("Picamera2 does not fit this environment's numpy", got=error, allowed="the generation it was built with",
                           todo="on Bookworm: pip install 'numpy<2'") from None


def versions(root: Path = ROOT) -> dict[str, str]:
    """Returns the versions of all that a frame passes through, those that can be found."""
    found = {"picamera2": picamera2_version(), "libcamera": _libcamera(), "kernel": f"{platform.release()} {platform.version()}",
             "system": _system(root), "board": board(root), "bootloader": _bootloader(root), "firmware": _firmware(),
             "python": platform.python_version()}
    return {name: value for name, value in found.items() if value}


def picamera2_version() -> str:
    """Returns the version of Picamera2 that is installed, "" where none is."""
    try:
        return metadata.version("picamera2")
    except metadata.PackageNotFoundError:
        return ""


def board(root: Path = ROOT) -> str:
    """Returns the board's name as its firmware tells it, "" where none does."""
    return _text(root / "proc" / "device-tree" / "model")


def source_of(camera_id: str, claim: Source | None, root: Path = ROOT) -> Source:
    """Returns whether a camera's frames are "physical" or "emulated".

    A camera on a Raspberry Pi is physical; on another machine it is what a person claims. A virtual camera is never more than emulated.
    """
    if "virtual" in camera_id.lower():
        return "emulated"
    return claim or ("physical" if board(root).startswith("Raspberry Pi") else "emulated")


def switches(sensor: str, root: Path = ROOT) -> dict[str, str]:
    """Returns the parameters of a sensor's driver that change what its raw numbers are, those that there are."""
    folder = root / "sys" / "module" / sensor / "parameters"
    found = {name: _text(folder / name) for name in _SWITCHES.get(sensor, ())}
    return {name: value for name, value in found.items() if value}


def free_memory(root: Path = ROOT) -> dict[str, int]:
    """Returns MiB of memory that is free, and of what is kept for cameras where the kernel says so: {"free", "cma"}."""
    fields = {"MemAvailable:": "free", "CmaFree:": "cma"}
    lines = [line.split() for line in _text(root / "proc" / "meminfo").splitlines()]
    return {fields[line[0]]: int(line[1]) // 1024 for line in lines if len(line) > 1 and line[0] in fields and line[1].isdecimal()}


def _libcamera() -> str:
    try:
        libcamera = import_module("libcamera")
    except ImportError:
        return ""
    manager = getattr(libcamera, "CameraManager", None)
    singleton = getattr(manager, "singleton", None)
    return str(getattr(singleton(), "version", "")) if callable(singleton) else ""


def _system(root: Path) -> str:
    lines = (line.partition("=") for line in _text(root / "etc" / "os-release").splitlines())
    return next((value.strip('"') for name, _, value in lines if name == "PRETTY_NAME"), "")


def _bootloader(root: Path) -> str:
    return _text(root / "proc" / "device-tree" / "chosen" / "bootloader" / "version")


def _firmware() -> str:
    """Returns what the boot firmware says of itself in one line, "" where there is none to ask."""
    path = shutil.which("vcgencmd")
    if path is None:
        return ""
    try:
        answer = subprocess.run([path, "version"], capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(answer.stdout.split())


def _text(file: Path) -> str:
    try:
        return file.read_bytes().rstrip(b"\0\n").decode(errors="replace").strip()
    except OSError:
        return ""

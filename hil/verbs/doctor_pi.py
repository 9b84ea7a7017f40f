"""What `privcam doctor` says of a Raspberry Pi: its camera stack, its cameras, its memory.

The cameras are looked for by a program of their own: libcamera writes to the terminal, and may hang where a driver does. Deliberately
not here: opening a camera.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hil.cameras import pi_stack

_LOOK_TIMEOUT_S = 30
_NEEDED_MIB = 512
_LOOK = """
import json
from hil.cameras.pi_stack import picamera2, versions
cameras = picamera2().Picamera2.global_camera_info()
print(json.dumps({"versions": versions(), "cameras": [[camera.get("Model"), camera.get("Id")] for camera in cameras]}))
"""


@dataclass(frozen=True)
class Part:
    """One thing a machine may have: `found` says which version, or None; `remedy` how to get it."""

    name: str
    found: str | None
    purpose: str
    remedy: str


def _stack() -> Part:
    here = all(importlib.util.find_spec(name) is not None for name in ("picamera2", "libcamera"))
    found = pi_stack.picamera2_version() if here else ""
    return Part("picamera2 and libcamera", (found or "of no known version") if here else None, "raw frames of a Raspberry Pi's camera",
                f"on the Pi: {pi_stack.APT}")


def _cameras() -> Part:
    purpose = "what privcam agent serves, and kind = \"picamera2\" in bench.toml"
    remedy = "look after the ribbon cable, and at camera_auto_detect or dtoverlay in /boot/firmware/config.txt"
    if _stack().found is None:
        return Part("Pi camera", None, purpose, "first picamera2 and libcamera, above")
    said = _look()
    if "error" in said:
        return Part("Pi camera", None, purpose, f"picamera2 does not work here ({said['error']}): see docs/pi-setup.md")
    cameras = ", ".join(f"{number}: {model} ({place})" for number, (model, place) in enumerate(said["cameras"]))
    versions = ", ".join(f"{name} {version}" for name, version in said["versions"].items())
    return Part("Pi camera", f"{cameras}; {versions}" if cameras else None, purpose, f"{remedy} (found: {versions})")


def _memory() -> Part:
    mib = pi_stack.free_memory()
    told = ", ".join(f"{value} MiB {'of it kept for cameras' if name == 'cma' else 'free'}" for name, value in mib.items())
    enough = mib.get("free", 0) >= _NEEDED_MIB
    return Part("memory for frames", told if enough else None, "four raw frames of 25 MB, their copies, and the program",
                f"end other programs: {_NEEDED_MIB} MiB are needed, and {told or 'nobody says how many'} are there")


def _look() -> dict[str, Any]:
    """Returns {"versions", "cameras"} as another Python of this environment sees them, or {"error"}."""
    try:
        answer = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=_LOOK_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": f"no answer: {error}"}
    lines = answer.stdout.strip().splitlines()
    if answer.returncode or not lines:
        return {"error": (answer.stderr.strip().splitlines() or ["no answer"])[-1]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


PI_LOOKS: tuple[Callable[[], Part], ...] = (_stack, _cameras, _memory)

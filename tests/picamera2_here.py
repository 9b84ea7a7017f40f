"""Programs in the root that `make test-picamera2` builds: where it is, why it cannot be used, and how its Python is run."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

ROOT = Path(os.environ.get("PRIVCAM_PICAMERA2_ROOT") or Path.home() / ".cache" / "privcam" / "picamera2")
HERE = Path(__file__).parent
PYTHON, SHIMS = "/opt/privcam/venv/bin/python", "/opt/privcam/shims"
FAKE_DMABUF, HILCAM = f"{SHIMS}/libfakedmabuf.so", f"{SHIMS}/libhilcam.so"
SCENE = "scene.pgm"


def missing() -> str:
    """Returns why nothing can be run in the root, "" where it can."""
    if not (ROOT / "opt" / "privcam").is_dir():
        return f"no root with Picamera2 at {ROOT}: `make test-picamera2` builds it"
    if _compiled() != _sources():
        return f"{ROOT} is half built, or holds another version's virtual camera: `make test-picamera2` makes it good"
    return "no root rights, which chroot asks for: run the tests as root, or let sudo work without a password" if _rights() is None else ""


def _compiled() -> str:
    file = ROOT / "opt" / "privcam" / ".shims"
    return file.read_text().split()[0] if file.exists() else ""


def _sources() -> str:
    """Returns what tests/picamera2_root.sh writes beside the shims that it compiled."""
    folder = HERE / "picamera2"
    files = [file for pattern in ("*.cpp", "*.h", "*.yaml", "pykms.py") for file in sorted(folder.glob(pattern))]
    files.append(HERE / "picamera2_root.sh")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@functools.cache
def _rights() -> tuple[str, ...] | None:
    """Returns the words before a command that needs root rights, None where they cannot be had."""
    if os.geteuid() == 0:
        return ()
    words = ("sudo", "-n")
    return words if shutil.which("sudo") and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0 else None


class InRoot:
    """A folder in the root that is gone afterwards; use in a `with`. `path` is as seen from here, `inside` from there."""

    def __enter__(self) -> Self:
        self.path = Path(tempfile.mkdtemp(prefix="privcam-", dir=ROOT / "tmp"))
        self.inside = f"/{self.path.relative_to(ROOT)}"
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.path)

    @property
    def scene(self) -> Path:
        return self.path / SCENE

    def command(self, *words: str, shims: tuple[str, ...] = (FAKE_DMABUF, HILCAM), board: str = "pi4") -> list[str]:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", "LIBCAMERA_LOG_LEVELS": "*:WARN",
                       "PYTHONPATH": self.inside, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                       "LD_PRELOAD": " ".join(shims), "HILCAM_SCENE": f"{self.inside}/{SCENE}", "HILCAM_BOARD": board}
        clean = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in environment.items())]
        return [*(_rights() or ()), "chroot", str(ROOT), *clean, PYTHON, *words]


class Looking:
    """Picamera2 in a process of its own in the root (tests/picamera2/look.py), asked from here; use in a `with`."""

    def __init__(self, place: InRoot, **options: Any) -> None:
        shutil.copy(HERE / "picamera2" / "look.py", place.path)
        self._words = place.command(f"{place.inside}/look.py", **options)
        self._errors = place.path / "stderr"

    def __enter__(self) -> Self:
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        return self

    def __exit__(self, *_) -> None:
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.stdout.close()

    def __call__(self, do: str, **asked: Any) -> Any:
        """Returns the answer; RuntimeError with what Picamera2 raised, or what it left behind when it ended."""
        self.ask(do, **asked)
        return self.answer()

    def ask(self, do: str, **asked: Any) -> None:
        """Asks and does not wait: `answer` does."""
        self._process.stdin.write(json.dumps({"do": do, **asked}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"ended with {self._process.wait()}: {self.errors[-2000:]}")
        said = json.loads(line)
        if "error" in said:
            raise RuntimeError(said["error"])
        return said["answer"]

    @property
    def errors(self) -> str:
        return self._errors.read_text()

"""A run folder: what was asked, with what, how far it got; half a run is visible as such.

Every verb makes one folder: `run.json` says "running" first and "done" or "failed" last, `metrics.jsonl`
grows while it works, `report.json` holds the numbers (name, value, unit, interval, n, source).
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure

_VERSIONED = ("privcam", "torch", "numpy", "scipy", "pillow", "pydantic", "onnxruntime")


class Run:
    """One verb's folder, used as a context: done when the block ends, failed when it raises."""

    def __init__(self, folder: Path, verb: str, arguments: Mapping[str, Any], seed: int | None = None) -> None:
        self.folder = folder
        self._record: dict[str, Any] = {
            "verb": verb, "arguments": {key: _plain(value) for key, value in arguments.items()}, "seed": seed,
            "inputs": {}, "versions": versions(), "status": "running",
        }

    def __enter__(self) -> Run:
        existing = read_record(self.folder)
        if existing is not None and existing["verb"] != self._record["verb"]:
            raise PrivcamError("the folder holds a run of another verb", got=f"{self.folder}: {existing['verb']}",
                               allowed=self._record["verb"], todo="choose another --out")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._record["started_s"] = time.time()
        self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._record["status"] = "done" if error is None else "failed"
        self._record["ended_s"] = time.time()
        if error is not None:
            self._record["error"] = f"{type(error).__name__}: {error}"
        self._write()

    def add_input(self, name: str, path: Path) -> None:
        """Notes an input file or folder by its hash."""
        self._record["inputs"][name] = {"path": str(path), "sha256": hash_path(path)}
        self._write()

    def log(self, **values: float | int | str) -> None:
        """Appends one line to `metrics.jsonl`."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")

    def report(self, measures: Iterable[Measure], **extra: Any) -> Path:
        """Writes `report.json`: the measures, and what else a program should know."""
        target = self.folder / "report.json"
        content = {**extra, "measures": [measure.model_dump(mode="json") for measure in measures]}
        write_atomically(target, json.dumps(content, indent=1).encode())
        return target

    def _write(self) -> None:
        write_atomically(self.folder / "run.json", json.dumps(self._record, indent=1, default=str).encode())


def read_record(folder: Path) -> dict[str, Any] | None:
    """Returns the content of a folder's `run.json`, or None where there is none."""
    file = folder / "run.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def versions() -> dict[str, str]:
    """Returns the versions of Python, of the machine and of the packages that decide results."""
    found = {"python": sys.version.split()[0], "machine": platform.machine()}
    for package in _VERSIONED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hash_path(path: Path) -> str:
    """Returns the SHA-256 of a file, or of a folder's relative names and contents in sorted order."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        digest.update(str(file.relative_to(path) if file != path else file.name).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value

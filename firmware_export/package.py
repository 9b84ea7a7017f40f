"""An encoder as one folder: a part for each target, golden vectors, a manifest. What is written has run and was right.

    reference/  the integer network, run by numpy        tflite/  the same for TFLite's kernels
    c/          C99, two functions and an arena          mcu/     the firmware project with this encoder, and built images
    golden/     frames and the codes that every one of them gave

The same graph, targets and compilers give the same bytes: no clock, no path is in them.
Deliberately not here: making the graph (`encoders`, `quantise`), running an image (a serial line is `hil`'s).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_export.c_code import c_files
from firmware_export.c_host import CArtifact, compiler
from firmware_export.cost import graph_cost
from firmware_export.firmware_files import firmware_files
from firmware_export.golden import golden_clip, golden_files
from firmware_export.graph import Graph
from firmware_export.graph_file import graph_bytes, graph_from
from firmware_export.images import FIRMWARE, Image, build_image, image_sizes, missing_tools
from firmware_export.int8 import Reference
from firmware_export.runner import Clip, Runner
from firmware_export.tflite import TfliteArtifact, tflite_bytes
from optics_sim.errors import PrivcamError

MANIFEST, GOLDEN = "manifest.json", "golden"
GOLDEN_FRAMES = 100
Codes = Mapping[str, NDArray[Any]]
Prove = Callable[[Image, Graph, Clip, Codes], str]
"""Runs an image and returns what was shown, or why nothing was; raises PrivcamError for another code."""


@dataclass(frozen=True)
class EncoderExport:
    """What was written: the folder, and the content of its manifest."""

    folder: Path
    manifest: dict[str, Any]


@dataclass(frozen=True)
class _Work:
    """What every target is made from, and where."""

    graph: Graph
    clip: Clip
    codes: Codes
    place: Path
    boards: Sequence[str]
    prove: Prove
    label: bool

    @property
    def sent(self) -> Codes:
        """What firmware sends: the codes, or of scores the number of the highest alone."""
        if not self.label:
            return self.codes
        scores = np.concatenate([array.reshape(len(array), -1) for array in self.codes.values()], axis=1)
        return {"label": scores.argmax(1)[:, None].astype(np.int8)}


def missing(target: str) -> str:
    """Returns why a target cannot be made and checked on this machine; empty where it can. KeyError for an unknown one."""
    return _TARGETS[target][1]()


def targets() -> tuple[str, ...]:
    """Returns the names of the targets, sorted."""
    return tuple(sorted(_TARGETS))


def export_encoder(graph: Graph, folder: Path, wanted: Sequence[str], *, on: Sequence[str] = (), prove: Prove | None = None,
                   frames: int = GOLDEN_FRAMES, label: bool = False) -> EncoderExport:
    """Returns what was written into `folder`, in place of an earlier export: the `wanted` targets, `mcu` for the boards `on`.

    With `label` firmware sends the number of the highest output alone. Everything is written beside the folder, run on the
    golden frames and compared before the first part takes its place.
    Raises PrivcamError for a graph that cannot run, an unknown or impossible target, and a code that differs.
    """
    chosen = tuple(dict.fromkeys(wanted))
    _refuse(chosen)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        place = Path(name) / "export"
        clip = golden_clip(graph, np.random.default_rng(0), frames)
        work = _Work(graph, clip, Reference(graph).run(clip), place, on, prove or _not_run, label)
        _write(place / GOLDEN, golden_files(graph, np.random.default_rng(0), frames))
        parts = {target: _TARGETS[target][0](work) for target in chosen}
        manifest = _manifest(graph, parts, place)
        _write(place, {MANIFEST: (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()})
        _replace(folder, place)
    return EncoderExport(folder, manifest)


# --- targets --------------------------------------------------------------------------------------
def _reference(work: _Work) -> dict[str, Any]:
    data = graph_bytes(work.graph)
    _write(work.place / "reference", {"encoder.npz": data})
    return {"checked": _equal(Reference(graph_from(data)), work)}


def _tflite(work: _Work) -> dict[str, Any]:
    data = tflite_bytes(work.graph)
    _write(work.place / "tflite", {"encoder.tflite": data})
    fast = TfliteArtifact(work.graph, data, fast=True).run(work.clip)
    apart = {name: np.abs(fast[name].astype(int) - codes) for name, codes in work.codes.items()}
    return {"checked": f"{_equal(TfliteArtifact(work.graph, data), work)} by TFLite's reference kernels", "fast_path": {
        "codes_that_differ": max(float((error > 0).mean()) for error in apart.values()),
        "largest_difference": max(int(error.max()) for error in apart.values())}}


def _c(work: _Work) -> dict[str, Any]:
    files = c_files(work.graph)
    _write(work.place / "c", files)
    return {"checked": f"{_equal(CArtifact(work.graph, files), work)} as a program of this machine"}


def _mcu(work: _Work) -> dict[str, Any]:
    home = work.place / "mcu"
    shutil.copytree(FIRMWARE, home / "project")
    _write(home / "encoder", firmware_files(work.graph, label=work.label))
    found = {}
    for board in work.boards:
        image = build_image(board, home / "encoder", home / board, project=home / "project")
        shutil.rmtree(home / board / "objects")
        found[board] = {"checked": work.prove(image, work.graph, work.clip, work.sent), "bytes": image_sizes(image)}
    _write(home, {"how-to-flash.txt": _how_to_flash(work).encode()})
    return {"boards": found, "sends": "label" if work.label else "codes"}


def _lacks_nothing() -> str:
    return ""


def _lacks_tflite() -> str:
    try:
        metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        return "pip install 'privcam[export]'"
    return ""


def _lacks_compiler() -> str:
    return "" if compiler() else "install gcc or clang, or name one in CC"


def _lacks_cross_compiler() -> str:
    tools = missing_tools("stm32f405")
    return f"install Debian's make, gcc-arm-none-eabi and libnewlib-arm-none-eabi (missing: {', '.join(tools)})" if tools else ""


_TARGETS: Mapping[str, tuple[Callable[[_Work], dict[str, Any]], Callable[[], str]]] = {
    "reference": (_reference, _lacks_nothing), "tflite": (_tflite, _lacks_tflite), "c": (_c, _lacks_compiler),
    "mcu": (_mcu, _lacks_cross_compiler)}


# --- helpers --------------------------------------------------------------------------------------
def _refuse(chosen: Sequence[str]) -> None:
    unknown = [target for target in chosen if target not in _TARGETS]
    if unknown or not chosen:
        raise PrivcamError("a target of the export", got=", ".join(unknown) or "none", allowed=", ".join(targets()))
    if lacking := {target: why for target in chosen if (why := missing(target))}:
        raise PrivcamError("this machine cannot make a target", got=", ".join(lacking), todo="; ".join(lacking.values()))


def _equal(runner: Runner, work: _Work) -> str:
    """Returns how many golden frames a runner encoded right. Raises PrivcamError where a single byte differs."""
    found = runner.run(work.clip)
    for name, codes in work.codes.items():
        if wrong := int((found[name] != codes).sum()):
            raise PrivcamError("an exported encoder gives other codes than the reference", got=f"{wrong} bytes of {name}", allowed=0,
                               todo="report this: nothing was written")
    return f"{len(next(iter(work.clip.values())))} golden frames equal"


def _not_run(image: Image, graph: Graph, clip: Clip, codes: Codes) -> str:
    return "built, not run"


def _manifest(graph: Graph, parts: dict[str, Any], place: Path) -> dict[str, Any]:
    files = sorted(file for file in place.rglob("*") if file.is_file())
    return {"design": graph.design, "graph": graph.digest, "network": graph.name, "cost": asdict(graph_cost(graph)),
            "inputs": {name: list(graph[name].shape[1:]) for name in graph.inputs}, "warmup": graph.warmup,
            "outputs": {name: list(graph[name].shape[1:]) for name in graph.outputs}, "targets": parts,
            "files": {str(file.relative_to(place)): {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
                      for file in files}}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _replace(folder: Path, new: Path) -> None:
    """Moves the parts of `new` into a folder, the manifest last: without it, what is there is half of an export."""
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (*_TARGETS, GOLDEN):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        if (new / name).exists():
            (new / name).rename(folder / name)
    (new / MANIFEST).rename(folder / MANIFEST)


def _how_to_flash(work: _Work) -> str:
    lines = [f"Firmware of design {work.graph.design}", "", "Build again, or for another board (folders of project/boards):",
             "  make -C project BOARD=stm32f405 ENCODER=$PWD/encoder OUT=$PWD/stm32f405", "",
             "Flash an STM32F405 by its boot loader (BOOT0 high, reset; PA9 sends, PA10 receives, 3.3 V):", "  pip install stm32loader",
             "  stm32loader --port /dev/ttyUSB0 --erase --write --verify --family F4 stm32f405/firmware.bin", "",
             "Frames come over the line, not from a sensor. 115200 baud, 8 bits, no parity, one stop bit."]
    return "\n".join(lines) + "\n"

"""An encoder as one folder: a part for each target, golden vectors, a manifest. What is written has run and was right.

    reference/  the integer network, run by numpy     tflite/  the same as a TFLite file
    c/          C99, two functions and an arena       mcu/     the firmware project with this encoder, and built images
    pi/         what a Raspberry Pi is given          golden/  frames, and the codes that every one of them gave

The same graph, targets and compilers give the same bytes: no clock, no path is in them.
Deliberately not here: the targets (`targets`), making the graph (`encoders`, `quantise`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from firmware_export.cost import graph_cost
from firmware_export.golden import golden_clip, vector_files
from firmware_export.graph import Graph
from firmware_export.images import Image
from firmware_export.int8 import Reference
from firmware_export.runner import Clip
from firmware_export.targets import GOLDEN, TARGETS, Codes, Prove, Work, write_files
from optics_sim.errors import PrivcamError

MANIFEST = "manifest.json"
GOLDEN_FRAMES = 100


@dataclass(frozen=True)
class EncoderExport:
    """What was written: the folder, and the content of its manifest."""

    folder: Path
    manifest: dict[str, Any]


def export_encoder(graph: Graph, folder: Path, wanted: Sequence[str], *, on: Sequence[str] = (), prove: Prove | None = None,
                   frames: int = GOLDEN_FRAMES, label: bool = False,
                   beside: Mapping[str, bytes] | None = None) -> EncoderExport:
    """Returns what was written into `folder`, in place of an earlier export: the `wanted` targets, `mcu` for the boards `on`.

    With `label` firmware sends the number of the highest output alone; `beside` are C files that lie with the network's.
    Everything is written beside the folder, run on the golden frames and compared before the first part takes its place.
    Raises PrivcamError for a graph that cannot run, an unknown or impossible target, and a code that differs.
    """
    chosen = tuple(dict.fromkeys(wanted))
    _refuse(chosen)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        place = Path(name) / "export"
        clip = golden_clip(graph, np.random.default_rng(0), frames)
        work = Work(graph, clip, Reference(graph).run(clip), place, on, prove or _not_run, label, beside or {})
        write_files(place / GOLDEN, vector_files(graph, clip, work.codes))
        parts = {target: TARGETS[target].make(work) for target in chosen}
        manifest = _manifest(graph, parts, place)
        write_files(place, {MANIFEST: (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()})
        _replace(folder, place)
    return EncoderExport(folder, manifest)


def file_hashes(folder: Path, files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Returns size and SHA-256 of files by their path below a folder, in order of path."""
    return {str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
            for file in sorted(files)}


# --- helpers --------------------------------------------------------------------------------------
def _refuse(chosen: Sequence[str]) -> None:
    unknown = [target for target in chosen if target not in TARGETS]
    if unknown or not chosen:
        raise PrivcamError("a target of the export", got=", ".join(unknown) or "none", allowed=", ".join(TARGETS))
    if lacking := {target: why for target in chosen if (why := TARGETS[target].lacks())}:
        raise PrivcamError("this machine cannot make a target", got=", ".join(lacking), todo="; ".join(lacking.values()))


def _not_run(image: Image, graph: Graph, clip: Clip, codes: Codes) -> str:
    return "built, not run"


def _manifest(graph: Graph, parts: dict[str, Any], place: Path) -> dict[str, Any]:
    return {"design": graph.design, "graph": graph.digest, "network": graph.name, "cost": asdict(graph_cost(graph)),
            "inputs": {name: list(graph[name].shape[1:]) for name in graph.inputs}, "warmup": graph.warmup,
            "outputs": {name: list(graph[name].shape[1:]) for name in graph.outputs}, "targets": parts,
            "files": file_hashes(place, [file for file in place.rglob("*") if file.is_file()])}


def _replace(folder: Path, new: Path) -> None:
    """Moves the parts of `new` into a folder, the manifest last: without it, what is there is half of an export."""
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (*TARGETS, GOLDEN):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        if (new / name).exists():
            (new / name).rename(folder / name)
    (new / MANIFEST).rename(folder / MANIFEST)

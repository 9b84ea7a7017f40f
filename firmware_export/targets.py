"""What an encoder is exported as: one function for each target, which writes its part and runs it on the golden frames.

Deliberately not here: the folder around the parts (`package`), running an image (a serial line is `hil`'s).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_export.c_code import c_files
from firmware_export.c_host import CArtifact, compiler
from firmware_export.firmware_files import firmware_files
from firmware_export.graph import Graph
from firmware_export.graph_file import graph_bytes, graph_from
from firmware_export.images import FIRMWARE, Image, build_image, image_sizes, missing_tools
from firmware_export.int8 import Reference
from firmware_export.runner import Clip, ClipRunner
from firmware_export.tflite import tflite_bytes
from firmware_export.tflite_encoder import FILE, TfliteEncoder
from optics_sim.errors import PrivcamError

GOLDEN = "golden"
Codes = Mapping[str, NDArray[Any]]
Prove = Callable[[Image, Graph, Clip, Codes], str]
"""Runs an image and returns what was shown, or why nothing was; raises PrivcamError for another code."""


@dataclass(frozen=True)
class Work:
    """What every target is made from, and where: golden frames `clip` and their `codes`, the folder `place`."""

    graph: Graph
    clip: Clip
    codes: Codes
    place: Path
    boards: Sequence[str]
    prove: Prove
    label: bool
    beside: Mapping[str, bytes]

    @property
    def sent(self) -> Codes:
        """What firmware sends: the codes, or of scores the number of the highest alone."""
        if not self.label:
            return self.codes
        scores = np.concatenate([array.reshape(len(array), -1) for array in self.codes.values()], axis=1)
        return {"label": scores.argmax(1)[:, None].astype(np.int8)}


class Target(NamedTuple):
    """`make` writes a part and returns what the manifest says of it; `lacks` says why this machine cannot, or nothing."""

    make: Callable[[Work], dict[str, Any]]
    lacks: Callable[[], str]


# --- one of each ----------------------------------------------------------------------------------
def _reference(work: Work) -> dict[str, Any]:
    data = graph_bytes(work.graph)
    write_files(work.place / "reference", {"encoder.npz": data})
    return {"checked": _equal(Reference(graph_from(data)), work)}


def _tflite(work: Work) -> dict[str, Any]:
    return _tflite_in(work, work.place / "tflite")


def _pi(work: Work) -> dict[str, Any]:
    home = work.place / "pi"
    shutil.copytree(work.place / GOLDEN, home / GOLDEN)
    write_files(home, {"how-to-run.txt": _HOW_TO_RUN.format(digest=work.graph.design).encode()})
    return _tflite_in(work, home)


def _tflite_in(work: Work, home: Path) -> dict[str, Any]:
    write_files(home, {FILE: tflite_bytes(work.graph)})
    fast = TfliteEncoder.load(home, fast=True).run(work.clip)
    apart = [np.abs(fast[name].astype(int) - codes) for name, codes in work.codes.items()]
    off = {"codes_that_differ": max(float((error > 0).mean()) for error in apart),
           "largest_difference": max(int(error.max()) for error in apart)}
    return {"checked": f"{_equal(TfliteEncoder.load(home, fast=False), work)} by TFLite's reference kernels", "fast_path": off}


def _c(work: Work) -> dict[str, Any]:
    files = c_files(work.graph)
    write_files(work.place / "c", {**files, **work.beside})
    return {"checked": f"{_equal(CArtifact(work.graph, files), work)} as a program of this machine"}


def _mcu(work: Work) -> dict[str, Any]:
    home = work.place / "mcu"
    shutil.copytree(FIRMWARE, home / "project")
    write_files(home / "encoder", {**firmware_files(work.graph, label=work.label), **work.beside})
    found = {}
    for board in work.boards:
        image = build_image(board, home / "encoder", home / board, project=home / "project")
        shutil.rmtree(home / board / "objects")
        found[board] = {"checked": work.prove(image, work.graph, work.clip, work.sent), "bytes": image_sizes(image)}
    write_files(home, {"how-to-flash.txt": _HOW_TO_FLASH.format(digest=work.graph.design).encode()})
    return {"boards": found, "sends": "label" if work.label else "codes"}


# --- what a machine lacks -------------------------------------------------------------------------
def _nothing() -> str:
    return ""


def _schema() -> str:
    try:
        metadata.version("ai-edge-litert")
    except metadata.PackageNotFoundError:
        return "pip install 'privcam[export]'"
    return ""


def _compiler() -> str:
    return "" if compiler() else "install gcc or clang, or name one in CC"


def _cross_compiler() -> str:
    tools = missing_tools("stm32f405")
    return f"install Debian's make, gcc-arm-none-eabi and libnewlib-arm-none-eabi (missing: {', '.join(tools)})" if tools else ""


TARGETS: Mapping[str, Target] = {
    "reference": Target(_reference, _nothing), "tflite": Target(_tflite, _schema), "c": Target(_c, _compiler), "pi": Target(_pi, _schema),
    "mcu": Target(_mcu, _cross_compiler)}


# --- helpers --------------------------------------------------------------------------------------
def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a folder that nobody else reads yet, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _equal(runner: ClipRunner, work: Work) -> str:
    """Returns how many golden frames a runner encoded right. Raises PrivcamError where a single byte differs."""
    found = runner.run(work.clip)
    for name, codes in work.codes.items():
        if wrong := int((found[name] != codes).sum()):
            raise PrivcamError("an exported encoder gives other codes than the reference", got=f"{wrong} bytes of {name}", allowed=0,
                               todo="report this: nothing was written")
    return f"{len(next(iter(work.clip.values())))} golden frames equal"


_HOW_TO_FLASH = """Firmware of design {digest}

Build again, or for another board (folders of project/boards):
  make -C project BOARD=stm32f405 ENCODER=$PWD/encoder OUT=$PWD/stm32f405

Flash an STM32F405 by its boot loader (BOOT0 high, reset; PA9 sends, PA10 receives, 3.3 V):
  pip install stm32loader
  stm32loader --port /dev/ttyUSB0 --erase --write --verify --family F4 stm32f405/firmware.bin

Frames come over the line, not from a sensor. 115200 baud, 8 bits, no parity, one stop bit.
"""
_HOW_TO_RUN = """Encoder of design {digest}

On a Raspberry Pi (64 bit, Python 3.11 or 3.13), in a checkout of privcam:
  python3 -m venv --system-site-packages .venv && .venv/bin/pip install '.[pi]'
Copy this folder there, then in Python:
  from firmware_export.tflite_encoder import TfliteEncoder
  encoder = TfliteEncoder.load("this folder", digest="{digest}")
  codes = encoder(clip)    # int8 [T, h, w]

fast=False takes the kernels that equal golden/ bit for bit.
"""

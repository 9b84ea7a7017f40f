"""Whom the bench's device names on each captured frame, as integers: the run's exported recogniser on a board or a host.

Deliberately not here: devices (`hil.devices`), and recognition by the float network.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hil.protocols import EncoderDevice
from hil.validation.frames import Captured
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source, weakest
from optics_sim.plain import Plain

FILE = "device.json"


class Named(Plain):
    """The class that a device named for each frame of a capture, and what may be claimed of it: frames and device together."""

    board: str
    build: str
    source: Source
    captured: str
    people: tuple[int, ...]


def named_by(device: EncoderDevice, captured: Captured, design: CameraDesign, classes: int, file: Path) -> Named:
    """Returns whom a device names on every captured frame, kept in a file; read from there where the frames are the same.

    A device sends the number of the highest score in one byte, or the score of each class. Raises PrivcamError for another device.
    """
    info = device.info
    if (kept := kept_names(file, captured)) is not None and (kept.board, kept.build) == (info.board, info.build):
        return kept
    if info.digest != design.digest:
        raise PrivcamError("the device runs the encoder of another design", got=info.digest[:12], allowed=design.digest[:12],
                           todo="export this run's recogniser (privcam export encoder RUN --emit label)")
    if info.code_bytes not in (1, classes):
        raise PrivcamError("this device names nobody", got=f"{info.code_bytes} bytes a frame",
                           allowed=f"1 (the highest class) or {classes} (its scores)",
                           todo="export the recogniser (privcam export encoder RUN --emit label)")
    answers = device.encode(captured.codes).reshape(len(captured.codes), info.code_bytes)
    people = answers.view(np.uint8)[:, 0] if info.code_bytes == 1 else answers.argmax(1)
    named = Named(board=info.board, build=info.build, source=weakest(info.source, captured.source), captured=captured.digest,
                  people=tuple(people.astype(int).tolist()))
    write_atomically(file, (named.model_dump_json(indent=1) + "\n").encode())
    return named


def kept_names(file: Path, captured: Captured) -> Named | None:
    """Returns what a device named on just these frames before, or None."""
    if not file.is_file():
        return None
    named = Named.model_validate(json.loads(file.read_text(encoding="utf-8")))
    return named if named.captured == captured.digest else None


def hits(named: Named, captured: Captured) -> NDArray[np.bool_]:
    """Returns for each test picture whether the device named its person, [n]."""
    truth = captured.showing.parts["test"].labels.cpu().numpy()
    return np.asarray(np.array(named.people)[captured.showing.rows_of("test")] == truth)

"""An image run in the emulator on golden frames: the same codes as the reference, or an error."""

from __future__ import annotations

import shutil

import numpy as np
from numpy.typing import NDArray

from firmware_export.golden import interleaved
from firmware_export.graph import Graph
from firmware_export.images import Image
from firmware_export.runner import Clip
from firmware_export.targets import Codes
from hil.devices.emulated_board import MACHINES, QEMU, EmulatedBoard
from hil.devices.serial_device import SerialDevice
from optics_sim.errors import PrivcamError

EMULATED_FRAMES = 10
_PATIENCE_S = 60.0


def emulated(image: Image, graph: Graph, clip: Clip, codes: Codes) -> str:
    """Returns how many golden frames an image encoded right in QEMU, or why it was not run.

    Raises PrivcamError where a single byte differs, or the image calls itself another design's.
    """
    if image.board not in MACHINES:
        return "built, not run: no emulator for this board"
    if shutil.which(QEMU) is None:
        return "built, not run: qemu-system-arm is missing"
    frames = min(EMULATED_FRAMES + graph.warmup, len(next(iter(clip.values()))))
    sent = _rows(interleaved({name: array[:frames] for name, array in clip.items()}), frames)
    expected = _rows(interleaved({name: array[:frames - graph.warmup] for name, array in codes.items()}), frames - graph.warmup)
    with EmulatedBoard(image.board, image.elf) as board, SerialDevice(board.url, digest=graph.design, timeout_s=_PATIENCE_S) as device:
        found = device.encode(sent)
    if found.shape != expected.shape or (found != expected).any():
        raise PrivcamError(f"the image for {image.board} gives other codes than the reference", got=f"{found.shape}, "
                           f"{int((found != expected).sum()) if found.shape == expected.shape else 'another number of'} bytes differ",
                           allowed=0, todo="report this: nothing was written")
    return f"{frames} golden frames equal, emulated (QEMU {MACHINES[image.board]})"


def _rows(data: bytes, frames: int) -> NDArray[np.int8]:
    return np.frombuffer(data, np.int8).reshape(frames, -1)

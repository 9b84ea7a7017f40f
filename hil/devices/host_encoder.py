"""The computer that runs this as an encoder device: a Raspberry Pi with the exported TFLite file, or a PC that stands in for one.

Deliberately not here: the file and its interpreter (`firmware_export.tflite_encoder`), and taking frames.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_export.tflite_encoder import TfliteEncoder
from hil.protocols import DeviceInfo
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source

DEVICE_TREE = Path("/proc/device-tree")


class HostEncoder:
    """An encoder device made of a TFLite file on this computer.

    The codes are "physical" on a Raspberry Pi alone: there this computer is the camera's. Anywhere else, an emulated Pi
    included, they are "emulated"; `source` may claim less, never more. `device_tree` is where Linux describes the board.
    """

    def __init__(self, encoder: TfliteEncoder, *, source: Source | None = None, device_tree: Path = DEVICE_TREE) -> None:
        board = pi_model(device_tree)
        allowed: tuple[Source, ...] = ("emulated", "physical") if board else ("emulated",)
        if source is not None and source not in allowed:
            raise PrivcamError("what codes of this computer may be called", got=f"source {source}", allowed=" or ".join(allowed),
                               todo="run the file on the camera's Raspberry Pi for physical codes")
        edges = encoder.edges
        frame_bytes, code_bytes = (sum(edges[name].size_bytes for name in names) for names in (edges.inputs, edges.outputs))
        kernels = "fast" if encoder.fast else "reference"
        self._encoder = encoder
        self._info = DeviceInfo(board or f"host {platform.machine()}", f"{kernels} kernels", encoder.design, frame_bytes, code_bytes,
                                _version(encoder), source or allowed[-1])

    @property
    def info(self) -> DeviceInfo:
        """Returns what runs and where; `firmware_version` is the interpreter's."""
        return self._info

    def encode(self, clip: NDArray[np.int8]) -> NDArray[np.int8]:
        """Returns codes int8 [n, code_bytes] of a clip int8 [T, ...]; n is T less the frames that give no code yet.

        A frame's bytes are input after input, a code's output after output. Raises PrivcamError for frames of another type or size.
        """
        frame_bytes, edges = self._info.frame_bytes, self._encoder.edges
        if clip.dtype != np.int8 or clip.ndim < 2 or clip[:1].size != min(len(clip), 1) * frame_bytes:
            raise PrivcamError("a clip for this encoder", got=f"{clip.dtype} {clip.shape}",
                               allowed=f"int8 [T, ...], {frame_bytes} bytes a frame")
        self._encoder.start()
        codes = [self._code(frame) for frame in clip.reshape(len(clip), frame_bytes)]
        return np.array(codes[edges.warmup:], np.int8).reshape(-1, self._info.code_bytes)

    def _code(self, frame: NDArray[np.int8]) -> NDArray[np.int8]:
        edges = self._encoder.edges
        ends = np.cumsum([edges[name].size_bytes for name in edges.inputs])
        parts = zip(edges.inputs, np.split(frame, ends[:-1]), strict=True)
        found = self._encoder.step({name: part.reshape(edges[name].shape) for name, part in parts})
        return np.concatenate([found[name].ravel() for name in edges.outputs])


def pi_model(device_tree: Path = DEVICE_TREE) -> str:
    """Returns the model of the Raspberry Pi that this is, or "" on any other machine.

    A Pi's boot loader writes the board's serial number into the device tree; an emulator hands the tree over without one.
    """
    model, serial = (_text(device_tree / name) for name in ("model", "serial-number"))
    return model if model.startswith("Raspberry Pi") and serial.strip("0") else ""


def _text(file: Path) -> str:
    try:
        return file.read_bytes().rstrip(b"\0").decode("ascii", "replace")
    except OSError:
        return ""


def _version(encoder: TfliteEncoder) -> str:
    package = encoder.module.__name__.partition(".")[0].replace("_", "-")
    return f"{package} {importlib.metadata.version(package)}"

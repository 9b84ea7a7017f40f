"""A whole capture set in one HDF5 file, for keeping and sending: written only from a sound set, and read back before it counts.

The file holds `header` and `journal` (the bytes of `set.json` and `journal.jsonl`) and `raw`, uint16 [frame, row, column],
one compressed chunk for each frame (gzip, which every HDF5 library reads). A frame's hash is still that of its NPY file.
Deliberately not here: what the bytes mean (`journal.py`, `stored.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np

from hil.capture_set.npy import npy_bytes
from hil.capture_set.stored import HEADER, JOURNAL, CaptureSet, FolderStore
from optics_sim.errors import PrivcamError

FORMAT = "privcam capture set 1"
_FAST_LEVEL = 1  # level 9 takes several times as long for sensor noise, which hardly shrinks further
_PARTS = {"header", "journal", "raw"}


class PackedStore:
    """A set in one HDF5 file, opened anew for each reading, so that no handle outlives a crash of its reader."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def header(self) -> bytes:
        """Returns the bytes of `set.json`."""
        return self._bytes("header")

    def journal(self) -> bytes:
        """Returns the bytes of `journal.jsonl`."""
        return self._bytes("journal")

    def frame(self, number: int) -> bytes:
        """Returns the bytes of a frame's NPY file; OSError where HDF5 cannot read its chunk."""
        with _h5py().File(self.file, "r") as stored:
            if "raw" not in stored or number >= len(stored["raw"]):
                raise FileNotFoundError(f"{self.file} has no frame {number}")
            return npy_bytes(np.asarray(stored["raw"][number], np.uint16))

    def strays(self, count: int) -> list[str]:
        """Returns the names of what the file holds besides a set of `count` frames."""
        with _h5py().File(self.file, "r") as stored:
            extra = range(count, len(stored["raw"]) if "raw" in stored else 0)
            return sorted({*stored} - _PARTS) + [f"raw[{number}]" for number in extra]

    def _bytes(self, name: str) -> bytes:
        with _h5py().File(self.file, "r") as stored:
            if name not in stored:
                raise FileNotFoundError(f"{self.file} has no `{name}`")
            return bytes(np.asarray(stored[name], np.uint8))


def check_can_pack() -> None:
    """Raises PrivcamError where sets cannot be packed here: better before a day of capture than after it."""
    _h5py()


def pack(folder: Path, file: Path) -> CaptureSet:
    """Returns the packed set, after every frame of it was read back and found to be the one that was taken.

    The folder stays as it is. Raises PrivcamError for a set that is not closed or is damaged, for a file that exists, and
    where what was read back differs; no file of that name is there then.
    """
    stored = open_set(folder)
    if not stored.closed:
        raise PrivcamError("only a closed capture set can be packed", got=str(folder), todo="resume it and close it")
    _refuse_damaged(stored)
    if file.exists():
        raise PrivcamError("the packed set would replace a file", got=str(file), todo="take another name")
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        _write(part, FolderStore(folder), stored)
        _refuse_damaged(CaptureSet(PackedStore(part), str(part)))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return open_set(file)


def open_set(path: Path) -> CaptureSet:
    """Returns the set in a folder or in a packed file; PrivcamError where there is none."""
    if path.is_dir():
        return CaptureSet(FolderStore(path), str(path))
    if not path.is_file():
        raise PrivcamError("no capture set there", got=str(path), allowed="a set's folder or its packed file")
    try:
        return CaptureSet(PackedStore(path), str(path))
    except OSError as error:
        raise PrivcamError("not a packed capture set", got=f"{path}: {error}", allowed="an HDF5 file that `pack` wrote") from None


def _write(part: Path, folder: FolderStore, stored: CaptureSet) -> None:
    rows, columns = stored.header.camera.shape
    with _h5py().File(part, "w") as packed:
        packed.attrs["format"] = FORMAT
        packed.create_dataset("header", data=np.frombuffer(folder.header(), np.uint8))
        packed.create_dataset("journal", data=np.frombuffer(folder.journal(), np.uint8))
        raw = packed.create_dataset("raw", (len(stored), rows, columns), np.uint16, chunks=(1, rows, columns) if len(stored) else None,
                                    compression="gzip" if len(stored) else None,
                                    compression_opts=_FAST_LEVEL if len(stored) else None, shuffle=bool(len(stored)))
        for number, frame in enumerate(stored):
            raw[number] = frame.raw
    with part.open("rb") as stream:
        os.fsync(stream.fileno())


def _refuse_damaged(stored: CaptureSet) -> None:
    if damage := stored.damage():
        raise PrivcamError(f"the capture set {stored.name} is damaged", got="; ".join(map(str, damage)),
                           allowed=f"{HEADER}, {JOURNAL} and every frame as they were written", todo="restore what is named from a copy")


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError:
        raise PrivcamError("packed capture sets need h5py", todo='pip install "privcam[capture]"') from None
    module: ModuleType = h5py
    return module

"""Writing a capture set so that a kill at any moment costs the frame in flight and no other.

A frame's file is written under another name, flushed to the disk and renamed; only then does its line go into the journal
and to the disk. What has no line is no frame: `resume` removes it. One writer at a time holds the set's lock, which the
operating system takes back when it dies. Deliberately not here: reading (`stored.py`) and packing (`packed.py`).
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from hil.capture_set.journal import Entry, Header
from hil.capture_set.npy import npy_bytes
from hil.capture_set.stored import FRAMES, HALF_HEADER, HEADER, JOURNAL, LOCK, CaptureSet, FolderStore, frame_name
from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, Frame

_MADE_BEFORE_THE_HEADER = {LOCK, FRAMES, JOURNAL}  # what a kill while a set is made leaves behind


class CaptureWriter:
    """An open capture set. `add` returns when the frame is on the disk. Construct by `create` or `resume`; use in a `with`.

    Leaving the `with` closes the files and not the set: `close` says that no frame will follow.
    """

    def __init__(self, folder: Path, header: Header, lock: IO[bytes], entries: tuple[Entry, ...]) -> None:
        self.folder, self.header = folder, header
        self._lock, self._journal = lock, (folder / JOURNAL).open("ab", buffering=0)
        self._seal = entries[-1].seal if entries else header.start
        self._number = len(entries)
        self._session = entries[-1].session + 1 if entries else 0
        self._last_index = -1
        self._sound = True

    @classmethod
    def create(cls, folder: Path, camera: CameraInfo, *, clock: Callable[[], str], design: str = "") -> Self:
        """Returns a new set in a folder that is empty or not there; `clock` gives the date and time to write down.

        Raises PrivcamError where something lies there already.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = locked(folder)
        with _closing_on_error(lock):
            _remove_half_headers(folder)
            others = {file.name for file in folder.iterdir()} - _MADE_BEFORE_THE_HEADER
            if others or any(folder.glob(f"{FRAMES}/*")):
                raise PrivcamError("a new capture set needs an empty folder", got=f"{folder} holds {sorted(others)}",
                                   todo="take another folder, or resume the set that is there")
            (folder / FRAMES).mkdir(exist_ok=True)
            (folder / JOURNAL).write_bytes(b"")
            header = Header(camera=camera, created=clock(), design=design).sealed()
            _write_header(folder, header)
            _sync_folder(folder.parent)
            return cls(folder, header, lock, ())

    @classmethod
    def resume(cls, folder: Path) -> Self:
        """Returns a set that was not closed, ready for more frames, without what a kill left of the frame in flight.

        Raises PrivcamError for a set that is closed, that is written by somebody else, or that is damaged; frames' files
        are looked for and not read.
        """
        if not (folder / HEADER).is_file():
            raise PrivcamError("not a capture set", got=folder, allowed=f"a folder with {HEADER}", todo="create a set")
        lock = locked(folder)
        with _closing_on_error(lock):
            _remove_half_headers(folder)
            stored = CaptureSet(FolderStore(folder), str(folder))
            if stored.closed:
                raise PrivcamError("the capture set is closed", got=f"{folder}, {len(stored)} frames", todo="make a new set")
            if damage := stored.damage(pixels=False):
                raise PrivcamError(f"the capture set {folder} is damaged", got="; ".join(map(str, damage)),
                                   todo="restore what is named from a copy, or make a new set")
            for name in stored.in_flight():
                (folder / name).unlink()
            if stored.journal.torn:
                _cut(folder / JOURNAL, stored.journal.whole_bytes)
            return cls(folder, stored.header, lock, stored.entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._journal.close()
        self._lock.close()

    def __len__(self) -> int:
        return self._number

    def add(self, frame: Frame) -> Entry:
        """Returns the entry of a frame, which then lies on the disk with its line in the journal.

        Raises PrivcamError for a frame of another shape or source than the set's camera, or whose index does not rise, and
        OSError where the disk fails: then the set takes no more frames until it is resumed.
        """
        self._check(frame)
        data = npy_bytes(frame.raw)
        sha256 = hashlib.sha256(data).hexdigest()
        entry = Entry.of(frame, number=self._number, session=self._session, sha256=sha256).sealed(self._seal)
        self._sound = False
        self._write_frame(data)
        self._write_line(entry.line())
        self._seal, self._number, self._last_index, self._sound = entry.seal, self._number + 1, frame.index, True
        return entry

    def close(self) -> CaptureSet:
        """Returns the set, closed: it says how many frames it has and takes no more."""
        self._check_sound()
        closed = self.header.model_copy(update={"frames": self._number, "last_seal": self._seal}).sealed()
        _write_header(self.folder, closed)
        self._sound = False
        return CaptureSet(FolderStore(self.folder), str(self.folder))

    def _check_sound(self) -> None:
        if not self._sound:
            raise PrivcamError("the set takes no more frames", got=str(self.folder), todo="it was closed, or a write failed: resume it")

    def _check(self, frame: Frame) -> None:
        self._check_sound()
        camera = self.header.camera
        if frame.raw.shape != camera.shape or frame.sensor != camera.sensor or frame.source != camera.source:
            raise PrivcamError("a frame of another camera", got=f"{frame.sensor} {frame.raw.shape} {frame.source}",
                               allowed=f"{camera.sensor} {camera.shape} {camera.source}", todo="one set is of one camera")
        if frame.index <= self._last_index:
            raise PrivcamError("a frame that came before", got=f"index {frame.index}", allowed=f"above {self._last_index}",
                               todo="give each frame once, in the order the camera took them")

    def _write_frame(self, data: bytes) -> None:
        target = self.folder / frame_name(self._number)
        part = target.with_name(target.name + ".part")
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
        _sync_folder(target.parent)

    def _write_line(self, line: bytes) -> None:
        if self._journal.write(line) != len(line):
            raise OSError(errno.ENOSPC, "the journal's line was not written whole", self._journal.name)
        os.fsync(self._journal.fileno())


def _write_header(folder: Path, header: Header) -> None:
    write_atomically(folder / HEADER, header.model_dump_json(indent=2).encode() + b"\n")
    _sync_folder(folder)


def _remove_half_headers(folder: Path) -> None:
    for half in folder.glob(HALF_HEADER):
        half.unlink()


def _cut(file: Path, size: int) -> None:
    with file.open("r+b") as stream:
        stream.truncate(size)
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def locked(folder: Path) -> IO[bytes]:
    """Returns the open file whose lock says that this process writes the set; PrivcamError where another has it."""
    import fcntl  # here, so that sets can be read where there is none

    lock = (folder / LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise PrivcamError("somebody else writes this capture set", got=str(folder), todo="end that program first") from None
    return lock


@contextmanager
def _closing_on_error(lock: IO[bytes]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        lock.close()
        raise

"""A capture set as it is read: the same whether it lies in a folder or in one packed file.

Deliberately not here: writing (`writer.py`), and the packed file itself (`packed.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

from hil.capture_set.journal import Damage, Entry, Header, Kind, read_header, read_journal
from hil.capture_set.npy import npy_size, raw_of
from optics_sim.errors import PrivcamError
from optics_sim.frame import Frame

HEADER, JOURNAL, FRAMES, LOCK = "set.json", "journal.jsonl", "frames", ".lock"
HALF_HEADER = f".{HEADER}.*.part"  # what a kill leaves of a header


class Store(Protocol):
    """Where a set's bytes lie. Reading a part that is not there raises FileNotFoundError, one that cannot be read OSError."""

    def header(self) -> bytes:
        """Returns the bytes of `set.json`."""
        ...

    def journal(self) -> bytes:
        """Returns the bytes of `journal.jsonl`."""
        ...

    def frame(self, number: int) -> bytes:
        """Returns the bytes of a frame's NPY file."""
        ...

    def strays(self, count: int) -> list[str]:
        """Returns the names of what lies there and does not belong to a set of `count` frames."""
        ...


class FolderStore:
    """A set in a folder: `set.json`, `journal.jsonl`, and one NPY file for each frame."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def header(self) -> bytes:
        """Returns the bytes of `set.json`."""
        return (self.folder / HEADER).read_bytes()

    def journal(self) -> bytes:
        """Returns the bytes of `journal.jsonl`."""
        return (self.folder / JOURNAL).read_bytes()

    def frame(self, number: int) -> bytes:
        """Returns the bytes of a frame's NPY file."""
        return (self.folder / frame_name(number)).read_bytes()

    def strays(self, count: int) -> list[str]:
        """Returns the names of files that do not belong to a set of `count` frames."""
        known = {HEADER, JOURNAL, LOCK, FRAMES, *(frame_name(number) for number in range(count))}
        found = [*self.folder.iterdir(), *(self.folder / FRAMES).glob("*")]
        return sorted(name for file in found if (name := file.relative_to(self.folder).as_posix()) not in known)


class CaptureSet:
    """A stored set: its header, its frames' entries, and the frames themselves, each checked against its hash when read."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name
        try:
            self.header: Header = read_header(store.header(), f"{name}/{HEADER}")
            journal = read_journal(store.journal(), self.header, JOURNAL)
        except FileNotFoundError as error:
            raise PrivcamError("not a capture set", got=name, allowed=f"a folder with {HEADER} and {JOURNAL}, or a packed set",
                               todo=f"missing: {error.filename or error}") from None
        self.journal = journal
        self.entries: tuple[Entry, ...] = journal.entries

    @property
    def closed(self) -> bool:
        """Whether the set was closed: then it has all the frames it will ever have."""
        return self.header.frames is not None

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(entry) for entry in self.entries)

    def frame(self, entry: Entry) -> Frame:
        """Returns the frame of an entry, as it was added; PrivcamError with the damage where it is not as it was."""
        try:
            data = self._store.frame(entry.number)
        except OSError as error:
            raise PrivcamError(f"{self.name}: frame {entry.number} cannot be read", got=str(error), todo="restore it from a copy") from None
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise PrivcamError(f"{self.name}: frame {entry.number} was changed since it was written",
                               got=hashlib.sha256(data).hexdigest(), allowed=entry.sha256, todo="restore it from a copy")
        return entry.frame(raw_of(data, self.header.camera.shape))

    def damage(self, *, pixels: bool = True) -> list[Damage]:
        """Returns everything that is wrong with the set, [] for a sound one; `pixels=False` only asks whether frames are there.

        In a set that is not closed, what a kill leaves of the frame in flight is no damage.
        """
        found = list(self.journal.damage)
        for entry in self.entries:
            if (damage := self._frame_damage(entry, pixels=pixels)) is not None:
                found.append(damage)
        strays = set(self._store.strays(self.count)) - set(self.in_flight())
        return found + [Damage(kind="foreign", file=name, number=None, what="does not belong to this set") for name in sorted(strays)]

    @property
    def count(self) -> int:
        """How many frames the set has or should have."""
        return self.header.frames or max((entry.number + 1 for entry in self.entries), default=0)

    def in_flight(self) -> list[str]:
        """Returns the names of what a kill left of a frame that was being written: none in a closed set."""
        if self.closed:
            return []
        following = frame_name(self.count)
        return [name for name in self._store.strays(self.count) if name in (following, f"{following}.part") or fnmatch(name, HALF_HEADER)]

    def _frame_damage(self, entry: Entry, *, pixels: bool) -> Damage | None:
        def damaged(kind: Kind, what: str) -> Damage:
            return Damage(kind=kind, file=frame_name(entry.number), number=entry.number, what=what)

        if not pixels and isinstance(self._store, FolderStore):
            return None if (self._store.folder / frame_name(entry.number)).is_file() else damaged("missing", "the file is not there")
        try:
            data = self._store.frame(entry.number)
        except FileNotFoundError:
            return damaged("missing", "the file is not there")
        except OSError as error:
            return damaged("changed", f"cannot be read: {error}")
        if hashlib.sha256(data).hexdigest() == entry.sha256:
            return None
        whole = npy_size(self.header.camera.shape)
        return damaged("changed", "other bytes than were written") if len(data) == whole else damaged(
            "cut", f"{len(data)} bytes of {whole}")


def frame_name(number: int) -> str:
    """Returns the name of a frame's file within a set's folder."""
    return f"{FRAMES}/{number:06d}.npy"

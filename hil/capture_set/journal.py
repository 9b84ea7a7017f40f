"""What a set says of its frames: one header, then one line for each frame, each line sealed to the one before.

A line's `seal` is the SHA-256 of the seal before it and of the line itself, so that a line that was changed, left out or put
in shows without the frames. The header seals the first line. Deliberately not here: files and pixels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.measure import Source
from optics_sim.plain import Plain, canonical_json, sha256_of

SCHEMA: Literal[1] = 1
Kind = Literal["missing", "changed", "cut", "duplicate", "foreign"]


class Header(Plain):
    """What holds for all frames of a set. `seal` (SHA-256 of the rest) shows a change; `frames` is set when the set closes.

    `last_seal` is then the seal of the last line.
    """

    schema_version: Literal[1] = Field(SCHEMA, description="of this format")
    camera: CameraInfo = Field(description="what took the frames")
    created: str = Field(description="when, as the maker's clock said")
    design: str = Field("", description="digest of the camera's design, where there is one")
    frames: int | None = Field(None, ge=0, description="how many, once the set is closed")
    last_seal: str = Field("", description="of the last line, once the set is closed")
    seal: str = Field("", description="SHA-256 of all the fields above")

    def sealed(self) -> Header:
        """Returns the same header with its seal."""
        return self.model_copy(update={"seal": sha256_of(self.model_dump(mode="json", exclude={"seal"}))})

    @property
    def start(self) -> str:
        """What the first line is sealed to: all that was known when the set was made."""
        return sha256_of(self.model_dump(mode="json", exclude={"seal", "frames", "last_seal"}))


class Entry(Plain):
    """One frame's line: all that a frame is except its pixels, whose NPY file has the SHA-256 `sha256`.

    `number` counts the frames of the set; `session` how often the set had been opened, for a camera that is opened again
    counts its `index` from the start.
    """

    number: int = Field(ge=0)
    session: int = Field(ge=0)
    index: int = Field(ge=0)
    timestamp_s: float = Field(allow_inf_nan=False)
    settings: CaptureSettings
    temperature_c: float | None
    stimulus: str
    sensor: str
    source: Source
    replayed: bool
    metadata: dict[str, Any]
    sha256: str
    seal: str = ""

    @classmethod
    def of(cls, frame: Frame, sha256: str, number: int = 0, session: int = 0) -> Self:
        """Returns the line, not sealed, of a frame whose NPY file has the SHA-256 `sha256`; PrivcamError where its metadata are no JSON."""
        try:
            return cls(number=number, session=session, index=frame.index, timestamp_s=frame.timestamp_s, settings=frame.settings,
                       temperature_c=frame.temperature_c, stimulus=frame.stimulus, sensor=frame.sensor, source=frame.source,
                       replayed=frame.replayed, metadata=json.loads(json.dumps(frame.metadata, allow_nan=False)), sha256=sha256)
        except (TypeError, ValueError) as error:
            raise PrivcamError("what a frame says of itself cannot be written down", got=str(error), allowed="finite JSON") from None

    def frame(self, raw: NDArray[np.uint16], replayed: bool | None = None) -> Frame:
        """Returns the frame of these pixels [row, column]; `replayed` None: as the line says."""
        return Frame(raw=raw, settings=self.settings, timestamp_s=self.timestamp_s, source=self.source, index=self.index,
                     sensor=self.sensor, temperature_c=self.temperature_c, replayed=self.replayed if replayed is None else replayed,
                     stimulus=self.stimulus, metadata=self.metadata)

    def sealed(self, before: str) -> Entry:
        """Returns the entry with its seal, which hangs on the seal of the line before."""
        return self.model_copy(update={"seal": sha256_of([before, self.model_dump(mode="json", exclude={"seal"})])})

    def line(self) -> bytes:
        """Returns the entry as a line of the journal."""
        return canonical_json(self.model_dump(mode="json")) + b"\n"


class Damage(Plain):
    """Something wrong with a set: which file, which frame (None: no one frame), what."""

    kind: Kind
    file: str
    number: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}" if self.number is None else f"{self.file}: frame {self.number}: {self.what}"


class Journal(Plain):
    """The lines that could be read, the damage among them, and how many bytes the whole lines fill.

    Bytes after the last whole line are `torn`: in a set that was not closed, the frame that was being written.
    """

    entries: tuple[Entry, ...]
    damage: tuple[Damage, ...]
    whole_bytes: int
    torn: bool


def read_header(data: bytes, name: str) -> Header:
    """Returns a set's header; PrivcamError where it is none, or was changed since it was written."""
    try:
        header = Header.model_validate_json(data)
    except ValidationError as error:
        raise PrivcamError(f"{name} is not the header of a capture set", got=error.errors()[0]["msg"],
                           todo="restore this file from a copy: without it the frames have no camera") from None
    if header.seal != header.sealed().seal:
        raise PrivcamError(f"{name} was changed since it was written", got=header.seal, allowed=header.sealed().seal,
                           todo="restore this file from a copy")
    return header


def read_journal(data: bytes, header: Header, name: str) -> Journal:
    """Returns what a journal's bytes hold, with every damaged line named."""
    whole_bytes = data.rfind(b"\n") + 1
    reading = _Reading(name, header.start)
    for place, line in enumerate(data[:whole_bytes].splitlines(), 1):
        reading.take(line, place)
    torn = whole_bytes != len(data)
    ending = _end_damage(header, reading.entries, reading.before, torn=torn, name=name)
    entries = tuple(reading.entries[number] for number in sorted(reading.entries))
    return Journal(entries=entries, damage=(*reading.damage, *ending), whole_bytes=whole_bytes, torn=torn)


class _Reading:
    """The journal's lines one after the other: what was found so far and what the next line must hang on."""

    def __init__(self, name: str, start: str) -> None:
        self.entries: dict[int, Entry] = {}
        self.damage: list[Damage] = []
        self.before = start
        self._name = name
        self._expected = 0
        self._taken: dict[tuple[int, int], int] = {}

    def take(self, line: bytes, place: int) -> None:
        """Reads one line. After one that is damaged the next hangs on nothing known, and its own seal is not judged."""
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError:
            self._note("cut", self._expected, f"line {place} cannot be read")
            self.before, self._expected = "", self._expected + 1
            return
        twin = entry.number if entry.number in self.entries else self._taken.get((entry.session, entry.index))
        if twin is not None:
            self._note("duplicate", entry.number, f"line {place} tells again of what frame {twin} is")
            return
        for lost in range(self._expected, entry.number):
            self._note("missing", lost, f"no line before line {place} tells of it")
        in_place = entry.number == self._expected and self.before
        if in_place and entry.sealed(self.before).seal != entry.seal:
            self._note("changed", entry.number, f"line {place} was changed since it was written")
        self.entries[entry.number] = entry
        self._taken[entry.session, entry.index] = entry.number
        self.before, self._expected = entry.seal, max(self._expected, entry.number + 1)

    def _note(self, kind: Kind, number: int, what: str) -> None:
        self.damage.append(Damage(kind=kind, file=self._name, number=number, what=what))


def _end_damage(header: Header, entries: dict[int, Entry], last_seal: str, *, torn: bool, name: str) -> Sequence[Damage]:
    if header.frames is None:
        return []
    lost = range(max(entries, default=-1) + 1, header.frames)
    found = [Damage(kind="cut" if torn else "missing", file=name, number=number, what="the journal ends before it") for number in lost]
    if not found and (torn or last_seal != header.last_seal):
        found = [Damage(kind="changed", file=name, number=None, what="the end is not as it was when the set was closed")]
    return found

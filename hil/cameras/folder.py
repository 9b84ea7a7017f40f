"""A camera made of a folder of DNG or TIFF files, in the order of their names: for a bench whose camera has its own program.

Files that `raw_files` wrote say all there is to say. For others a person says what they do not (`Unsaid`); nothing is guessed.
Deliberately not here: the files' format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hil.cameras.raw_files import SUFFIXES, RawFile, read_raw, read_tags
from hil.cameras.replay import next_with
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.measure import Source


@dataclass(frozen=True)
class Unsaid:
    """What holds for files that do not say it themselves; a file's own word goes first. `frame_period_s`: from one to the next."""

    source: Source
    frame_period_s: float
    sensor: str = ""
    black_level_dn: float | None = None
    settings: CaptureSettings | None = None


class FolderCamera:
    """Frames of the DNG and TIFF files in a folder, each `replayed`, in the order of their names.

    The index is the number at the end of the name where all have one that rises (so that a missing file is a gap), otherwise
    the place. Raises PrivcamError for an empty folder, for files of more than one camera, and for what nobody says.
    """

    def __init__(self, folder: Path, unsaid: Unsaid | None = None) -> None:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
        if not files:
            raise PrivcamError("a folder without raw files", got=str(folder), allowed=", ".join(SUFFIXES))
        self._folder, self._unsaid, self._next = folder, unsaid, 0
        self._said = [read_tags(file) for file in files]
        self._indices = _indices(files)
        self._settings = [self._settings_of(said) for said in self._said]
        infos = {self._info_of(said) for said in self._said}
        if len(infos) > 1:
            raise PrivcamError("files of more than one camera", got=f"{folder}: {sorted(map(str, infos))}", todo="take a folder for each")
        self._info = infos.pop()

    @property
    def info(self) -> CameraInfo:
        """Returns what the files, or a person, said of the camera."""
        return self._info

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        """Returns the next `count` frames of these settings; PrivcamError where so many do not follow."""
        for place in next_with(self._settings, self._next, settings, count, str(self._folder)):
            self._next = place + 1
            yield self._frame(place)

    def _frame(self, place: int) -> Frame:
        said = self._said[place]
        raw = read_raw(said)
        if said.entry is not None:
            return said.entry.frame(raw, replayed=True)
        index = self._indices[place]
        return Frame(raw=raw, settings=self._settings[place], timestamp_s=index * self._word(said).frame_period_s, source=self._info.source,
                     index=index, sensor=self._info.sensor, replayed=True, metadata={"file": said.file.name})

    def _word(self, said: RawFile) -> Unsaid:
        if self._unsaid is None:
            raise PrivcamError("a file that does not say where it came from", got=str(said.file), allowed="simulated, emulated, physical",
                               todo="say it: FolderCamera(folder, Unsaid(source=..., frame_period_s=...))")
        return self._unsaid

    def _settings_of(self, said: RawFile) -> CaptureSettings:
        if said.entry is not None:
            return said.entry.settings
        settings = said.settings or self._word(said).settings
        if settings is None:
            raise PrivcamError("a file that does not say how it was exposed", got=str(said.file), todo="give Unsaid(settings=...)")
        return settings

    def _info_of(self, said: RawFile) -> CameraInfo:
        if said.camera is not None:
            return said.camera
        word = self._word(said)
        black_level_dn = word.black_level_dn if said.black_level_dn is None else said.black_level_dn
        sensor = said.model or word.sensor
        if black_level_dn is None or not sensor:
            raise PrivcamError("a file that does not say its sensor and black level", got=str(said.file),
                               todo="give Unsaid(sensor=..., black_level_dn=...)")
        return CameraInfo.model_validate({"name": f"files in {self._folder.name}", "sensor": sensor, "shape": said.shape,
                                          "bit_depth": said.bit_depth, "black_level_dn": black_level_dn, "cfa": said.cfa,
                                          "source": word.source})


def _indices(files: list[Path]) -> list[int]:
    numbers = [int(found[0]) for file in files if (found := re.search(r"\d+$", file.stem))]
    rising = len(numbers) == len(files) and all(one < other for one, other in pairwise(numbers))
    return numbers if rising else list(range(len(files)))

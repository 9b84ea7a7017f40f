"""A camera made of a capture set: it gives the frames that were taken with the settings it is asked for.

Deliberately not here: the set (`hil/capture_set/`), and frames that no camera took: what is not in the set is not given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hil.capture_set.stored import CaptureSet
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

SETTINGS_TOLERANCE = 1e-3  # relative: what a sensor's steps of gain and whole lines leave of a request that was noted rounded


class ReplayCamera:
    """Frames of a capture set in the order they were taken, each `replayed` and otherwise as it was, its source included.

    A set that was resumed holds a camera that was opened again: its index and its clock start again there too.
    """

    def __init__(self, stored: CaptureSet) -> None:
        self._stored = stored
        self._next = 0

    @property
    def info(self) -> CameraInfo:
        """Returns what the camera said of itself."""
        return self._stored.header.camera

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        """Returns the next `count` stored frames of these settings; frames of others before them are passed over.

        Raises PrivcamError where so many do not follow, and where a frame is not as it was stored.
        """
        entries = self._stored.entries
        chosen = next_with([entry.settings for entry in entries], self._next, settings, count, self._stored.name)
        for place in chosen:
            self._next = place + 1
            yield replace(self._stored.frame(entries[place]), replayed=True)


def next_with(stored: Sequence[CaptureSettings], start: int, settings: CaptureSettings, count: int, name: str) -> list[int]:
    """Returns the places of the next `count` of stored settings, from `start`, that are the ones asked for.

    Raises PrivcamError, with the settings that do follow, where there are fewer.
    """
    check_count(count)
    places = [place for place in range(start, len(stored)) if alike(stored[place], settings)][:count]
    if len(places) < count:
        raise PrivcamError(f"{name} has too few frames of these settings", got=f"{count} of {_text(settings)}",
                           allowed=f"{len(places)} of them; all that follow: {_texts(stored[start:])}",
                           todo="ask for what was taken, or open the camera anew to start again")
    return places


def alike(one: CaptureSettings, other: CaptureSettings) -> bool:
    """Returns whether two settings are the same but for a sensor's steps."""
    return math.isclose(one.exposure_s, other.exposure_s, rel_tol=SETTINGS_TOLERANCE) and math.isclose(
        one.analogue_gain, other.analogue_gain, rel_tol=SETTINGS_TOLERANCE)


def check_count(count: int) -> None:
    """Raises PrivcamError for a number of frames that no camera can give."""
    if count < 1:
        raise PrivcamError("a camera takes one frame or more", got=count, allowed="1 or more")


def _text(settings: CaptureSettings) -> str:
    return f"{settings.exposure_s:g} s at gain {settings.analogue_gain:g}"


def _texts(stored: Iterable[CaptureSettings]) -> str:
    return ", ".join(dict.fromkeys(map(_text, stored))) or "none"

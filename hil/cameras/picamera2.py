"""The Raspberry Pi's camera: raw frames of a sensor on its ribbon cable, by the unmodified Picamera2.

A frame is given only when the metadata of its own request say that it was exposed as asked, in time, gain and colour gains, and began
after it was asked for. Deliberately not here: Picamera2 itself (`pi_stream.py`), formats (`raw_formats.py`), and any choice of
exposure: automatic exposure and white balance are off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from hil.cameras.pi_settings import (
    TOLERANCE,
    applied,
    check_possible,
    controls,
    frames_since,
    longest_line_s,
    plain,
    same_exposure,
    same_gain,
    told,
)
from hil.cameras.pi_stack import source_of, switches, versions
from hil.cameras.pi_stream import BUFFERS, Mode, PiStream, Taken, within
from hil.cameras.raw_formats import raw_format, raw_pixels
from hil.cameras.replay import check_count
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.measure import Source
from optics_sim.sensor import presets

KEY = "picamera2"  # of a frame's metadata
SETTLING_FRAMES = BUFFERS + 4  # new settings are there after these, also where the metadata cannot tell them from the old ones
MOST_PASSED = 3 * SETTLING_FRAMES
_RESTART_S = 0.5  # frames longer than this are not waited for: the camera is started anew
_FIRST = CaptureSettings(exposure_s=0.01)
_REMOSAICED = {"imx708": (2592, 4608)}  # a mode that the sensor computes from 2 x 2 pixels under one colour


@dataclass(frozen=True)
class _Open:
    """A camera that runs, and what is known of it while it does; `line_s` is the longest a line may take."""

    stream: PiStream
    info: CameraInfo
    said: dict[str, Any]
    line_s: float


class Picamera2Camera:
    """A camera of a Raspberry Pi; use in a `with`, which starts it and takes a first frame.

    `sensor` is its name as libcamera has it, without `_wide` or `_noir`; `shape` (rows, columns) and `bit_depth` name one of its modes.
    `bit_depth` 16 keeps the Raspberry Pi 5's words as they are. `packed` lets a Raspberry Pi 4 move fewer bytes. `hflip` and `vflip` ask
    the sensor to read out the other way. The black level is that of the camera's tuning file where `black_level_dn` is None.
    `source` says what frames are where this is no Raspberry Pi. No step takes longer than `patience_s`, and a frame no longer than that
    and some exposures. `clock` gives nanoseconds of the clock that libcamera stamps frames by.
    """

    def __init__(self, *, sensor: str, shape: tuple[int, int], bit_depth: int, number: int = 0, packed: bool = False, hflip: bool = False,
                 vflip: bool = False, colour_gains: tuple[float, float] = (1.0, 1.0), black_level_dn: float | None = None,
                 remosaiced: bool = False, source: Source | None = None, patience_s: float = 10.0,
                 clock: Callable[[], int] = time.monotonic_ns) -> None:
        if _REMOSAICED.get(sensor) == shape and not remosaiced:
            raise PrivcamError("a mode whose pixels the sensor computes from others", got=f"{shape[0]} x {shape[1]} of {sensor}",
                               allowed="a binned mode, 1296 x 2304", todo="take that, or say remosaiced = true")
        self._mode = Mode(number, sensor, shape, bit_depth, packed, hflip, vflip)
        self._colour_gains, self._black_level_dn, self._claim = colour_gains, black_level_dn, source
        self._patience_s, self._clock = patience_s, clock
        self._there: _Open | None = None
        self._asked = self._seen = _FIRST  # what the camera was asked for last, and what the last frame was exposed with
        self._anew = False  # whether it has to be started again: something went wrong
        self._passing = 0
        self._index = -1
        self._stamp_ns: int | None = None  # of the last frame since the camera was started

    @property
    def info(self) -> CameraInfo:
        """Returns what the configured format and the first frame said; PrivcamError outside its `with`."""
        return self._running().info

    def __enter__(self) -> Self:
        stream = PiStream.open(self._mode, self._patience_s)
        try:
            self._there = self._opened(stream)
        except BaseException:
            with suppress(PrivcamError):  # what was wrong first is told
                stream.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        there, self._there = self._running(), None
        there.stream.close()

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        """Returns `count` frames whose own metadata say that they were exposed so; see `hil.protocols.Camera`."""
        check_count(count)
        there = self._running()
        check_possible(settings, there.stream.limits)
        asked_ns = self._clock()
        self._ask(there, settings)
        for _ in range(count):
            yield self._wanted(there, settings, asked_ns)

    # --- settings ---------------------------------------------------------------------------------
    def _ask(self, there: _Open, settings: CaptureSettings) -> None:
        """Sends settings, where they are new, in the way that is sooner done."""
        if settings == self._asked and not self._anew:
            return
        wanted = controls(settings, self._colour_gains, there.stream.limits)
        if self._anew or max(settings.exposure_s, self._seen.exposure_s) > _RESTART_S:
            self._anew, self._stamp_ns, self._passing = True, None, 0
            there.stream.start(wanted)
            self._anew = False
        else:
            there.stream.set(wanted)
            self._passing = SETTLING_FRAMES if self._looks_alike(there, settings) else 0
        self._asked = settings

    def _looks_alike(self, there: _Open, asked: CaptureSettings) -> bool:
        """Returns whether a frame that has something old still could pass for one with the new settings."""
        return (asked.exposure_s != self._asked.exposure_s and same_exposure(self._seen, asked, there.line_s)) or (
            asked.analogue_gain != self._asked.analogue_gain and same_gain(self._seen, asked, self._mode.sensor))

    # --- frames -----------------------------------------------------------------------------------
    def _wanted(self, there: _Open, asked: CaptureSettings, asked_ns: int) -> Frame:
        """Returns the next frame that is as it was asked for; those before it are let go. PrivcamError where none is."""
        why = ""
        for _ in range(MOST_PASSED):
            taken = self._next(there, asked)
            why = self._unfit(there, taken.metadata, asked, asked_ns)
            if not why:
                return self._frame(there, taken)
        self._anew = True
        raise PrivcamError("the camera gives no frame as it was asked for", got=f"{MOST_PASSED} others, the last: {why}",
                           allowed=f"{asked.exposure_s:g} s at gain {asked.analogue_gain:g}",
                           todo="look whether another program, or a tuning file, sets the camera")

    def _next(self, there: _Open, asked: CaptureSettings) -> Taken:
        """Returns the next request, and counts it by its time stamp, whether it is wanted or not."""
        try:
            taken = there.stream.next(self._patience_s + BUFFERS * max(asked.exposure_s, self._seen.exposure_s))
        except BaseException:
            self._anew = True
            raise
        self._seen = applied(taken.metadata)
        stamp_ns = int(told(taken.metadata, "SensorTimestamp"))
        self._index += 1 if self._stamp_ns is None else frames_since(self._stamp_ns, stamp_ns, taken.metadata)
        self._stamp_ns = stamp_ns
        return taken

    def _unfit(self, there: _Open, metadata: dict[str, Any], asked: CaptureSettings, asked_ns: int) -> str:
        """Returns why a frame is not what was asked for, "" where it is."""
        if self._passing > 0:
            self._passing -= 1
            return "one on its way when the camera was asked"
        stamp_ns, seen = int(told(metadata, "SensorTimestamp")), self._seen
        if stamp_ns > self._clock():
            raise PrivcamError("the camera's time stamps are of another clock", got=stamp_ns, allowed=f"up to now, {self._clock()}",
                               todo="start the Raspberry Pi anew, and do not let it sleep")
        if stamp_ns - round(seen.exposure_s * 1e9) < asked_ns:
            return "begun before it was asked for"
        if not (same_exposure(seen, asked, there.line_s) and same_gain(seen, asked, self._mode.sensor)):
            return f"{seen.exposure_s:g} s at gain {seen.analogue_gain:g}"
        if "ColourGains" in there.stream.limits:
            gains = tuple(told(metadata, "ColourGains"))
            if not np.allclose(gains, self._colour_gains, rtol=TOLERANCE):
                return f"colour gains {gains}"
        return ""

    def _frame(self, there: _Open, taken: Taken) -> Frame:
        given, mode, metadata = there.stream.given, self._mode, taken.metadata
        raw = raw_pixels(taken.data, given.format, mode.shape, given.row_bytes, mode.bit_depth)
        temperature = metadata.get("SensorTemperature")
        return Frame(raw=raw, settings=self._seen, timestamp_s=int(metadata["SensorTimestamp"]) / 1e9, source=there.info.source,
                     index=self._index, sensor=mode.sensor, temperature_c=None if temperature is None else float(temperature),
                     metadata={KEY: there.said | {"metadata": plain(metadata)}})

    # --- the camera -------------------------------------------------------------------------------
    def _running(self) -> _Open:
        if self._there is None:
            raise PrivcamError("the camera is not open", todo="use it in a `with`")
        return self._there

    def _opened(self, stream: PiStream) -> _Open:
        """Returns a stream that runs, and what it is known by after its first frame; PrivcamError where that cannot be read."""
        mode, given = self._mode, stream.given
        form = raw_format(given.format)
        if mode.sensor == "imx296" and (trigger := switches(mode.sensor).get("trigger_mode", "0")) != "0":
            raise PrivcamError("the sensor is exposed by a trigger, and no metadata say for how long", got=f"trigger_mode={trigger}",
                               allowed="trigger_mode=0", todo="see docs/pi-setup.md: set it to 0 and start the Raspberry Pi anew")
        stream.start(controls(_FIRST, self._colour_gains, stream.limits))
        first = stream.next(self._patience_s)
        raw_pixels(first.data, given.format, mode.shape, given.row_bytes, mode.bit_depth)
        self._asked, self._seen, self._anew = _FIRST, applied(first.metadata), False
        self._stamp_ns = int(told(first.metadata, "SensorTimestamp"))
        info = CameraInfo.model_validate({
            "name": f"{given.model} {given.camera_id}", "sensor": mode.sensor, "shape": mode.shape, "bit_depth": mode.bit_depth,
            "black_level_dn": self._black_level(first.metadata), "cfa": form.cfa, "source": source_of(given.camera_id, self._claim)})
        said = {"model": given.model, "id": given.camera_id, "format": given.format, "row_bytes": given.row_bytes,
                "transform": given.transform, "driver": switches(mode.sensor),
                "versions": within(versions, self._patience_s, "the versions are not told")}
        return _Open(stream, info, said, longest_line_s(stream.limits, mode.shape[0]))

    def _black_level(self, metadata: dict[str, Any]) -> float:
        """Returns the raw value of no light: as it was given, or as the tuning file has it, on a scale of 16 bits, or the preset."""
        if self._black_level_dn is not None:
            return self._black_level_dn
        if levels := metadata.get("SensorBlackLevels"):
            return float(np.mean(levels)) / 2 ** (16 - self._mode.bit_depth)
        if self._mode.sensor in presets.names():
            preset = presets.load(self._mode.sensor)
            return preset.black_level_dn * 2.0 ** (self._mode.bit_depth - preset.bit_depth)
        raise PrivcamError("nobody says what this sensor's black level is", got=self._mode.sensor, allowed=presets.names(),
                           todo="measure it with the lens capped, and give black_level_dn")

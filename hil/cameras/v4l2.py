"""A camera that Linux drives itself (V4L2): a UVC camera on a bench without a Pi, or a bare sensor of an embedded board.

Only formats with one raw number for each pixel are taken: grey, or a Bayer mosaic. What YUYV and MJPEG carry was processed in
the camera and is refused. linuxpy speaks to the kernel; it is under the GPL, and is imported only here, when a camera is opened.
Deliberately not here: the Pi's camera, whose metadata says of each frame how it was exposed; V4L2 has none, so that frames are
let pass after a change instead.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hil.cameras.raw_formats import whole_pixels
from hil.cameras.replay import check_count
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

_EXPOSURE_AUTO, _EXPOSURE_ABSOLUTE, _GAIN, _ANALOGUE_GAIN = 0x009A0901, 0x009A0902, 0x00980913, 0x009E0903  # linux/v4l2-controls.h
_MANUAL = 1  # V4L2_EXPOSURE_MANUAL
_EXPOSURE_UNIT_S = 1e-4  # of V4L2_CID_EXPOSURE_ABSOLUTE


class PixelFormat(NamedTuple):
    """What a V4L2 format holds for a pixel, right-justified in little-endian bytes."""

    bits: int
    bytes: int
    cfa: str


FORMATS = {
    "GREY": PixelFormat(8, 1, "mono"), "Y10": PixelFormat(10, 2, "mono"), "Y12": PixelFormat(12, 2, "mono"),
    "Y16": PixelFormat(16, 2, "mono"),
    **{f"S{cfa.upper()}{bits}": PixelFormat(bits, 1 if bits == 8 else 2, cfa)
       for cfa in ("rggb", "bggr", "grbg", "gbrg") for bits in (8, 10, 12, 16)},
}


class V4l2Camera:
    """A V4L2 device that gives raw pixels; use in a `with`. Its frames are "physical".

    `black_level_dn` is measured or from a data sheet: V4L2 does not say. `gain_1_code` is the value of the driver's gain control
    at which the analogue gain is 1 (gain is then proportional to it); None leaves the control alone, and the gain is called 1.
    At each call of `capture` `settling_frames` frames are let pass: more than the driver's buffers hold.
    A frame that does not come within `patience_s` never does.
    """

    def __init__(self, device: Path, *, sensor: str, shape: tuple[int, int], pixel_format: str, black_level_dn: float,
                 gain_1_code: int | None = None, settling_frames: int = 6, patience_s: float = 10.0) -> None:
        if pixel_format not in FORMATS:
            raise PrivcamError("not a raw pixel format", got=pixel_format, allowed=sorted(FORMATS),
                               todo="a camera that gives only YUYV or MJPEG gives no raw numbers: take another")
        form = FORMATS[pixel_format]
        self._path, self._format, self._gain_1_code, self._settling_frames = device, pixel_format, gain_1_code, settling_frames
        self._info = CameraInfo.model_validate({
            "name": str(device), "sensor": sensor, "shape": shape, "bit_depth": form.bits, "black_level_dn": black_level_dn,
            "cfa": form.cfa, "source": "physical"})
        self._patience_s = patience_s
        self._device: Any = None
        self._stream: Any = None
        self._frames: Iterator[Any] = iter(())
        self._applied: tuple[CaptureSettings, CaptureSettings] | None = None  # what was asked, and what the driver made of it

    @property
    def info(self) -> CameraInfo:
        """Returns what was said of the camera, and what its format says."""
        return self._info

    def __enter__(self) -> Self:
        video = _linuxpy()
        rows, columns = self._info.shape
        try:
            self._device = video.Device(str(self._path), blocking=False)
            self._device.open()
        except OSError as error:
            raise PrivcamError("no camera opens", got=f"{self._path}: {error}", todo="look whether it is there and yours to read") from None
        try:
            self._stream = video.VideoCapture(self._device)
            self._stream.set_format(columns, rows, video.PixelFormat[self._format])
            given = self._stream.get_format()
            if (given.height, given.width, given.pixel_format.name) != (rows, columns, self._format):
                raise PrivcamError("the camera has no such format", got=f"{given.height} x {given.width} {given.pixel_format.name}",
                                   allowed=f"{rows} x {columns} {self._format}", todo="see v4l2-ctl --list-formats-ext")
            self._stream.open()
            self._frames = iter(self._stream)
        except BaseException:
            self._device.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()
        self._device.close()

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        """Returns `count` frames taken with the settings that the driver says it has; see `hil.protocols.Camera`."""
        check_count(count)
        applied = self._apply(settings)
        for _ in range(count):
            yield self._frame(self._next(), applied)

    def _apply(self, asked: CaptureSettings) -> CaptureSettings:
        if self._applied is not None and self._applied[0] == asked:
            self._pass_by()
            return self._applied[1]
        if self._gain_1_code is None and asked.analogue_gain != 1:
            raise PrivcamError("the camera cannot amplify so", got=asked.analogue_gain, allowed=1, todo="give gain_1_code")
        controls = self._controls()
        if _EXPOSURE_AUTO in controls:
            controls[_EXPOSURE_AUTO].value = _MANUAL
        exposure_s = self._set(_EXPOSURE_ABSOLUTE, asked.exposure_s / _EXPOSURE_UNIT_S) * _EXPOSURE_UNIT_S
        gain = 1.0
        if self._gain_1_code is not None:
            control = _ANALOGUE_GAIN if _ANALOGUE_GAIN in controls else _GAIN
            gain = self._set(control, asked.analogue_gain * self._gain_1_code) / self._gain_1_code
        applied = CaptureSettings(exposure_s=exposure_s, analogue_gain=gain)
        self._pass_by()
        self._applied = (asked, applied)
        return applied

    def _pass_by(self) -> None:
        """Lets go what the driver took before it was asked: an older exposure, or an older scene."""
        for _ in range(self._settling_frames):
            self._next()

    def _controls(self) -> dict[int, Any]:
        """Returns the controls by number; linuxpy looks for them when it is asked for all."""
        return dict(self._device.controls.items())

    def _next(self) -> Any:
        """Returns what the driver took next; PrivcamError where nothing comes in time."""
        if not select.select([self._device.fileno()], [], [], self._patience_s)[0]:
            raise PrivcamError("no frame comes from the camera", got=f"nothing for {self._patience_s:g} s", todo="look after its cable")
        return next(self._frames)

    def _set(self, number: int, value: float) -> int:
        """Returns what a control has after it was set; PrivcamError where the camera has none or not that far."""
        controls = self._controls()
        if number not in controls:
            raise PrivcamError("the camera has no such control", got=hex(number), allowed=sorted(map(hex, controls)))
        control = controls[number]
        if not control.minimum <= round(value) <= control.maximum:
            raise PrivcamError("the camera cannot do this", got=f"{control.name} {value:g}",
                               allowed=f"{control.minimum} to {control.maximum}")
        control.value = round(value)
        return int(control.value)

    def _frame(self, taken: Any, applied: CaptureSettings) -> Frame:
        raw = pixels(bytes(taken.data), self._format, self._info.shape, int(taken.format.size) // self._info.shape[0])
        return Frame(raw=raw, settings=applied, timestamp_s=float(taken.timestamp), source="physical", index=int(taken.frame_nb),
                     sensor=self._info.sensor)


def pixels(data: bytes, pixel_format: str, shape: tuple[int, int], row_bytes: int) -> NDArray[np.uint16]:
    """Returns raw DN [row, column] of a buffer whose rows are `row_bytes` long, padding included; PrivcamError for too few bytes."""
    return whole_pixels(np.frombuffer(data, np.uint8), shape, row_bytes, FORMATS[pixel_format].bytes)


def _linuxpy() -> ModuleType:
    try:
        from linuxpy.video import device
    except ImportError:
        raise PrivcamError("V4L2 cameras need linuxpy", todo='pip install "privcam[v4l2]"') from None
    module: ModuleType = device
    return module

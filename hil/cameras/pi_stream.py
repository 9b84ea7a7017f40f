"""Picamera2 as a stream of raw frames: opened, started and closed, with an end to each wait and every request released.

A request's bytes and metadata are copied together and the request goes back before anything else happens. No wait of Picamera2's own
is used, for the older ones have no end: what it does not do in time it is left to do in a thread of its own. Works with Picamera2
0.3.12 and newer. Deliberately not here: which frames are wanted, and what their bytes mean.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from types import ModuleType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hil.cameras.pi_stack import picamera2
from hil.cameras.raw_formats import format_name
from optics_sim.errors import PrivcamError

BUFFERS = 4
_MAIN = (320, 240)  # of the processed stream, which Picamera2 always has and nobody looks at
_GRACE_S = 0.2  # for a request that came while it was given up

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Mode:
    """What is asked of a camera: `shape` is (rows, columns) of a raw frame."""

    number: int
    sensor: str
    shape: tuple[int, int]
    bit_depth: int
    packed: bool
    hflip: bool
    vflip: bool


@dataclass(frozen=True)
class Given:
    """What the camera was configured to after that: the raw format's name, and the bytes of a row, padding included."""

    model: str
    camera_id: str
    format: str
    row_bytes: int
    transform: str


@dataclass(frozen=True)
class Taken:
    """One request, copied: its metadata, and the bytes of its raw buffer."""

    metadata: dict[str, Any]
    data: NDArray[np.uint8]


class PiStream:
    """A camera that was configured; made by `open`. `limits` are (lowest, highest, default) of each control it has."""

    def __init__(self, camera: Any, mode: Mode, model: str, camera_id: str, patience_s: float) -> None:
        self._camera, self._patience_s = camera, patience_s
        self.given = self._configured(mode, model, camera_id)
        self.limits: dict[str, tuple[Any, Any, Any]] = dict(camera.camera_controls)

    @classmethod
    def open(cls, mode: Mode, patience_s: float) -> Self:
        """Returns the camera of that number, configured; PrivcamError where there is none, it is another, or it has no such mode."""
        module = within(picamera2, patience_s, "Picamera2 does not load")
        model, camera_id = _found(module, mode, patience_s)
        try:
            camera = within(lambda: module.Picamera2(mode.number), patience_s, "the camera does not open", late=lambda made: made.close())
        except (RuntimeError, IndexError) as error:
            raise PrivcamError("the camera does not open", got=error, todo="end the program that has it, or look after its cable") from None
        try:
            return cls(camera, mode, model, camera_id, patience_s)
        except BaseException:
            with suppress(PrivcamError):
                _closed(camera, patience_s)
            raise

    def start(self, controls: dict[str, Any]) -> None:
        """Returns when the camera runs with these controls, anew where it ran before: they hold from its first frame."""
        camera = self._camera
        within(camera.stop, self._patience_s, "the camera does not stop")
        try:
            camera.set_controls(controls)
            within(camera.start, self._patience_s, "the camera does not start")
        except RuntimeError as error:
            raise PrivcamError("the camera does not start", got=error, todo="look after its cable; other programs may have it") from None

    def set(self, controls: dict[str, Any]) -> None:
        """Sends controls with the next request: some frames that are on their way have the old ones."""
        self._camera.set_controls(controls)

    def next(self, patience_s: float) -> Taken:
        """Returns the next request that the camera completes; PrivcamError where none comes in time."""
        arrived: Queue[Any] = Queue()
        try:
            self._camera.capture_request(wait=False, signal_function=arrived.put)
            job = arrived.get(timeout=patience_s)
        except BaseException as error:  # whoever ends the program ends this wait too
            self._give_up(arrived)
            if not isinstance(error, Empty):
                raise
            raise PrivcamError("no frame comes from the camera", got=f"nothing for {patience_s:g} s",
                               todo="look after its cable; a sensor that waits for a trigger gives none") from None
        request = job.get_result()
        try:
            return Taken(dict(request.get_metadata()), request.make_buffer("raw"))
        finally:
            request.release()

    def close(self) -> None:
        """Closes the camera; PrivcamError where it does not let go."""
        _closed(self._camera, self._patience_s)

    def _give_up(self, arrived: Queue[Any]) -> None:
        """Takes back what was asked and has not come: Picamera2 stops and closes only after it, and it would keep a request."""
        cancel = getattr(self._camera, "cancel_all_and_flush", None)
        if cancel is not None:
            cancel()
        else:  # 0.3.12 has no word for it
            with self._camera.lock:
                self._camera._job_list.clear()
        with suppress(Empty):  # it came meanwhile: it goes back, or the next ones stall
            arrived.get(timeout=_GRACE_S).get_result().release()

    def _configured(self, mode: Mode, model: str, camera_id: str) -> Given:
        camera, (rows, columns) = self._camera, mode.shape
        name = format_name(str(camera.sensor_format), _asked_bits(mode, str(camera.sensor_format)), packed=mode.packed)
        flips = {"transform": _transform(mode)} if mode.hflip or mode.vflip else {}
        wanted = camera.create_still_configuration(main={"size": _MAIN}, raw={"format": name, "size": (columns, rows)},
                                                   buffer_count=BUFFERS, queue=False, **flips)
        try:
            within(lambda: camera.configure(wanted), self._patience_s, "the camera is not configured")
        except RuntimeError as error:
            raise PrivcamError("the camera cannot be configured so", got=error, todo="see rpicam-hello --list-cameras") from None
        configuration = camera.camera_configuration()
        raw = configuration["raw"]
        depth = (configuration.get("sensor") or {}).get("bit_depth") or mode.bit_depth
        size = raw["size"]
        if (size[1], size[0]) != mode.shape or (depth != mode.bit_depth and mode.bit_depth != 16):
            raise PrivcamError("the camera has no such mode", got=f"{size[1]} x {size[0]} of {depth} bits",
                               allowed=f"{rows} x {columns} of {mode.bit_depth} bits", todo="see rpicam-hello --list-cameras")
        return Given(model, camera_id, str(raw["format"]), int(raw["stride"]), str(configuration.get("transform", "")))


def within(act: Callable[[], Answer], patience_s: float, what: str, late: Callable[[Answer], object] | None = None) -> Answer:
    """Returns what an act returns, or raises what it raises; PrivcamError, which begins with `what`, where it takes longer.

    It is then left alone in its thread; `late` gets what it returns after all.
    """
    answers: Queue[tuple[Answer, None] | tuple[None, BaseException]] = Queue()
    given_up, deciding = threading.Event(), threading.Lock()

    def run() -> None:
        try:
            answer = act()
        except BaseException as error:
            answers.put((None, error))
            return
        with deciding:
            if not given_up.is_set():
                answers.put((answer, None))
                return
        if late is not None:
            late(answer)

    threading.Thread(target=run, daemon=True).start()
    with suppress(Empty):
        return _told(answers.get(timeout=patience_s))
    with deciding:
        given_up.set()
    with suppress(Empty):  # it came at the last moment
        return _told(answers.get_nowait())
    raise PrivcamError(what, got=f"nothing for {patience_s:g} s", todo="look after its cable, then start the Raspberry Pi anew")


def _told(answer: tuple[Answer, None] | tuple[None, BaseException]) -> Answer:
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def _found(module: ModuleType, mode: Mode, patience_s: float) -> tuple[str, str]:
    """Returns model and identifier of the camera of that number; PrivcamError where it has another sensor, or is not there."""
    cameras = within(module.Picamera2.global_camera_info, patience_s, "libcamera does not answer")
    models = [str(camera.get("Model", "")) for camera in cameras]
    if mode.number >= len(models):
        raise PrivcamError("no camera of this number", got=mode.number, allowed=", ".join(models) or "none is connected",
                           todo="look after its cable, and at camera_auto_detect or dtoverlay in /boot/firmware/config.txt")
    model = models[mode.number]
    if model != mode.sensor and not model.startswith(f"{mode.sensor}_"):
        raise PrivcamError("a camera with another sensor", got=model, allowed=mode.sensor, todo="name the sensor, or the camera's number")
    return model, str(cameras[mode.number].get("Id", ""))


def _asked_bits(mode: Mode, native: str) -> int:
    """Returns the bits to ask a format of: where all 16 are to be kept as they come, those of the sensor."""
    digits = "".join(letter for letter in native.partition("_")[0] if letter.isdecimal())
    return int(digits) if mode.bit_depth == 16 and digits else mode.bit_depth


def _transform(mode: Mode) -> Any:
    import libcamera

    return libcamera.Transform(hflip=int(mode.hflip), vflip=int(mode.vflip))


def _closed(camera: Any, patience_s: float) -> None:
    within(camera.close, patience_s, "the camera does not close")

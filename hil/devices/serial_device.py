"""A microcontroller with privcam's firmware on a serial line: frames go there, codes come back.

Deliberately not here: the line and its troubles (`ports.py`, `link.py`) and the bytes of a packet (`packets.py`).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hil.devices.link import Link, LinkCounts
from hil.devices.packets import CHUNK_BYTES, MAX_ENCODED, PROTOCOL_VERSION, Command, Progress, Status
from hil.devices.ports import check_url, open_port, source_of
from hil.protocols import DeviceInfo
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source

_IDENTITY = struct.Struct("<BB3sBHIII32s16s")
_PROGRESS = struct.Struct("<BII")
_PLACE = struct.Struct("<II")
_STATISTICS = struct.Struct(f"<IIII{len(Status)}I")
_OFFSET = struct.Struct("<I")
_BUILDS = {0: "release", 1: "test"}
_EMULATED_BOARDS = ("host",)
_BITS_PER_BYTE = 10  # with start and stop bit


@dataclass(frozen=True)
class DeviceStatistics:
    """What a device counted since it started; `answers` are by status. A tick is a second / `ticks_per_second`.

    On an emulated board a tick is no measure of a real one's time.
    """

    frames: int
    repeats: int
    longest_encode_ticks: int
    last_encode_ticks: int
    answers: dict[str, int]
    ticks_per_second: int


class SerialDevice:
    """An encoder device over a tty, a pseudo-terminal or a socket. The line is opened by `with`, not before.

    `digest` is the design's that the codes are meant for: another one is refused. `timeout_s` is waited for an answer beside the
    time its bytes take at `baud`, `encode_timeout_s` in addition for a whole frame. `source` may claim what a socket leads to.
    """

    def __init__(self, url: str, *, digest: str | None = None, source: Source | None = None, baud: int = 115200,
                 timeout_s: float = 1.0, encode_timeout_s: float = 10.0, tries: int = 4, allow_remote: bool = False,
                 clock: Callable[[], float] = time.monotonic) -> None:
        check_url(url, allow_remote=allow_remote)
        self._url, self._digest, self._source, self._baud = url, digest, source_of(url, source), baud
        self._timeout_s = timeout_s + 2 * MAX_ENCODED * _BITS_PER_BYTE / baud
        self._encode_timeout_s, self._tries, self._allow_remote, self._clock = encode_timeout_s, tries, allow_remote, clock
        self._port: Any = None
        self._link: Link | None = None
        self._info: DeviceInfo | None = None
        self._ticks_per_second = 0

    def __enter__(self) -> Self:
        self._port = open_port(self._url, baud=self._baud, allow_remote=self._allow_remote)
        try:
            self._port.reset_input_buffer()
            self._link = Link(self._port, timeout_s=self._timeout_s, tries=self._tries, clock=self._clock)
            self._identify()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Returns nothing; the line is free for others."""
        if self._port is not None:
            self._port.close()
        self._port, self._link, self._info = None, None, None

    @property
    def info(self) -> DeviceInfo:
        """Returns what the device said of itself when it was opened."""
        if self._info is None:
            raise _closed()
        return self._info

    @property
    def source(self) -> Source:
        """Returns "emulated" or "physical"; it is fixed when the device is named."""
        return self._source if self._info is None else self._info.source

    @property
    def link_counts(self) -> LinkCounts:
        """Returns a copy of what happened on the line since it was opened."""
        return replace(self._open().counts)

    def encode(self, clip: NDArray[np.int8]) -> NDArray[np.int8]:
        """Returns codes int8 [n, code_bytes] of a clip int8 [T, ...]; n is T less the frames that give no code yet.

        Raises PrivcamError for frames of another type or size, and where the device fails or started anew in between.
        """
        frames = self._checked(clip)
        self._open().request(Command.RESET)
        codes = [self._encode_frame(frame.tobytes(), number) for number, frame in enumerate(frames, start=1)]
        found = [code for code in codes if code is not None]
        return np.frombuffer(b"".join(found), np.int8).reshape(len(found), self.info.code_bytes).copy()

    def statistics(self) -> DeviceStatistics:
        """Returns what the device counted since it started."""
        payload = self._open().request(Command.STATISTICS)
        frames, repeats, longest, last, *by_status = _unpacked(_STATISTICS, payload)
        answers = {status.name: count for status, count in zip(Status, by_status, strict=True)}
        return DeviceStatistics(frames, repeats, longest, last, answers, self._ticks_per_second)

    def _open(self) -> Link:
        if self._link is None:
            raise _closed()
        return self._link

    def _identify(self) -> None:
        payload = self._open().request(Command.IDENTIFY)
        version, build, firmware, counts, chunk, frame_bytes, code_bytes, tick_hz, digest, board = _unpacked(_IDENTITY, payload)
        if (version, chunk) != (PROTOCOL_VERSION, CHUNK_BYTES):
            raise PrivcamError("the device's protocol", got=f"version {version}, chunks of {chunk} bytes",
                               allowed=f"version {PROTOCOL_VERSION}, {CHUNK_BYTES} bytes", todo="flash firmware of this privcam")
        name = board.rstrip(b"\0").decode("ascii", "replace")
        info = DeviceInfo(name, _BUILDS.get(build, f"kind {build}"), digest.hex(), frame_bytes, code_bytes,
                          ".".join(map(str, firmware)), self._source)
        self._check(info, counts_cycles=bool(counts))
        self._info, self._ticks_per_second = info, tick_hz

    def _check(self, info: DeviceInfo, *, counts_cycles: bool) -> None:
        if self._digest is not None and info.digest != self._digest:
            raise PrivcamError("the device runs the encoder of another design", got=info.digest, allowed=self._digest,
                               todo="flash the firmware that was exported with this design")
        if info.source == "physical" and (info.board in _EMULATED_BOARDS or not counts_cycles):
            raise PrivcamError("the device is emulated: its cycle counter stands still", got=f"source physical, board {info.board}",
                               allowed="source='emulated'")

    def _checked(self, clip: NDArray[np.int8]) -> NDArray[np.int8]:
        frame_bytes = self.info.frame_bytes
        if clip.dtype != np.int8 or clip.ndim < 2 or clip[:1].size != min(len(clip), 1) * frame_bytes:
            raise PrivcamError("a clip for this device", got=f"{clip.dtype} {clip.shape}",
                               allowed=f"int8 [T, ...], {frame_bytes} bytes a frame")
        return np.ascontiguousarray(clip)

    def _encode_frame(self, frame: bytes, number: int) -> bytes | None:
        progress = Progress.MORE
        for start in range(0, len(frame), CHUNK_BYTES):
            progress = self._send_chunk(frame, start, number)
        return self._fetch_code(number) if progress == Progress.CODE else None

    def _send_chunk(self, frame: bytes, start: int, number: int) -> Progress:
        chunk = frame[start:start + CHUNK_BYTES]
        is_last = start + len(chunk) == len(frame)
        payload = self._open().request(Command.FRAME, _OFFSET.pack(start) + chunk, patience_s=self._encode_timeout_s * is_last)
        progress, received, done = _unpacked(_PROGRESS, payload)
        if received != start + len(chunk) or done != number - (not is_last) or (progress == Progress.MORE) == is_last:
            raise _started_anew(f"{received} bytes of frame {done}")
        return Progress(progress)

    def _fetch_code(self, number: int) -> bytes:
        code = b""
        while len(code) < self.info.code_bytes:
            payload = self._open().request(Command.CODE, _OFFSET.pack(len(code)))
            part = payload[_PLACE.size:]
            if _unpacked(_PLACE, payload[:_PLACE.size]) != (number, len(code)) or not part:
                raise _started_anew("the code of another frame")
            code += part
        return code[:self.info.code_bytes]


def _unpacked(layout: struct.Struct, payload: bytes) -> tuple[Any, ...]:
    if len(payload) != layout.size:
        raise PrivcamError("an answer of the device", got=f"{len(payload)} bytes", allowed=f"{layout.size} bytes",
                           todo="flash firmware of this privcam")
    return layout.unpack(payload)


def _closed() -> PrivcamError:
    return PrivcamError("the device is not open", todo="use it inside `with SerialDevice(...) as device:`")


def _started_anew(got: str) -> PrivcamError:
    return PrivcamError("the device lost its place in the clip", got=got, todo="check its power supply, and encode the clip again")

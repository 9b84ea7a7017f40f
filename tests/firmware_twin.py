"""The firmware once more, in Python and from its specification: what it answers to any bytes, byte for byte.

Also here: the twin of the test encoder, builds that are shared by the tests, and inputs that no friendly host would send.
"""

from __future__ import annotations

import functools
import os
import pty
import struct
import subprocess
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs

from firmware_export.images import Image, build_image, missing_tools

ENCODERS = Path(__file__).parent / "encoders"
DIGEST = bytes([0xD1, 0xFF, *range(2, 32)])
FRAME_BYTES = CODE_BYTES = 1152
CHUNK = 512
STATUSES = 11
IDENTIFY, RESET, FRAME, CODE, STATISTICS = 1, 2, 3, 4, 5


class Difference:
    """The twin of tests/encoders/difference/encoder.c."""

    def __init__(self) -> None:
        self.previous: np.ndarray | None = None

    def encode(self, frame: bytes) -> bytes | None:
        now = np.frombuffer(frame, np.int8).astype(int)
        before, self.previous = self.previous, now
        return None if before is None else ((now - before + 256) // 32).astype(np.int8).tobytes()


def expected_codes(clip: np.ndarray) -> np.ndarray:
    encoder = Difference()
    codes = [encoder.encode(frame.tobytes()) for frame in clip]
    return np.frombuffer(b"".join(code for code in codes if code is not None), np.int8).reshape(-1, CODE_BYTES)


class Twin:
    """A device: `feed` bytes, get the bytes of its answers."""

    def __init__(self, *, board: bytes = b"host", build: int = 1, tick_hz: int = 1, counts_cycles: int = 0) -> None:
        self.about = bytes([1, build, 0, 1, 0, counts_cycles]) + struct.pack("<HIII", CHUNK, FRAME_BYTES, CODE_BYTES, tick_hz)
        self.about += DIGEST + board.ljust(16, b"\0")
        self.open = b""
        self.last: tuple[int, int] = (0, 0)
        self.kept = b""
        self.frames = self.repeats = 0
        self.by_status = [0] * STATUSES
        self.reset()

    def reset(self) -> None:
        self.encoder, self.partial, self.code, self.done = Difference(), b"", None, 0

    def feed(self, data: bytes) -> bytes:
        *ended, rest = (self.open + data).split(b"\0")
        self.open = rest
        return b"".join(self.answer(piece) for piece in ended if piece)

    def answer(self, piece: bytes) -> bytes:
        packet = _decode(piece) if len(piece) <= 534 else None
        status = 3 if len(piece) > 534 or (packet is not None and len(packet) > 531) else self._integrity(packet)
        if status:
            return self._refuse(0, 0, status)
        version, command, sequence, _, length = struct.unpack_from("<BBHBH", packet)
        status = 4 if version != 1 else 5 if length != len(packet) - 11 else 6 if sequence == 0 else 0
        if status:
            return self._refuse(command, sequence, status)
        return self._serve(command, sequence, packet)

    def _serve(self, command: int, sequence: int, packet: bytes) -> bytes:
        crc = zlib.crc32(packet[:-4])
        if sequence == self.last[0] and crc == self.last[1]:
            self.repeats += 1
            return self.kept
        if sequence == self.last[0] and command != IDENTIFY:
            return self._refuse(command, sequence, 6)
        self.last = (sequence, crc)
        status, payload = self._run(command, packet[7:-4])
        self.by_status[status] += 1
        self.kept = _answer(command, sequence, status, payload if status == 0 else b"")
        return self.kept

    def _refuse(self, command: int, sequence: int, status: int) -> bytes:
        self.by_status[status] += 1
        return _answer(command, sequence, status)

    @staticmethod
    def _integrity(packet: bytes | None) -> int:
        if packet is None or len(packet) < 11:
            return 1
        return 0 if struct.pack("<I", zlib.crc32(packet[:-4])) == packet[-4:] else 2

    def _run(self, command: int, payload: bytes) -> tuple[int, bytes]:
        bounds = {IDENTIFY: (0, 0), RESET: (0, 0), FRAME: (5, 516), CODE: (4, 4), STATISTICS: (0, 0)}.get(command)
        if bounds is None:
            return 7, b""
        if not bounds[0] <= len(payload) <= bounds[1]:
            return 5, b""
        return getattr(self, f"_do_{command}")(payload)

    def _do_1(self, _: bytes) -> tuple[int, bytes]:
        return 0, self.about

    def _do_2(self, _: bytes) -> tuple[int, bytes]:
        self.reset()
        return 0, b""

    def _do_3(self, payload: bytes) -> tuple[int, bytes]:
        self.code = None
        offset, chunk = struct.unpack_from("<I", payload)[0], payload[4:]
        whole = (self.partial if offset else b"") + chunk
        if offset not in (0, len(self.partial)) or len(whole) > FRAME_BYTES:
            self.partial = b""
            return 8, b""
        progress, received = 0, len(whole)
        if received == FRAME_BYTES:
            self.code, whole = self.encoder.encode(whole), b""
            progress = 1 if self.code is None else 2
            self.done, self.frames = self.done + 1, self.frames + 1
        self.partial = whole
        return 0, struct.pack("<BII", progress, received, self.done)

    def _do_4(self, payload: bytes) -> tuple[int, bytes]:
        offset = struct.unpack("<I", payload)[0]
        if self.code is None:
            return 9, b""
        if offset >= CODE_BYTES:
            return 8, b""
        return 0, struct.pack("<II", self.done, offset) + self.code[offset:offset + CHUNK]

    def _do_5(self, _: bytes) -> tuple[int, bytes]:
        ticks = 1 if self.frames else 0
        return 0, struct.pack(f"<IIII{STATUSES}I", self.frames, self.repeats, ticks, ticks, *self.by_status)


def _decode(piece: bytes) -> bytes | None:
    try:
        return cobs.decode(piece)
    except cobs.DecodeError:
        return None


def wrapped(body: bytes) -> bytes:
    """A body with its CRC as it goes over the wire."""
    return b"\0" + cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


def request(command: int, sequence: int, payload: bytes = b"", *, version: int = 1, length: int | None = None) -> bytes:
    return wrapped(struct.pack("<BBHBH", version, command, sequence, 0, len(payload) if length is None else length) + payload)


def _answer(command: int, sequence: int, status: int, payload: bytes = b"") -> bytes:
    return wrapped(struct.pack("<BBHBH", 1, command | 0x80, sequence, status, len(payload)) + payload)


# --- builds and running devices -------------------------------------------------------------------
def need(board: str) -> None:
    if missing := missing_tools(board):
        pytest.skip(f"no {', '.join(missing)}")


@functools.cache
def built(board: str, encoder: str = "difference", build: str = "release") -> Image:
    """An image, made once in a process."""
    need(board)
    return build_image(board, ENCODERS / encoder, Path(tempfile.mkdtemp(prefix="firmware-")) / board, build=build)  # type: ignore[arg-type]


class HostFirmware:
    """The firmware compiled for this machine, behind pipes."""

    def __init__(self, image: Image) -> None:
        self.process = subprocess.Popen([image.elf], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)

    def exchange(self, data: bytes, expected: int) -> bytes:
        """What comes back, up to `expected` bytes, while `data` is written."""
        writer = threading.Thread(target=self._write, args=(data,))
        writer.start()
        answer = bytearray()
        while len(answer) < expected and (part := self.process.stdout.read(expected - len(answer))):
            answer += part
        writer.join()
        return bytes(answer)

    def finish(self, data: bytes = b"") -> tuple[int, bytes, bytes]:
        """Exit status, what was still to come, and what the sanitizers said, after some last bytes and the end of the line."""
        rest, errors = self.process.communicate(data, timeout=60)
        return self.process.returncode, rest, errors

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[self.process.stdin.write(view):]
        except BrokenPipeError:
            pass  # the other end died: its status says why


@contextmanager
def host_firmware(encoder: str = "difference", build: str = "test") -> Iterator[HostFirmware]:
    device = HostFirmware(built("host", encoder, build))
    try:
        yield device
    finally:
        if device.process.poll() is None:
            device.process.kill()
        device.process.communicate()


@contextmanager
def on_pty(device: Callable[[bytes], bytes]) -> Iterator[str]:
    """The name of a pseudo-terminal at whose other end `device` turns bytes into answers."""
    outer, inner = pty.openpty()
    os.set_blocking(outer, False)
    done = threading.Event()

    def serve() -> None:
        while not done.wait(0.0005):
            try:
                answer = device(os.read(outer, 4096))
                while answer:
                    answer = answer[os.write(outer, answer):]
            except BlockingIOError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(inner)
    finally:
        done.set()
        thread.join()
        os.close(outer)
        os.close(inner)


# --- inputs that no friendly host would send ------------------------------------------------------
def _noise(rng: np.random.Generator, most: int) -> bytes:
    return rng.integers(0, 256, int(rng.integers(1, most)), dtype=np.uint8).tobytes()


def _valid(rng: np.random.Generator) -> bytes:
    """A well-formed request: any command, sequence numbers that repeat, offsets that are often wrong."""
    command = int(rng.choice([IDENTIFY, RESET, FRAME, FRAME, FRAME, CODE, STATISTICS]))
    offset = struct.pack("<I", int(rng.choice([0, 0, 512, 1024, 1151, 1152, 7, 2**32 - 1])))
    payload = {FRAME: offset + _noise(rng, 40), CODE: offset}.get(command, b"")
    if rng.random() < 0.15:
        payload = _noise(rng, 30)
    elif command == FRAME and rng.random() < 0.1:
        payload = offset + rng.integers(0, 256, 512, dtype=np.uint8).tobytes()
    return request(command, int(rng.integers(0, 5)), payload)


def _flipped(rng: np.random.Generator) -> bytes:
    data = bytearray(_valid(rng))
    for _ in range(int(rng.integers(1, 4))):
        data[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
    return bytes(data)


def _truncated(rng: np.random.Generator) -> bytes:
    data = _valid(rng)
    return data[:int(rng.integers(1, len(data)))]


def _spliced(rng: np.random.Generator) -> bytes:
    data = _valid(rng)
    at = int(rng.integers(0, len(data)))
    return data[:at] + _noise(rng, 8) + data[at:]


def _lying(rng: np.random.Generator) -> bytes:
    """A right CRC over a wrong header."""
    body = bytearray(struct.pack("<BBHBH", 1, int(rng.integers(0, 256)), int(rng.integers(0, 5)), 0, 0) + _noise(rng, 20))
    body[int(rng.choice([0, 1, 4, 5, 6]))] = int(rng.integers(0, 256))
    return wrapped(bytes(body))


def _oversized(rng: np.random.Generator) -> bytes:
    many = int(rng.choice([500, 508, 512, 513, 516, 517, 520, 521, 522, 523, 524, 600, 2000]))
    payload = rng.integers(int(rng.integers(0, 2)), 256, many, dtype=np.uint8).tobytes()
    return request(int(rng.choice([1, FRAME, 9])), int(rng.integers(0, 5)), payload)


def malformed(rng: np.random.Generator) -> bytes:
    """One hostile input; always the same for the same generator."""
    kinds = (_valid, _flipped, _truncated, _spliced, _lying)
    draw = rng.random()
    if draw < 0.02:
        return _oversized(rng)
    return _noise(rng, 40) if draw < 0.15 else kinds[int(rng.integers(0, len(kinds)))](rng)


def good_frames(rng: np.random.Generator, sequence: int) -> tuple[bytes, np.ndarray]:
    """The requests of a whole clip of two frames, each once, and its one code. Sequence numbers start at `sequence` > 5."""
    clip = rng.integers(-128, 128, (2, FRAME_BYTES)).astype(np.int8)
    starts = range(0, FRAME_BYTES, CHUNK)
    chunks = [struct.pack("<I", start) + frame.tobytes()[start:start + CHUNK] for frame in clip for start in starts]
    fetches = [struct.pack("<I", start) for start in starts]
    asked = [(RESET, b""), *((FRAME, chunk) for chunk in chunks), *((CODE, fetch) for fetch in fetches)]
    return b"".join(request(command, sequence + at, payload) for at, (command, payload) in enumerate(asked)), expected_codes(clip)


def codes_in(answers: bytes) -> np.ndarray:
    """The code whose parts are the last answers to CODE."""
    parts = [packet[15:-4] for packet in packets_in(answers) if packet[1] == CODE | 0x80 and packet[4] == 0]
    return np.frombuffer(b"".join(parts[-3:]), np.int8).reshape(1, -1)


def packets_in(answers: bytes) -> list[bytes]:
    """Every packet in what came back; one that is damaged is an error."""
    packets = [cobs.decode(piece) for piece in answers.split(b"\0") if piece]
    assert all(struct.pack("<I", zlib.crc32(packet[:-4])) == packet[-4:] for packet in packets)
    return packets

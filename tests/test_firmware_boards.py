"""The firmware on emulated boards: identity, right codes, damaged packets, malformed inputs. QEMU's, not real time."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from firmware_twin import (
    DIGEST,
    FRAME,
    FRAME_BYTES,
    IDENTIFY,
    STATISTICS,
    Twin,
    built,
    codes_in,
    expected_codes,
    good_frames,
    malformed,
    need,
    packets_in,
    request,
)

from hil.devices.emulated_board import MACHINES, EmulatedBoard
from hil.devices.packets import Status
from hil.devices.serial_device import SerialDevice
from optics_sim.errors import PrivcamError

TICK_HZ = {"mps2-an386": 25_000_000, "mps2-an500": 25_000_000, "mps3-an547": 32_000_000, "stm32f405": 16_000_000}
FUZZED = int(os.environ.get("PRIVCAM_FUZZED", "5000"))  # malformed inputs
pytestmark = pytest.mark.timeout(240)


@contextmanager
def _running(board: str, encoder: str = "difference", *, counts_instructions: bool = False) -> Iterator[EmulatedBoard]:
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("no qemu-system-arm")
    need(board)
    with EmulatedBoard(board, built(board, encoder).elf, counts_instructions=counts_instructions) as running:
        yield running


class Raw:
    """The bare line of an emulated board."""

    def __init__(self, board: EmulatedBoard) -> None:
        board.wait_until_running()
        host, port = board.url.removeprefix("socket://").split(":")
        self.line = socket.create_connection((host, int(port)), timeout=60)

    def exchange(self, data: bytes, expected: int) -> bytes:
        writer = threading.Thread(target=self.line.sendall, args=(data,))
        writer.start()
        answer = bytearray()
        while len(answer) < expected and (part := self.line.recv(65536)):
            answer += part
        writer.join()
        return bytes(answer)


def _twin(board: str) -> Twin:
    return Twin(board=board.encode(), build=0, tick_hz=TICK_HZ[board])


@pytest.mark.parametrize("board", MACHINES)
def test_a_board_encodes_ten_frames(board: str) -> None:
    clip = np.random.default_rng(0).integers(-128, 128, (10, 32, 36)).astype(np.int8)
    with _running(board) as running, SerialDevice(running.url, digest=DIGEST.hex(), timeout_s=20) as device:
        assert (device.info.board, device.info.build, device.source) == (board, "release", "emulated")
        np.testing.assert_array_equal(device.encode(clip), expected_codes(clip))
        statistics = device.statistics()
    assert (statistics.frames, statistics.ticks_per_second) == (10, TICK_HZ[board])
    assert 0 < statistics.last_encode_ticks <= statistics.longest_encode_ticks


@pytest.mark.parametrize("board", MACHINES)
def test_a_board_refuses_damage_and_goes_on(board: str) -> None:
    rng, twin = np.random.default_rng(1), _twin(board)
    good = request(IDENTIFY, 6)
    damaged = [good[:3] + bytes([good[3] ^ 4]) + good[4:], good[:6], request(6, 7), request(FRAME, 8, b"\1" * 600)]
    asked, codes = good_frames(rng, 10)
    data = b"".join(damaged) + b"".join(malformed(rng) for _ in range(200))
    data += asked
    expected = twin.feed(data)
    with _running(board) as running:
        answers = Raw(running).exchange(data, len(expected))
    assert [packet[4] for packet in packets_in(answers)[:2]] == [Status.BAD_CRC, Status.BAD_FRAMING]
    assert _without_ticks(answers) == _without_ticks(expected)
    np.testing.assert_array_equal(codes_in(answers), codes)


def _without_ticks(answers: bytes) -> list[bytes]:
    """Every packet, but for the ticks in statistics, which no twin can know, and the CRC over them."""
    return [packet[:15] + packet[23:-4] if packet[1] == STATISTICS | 0x80 and packet[4] == 0 else packet for packet in packets_in(answers)]


@pytest.mark.slow
@pytest.mark.timeout(2000 + FUZZED // 5)
def test_malformed_inputs_to_an_emulated_board() -> None:
    board, rng, batch = "mps2-an386", np.random.default_rng(2), 200
    twin, answered = _twin(board), 0
    with _running(board) as running:
        line = Raw(running)
        for _ in range(FUZZED // batch):
            asked, codes = good_frames(rng, int(rng.integers(10, 60_000)))
            data = b"".join(malformed(rng) for _ in range(batch)) + asked
            expected = twin.feed(data)
            answers = line.exchange(data, len(expected))
            assert _without_ticks(answers) == _without_ticks(expected)
            np.testing.assert_array_equal(codes_in(answers), codes)
            answered += len(packets_in(answers))
    assert answered > FUZZED


def test_instructions_are_counted_the_same_every_time() -> None:
    def longest() -> int:
        with _running("mps2-an386", counts_instructions=True) as running, SerialDevice(running.url, timeout_s=20) as device:
            device.encode(np.zeros((3, FRAME_BYTES), np.int8))
            return device.statistics().longest_encode_ticks

    first, second = longest(), longest()
    assert abs(first - second) <= 4, "ticks of 40 instructions; the line's own timing may shift one by a few"


def test_a_fault_starts_the_board_anew() -> None:
    with _running("mps2-an386", "faulty") as running, SerialDevice(running.url, timeout_s=3, encode_timeout_s=0) as device:
        with pytest.raises(PrivcamError, match="BAD_ORDER"):  # of the repeated last chunk: the first ones are forgotten
            device.encode(np.zeros((1, FRAME_BYTES), np.int8))
        assert (device.statistics().frames, device.statistics().answers["BAD_ORDER"]) == (0, 1)


def test_missing_emulator_and_unknown_board_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    with pytest.raises(PrivcamError, match="mps2-an386"):
        EmulatedBoard("arduino", tmp_path / "firmware.elf")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrivcamError, match="qemu-system-arm"), EmulatedBoard("mps2-an386", tmp_path / "firmware.elf"):
        pass

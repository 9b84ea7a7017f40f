"""The host's side of a device: identity, codes, lost and damaged bytes, silence, names of lines, and what it may claim."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from encoder_device import Bench, EncoderDeviceContract
from firmware_twin import CODE, DIGEST, FRAME, FRAME_BYTES, IDENTIFY, RESET, Twin, expected_codes, host_firmware, on_pty

from hil.devices.packets import Status
from hil.devices.serial_device import SerialDevice
from optics_sim.errors import PrivcamError

pytestmark = pytest.mark.timeout(120)
FAST: dict[str, Any] = {"timeout_s": 0.05, "encode_timeout_s": 0.2, "baud": 1_000_000}


def _clip(seed: int = 0, count: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (count, 32, 36)).astype(np.int8)


# --- a device that works --------------------------------------------------------------------------
def test_a_device_says_who_it_is() -> None:
    with on_pty(Twin().feed) as url, SerialDevice(url, digest=DIGEST.hex(), **FAST) as device:
        assert (device.info.board, device.info.build, device.info.firmware_version) == ("host", "test", "0.1.0")
        assert device.info.source == device.source == "emulated"


class TestContract(EncoderDeviceContract):
    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        with on_pty(Twin().feed) as url, SerialDevice(url, digest=DIGEST.hex(), **FAST) as device:
            yield Bench(device, (32, 36), DIGEST.hex(), expected_codes)


def test_statistics_are_the_device_s() -> None:
    with on_pty(Twin().feed) as url, SerialDevice(url, **FAST) as device:
        device.encode(_clip())
        statistics = device.statistics()
    assert (statistics.frames, statistics.repeats, statistics.longest_encode_ticks, statistics.ticks_per_second) == (3, 0, 1, 1)
    assert statistics.answers["OK"] == 1 + 1 + 9 + 6
    assert list(statistics.answers) == [status.name for status in Status]


def test_a_second_opening_works() -> None:
    clip = _clip()
    with on_pty(Twin().feed) as url:
        device = SerialDevice(url, **FAST)
        for _ in range(2):
            with device:
                np.testing.assert_array_equal(device.encode(clip), expected_codes(clip))


def test_compiled_firmware_on_a_pseudo_terminal() -> None:
    clip = _clip(2)
    with host_firmware() as firmware, on_pty(_through_pipes(firmware)) as url, SerialDevice(url, **FAST) as device:
        np.testing.assert_array_equal(device.encode(clip), expected_codes(clip))


def _through_pipes(firmware: Any) -> Callable[[bytes], bytes]:
    os.set_blocking(firmware.process.stdout.fileno(), False)

    def device(data: bytes) -> bytes:
        firmware.process.stdin.write(data)
        answer = b""
        while not answer.endswith(b"\0") and data.endswith(b"\0"):
            answer += firmware.process.stdout.read(65536) or b""
        return answer
    return device


# --- a line that is bad ---------------------------------------------------------------------------
class Bad:
    """A device behind a line that now and then loses, flips or invents a byte, in both directions; the same for the same seed."""

    def __init__(self, twin: Twin, seed: int, rate: float) -> None:
        self.twin, self.rng, self.rate = twin, np.random.default_rng(seed), rate

    def __call__(self, data: bytes) -> bytes:
        return self._spoil(self.twin.feed(self._spoil(data)))

    def _spoil(self, data: bytes) -> bytes:
        out = bytearray()
        for byte, draw in zip(data, self.rng.random(len(data)), strict=True):
            lost, flipped, invented = draw < self.rate, draw < 2 * self.rate, draw < 3 * self.rate
            out += b"" if lost else bytes([byte ^ 16]) if flipped else bytes([byte, 7]) if invented else bytes([byte])
        return bytes(out)


@pytest.mark.parametrize("seed", range(3))
def test_codes_are_right_over_a_bad_line(seed: int) -> None:
    clip = _clip(seed, 5)
    twin = Twin()
    with on_pty(Bad(twin, seed, rate=2e-4)) as url, SerialDevice(url, tries=12, **FAST) as device:
        np.testing.assert_array_equal(device.encode(clip), expected_codes(clip))
        counts = device.link_counts
    assert twin.frames == 5, "a frame is encoded once, however often its chunks were sent"
    assert counts.resent > 0


class Dropping:
    """A device of whose answers to one command every other one is lost."""

    def __init__(self, twin: Twin, command: int) -> None:
        self.twin, self.command, self.count = twin, command, 0

    def __call__(self, data: bytes) -> bytes:
        answer = self.twin.feed(data)
        self.count += len(answer) > 3 and answer[3] == self.command | 0x80
        return b"" if self.count % 2 and len(answer) > 3 and answer[3] == self.command | 0x80 else answer


@pytest.mark.parametrize("command", [IDENTIFY, RESET, FRAME, CODE])
def test_a_lost_answer_is_asked_for_again_and_the_work_is_done_once(command: int) -> None:
    clip, twin = _clip(), Twin()
    with on_pty(Dropping(twin, command)) as url, SerialDevice(url, **FAST) as device:
        np.testing.assert_array_equal(device.encode(clip), expected_codes(clip))
        assert device.link_counts.timed_out > 0
    assert twin.frames == 3
    assert twin.repeats > 0


def test_an_answer_cut_off_does_not_spoil_the_next() -> None:
    clip, twin, cut = _clip(), Twin(), iter([False, True, False, True])

    def device(data: bytes) -> bytes:
        answer = twin.feed(data)
        return answer[:-3] if answer and next(cut, False) else answer

    with on_pty(device) as url, SerialDevice(url, **FAST) as serial_device:
        np.testing.assert_array_equal(serial_device.encode(clip), expected_codes(clip))


def test_rubbish_on_the_line_at_the_start_is_no_trouble() -> None:
    twin = Twin()
    twin.feed(b"half a packet")
    with on_pty(lambda data: b"\x11boot\0\x05\0" + twin.feed(data)) as url, SerialDevice(url, **FAST) as device:
        assert device.info.board == "host"
        assert device.link_counts.discarded > 0


def test_silence_ends_in_an_error() -> None:
    with on_pty(lambda data: b"") as url, pytest.raises(PrivcamError, match="does not answer"), SerialDevice(url, **FAST):
        pass


def test_an_echo_is_no_device() -> None:
    with on_pty(lambda data: data) as url, pytest.raises(PrivcamError, match="does not answer"), SerialDevice(url, **FAST):
        pass


def test_a_device_that_lost_power_in_a_clip_gives_an_error_and_no_code() -> None:
    twin, seen = Twin(), 0

    def device(data: bytes) -> bytes:
        nonlocal seen
        seen += len(data)
        if seen > 3 * FRAME_BYTES and twin.done:
            seen = -10**9
            twin.reset()
        return twin.feed(data)

    with on_pty(device) as url, SerialDevice(url, **FAST) as serial_device:
        with pytest.raises(PrivcamError, match=r"lost its place|BAD_ORDER|NO_CODE"):
            serial_device.encode(_clip(count=6))
        np.testing.assert_array_equal(serial_device.encode(_clip()), expected_codes(_clip()))


def test_a_refusal_is_told_by_its_name() -> None:
    class Failing(Twin):
        def _do_3(self, payload: bytes) -> tuple[int, bytes]:
            return Status.ENCODER_FAILED, b""

    with on_pty(Failing().feed) as url, SerialDevice(url, **FAST) as device, pytest.raises(PrivcamError, match="ENCODER_FAILED"):
        device.encode(_clip())


# --- sockets --------------------------------------------------------------------------------------
@contextmanager
def _on_socket(device: Callable[[bytes], bytes]) -> Iterator[str]:
    def serve() -> None:
        with listener.accept()[0] as line, suppress(ConnectionAbortedError):
            while data := line.recv(4096):
                line.sendall(device(data))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_a_socket_is_a_line_too() -> None:
    clip = _clip()
    with _on_socket(Twin(counts_cycles=1, board=b"stm32f405").feed) as url, SerialDevice(url, source="physical", **FAST) as device:
        assert device.source == device.info.source == "physical"
        np.testing.assert_array_equal(device.encode(clip), expected_codes(clip))


def test_a_line_that_breaks_is_an_error() -> None:
    twin, answered = Twin(), 0

    def device(data: bytes) -> bytes:
        nonlocal answered
        answered += 1
        if answered > 4:
            raise ConnectionAbortedError
        return twin.feed(data)

    with _on_socket(device) as url, SerialDevice(url, **FAST) as serial_device, pytest.raises(PrivcamError, match="broke"):
        serial_device.encode(_clip())


@pytest.mark.parametrize("url", ["socket://192.0.2.1:5000", "socket://example.org:5000", "socket://127.0.0.1.example.org:5000"])
def test_frames_stay_on_this_machine_unless_asked_otherwise(url: str) -> None:
    with pytest.raises(PrivcamError, match="without encryption"):
        SerialDevice(url)
    SerialDevice(url, allow_remote=True)


@pytest.mark.parametrize("url", ["spy:///dev/ttyUSB0", "rfc2217://127.0.0.1:1", "loop://", "", "socket://", "socket://127.0.0.1", "socket://127.0.0.1:x"])
def test_other_names_are_refused_before_anything_is_opened(url: str) -> None:
    with pytest.raises(PrivcamError):
        SerialDevice(url)


# --- what it may claim ----------------------------------------------------------------------------
@pytest.mark.parametrize(("url", "source"), [("/dev/ttyUSB0", "physical"), ("COM3", "physical"), ("/dev/pts/7", "emulated"),
                                             ("socket://127.0.0.1:5000", "emulated")])
def test_the_name_of_a_line_tells_its_source(url: str, source: str) -> None:
    assert SerialDevice(url).source == source


@pytest.mark.parametrize(("url", "source"), [("/dev/pts/7", "physical"), ("/dev/ttyUSB0", "simulated")])
def test_some_claims_cannot_be(url: str, source: Any) -> None:
    with pytest.raises(PrivcamError, match="source"):
        SerialDevice(url, source=source)


@pytest.mark.parametrize("twin", [Twin(board=b"mps2-an386"), Twin(counts_cycles=1)], ids=["no cycle counter", "host"])
def test_an_emulated_device_cannot_pass_for_a_physical_one(twin: Twin) -> None:
    with _on_socket(twin.feed) as url, pytest.raises(PrivcamError, match="emulated"), SerialDevice(url, source="physical", **FAST):
        pass


def test_the_firmware_of_another_design_is_refused() -> None:
    with on_pty(Twin().feed) as url, pytest.raises(PrivcamError, match="another design"), SerialDevice(url, digest="00" * 32, **FAST):
        pass


def test_another_protocol_is_refused() -> None:
    twin = Twin()
    twin.about = b"\2" + twin.about[1:]
    with on_pty(twin.feed) as url, pytest.raises(PrivcamError, match="protocol"), SerialDevice(url, **FAST):
        pass


def test_nothing_touches_a_wire_before_with() -> None:
    device = SerialDevice("/dev/ttyNowhere7")
    with pytest.raises(PrivcamError, match="not open"):
        device.encode(_clip())
    with pytest.raises(PrivcamError, match="not open"):
        _ = device.info
    with pytest.raises(PrivcamError, match="cannot be opened"), device:
        pass

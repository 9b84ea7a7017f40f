"""The firmware on this machine: framing, refusals, repeats, fuzz against its twin, and no way out for pixels."""

from __future__ import annotations

import ctypes
import re
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from cobs import cobs
from firmware_twin import (
    CODE,
    CODE_BYTES,
    FRAME,
    FRAME_BYTES,
    IDENTIFY,
    RESET,
    STATISTICS,
    Twin,
    built,
    codes_in,
    good_frames,
    host_firmware,
    malformed,
    need,
    packets_in,
    request,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_export.images import FIRMWARE, boards, build_image
from hil.devices import packets
from hil.devices.packets import Command, Packet, PieceReader, Status, framed, unframed
from optics_sim.errors import PrivcamError

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(300)  # a device that hangs is a failure
BATCH = 200  # malformed inputs between two good clips


# --- framing: Python and C agree ------------------------------------------------------------------
@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    need("host")
    target = tmp_path_factory.mktemp("library") / "framing.so"
    subprocess.run(["cc", "-std=c99", "-O1", "-fPIC", "-shared", "-o", target, FIRMWARE / "cobs.c", FIRMWARE / "crc32.c"], check=True)
    library = ctypes.CDLL(str(target))
    library.crc32.restype = ctypes.c_uint32
    return library


def _sent_by_c(library: ctypes.CDLL, data: bytes) -> bytes:
    out = bytearray()
    send = ctypes.CFUNCTYPE(None, ctypes.c_uint8)(out.append)
    library.cobs_send(data, ctypes.c_size_t(len(data)), send)
    return bytes(out)


def _decoded_by_c(library: ctypes.CDLL, data: bytes) -> bytes | None:
    buffer = ctypes.create_string_buffer(data, len(data) + 1)
    count = library.cobs_decode(buffer, ctypes.c_size_t(len(data)))
    return None if count < 0 else buffer.raw[:count]


LONG = st.integers(250, 260).map(lambda n: b"\x01" * n)  # about the longest block of COBS
RUNS = st.lists(st.one_of(st.binary(max_size=20), LONG, st.just(b"\0")), max_size=6).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(data=RUNS)
def test_framing_and_crc_of_c_are_those_of_the_library_and_zlib(library: ctypes.CDLL, data: bytes) -> None:
    assert _sent_by_c(library, data) == framed(data)
    assert _decoded_by_c(library, cobs.encode(data)) == data
    assert library.crc32(data, ctypes.c_size_t(len(data))) == zlib.crc32(data)


@settings(deadline=None, max_examples=300)
@given(piece=st.binary(min_size=1, max_size=300).map(lambda data: data.replace(b"\0", b"\x03")))
def test_both_decoders_take_and_refuse_the_same(library: ctypes.CDLL, piece: bytes) -> None:
    assert _decoded_by_c(library, piece) == unframed(piece)


@given(packet=st.builds(Packet, st.integers(0, 255), st.integers(0, 65535), st.binary(max_size=packets.MAX_PAYLOAD), st.integers(0, 255)))
def test_a_packet_survives_its_bytes(packet: Packet) -> None:
    assert Packet.from_bytes(unframed(framed(packet.to_bytes()).strip(b"\0"))) == packet
    assert len(framed(packet.to_bytes())) <= packets.MAX_ENCODED + 2


@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(1, 9), max_size=20))
def test_pieces_do_not_depend_on_how_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    reader, found, at = PieceReader(), [], 0
    for cut in [*cuts, len(data)]:
        found += reader.feed(data[at:at + cut])
        at += cut
    assert found == [piece for piece in data.split(b"\0")[:-1] if piece]


def test_the_host_s_reader_is_bounded() -> None:
    reader = PieceReader()
    assert reader.feed(b"\1" * 100_000) == []
    (piece,) = reader.feed(b"\1\0")
    assert len(piece) == packets.MAX_ENCODED + 1


def test_header_host_and_specification_name_the_same_numbers() -> None:
    header = (FIRMWARE / "protocol.h").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "firmware-protocol.md").read_text(encoding="utf-8")
    for kind in (Command, Status, packets.Progress):
        prefix = kind.__name__.upper()
        in_c = {name: int(number) for name, number in re.findall(rf"{prefix}_(\w+) = (\d+)", header)}
        in_c.pop("COUNT", None)
        in_c.pop("NONE", None)
        assert in_c == {member.name: member.value for member in kind}
        assert all(re.search(rf"\| {member.value} \| `{member.name}`", page) for member in kind), kind
    in_c = dict(re.findall(r"#define (\w+) (\d+)u", header))
    assert (int(in_c["CHUNK_BYTES"]), int(in_c["MAX_PAYLOAD"])) == (packets.CHUNK_BYTES, packets.MAX_PAYLOAD)
    assert int(re.search(r"STATUS_COUNT = (\d+)", header)[1]) == len(Status)


# --- one answer for each packet -------------------------------------------------------------------
def _exchange(*inputs: bytes, encoder: str = "difference", build: str = "test") -> bytes:
    """What the firmware answers to some bytes, which is also what its twin says."""
    with host_firmware(encoder, build) as device:
        code, answers, errors = device.finish(b"".join(inputs))
    assert (code, errors) == (0, b"")
    return answers


def test_a_clip_is_encoded() -> None:
    asked, codes = good_frames(np.random.default_rng(0), 10)
    answers = _exchange(asked)
    np.testing.assert_array_equal(codes_in(answers), codes)
    assert answers == Twin().feed(asked)


GOOD = request(IDENTIFY, 7)
REFUSALS = [
    ("no COBS", b"\0\x05\x01\0", Status.BAD_FRAMING, 0),
    ("too short", b"\0\x02\x07\0", Status.BAD_FRAMING, 0),
    ("truncated", GOOD[:-4] + b"\0", Status.BAD_FRAMING, 0),
    ("a flipped bit", GOOD[:3] + bytes([GOOD[3] ^ 4]) + GOOD[4:], Status.BAD_CRC, 0),
    ("longer than any packet", b"\0" + b"\1" * 535 + b"\0", Status.OVERSIZED, 0),
    ("far longer", b"\0" + b"\1" * 70_000 + b"\0", Status.OVERSIZED, 0),
    ("a payload one too long", request(FRAME, 7, b"\1" * 521), Status.OVERSIZED, 0),
    ("another version", request(IDENTIFY, 7, version=2), Status.BAD_VERSION, 7),
    ("a length that lies", request(IDENTIFY, 7, length=3), Status.BAD_LENGTH, 7),
    ("sequence 0", request(IDENTIFY, 0), Status.BAD_SEQUENCE, 0),
    ("an unknown command", request(6, 7), Status.BAD_COMMAND, 7),
    ("an answer", request(IDENTIFY | 0x80, 7), Status.BAD_COMMAND, 7),
    ("a payload where none belongs", request(RESET, 7, b"x"), Status.BAD_LENGTH, 7),
    ("a chunk without pixels", request(FRAME, 7, bytes(4)), Status.BAD_LENGTH, 7),
    ("a chunk one too long", request(FRAME, 7, bytes(4 + 513)), Status.BAD_LENGTH, 7),
    ("a second chunk first", request(FRAME, 7, struct.pack("<I", 512) + bytes(512)), Status.BAD_ORDER, 7),
    ("a code before any frame", request(CODE, 7, bytes(4)), Status.NO_CODE, 7),
]


@pytest.mark.parametrize(("data", "status", "sequence"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_what_is_wrong_is_refused_and_the_next_is_right(data: bytes, status: Status, sequence: int) -> None:
    asked, codes = good_frames(np.random.default_rng(1), 10)
    answers = _exchange(data, asked)
    first = packets_in(answers)[0]
    assert (first[4], struct.unpack_from("<H", first, 2)[0], len(first)) == (status, sequence, 11)
    np.testing.assert_array_equal(codes_in(answers), codes)


def test_every_status_but_the_encoder_s_own_is_tried() -> None:
    assert {row[2] for row in REFUSALS} == set(Status) - {Status.OK, Status.ENCODER_FAILED}


def test_zeros_are_no_packets() -> None:
    assert _exchange(bytes(1000)) == b""


def test_a_repeated_request_is_answered_again_and_done_once() -> None:
    asked, _ = good_frames(np.random.default_rng(2), 10)
    pieces = [b"\0" + piece + b"\0" for piece in asked.split(b"\0") if piece]
    noise = b"\0\x05\x01\0"  # a refusal in between does not make it forget
    answers = _exchange(*(piece + piece + noise + piece for piece in pieces), request(STATISTICS, 99))
    once = packets_in(_exchange(asked))
    several = packets_in(answers)
    assert several[:-1:4] == several[1:-1:4] == several[3:-1:4] == once
    frames, repeats = struct.unpack_from("<II", several[-1], 7)
    assert (frames, repeats) == (2, 2 * len(pieces))


def test_a_sequence_number_for_two_requests_is_refused_except_to_identify() -> None:
    answers = packets_in(_exchange(request(RESET, 9), request(STATISTICS, 9), request(RESET, 9), request(IDENTIFY, 9)))
    assert [packet[4] for packet in answers] == [Status.OK, Status.BAD_SEQUENCE, Status.OK, Status.OK]


def test_a_stale_code_cannot_be_fetched() -> None:
    asked, _ = good_frames(np.random.default_rng(3), 10)
    answers = packets_in(_exchange(asked, request(FRAME, 90, bytes(4 + 8)), request(CODE, 91, bytes(4))))
    assert answers[-1][4] == Status.NO_CODE


def _chunk(sequence: int, start: int, count: int) -> bytes:
    return request(FRAME, sequence, struct.pack("<I", start) + b"\5" * count)


def test_a_chunk_past_the_end_forgets_the_frame() -> None:
    places = [(0, 512), (512, 512), (1024, 129), (1024, 128)]
    answers = packets_in(_exchange(*(_chunk(10 + at, *place) for at, place in enumerate(places))))
    assert [packet[4] for packet in answers] == [Status.OK, Status.OK, Status.BAD_ORDER, Status.BAD_ORDER]


def test_a_code_ends_where_it_ends() -> None:
    asked, codes = good_frames(np.random.default_rng(4), 10)
    last, past = (request(CODE, 90 + at, struct.pack("<I", CODE_BYTES - 1 + at)) for at in range(2))
    *_, one, none = packets_in(_exchange(asked, last, past))
    assert (one[15:-4], none[4], len(none)) == (codes[0, -1:].tobytes(), Status.BAD_ORDER, 11)


def test_an_encoder_that_fails_is_told_without_a_byte_of_the_frame() -> None:
    places = [(0, 512), (512, 512), (1024, 128)]
    asked = [_chunk(10 + at, *place) for at, place in enumerate(places)]
    *_, failed, fetched = packets_in(_exchange(*asked, request(CODE, 20, bytes(4)), encoder="failing"))
    assert (failed[4], len(failed), fetched[4]) == (Status.ENCODER_FAILED, 11, Status.NO_CODE)


# --- fuzz -----------------------------------------------------------------------------------------
def _fuzz(count: int, seed: int) -> int:
    """Malformed inputs in batches, each followed by a good clip; every answer is the twin's. Returns the packets answered."""
    rng, twin, answered = np.random.default_rng(seed), Twin(), 0
    with host_firmware() as device:
        for _ in range(count // BATCH):
            hostile = b"".join(malformed(rng) for _ in range(BATCH))
            asked, codes = good_frames(rng, int(rng.integers(10, 60_000)))
            expected = twin.feed(hostile + asked)
            answers = device.exchange(hostile + asked, len(expected))
            assert answers == expected, "the device answers what its specification does not say"
            np.testing.assert_array_equal(codes_in(answers), codes)
            answered += len([piece for piece in answers.split(b"\0") if piece])
        code, rest, errors = device.finish()
    assert (code, rest, errors) == (0, b"", b"")
    return answered


def test_malformed_inputs_never_hang_crash_or_give_a_wrong_code() -> None:
    assert _fuzz(10_000, seed=4) > 10_000


@pytest.mark.slow
def test_a_hundred_thousand_malformed_inputs() -> None:
    assert _fuzz(100_000, seed=5) > 100_000


def test_fuzz_reaches_every_refusal() -> None:
    rng, twin = np.random.default_rng(4), Twin()
    twin.feed(b"".join(malformed(rng) for _ in range(4000)))
    assert all(count > 0 for status, count in zip(Status, twin.by_status, strict=True) if status != Status.ENCODER_FAILED)


# --- no pixel leaves ------------------------------------------------------------------------------
SECRET = np.random.default_rng(6).permutation(np.arange(40, 104)).astype(np.uint8).tobytes()  # no code level, no small number
WINDOW = 4  # bytes in a row that are found by chance in a million answers with 4-byte windows: 64 * 1e6 / 2**32


def _secret_frame() -> bytes:
    return (SECRET * (FRAME_BYTES // len(SECRET) + 1))[:FRAME_BYTES]


def _probing(rng: np.random.Generator) -> bytes:
    """Whole secret frames, broken ones, and every command with every payload length that could ask for them."""
    frame, out = _secret_frame(), []
    for sequence in range(10, 500):
        start = int(rng.choice([0, 512, 1024]))
        chunk = struct.pack("<I", start) + frame[start:start + 512]
        command = int(rng.choice([FRAME, FRAME, int(rng.integers(0, 256))]))
        data = request(command, sequence, chunk if rng.random() < 0.7 else chunk[:int(rng.integers(0, 20))])
        out.append(data if rng.random() < 0.8 else data[:int(rng.integers(1, len(data)))])
    return b"".join(out)


def _leaks(answers: bytes) -> int:
    """Windows of the secret in what came back, on the wire or in the packets."""
    windows = {(SECRET * 2)[at:at + WINDOW] for at in range(len(SECRET))}
    texts = [answers, *packets_in(answers)]
    return sum(text[at:at + WINDOW] in windows for text in texts for at in range(len(text)))


def _whole_secret_clip(sequence: int) -> bytes:
    frame = _secret_frame()
    chunks = [request(FRAME, sequence + at // 512, struct.pack("<I", at) + frame[at:at + 512]) for at in range(0, FRAME_BYTES, 512)]
    return b"".join(chunks) + b"".join(request(CODE, sequence + 10 + at // 512, struct.pack("<I", at)) for at in range(0, CODE_BYTES, 512))


def _everything_said(encoder: str) -> bytes:
    rng = np.random.default_rng(7)
    asked = [part for at in range(5) for part in (_whole_secret_clip(1000 + 50 * at), _probing(rng))]
    every_command = [request(command, 5000 + command, payload) for command in range(256) for payload in (b"", bytes(4))]
    return _exchange(*asked, *every_command, encoder=encoder, build="release")


def test_a_release_build_never_sends_a_pixel() -> None:
    assert _leaks(_everything_said("difference")) == 0


def test_the_search_finds_pixels_where_they_leave() -> None:
    assert _leaks(_everything_said("leaky")) > 1000


def test_no_other_command_is_known() -> None:
    answers = packets_in(_exchange(*(request(command, 300 + command, bytes(4)) for command in range(256)), build="release"))
    known = [command for command, answer in enumerate(answers) if answer[4] != Status.BAD_COMMAND]
    assert known == list(Command)


def _symbols(board: str, name: str, kinds: str) -> set[str]:
    image = built(board)
    tool = "nm" if board == "host" else "arm-none-eabi-nm"
    answer = subprocess.run([tool, image.elf.parent / "objects" / f"{name}.o"], capture_output=True, text=True, check=True)
    return {line.split()[-1].lstrip("_") for line in answer.stdout.splitlines() if line.split()[-2] in kinds}


@pytest.mark.parametrize("board", ["host", "stm32f405"])
def test_nothing_leads_from_the_frame_buffer_to_the_transmitter(board: str) -> None:
    """The buffer is local to its file, which calls the encoder and nothing that sends, and gives out no pointer to it."""
    need(board)
    assert "frame" in _symbols(board, "frame", "bd")
    assert _symbols(board, "frame", "TDBRC") == {"frame_forget", "frame_received", "frame_put", "frame_encode"}
    assert _symbols(board, "frame", "U") <= {"memcpy", "memset", "encoder_encode", "stack_chk_fail"}
    declared = re.findall(r"^(\w+) \w+\(", (FIRMWARE / "frame.h").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(declared) == {"void", "uint32_t", "int"}
    senders = {name for name in ("main", "session", "commands", "request", "answer", "frame", "cobs", "crc32", "encoder/encoder")
               if "board_transmit" in _symbols(board, name, "U")}
    assert senders == {"answer"}


# --- builds ---------------------------------------------------------------------------------------
def test_boards_are_found_by_their_folders() -> None:
    assert boards() == ("host", "mps2-an386", "mps2-an500", "mps3-an547", "stm32f405")


@pytest.mark.parametrize("board", ["mps2-an386", "stm32f405", "mps3-an547"])
def test_a_build_elsewhere_gives_the_same_bytes(board: str, tmp_path: Path) -> None:
    need(board)
    encoder = tmp_path / "another" / "place"
    encoder.mkdir(parents=True)
    for file in (Path(__file__).parent / "encoders" / "difference").iterdir():
        (encoder / file.name).write_bytes(file.read_bytes())
    image, again = built(board), build_image(board, encoder, tmp_path / "out")
    assert [file.name for file in image.files] == ["firmware.bin", "firmware.elf", "firmware.hex"]
    assert [file.read_bytes() for file in image.files] == [file.read_bytes() for file in again.files]


def test_the_digest_stands_in_the_image() -> None:
    assert bytes([0xD1, 0xFF, *range(2, 32)]) in built("stm32f405").elf.with_suffix(".bin").read_bytes()


def test_firmware_needs_no_heap_no_floats_and_little_of_a_library() -> None:
    image = built("stm32f405")
    names = subprocess.run(["arm-none-eabi-nm", image.elf], capture_output=True, text=True, check=True).stdout
    assert re.search(r"\b(malloc|_sbrk|printf|__aeabi_[fd]\w+)\b", names) is None
    includes = {name for file in FIRMWARE.rglob("*.[ch]") for name in re.findall(r"#include <(.+)>", file.read_text(encoding="utf-8"))}
    assert includes == {"stdint.h", "stddef.h", "string.h", "unistd.h"}
    assert "unistd.h" in (FIRMWARE / "boards" / "host" / "host.c").read_text(encoding="utf-8")


def test_refusals_to_build_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PrivcamError, match="mps2-an386"):
        build_image("mps2-an999", tmp_path, tmp_path)
    need("host")
    with pytest.raises(PrivcamError, match=r"encoder_sizes\.h"):
        build_image("host", tmp_path, tmp_path / "out")
    with pytest.raises(PrivcamError, match="spaces"):
        build_image("host", tmp_path / "a b", tmp_path / "out")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrivcamError, match="arm-none-eabi-gcc"):
        build_image("stm32f405", tmp_path, tmp_path)

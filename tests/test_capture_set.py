"""A capture set survives kills, and says what is wrong with it when something is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hil.capture_set.packed import PackedStore, open_set, pack
from hil.capture_set.stored import CaptureSet
from hil.capture_set.writer import CaptureWriter
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

h5py = pytest.importorskip("h5py", reason="h5py is missing: pip install privcam[capture]")
SHAPE = (5, 8)
CAMERA = CameraInfo(name="bench", sensor="imx477", shape=SHAPE, bit_depth=12, black_level_dn=256, cfa="bggr", source="emulated")
KILLER = Path(__file__).with_name("capture_killer.py")


def frame(index: int, **changes) -> Frame:
    raw = np.random.default_rng(index).integers(0, 4096, SHAPE).astype(np.uint16)
    return Frame(**{"raw": raw, "settings": CaptureSettings(exposure_s=0.01 * (index + 1), analogue_gain=2), "timestamp_s": index / 30,
                    "source": "emulated", "index": index, "sensor": "imx477", "temperature_c": 31.5, "stimulus": f"point {index}",
                    "metadata": {"lamp": [1, 2.5], "note": "ä"}} | changes)


def made(folder: Path, count: int = 4, *, close: bool = True) -> Path:
    with CaptureWriter.create(folder, CAMERA, clock=lambda: "2026-01-01T00:00:00Z", design="d" * 64) as writer:
        for index in range(count):
            writer.add(frame(index))
        if close:
            writer.close()
    return folder


def assert_same(found: Frame, expected: Frame) -> None:
    np.testing.assert_array_equal(found.raw, expected.raw)
    assert {**vars(found), "raw": 0} == {**vars(expected), "raw": 0}


# --- kills ----------------------------------------------------------------------------------------
def killer(*arguments: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return subprocess.run([sys.executable, str(KILLER), *arguments], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                          text=True, check=False, timeout=300)


def test_a_kill_before_and_after_every_step_costs_the_frame_in_flight_at_most(tmp_path: Path) -> None:
    answer = killer(str(tmp_path), "step")
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert result["kills"] > 50 and result["finished"] == 2


def test_kills_at_random_moments_cost_the_frame_in_flight_at_most(tmp_path: Path) -> None:
    answer = killer(str(tmp_path), "random", "40", "1")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["kills"] == 40


def test_a_writer_that_tells_of_a_frame_before_it_is_there_is_found_out(tmp_path: Path) -> None:
    answer = killer(str(tmp_path), "careless")
    assert answer.returncode != 0 and "damage after a kill" in answer.stderr


# --- what is kept ---------------------------------------------------------------------------------
@pytest.mark.parametrize("packed", [False, True])
def test_frames_come_back_as_they_were_taken(tmp_path: Path, packed: bool) -> None:
    folder = made(tmp_path / "set")
    stored = pack(folder, tmp_path / "set.h5") if packed else open_set(folder)
    assert (stored.header.camera, stored.header.design, stored.closed, len(stored)) == (CAMERA, "d" * 64, True, 4)
    for index, found in enumerate(stored):
        assert_same(found, frame(index))
    assert stored.damage() == []


def test_a_frame_s_file_is_an_npy_file_whose_hash_stands_in_the_journal(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", 1)
    np.testing.assert_array_equal(np.load(folder / "frames/000000.npy", allow_pickle=False), frame(0).raw)
    told = json.loads((folder / "journal.jsonl").read_text().splitlines()[0])["sha256"]
    assert subprocess.run(["sha256sum", folder / "frames/000000.npy"], capture_output=True, text=True, check=True).stdout.split()[0] == told


def test_a_set_resumes_in_a_new_session_whose_camera_counts_from_the_start(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", 2, close=False)
    with CaptureWriter.resume(folder) as writer:
        writer.add(frame(0))
        stored = writer.close()
    assert [(entry.number, entry.session, entry.index) for entry in stored.entries] == [(0, 0, 0), (1, 0, 1), (2, 1, 0)]
    assert stored.damage() == []


# --- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize(("wrong", "message"), [
    (frame(1, source="physical"), "another camera"), (frame(1, sensor="ov9281"), "another camera"),
    (frame(1, raw=np.zeros((5, 7), np.uint16)), "another camera"), (frame(0), "came before"),
    (frame(1, timestamp_s=float("nan")), "cannot be written down"), (frame(1, metadata={"x": np.zeros(2)}), "cannot be written down"),
    (frame(1, metadata={"x": float("inf")}), "cannot be written down"),
])
def test_a_frame_that_does_not_belong_is_refused_and_costs_nothing(tmp_path: Path, wrong: Frame, message: str) -> None:
    with CaptureWriter.create(tmp_path / "set", CAMERA, clock=lambda: "then") as writer:
        writer.add(frame(0))
        with pytest.raises(PrivcamError, match=message):
            writer.add(wrong)
        writer.add(frame(1))
        assert writer.close().damage() == []


def test_a_folder_is_made_once_and_written_by_one(tmp_path: Path) -> None:
    with CaptureWriter.create(tmp_path / "set", CAMERA, clock=lambda: "then") as writer:
        with pytest.raises(PrivcamError, match="somebody else writes"):
            CaptureWriter.resume(tmp_path / "set")
        writer.close()
        with pytest.raises(PrivcamError, match="takes no more"):
            writer.add(frame(0))
    with pytest.raises(PrivcamError, match="is closed"):
        CaptureWriter.resume(tmp_path / "set")
    with pytest.raises(PrivcamError, match="empty folder"):
        CaptureWriter.create(tmp_path / "set", CAMERA, clock=lambda: "then")
    with pytest.raises(PrivcamError, match="not a capture set"):
        open_set(tmp_path)
    with pytest.raises(PrivcamError, match="not a capture set"):
        CaptureWriter.resume(tmp_path / "nowhere")


def test_a_full_disk_stops_the_set_until_it_is_resumed(tmp_path: Path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with CaptureWriter.create(tmp_path / "set", CAMERA, clock=lambda: "then") as writer:
        writer.add(frame(0))
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
            patch.setattr(os, "fsync", full)
            writer.add(frame(1))
        with pytest.raises(PrivcamError, match="a write failed"):
            writer.add(frame(1))
    with CaptureWriter.resume(tmp_path / "set") as writer:
        writer.add(frame(1))
        assert [entry.index for entry in writer.close().entries] == [0, 1]


def test_raw_that_is_not_a_plane_of_uint16_is_no_frame() -> None:
    for raw in (np.zeros(SHAPE), np.zeros((*SHAPE, 3), np.uint16), np.zeros(SHAPE, np.uint8)):
        with pytest.raises(PrivcamError, match="one plane"):
            frame(0, raw=raw)


# --- damage ---------------------------------------------------------------------------------------
def _flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def _lines(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    journal = folder / "journal.jsonl"
    journal.write_text("".join(change(journal.read_text().splitlines(keepends=True))))


def _same_index(lines: list[str]) -> list[str]:
    entry = json.loads(lines[1]) | {"number": 4}
    return [*lines, json.dumps(entry) + "\n"]


DAMAGES: dict[str, tuple[Callable[[Path], object], list[tuple[str, int | None]]]] = {
    "a frame's file is gone": (lambda s: (s / "frames/000001.npy").unlink(), [("missing", 1)]),
    "a pixel was changed": (lambda s: _flip(s / "frames/000002.npy", -1), [("changed", 2)]),
    "a file's header was changed": (lambda s: _flip(s / "frames/000002.npy", 100), [("changed", 2)]),
    "a file was cut": (lambda s: os.truncate(s / "frames/000003.npy", 150), [("cut", 3)]),
    "two files changed places": (lambda s: ((s / "frames/000000.npy").rename(s / "t"), (s / "frames/000001.npy").rename(
        s / "frames/000000.npy"), (s / "t").rename(s / "frames/000001.npy")), [("changed", 0), ("changed", 1)]),
    "a foreign file": (lambda s: (s / "frames/000009.npy").write_bytes(b""), [("foreign", None)]),
    "the last line was cut": (lambda s: os.truncate(s / "journal.jsonl", (s / "journal.jsonl").stat().st_size - 9), [("cut", 3)]),
    "a line was cut": (lambda s: _lines(s, lambda lines: [lines[0][:40] + "\n", *lines[1:]]), [("cut", 0)]),
    "a line is gone": (lambda s: _lines(s, lambda lines: [lines[0], *lines[2:]]), [("missing", 1)]),
    "the last line is gone": (lambda s: _lines(s, lambda lines: lines[:-1]), [("missing", 3)]),
    "a setting was changed": (lambda s: _lines(s, lambda lines: [lines[0].replace("0.01", "0.02"), *lines[1:]]), [("changed", 0)]),
    "the source was changed": (lambda s: _lines(s, lambda lines: [*lines[:3], lines[3].replace("emulated", "physical")]), [("changed", 3)]),
    "a line is there twice": (lambda s: _lines(s, lambda lines: [*lines, lines[1]]), [("duplicate", 1)]),
    "two frames of one index": (lambda s: _lines(s, _same_index), [("duplicate", 4)]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_never_packed(tmp_path: Path, name: str) -> None:
    spoil, expected = DAMAGES[name]
    folder = made(tmp_path / "set")
    spoil(folder)
    assert [(one.kind, one.number) for one in open_set(folder).damage()] == expected
    with pytest.raises(PrivcamError, match="is damaged"):
        pack(folder, tmp_path / "set.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("name", [name for name in DAMAGES if name not in (
    "a pixel was changed", "a file's header was changed", "a file was cut", "two files changed places", "the last line was cut",
    "the last line is gone")])  # frames are read when a set is packed; what is no whole line at the end, a kill leaves too
def test_a_damaged_set_does_not_resume(tmp_path: Path, name: str) -> None:
    folder = made(tmp_path / "set", close=False)
    DAMAGES[name][0](folder)
    with pytest.raises(PrivcamError, match="is damaged"):
        CaptureWriter.resume(folder)


def test_every_changed_byte_of_the_text_files_is_found(tmp_path: Path) -> None:
    folder = made(tmp_path / "set", 2)
    for name in ("set.json", "journal.jsonl"):
        whole = (folder / name).read_bytes()
        for place in range(0, len(whole), 7):
            if whole[place] in b" \n":
                continue
            _flip(folder / name, place)
            try:
                assert open_set(folder).damage(), f"{name} byte {place}"
            except PrivcamError as error:
                assert name in str(error)
            (folder / name).write_bytes(whole)
    assert open_set(folder).damage() == []


def test_a_read_frame_is_checked_too(tmp_path: Path) -> None:
    folder = made(tmp_path / "set")
    _flip(folder / "frames/000001.npy", -3)
    stored = open_set(folder)
    with pytest.raises(PrivcamError, match="frame 1 was changed"):
        list(stored)
    (folder / "frames/000001.npy").unlink()
    with pytest.raises(PrivcamError, match="frame 1 cannot be read"):
        list(stored)


def test_damage_of_a_packed_set_is_named(tmp_path: Path) -> None:
    packed = tmp_path / "set.h5"
    pack(made(tmp_path / "set"), packed)
    with h5py.File(packed, "r+") as file:
        file["raw"][2, 0, 0] ^= 1
        file["more"] = 1
    assert [(one.kind, one.number, one.file) for one in open_set(packed).damage()] == [
        ("changed", 2, "frames/000002.npy"), ("foreign", None, "more")]
    with pytest.raises(PrivcamError, match="replace a file"):
        pack(tmp_path / "set", packed)
    os.truncate(packed, 700)
    with pytest.raises(PrivcamError, match="not a packed capture set"):
        open_set(packed)


def test_every_changed_byte_of_a_packed_frame_is_found(tmp_path: Path) -> None:
    packed = tmp_path / "set.h5"
    pack(made(tmp_path / "set", 2), packed)
    with h5py.File(packed) as file:
        chunk = file["raw"].id.get_chunk_info(1)
    whole = packed.read_bytes()
    for place in range(chunk.byte_offset + 2, chunk.byte_offset + chunk.size, 11):  # the first two bytes are zlib's own
        _flip(packed, place)
        assert [one.number for one in CaptureSet(PackedStore(packed), "set").damage()] == [1], place
        packed.write_bytes(whole)


def test_only_a_closed_set_is_packed_and_a_failed_packing_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    folder = made(tmp_path / "open", close=False)
    with pytest.raises(PrivcamError, match="only a closed"):
        pack(folder, tmp_path / "open.h5")
    shutil.rmtree(folder)
    folder = made(tmp_path / "set")
    monkeypatch.setattr(PackedStore, "frame", lambda self, number: b"wrong")
    with pytest.raises(PrivcamError, match="is damaged"):
        pack(folder, tmp_path / "set.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["set"]


def test_an_empty_set_can_be_packed(tmp_path: Path) -> None:
    assert len(pack(made(tmp_path / "set", 0), tmp_path / "set.h5")) == 0

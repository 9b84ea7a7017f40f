"""TIFF and DNG, in and out, held to LibRaw; and a folder of such files as a camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera_contract import CameraBench, CameraContract

from hil.cameras.folder import FolderCamera, Unsaid
from hil.cameras.raw_files import read_raw, read_tags, write_dng, write_tiff
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

tifffile = pytest.importorskip("tifffile", reason="tifffile is missing: pip install privcam[capture]")
SHAPE = (24, 32)
SHORT = CaptureSettings(exposure_s=0.004)
LONG = CaptureSettings(exposure_s=0.008, analogue_gain=2)
WORD = Unsaid(source="emulated", frame_period_s=0.1, sensor="unknown", black_level_dn=64, settings=SHORT)


def camera(cfa: str = "grbg", source: str = "emulated") -> CameraInfo:
    return CameraInfo.model_validate({"name": "bench", "sensor": "imx477", "shape": SHAPE, "bit_depth": 12, "black_level_dn": 256.5,
                                      "cfa": cfa, "source": source})


def frame(index: int, settings: CaptureSettings = SHORT) -> Frame:
    raw = np.random.default_rng(index).integers(256, 4096, SHAPE).astype(np.uint16)
    return Frame(raw=raw, settings=settings, timestamp_s=index / 30, source="emulated", index=index, sensor="imx477", temperature_c=30,
                 stimulus="white", metadata={"note": "ä"})


def foreign(file: Path, raw: np.ndarray, **options) -> None:
    tifffile.imwrite(file, raw, **{"photometric": "minisblack", "metadata": None} | options)


@pytest.fixture(params=["dng", "tiff"])
def written(request, tmp_path: Path) -> Path:
    file = tmp_path / f"frame.{request.param}"
    {"dng": write_dng, "tiff": write_tiff}[request.param](file, frame(3), camera())
    return file


class TestFolderCamera(CameraContract):
    @pytest.fixture(params=["own DNG", "own TIFF", "foreign TIFF"])
    def bench(self, request, tmp_path: Path) -> CameraBench:
        for place in range(10):
            index = place + (place > 2)
            taken = frame(index, SHORT if place < 5 else LONG)
            if request.param == "own DNG":
                write_dng(tmp_path / f"{place:02d}.dng", taken, camera())
            elif request.param == "own TIFF":
                write_tiff(tmp_path / f"{place:02d}.tif", taken, camera())
            else:
                exposure, iso = ((4, 1000), 100) if place < 5 else ((8, 1000), 200)
                foreign(tmp_path / f"shot_{index:03d}.tif", taken.raw, extratags=[(33434, 5, 1, exposure, True), (34855, 3, 1, iso, True)])
        return CameraBench(FolderCamera(tmp_path, WORD), (SHORT, LONG), True, CaptureSettings(exposure_s=9))


def test_a_frame_comes_back_whole(written: Path) -> None:
    assert FolderCamera(written.parent).info == camera()
    found = next(FolderCamera(written.parent).capture(SHORT, 1))
    np.testing.assert_array_equal(found.raw, frame(3).raw)
    assert {**vars(found), "raw": 0} == {**vars(frame(3)), "raw": 0, "replayed": True}


def test_a_changed_pixel_is_found(written: Path) -> None:
    said = read_tags(written)
    data = bytearray(written.read_bytes())
    place = data.index(frame(3).raw.tobytes()) + 100
    data[place] ^= 1
    written.write_bytes(data)
    with pytest.raises(PrivcamError, match="was changed"):
        read_raw(said)


@pytest.mark.parametrize("cfa", ["rggb", "bggr", "grbg", "gbrg", "mono"])
def test_libraw_reads_the_same_numbers_colours_and_levels(tmp_path: Path, cfa: str) -> None:
    rawpy = pytest.importorskip("rawpy", reason="rawpy, the other reader, is missing")
    file = tmp_path / "frame.dng"
    write_dng(file, frame(3), camera(cfa).model_copy(update={"black_level_dn": 256.0}))
    with rawpy.imread(str(file)) as opened:
        np.testing.assert_array_equal(opened.raw_image, frame(3).raw)
        assert opened.white_level == 4095
        if cfa != "mono":
            assert set(opened.black_level_per_channel) == {256}
            letters = opened.color_desc.decode().lower()
            assert "".join(letters[value] for value in opened.raw_pattern.ravel()) == cfa


def test_tags_of_a_dng_stand_without_our_own_description(tmp_path: Path) -> None:
    """What another program's DNG would say: only the tags are left."""
    file = tmp_path / "frame.dng"
    write_dng(file, frame(3, LONG), camera())
    file.write_bytes(file.read_bytes().replace(b'"privcam_frame"', b'"another_frame"'))
    said = read_tags(file)
    assert said.entry is None and said.settings == LONG
    assert (said.shape, said.bit_depth, said.cfa, said.black_level_dn, said.model) == (SHAPE, 12, "grbg", 256.5, "imx477")
    np.testing.assert_array_equal(read_raw(said), frame(3).raw)
    assert FolderCamera(tmp_path, WORD).info.source == "emulated"


def test_eight_bits_are_widened_and_not_scaled(tmp_path: Path) -> None:
    raw = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint8).reshape(SHAPE)
    foreign(tmp_path / "grey.tif", raw)
    folder = FolderCamera(tmp_path, WORD)
    assert folder.info.bit_depth == 8
    np.testing.assert_array_equal(next(folder.capture(SHORT, 1)).raw, raw)


def test_a_packed_file_is_read_by_libraw(tmp_path: Path) -> None:
    """12 bits packed, two pixels in three bytes, as many cameras write a DNG: tifffile alone cannot."""
    pytest.importorskip("rawpy", reason="rawpy, which reads packed files, is missing")
    file = tmp_path / "frame.dng"
    write_dng(file, frame(3), camera())
    one, two = frame(3).raw[:, ::2].astype(int), frame(3).raw[:, 1::2].astype(int)
    packed = np.stack([one >> 4, (one & 15) << 4 | two >> 8, two & 255], -1).astype(np.uint8).tobytes()
    file.write_bytes(file.read_bytes().replace(frame(3).raw.tobytes(), packed).replace(b"privcam_frame", b"another_frame"))
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[0].tags["BitsPerSample"].overwrite(12)
        tiff.pages[0].tags["StripByteCounts"].overwrite(len(packed))
    np.testing.assert_array_equal(read_raw(read_tags(file)), frame(3).raw)


def test_a_file_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "frame.tif"
    foreign(file, frame(0).raw)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(7)
    with pytest.raises(PrivcamError, match="compressed TIFF"):
        read_raw(read_tags(file))


@pytest.mark.parametrize(("word", "message"), [
    (None, "where it came from"),
    (Unsaid(source="physical", frame_period_s=1, sensor="s", black_level_dn=0), "how it was exposed"),
    (Unsaid(source="physical", frame_period_s=1, settings=SHORT), "sensor and black level"),
])
def test_nothing_is_guessed(tmp_path: Path, word: Unsaid | None, message: str) -> None:
    foreign(tmp_path / "a.tif", frame(0).raw)
    with pytest.raises(PrivcamError, match=message):
        FolderCamera(tmp_path, word)


def test_what_is_no_raw_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrivcamError, match="without raw files"):
        FolderCamera(tmp_path)
    picture = tmp_path / "a.tif"
    foreign(picture, np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(PrivcamError, match="without a raw plane"):
        FolderCamera(tmp_path, WORD)
    picture.write_bytes(b"nothing")
    with pytest.raises(PrivcamError, match="not a TIFF"):
        FolderCamera(tmp_path, WORD)


def test_files_of_two_cameras_are_refused(tmp_path: Path) -> None:
    write_dng(tmp_path / "0.dng", frame(0), camera())
    write_dng(tmp_path / "1.dng", frame(1), camera("rggb"))
    with pytest.raises(PrivcamError, match="more than one camera"):
        FolderCamera(tmp_path)

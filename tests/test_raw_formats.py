"""Raw numbers out of a camera's bytes: every bit depth, packed and not, rows with padding, both ends of the range."""

from __future__ import annotations

import numpy as np
import pytest
from fake_picamera2 import JUNK, packed

from hil.cameras.raw_formats import format_name, raw_format, raw_pixels, whole_pixels
from optics_sim.errors import PrivcamError

ROWS = 3


def every_number(bits: int, columns: int, seed: int = 0) -> np.ndarray:
    """Rows of random numbers that begin at both ends of the range."""
    raw = np.random.default_rng(seed).integers(0, 2**bits, (ROWS, columns), dtype=np.uint16)
    raw[:, 0], raw[:, -1] = 0, 2**bits - 1
    return raw


def padded(rows: np.ndarray, padding: int, behind: int = 0) -> np.ndarray:
    return np.concatenate([np.pad(rows, ((0, 0), (0, padding)), constant_values=JUNK).ravel(), np.full(behind, JUNK, np.uint8)])


def bytes_of(raw: np.ndarray, bits: int) -> np.ndarray:
    return raw.astype(np.uint8) if bits == 8 else np.ascontiguousarray(raw.astype("<u2")).view(np.uint8)


@pytest.mark.parametrize("padding", [0, 1, 7, 24, 33])
@pytest.mark.parametrize("behind", [0, 4096])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_unpacked_numbers_come_out(bits: int, padding: int, behind: int) -> None:
    for columns in (1, 2, 7, 40):
        raw = every_number(bits, columns)
        row_bytes = columns * (1 if bits == 8 else 2) + padding
        found = raw_pixels(padded(bytes_of(raw, bits), padding, behind), f"SRGGB{bits}", raw.shape, row_bytes, bits)
        np.testing.assert_array_equal(found, raw)
        assert found.dtype == np.uint16 and found.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("padding", [0, 1, 5, 32])
@pytest.mark.parametrize(("bits", "group"), [(10, 4), (12, 2), (14, 4)])
def test_packed_numbers_come_out(bits: int, group: int, padding: int) -> None:
    for columns in (group, 5 * group, 40):
        raw = every_number(bits, columns)
        rows = packed(raw, bits)
        assert rows.shape[1] == columns * bits // 8
        found = raw_pixels(padded(rows, padding, 17), f"SBGGR{bits}_CSI2P", raw.shape, rows.shape[1] + padding, bits)
        np.testing.assert_array_equal(found, raw)
        assert found.dtype == np.uint16 and found.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_every_value_at_every_place_of_a_group(bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint16)
    for place in range(4):
        raw = np.roll(np.stack([values, values[::-1], values ^ 5, values ^ 2]), place, axis=0).T.copy()
        rows = packed(raw, bits)
        np.testing.assert_array_equal(raw_pixels(rows.ravel(), f"R{bits}_CSI2P", raw.shape, rows.shape[1], bits), raw)


def test_packing_is_the_one_of_the_kernel_s_documentation() -> None:
    """By hand from pixfmt-srggb10p, -12p and -14p: the lowest bits of the last bytes are the first pixel's."""
    ten = np.array([0xFF, 0x00, 0x80, 0x01, 0b11_01_10_00], np.uint8)
    assert raw_pixels(ten, "R10_CSI2P", (1, 4), 5, 10).tolist() == [[0x3FC, 0x002, 0x201, 0x007]]
    twelve = np.array([0xAB, 0xDE, 0xFC], np.uint8)
    assert raw_pixels(twelve, "R12_CSI2P", (1, 2), 3, 12).tolist() == [[0xABC, 0xDEF]]
    fourteen = np.array([0x01, 0x02, 0x03, 0x04, 0b10_000001, 0b0011_0000, 0b000100_00], np.uint8)
    assert raw_pixels(fourteen, "R14_CSI2P", (1, 4), 7, 14).tolist() == [[0x41, 0x82, 0xC3, 0x104]]


def test_a_last_group_that_is_not_full_is_cut() -> None:
    raw = every_number(10, 8)
    np.testing.assert_array_equal(raw_pixels(packed(raw, 10).ravel(), "R10_CSI2P", (ROWS, 6), 10, 10), raw[:, :6])


@pytest.mark.parametrize("bits", range(8, 16))
def test_left_justified_words_come_down(bits: int) -> None:
    raw = every_number(bits, 20)
    words = padded(bytes_of(raw << (16 - bits), 16), 24, 8)
    np.testing.assert_array_equal(raw_pixels(words, "SRGGB16", raw.shape, 64, bits), raw)
    np.testing.assert_array_equal(raw_pixels(words, "R16", raw.shape, 64, 16), raw << (16 - bits))


def test_what_is_not_justified_as_it_was_said_is_refused() -> None:
    raw = every_number(12, 20)
    with pytest.raises(PrivcamError, match="lower bits are not empty"):
        raw_pixels(bytes_of(raw, 16).ravel(), "SRGGB16", raw.shape, 40, 12)
    with pytest.raises(PrivcamError, match="beyond their bit depth"):
        raw_pixels(bytes_of(raw << 4, 16).ravel(), "SRGGB12", raw.shape, 40, 12)
    for name, bits in (("SRGGB12", 10), ("SRGGB10_CSI2P", 12), ("R8", 16)):
        with pytest.raises(PrivcamError, match="another bit depth"):
            raw_pixels(bytes_of(raw, 16).ravel(), name, raw.shape, 40, bits)


def test_a_frame_that_was_cut_is_refused() -> None:
    raw = every_number(12, 20)
    for data, row_bytes in ((bytes_of(raw, 16).ravel()[:-1], 40), (bytes_of(raw, 16).ravel(), 39)):
        with pytest.raises(PrivcamError, match="was cut"):
            whole_pixels(data, raw.shape, row_bytes, 2)
    with pytest.raises(PrivcamError, match="was cut"):
        raw_pixels(packed(raw, 12).ravel(), "R12_CSI2P", (ROWS, 21), 30, 12)


def test_formats_are_what_their_names_say() -> None:
    assert raw_format("SGBRG10_CSI2P") == ("gbrg", 10, True)
    assert raw_format("SBGGR16") == ("bggr", 16, False)
    assert raw_format("R8") == ("mono", 8, False)
    for compressed in ("BGGR_PISP_COMP1", "MONO_PISP_COMP1"):
        with pytest.raises(PrivcamError, match=r"with loss.*what to do: .*packed"):
            raw_format(compressed)
    for other in ("XBGR8888", "YUV420", "SRGGB9", "SRGGB16_CSI2P", "MJPEG", ""):
        with pytest.raises(PrivcamError, match="not a raw format"):
            raw_format(other)


def test_a_format_is_named_after_another_one() -> None:
    assert format_name("SBGGR12_CSI2P", 10, packed=False) == "SBGGR10"
    assert format_name("GRBG_PISP_COMP1", 12, packed=True) == "SGRBG12_CSI2P"
    assert format_name("MONO_PISP_COMP1", 10, packed=False) == format_name("R8", 10, packed=False) == "R10"
    with pytest.raises(PrivcamError, match="not a raw camera"):
        format_name("YUYV", 10, packed=False)

"""A V4L2 camera: its formats anywhere, the camera itself where PRIVCAM_V4L2 names a device that gives raw grey."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hil.cameras.v4l2 import FORMATS, V4l2Camera, pixels
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings


def camera(device: Path, pixel_format: str = "GREY") -> V4l2Camera:
    return V4l2Camera(device, sensor="test", shape=(480, 640), pixel_format=pixel_format, black_level_dn=0)


def test_rows_lose_their_padding_and_numbers_stay() -> None:
    raw = np.arange(12, dtype="<u2").reshape(3, 4) + 1000
    padded = np.concatenate([raw.view(np.uint8), np.full((3, 8), 255, np.uint8)], 1).tobytes()
    np.testing.assert_array_equal(pixels(padded, "SRGGB12", (3, 4), 16), raw)
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = pixels(grey.tobytes(), "GREY", (3, 4), 4)
    np.testing.assert_array_equal(found, grey)
    assert found.dtype == np.uint16
    for data, row_bytes in ((padded[:-1], 16), (padded, 6)):
        with pytest.raises(PrivcamError, match="was cut"):
            pixels(data, "SRGGB12", (3, 4), row_bytes)


def test_formats_are_what_their_names_say() -> None:
    assert FORMATS["SGBRG10"] == (10, 2, "gbrg") and FORMATS["SBGGR8"] == (8, 1, "bggr") and FORMATS["Y12"] == (12, 2, "mono")
    info = camera(Path("/dev/video0"), "SGBRG10").info
    assert (info.bit_depth, info.cfa, info.source) == (10, "gbrg", "physical")


def test_processed_pictures_and_absent_cameras_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PrivcamError, match="not a raw pixel format"):
        camera(tmp_path / "video", "YUYV")
    pytest.importorskip("linuxpy", reason="linuxpy is missing: pip install privcam[v4l2]")
    with pytest.raises(PrivcamError, match="no camera opens"), camera(tmp_path / "video"):
        pass


def test_linuxpy_knows_every_format_by_this_name() -> None:
    video = pytest.importorskip("linuxpy.video.device", reason="linuxpy is missing: pip install privcam[v4l2]")
    assert set(FORMATS) <= set(video.PixelFormat.__members__)


def test_what_the_driver_took_before_it_was_asked_is_let_go(monkeypatch) -> None:
    """Of a stand-in for the driver, which goes on filling its queue between two calls with the same settings."""
    queue = iter(range(1000))
    control = SimpleNamespace(name="exposure", minimum=1, maximum=10000, value=0)
    asked = camera(Path("/dev/video0"))
    monkeypatch.setattr(asked, "_controls", lambda: {0x009A0902: control})
    monkeypatch.setattr(asked, "_next", lambda: next(queue))
    monkeypatch.setattr(asked, "_frame", lambda taken, applied: taken)
    took = [list(asked.capture(CaptureSettings(exposure_s=exposure_s), 2)) for exposure_s in (0.01, 0.01, 0.02)]
    assert took == [[6, 7], [14, 15], [22, 23]]


@pytest.fixture
def live() -> Iterator[V4l2Camera]:
    pytest.importorskip("linuxpy", reason="linuxpy is missing: pip install privcam[v4l2]")
    device = os.environ.get("PRIVCAM_V4L2")
    if not device:
        pytest.skip("no V4L2 device: name one that gives raw grey, 640 x 480, in PRIVCAM_V4L2")
    with camera(Path(device)) as opened:
        yield opened


def test_a_real_device_gives_frames_that_rise(live: V4l2Camera) -> None:
    frames = list(live.capture(CaptureSettings(exposure_s=0.01), 5))
    assert len(frames) == 5 and all(frame.raw.shape == (480, 640) for frame in frames)
    assert (np.diff([frame.index for frame in frames]) >= 1).all()
    assert (np.diff([frame.timestamp_s for frame in frames]) > 0).all()

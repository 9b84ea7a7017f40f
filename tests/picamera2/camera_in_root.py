"""Run by the root's Python, with pytest: `Picamera2Camera` on the unmodified Picamera2 keeps what every camera promises.

`bright.pgm`, `dim.pgm` and `dimmer.pgm` lie beside this file, the last a quarter as bright as the one before; the virtual camera sees
`scene.pgm`.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from camera_contract import CameraBench, CameraContract

from hil.cameras.picamera2 import Picamera2Camera
from optics_sim.frame import CaptureSettings

HERE = Path(__file__).parent
SETTINGS = (CaptureSettings(exposure_s=0.002), CaptureSettings(exposure_s=0.004, analogue_gain=2.0))
SIDE = 64  # of the scene, in the middle of the frame
NOISE = 0.03  # relative, of the mean of the dimmest window: six standard errors and the black level's half step


def show(name: str) -> None:
    Path(shutil.copy(HERE / name, HERE / "part")).replace(HERE / "scene.pgm")


class Slow:
    """A host that takes its time: the sensor goes on meanwhile."""

    def __init__(self, camera: Picamera2Camera) -> None:
        self._camera, self.info = camera, camera.info

    def capture(self, settings, count):
        for frame in self._camera.capture(settings, count):
            yield frame
            time.sleep(0.15)


@pytest.fixture
def camera():
    show("bright.pgm")
    with Picamera2Camera(sensor="imx477", shape=(1520, 2028), bit_depth=12) as camera:
        yield camera


def light(frame, info):
    """The mean signal of the scene for a second at gain 1."""
    rows, columns = info.shape
    middle = frame.raw[rows // 2 - SIDE // 2:rows // 2 + SIDE // 2, columns // 2 - SIDE // 2:columns // 2 + SIDE // 2]
    return (middle.mean() - info.black_level_dn) / frame.settings.exposure_s / frame.settings.analogue_gain


class TestContract(CameraContract):
    @pytest.fixture
    def bench(self, camera):
        return CameraBench(Slow(camera), SETTINGS, False, CaptureSettings(exposure_s=1000.0))


def test_the_virtual_camera_is_emulated_and_says_what_it_is(camera):
    info = camera.info
    assert (info.source, info.cfa, info.bit_depth, info.black_level_dn) == ("emulated", "rggb", 12, 256)


def test_each_frame_was_exposed_as_it_says(camera):
    """Settings that change at each call, in exposure, in gain, in both: no frame of an older one slips through."""
    lights = []
    for exposure_s, gain in ((0.002, 1.0), (0.002, 2.0), (0.004, 2.0), (0.004, 1.0), (0.002, 2.0), (0.002, 1.0)):
        for frame in camera.capture(CaptureSettings(exposure_s=exposure_s, analogue_gain=gain), 2):
            assert frame.settings.analogue_gain == pytest.approx(gain, rel=0.01)
            assert frame.settings.exposure_s == pytest.approx(exposure_s, rel=0.01)
            lights.append(light(frame, camera.info))
    assert np.ptp(lights) / np.mean(lights) < NOISE


def test_no_frame_shows_what_was_there_before_it_was_asked_for(camera):
    """Exposures so long that a scene nearly always changes within one."""
    long = CaptureSettings(exposure_s=0.2)
    show("dim.pgm")
    (first,) = camera.capture(long, 1)
    for turn, (name, level) in enumerate((("dimmer.pgm", 0.25), ("dim.pgm", 1.0)) * 3):
        time.sleep(0.03 * turn)
        show(name)
        (frame,) = camera.capture(long, 1)
        assert light(frame, camera.info) == pytest.approx(level * light(first, camera.info), rel=NOISE)


def test_packed_and_turned_frames_are_the_same_light(camera):
    (frame,) = camera.capture(SETTINGS[1], 1)
    plain, info = light(frame, camera.info), camera.info
    camera.__exit__(None, None, None)
    try:
        for more, cfa in (({"packed": True}, "rggb"), ({"hflip": True, "vflip": True}, "bggr")):
            with Picamera2Camera(sensor="imx477", shape=info.shape, bit_depth=12, **more) as other:
                assert other.info.cfa == cfa
                (frame,) = other.capture(SETTINGS[1], 1)
                assert light(frame, other.info) == pytest.approx(plain, rel=NOISE)
    finally:
        camera.__enter__()

"""The unmodified Picamera2 on the real libcamera, with a raw virtual camera fed by privcam's simulator (docs/picamera2-test.md).

`make test-picamera2` builds what this needs. Nothing here is a Raspberry Pi: sensor and light are simulated.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from agent_process import small_design
from picamera2_here import FAKE_DMABUF, SCENE, InRoot, Looking, missing
from picamera2_scene import electrons_per_s, write_scene

import hil
import optics_sim

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

ROWS, COLUMNS = 1520, 2028
MODE = {"format": "SRGGB12", "size": (COLUMNS, ROWS)}
BLACK_12 = 256.0
LINE_US = 12740 / 840  # of this mode
EXPOSURE_DELAY, GAIN_DELAY = 2, 3  # hilcam.cpp
SIX_SIGMA = 6
TICK_S = 0.01  # a file's time is that of the kernel's last tick, at 100 Hz or faster
MANUAL = {"ExposureTime": 4000, "AnalogueGain": 1.0, "AnalogueGainMode": 1}


def unpacked(buffer):
    """Returns DN [row, column] of a Pi 4's unpacked buffer."""
    return buffer.reshape(ROWS, 4064).view("<u2")[:, :COLUMNS]


def from_csi2p(buffer, shape, stride, bits):
    """Returns DN [row, column] of MIPI's packing, pixel by pixel as the kernel's documentation draws it."""
    group, low = {10: (4, 2), 12: (2, 4)}[bits]
    cells = buffer.reshape(shape[0], stride)[:, : shape[1] * bits // 8].reshape(shape[0], shape[1] // group, group + 1).astype(np.uint16)
    pixels = [cells[..., place] << low | cells[..., group] >> low * place & 2**low - 1 for place in range(group)]
    return np.stack(pixels, -1).reshape(shape)


@pytest.fixture(scope="module")
def design():
    return small_design()


@pytest.fixture(scope="module")
def seen(design):
    """Electrons per second of a scene that differs everywhere, on the readout's crop."""
    return electrons_per_s(design, 0.2 + 0.6 * np.random.default_rng(0).random(design.scene))


@pytest.fixture
def place():
    with InRoot() as place:
        yield place


@pytest.fixture
def look(place, design, seen):
    place.light = write_scene(place.scene, design, seen, temperature_c=31.5)
    with Looking(place) as look:
        place.said = look("open")
        yield look


def window(design):
    """Where the scene lies in the frame: in the middle, at even pixels."""
    rows, columns = design.readout.crop[2:]
    top, left = (ROWS - rows) // 4 * 2, (COLUMNS - columns) // 4 * 2
    return slice(top, top + rows), slice(left, left + columns)


def settled(look, count=1, **more):
    """Returns frames after those with older settings."""
    look("frames", count=8)
    return look("frames", count=count, **more)


def signal(raw, design):
    return raw[window(design)].astype(np.float64) - BLACK_12


def expected(said, light, design):
    electrons = (light + design.sensor.dark_current_e_per_s) * said["ExposureTime"] * 1e-6
    return electrons * design.sensor.gain_dn_per_e * said["AnalogueGain"]


def sigma_of_mean(mean_dn, said, design):
    """One standard deviation of a mean over the window, shot and read noise."""
    gain = design.sensor.gain_dn_per_e * said["AnalogueGain"]
    return np.sqrt((mean_dn.mean() / gain + design.sensor.read_noise_e**2) / mean_dn.size) * gain


def test_picamera2_is_the_unmodified_one_and_the_camera_is_ours(look, place):
    assert place.said["properties"]["Model"] == "imx477", "another libcamera? hilcam.so changed nothing"
    assert place.said["picamera2"] == "0.3.38" and place.said["code"].startswith("/opt/privcam/venv/lib/")
    assert place.said["libcamera"].startswith("v0.")


def test_modes_are_those_of_the_sensor(look):
    modes = {(mode["format"], *mode["size"]): mode for mode in look("modes")}
    assert {key[1:] for key in modes} == {(1332, 990), (2028, 1520), (4056, 3040)}
    assert (modes["SRGGB12", 2028, 1520]["fps"], modes["SRGGB10", 1332, 990]["fps"]) == (40, 120)
    assert modes["SRGGB12_CSI2P", 4056, 3040]["exposure_limits"][0] == 115


@pytest.mark.parametrize(("controls", "level"), [({"ExposureTime": 2000}, 0.5), ({"ExposureTime": 4000, "AnalogueGain": 2.0}, 2)])
def test_every_pixel_is_what_the_simulator_says(look, place, design, controls, level):
    raw = look("start", raw=MODE, controls=MANUAL | controls)
    assert (raw["format"], raw["stride"]) == ("SRGGB12", 4064)
    (said,) = settled(look, file=f"{place.inside}/raw.npy")
    measured = signal(unpacked(np.load(place.path / "raw.npy")[0]), design)
    mean = expected(said, place.light, design)
    assert mean.mean() == pytest.approx(level * 4e-3 * place.light.mean() * design.sensor.gain_dn_per_e, rel=0.02)
    assert measured.mean() == pytest.approx(mean.mean(), abs=SIX_SIGMA * sigma_of_mean(mean, said, design))
    assert np.corrcoef(measured.ravel(), mean.ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(measured[:, ::-1].ravel(), mean.ravel())[0, 1]) < 0.5, "a mirrored frame would pass, too"


@pytest.mark.parametrize(("name", "board", "given", "stride", "bits"), [
    ("SRGGB12", "pi4", "SRGGB12", 4064, 12), ("SRGGB12_CSI2P", "pi4", "SRGGB12_CSI2P", 3072, 12), ("SRGGB12", "pi5", "SRGGB16", 4096, 12),
    ("SRGGB10", "pi4", "SRGGB10", 2688, 10), ("SRGGB10_CSI2P", "pi4", "SRGGB10_CSI2P", 1696, 10)])
def test_formats_hold_every_bit(place, design, name, board, given, stride, bits):
    """A sensor without noise gives numbers that are known to the last bit, in each format and its row padding."""
    quiet = design.replace(**{"sensor.gain_dn_per_e": 1e-7, "sensor.full_well_e": 1e12, "sensor.read_noise_e": 0.0,
                              "sensor.dark_current_e_per_s": 0.0})
    shape = (ROWS, COLUMNS) if bits == 12 else (990, 1332)
    line_us = (12740 if bits == 12 else 6664) / 840
    exposure_s = 4000 // line_us * line_us * 1e-6
    black, scale = 2 ** (bits - 4), 2.0 ** (12 - bits)
    numbers = np.random.default_rng(1).integers(black, 2**bits, (60, 72))
    numbers[0, 0] = 2**bits - 1
    write_scene(place.scene, quiet, (numbers - black) * scale / 1e-7 / exposure_s)
    with Looking(place, board=board) as look:
        look("open")
        raw = look("start", raw={"format": name, "size": shape[::-1]}, controls=MANUAL)
        settled(look, file=f"{place.inside}/raw.npy")
    assert (raw["format"], raw["stride"], raw["size"]) == (given, stride, list(shape[::-1]))
    buffer = np.load(place.path / "raw.npy")[0]
    pixels = (from_csi2p(buffer, shape, stride, bits) if "CSI2P" in given else
              buffer.reshape(shape[0], stride).view("<u2")[:, : shape[1]] // (16 if given == "SRGGB16" else 1))
    top, left = (shape[0] - 60) // 4 * 2, (shape[1] - 72) // 4 * 2
    whole = np.full(shape, black)
    whole[top:top + 60, left:left + 72] = numbers
    differ = pixels != whole
    assert not differ.any(), f"{differ.sum()} of {differ.size}, by {np.abs(pixels.astype(int) - whole).max()}"


def test_a_turned_camera_has_other_colours_first(look, place, design):
    """Whoever takes the colours from the properties and not from the configured format is wrong here."""
    raw = look("start", raw=MODE, controls=MANUAL, hflip=1, vflip=1)
    assert raw["format"] == "SBGGR12"
    (said,) = settled(look, file=f"{place.inside}/raw.npy")
    turned = unpacked(np.load(place.path / "raw.npy")[0])[::-1, ::-1]
    mean = expected(said, place.light, design)
    assert np.corrcoef(signal(turned, design).ravel(), mean.ravel())[0, 1] > 0.95


def test_settings_act_later_and_apart_and_each_frame_tells_its_own(look, place, design):
    look("start", raw=MODE, controls=MANUAL)
    settled(look)
    look("set", controls={"ExposureTime": 8000, "AnalogueGain": 2.0})
    frames = look("frames", count=10, file=f"{place.inside}/raw.npy")
    exposures = [frame["ExposureTime"] for frame in frames]
    gains = [frame["AnalogueGain"] for frame in frames]
    assert exposures[:EXPOSURE_DELAY] == [exposures[0]] * EXPOSURE_DELAY and exposures[0] == pytest.approx(4000, abs=LINE_US)
    assert exposures[-1] == pytest.approx(8000, abs=LINE_US) and gains[0] == 1 and gains[-1] == 2
    apart = [frame for frame in frames if frame["ExposureTime"] > 7000 and frame["AnalogueGain"] == 1]
    assert len(apart) <= GAIN_DELAY - EXPOSURE_DELAY
    for said, buffer in zip(frames, np.load(place.path / "raw.npy"), strict=True):
        mean = expected(said, place.light, design)
        assert signal(unpacked(buffer), design).mean() == pytest.approx(mean.mean(), abs=SIX_SIGMA * sigma_of_mean(mean, said, design))


def test_signal_is_proportional_to_exposure_and_the_rest_is_black(look, place, design):
    look("start", raw=MODE, controls=MANUAL)
    ratios = []
    for us in (1000, 2000, 4000):
        look("set", controls={"ExposureTime": us})
        (said,) = settled(look, file=f"{place.inside}/raw.npy")
        raw = unpacked(np.load(place.path / "raw.npy")[0])
        ratios.append(signal(raw, design).mean() / said["ExposureTime"])
        assert raw[:200].mean() == pytest.approx(BLACK_12, abs=0.05), "beside the scene there is no light"
        assert said["SensorBlackLevels"] == [4096] * 4 and said["SensorTemperature"] == 31.5
    assert np.ptp(ratios) / np.mean(ratios) < 0.03


def test_noise_is_shot_and_read_noise(look, place, design):
    """Photon transfer of two frames of an even field: variance of the difference over the mean is the gain."""
    place.light = write_scene(place.scene, design, np.full((ROWS, COLUMNS), 4e5))
    look("start", raw=MODE, controls=MANUAL)
    said = settled(look, count=2, file=f"{place.inside}/raw.npy")[0]
    first, second = (unpacked(buffer).astype(np.float64) for buffer in np.load(place.path / "raw.npy"))
    gain = ((first - second).var() / 2 - 1 / 12 - (design.sensor.read_noise_e * design.sensor.gain_dn_per_e) ** 2) / (
        first.mean() - BLACK_12)
    assert gain == pytest.approx(design.sensor.gain_dn_per_e, rel=0.01)
    assert first.mean() - BLACK_12 == pytest.approx(expected(said, 4e5, design), rel=0.001)


def test_timestamps_rise_by_whole_frames_and_lost_frames_are_gaps(look):
    look("start", raw=MODE, controls=MANUAL)
    slow = look("frames", count=6, pause_s=0.2)
    stamps = np.diff([frame["SensorTimestamp"] for frame in slow]) / (slow[-1]["FrameDuration"] * 1000)
    assert np.allclose(stamps, np.rint(stamps), atol=1e-3) and (stamps >= 1).all() and stamps.max() > 1
    assert slow[-1]["FrameDuration"] == 25_000
    assert slow[-1]["SensorTimestamp"] < time.monotonic_ns() < slow[-1]["SensorTimestamp"] + 5e9


def test_a_frame_shows_what_was_there_while_it_was_exposed(look, place, design, seen):
    """Frames before a change of the scene, those in which it happens, and those after it, each in its share."""
    exposure_s, middle_s = 0.2, ROWS / 2 * LINE_US * 1e-6  # of the middle row, after the first one
    dim, dimmer = (write_scene(place.path / name, design, seen * level) for name, level in ((SCENE, 0.02), ("next.pgm", 0.005)))
    look("start", raw=MODE, controls=MANUAL | {"ExposureTime": round(exposure_s * 1e6)})
    last = look("frames", count=2)[-1]
    look.ask("frames", count=8, file=f"{place.inside}/raw.npy")
    time.sleep(last["SensorTimestamp"] * 1e-9 + middle_s + 4.5 * last["FrameDuration"] * 1e-6 - time.monotonic())
    (place.path / "next.pgm").replace(place.scene)
    changed_s = time.monotonic() - time.time() + place.scene.stat().st_ctime
    shares = []
    for said, buffer in zip(look.answer(), np.load(place.path / "raw.npy"), strict=True):
        old, new = (expected(said, light, design).mean() for light in (dim, dimmer))
        end_s = said["SensorTimestamp"] * 1e-9 + middle_s
        shares.append(np.clip((end_s - changed_s) / (said["ExposureTime"] * 1e-6), 0, 1))
        shown = (signal(unpacked(buffer), design).mean() - old) / (new - old)
        assert shown == pytest.approx(shares[-1], abs=0.03 + TICK_S / exposure_s)
    assert shares[0] == 0 and shares[-1] == 1 and any(0.1 < share < 0.9 for share in shares)


def test_automatic_exposure_is_never_at_rest(look):
    """Whoever forgets to switch it off is found out."""
    look("start", raw=MODE, controls={})
    assert len({frame["ExposureTime"] for frame in look("frames", count=6)}) > 3


@pytest.mark.skipif(find_spec("hil.cameras.picamera2") is None, reason="hil/cameras/picamera2.py is not there")
def test_our_own_camera_keeps_the_contract(place, design, seen):
    """`Picamera2Camera` in the root, by the tests that every camera has (tests/picamera2/camera_in_root.py)."""
    for name, level in (("bright.pgm", 1.0), ("dim.pgm", 0.02), ("dimmer.pgm", 0.005)):
        write_scene(place.path / name, design, seen * level)
    tests = Path(__file__).parent
    for package in (hil, optics_sim):
        shutil.copytree(Path(package.__file__).parent, place.path / package.__name__, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("camera_contract.py", "picamera2/camera_in_root.py"):
        shutil.copy(tests / file, place.path)
    ran = subprocess.run(place.command("-m", "pytest", "-q", "-p", "no:cacheprovider", f"{place.inside}/camera_in_root.py"),
                         capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0 and " passed" in ran.stdout, f"{ran.stdout[-6000:]}{ran.stderr[-2000:]}"


def test_a_camera_opens_again(look):
    for _ in range(2):
        look("close")
        assert look("open")["properties"]["Model"] == "imx477"
        look("start", raw=MODE, controls=MANUAL)
        assert len(look("frames", count=2)) == 2
        look("stop")


def test_without_the_virtual_camera_picamera2_refuses(place, design, seen):
    """The negative control: libcamera's own virtual camera has no raw frames."""
    write_scene(place.scene, design, seen)
    with Looking(place, shims=(FAKE_DMABUF,)) as look, pytest.raises(RuntimeError, match="did not complete"):
        look("open")


def test_a_camera_without_a_scene_does_not_start(place):
    with Looking(place) as look:
        look("open")
        with pytest.raises(RuntimeError, match="start"):
            look("start", raw=MODE, controls=MANUAL)
        assert "no scene file" in look.errors

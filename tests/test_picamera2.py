"""The Raspberry Pi's camera over a stand-in for Picamera2: each trap of raw capture is set, and none is stepped into."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from types import SimpleNamespace

import numpy as np
import pytest
from camera_contract import CameraBench, CameraContract
from fake_picamera2 import World, modules

from hil.agent.wire import frame_bytes, read_frame
from hil.bench import Bench
from hil.cameras import pi_stack, pi_stream
from hil.cameras.pi_stream import within
from hil.cameras.picamera2 import MOST_PASSED, SETTLING_FRAMES, Picamera2Camera
from hil.capture_set.stored import CaptureSet
from hil.capture_set.writer import CaptureWriter
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings, Frame

SHORT = CaptureSettings(exposure_s=0.004)
LONG = CaptureSettings(exposure_s=0.008, analogue_gain=2)
GENERATIONS = ("0.3.12", "0.3.38")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], World]:
    def installed(world: World) -> World:
        for name, module in modules(world).items():
            monkeypatch.setitem(sys.modules, name, module)
        return world

    return installed


def camera(world: World, **said) -> Picamera2Camera:
    rows, columns, bits = world.modes[0]
    default = {"sensor": "imx477", "shape": (rows, columns), "bit_depth": bits, "patience_s": 5.0, "clock": world.clock}
    return Picamera2Camera(**(default | said))


@contextlib.contextmanager
def opened(world: World, **said) -> Iterator[Picamera2Camera]:
    """A camera; after it nothing is held and nothing is open."""
    with camera(world, **said) as made:
        yield made
        assert world.held == 0, "a request was not released"
    assert world.opened == 0, "the camera was not closed"


def check_true(world: World, frames: list[Frame]) -> None:
    for frame in frames:
        np.testing.assert_array_equal(frame.raw, world.truth[round(frame.timestamp_s * 1e9)])


@pytest.mark.parametrize("version", GENERATIONS)
class TestPicamera2Camera(CameraContract):
    @pytest.fixture
    def bench(self, install, version: str) -> Iterator[CameraBench]:
        world = install(World(version=version, lost=lambda frame: frame % 5 == 3))
        with opened(world) as made:
            yield CameraBench(made, (SHORT, LONG), False, CaptureSettings(exposure_s=100))


# --- formats --------------------------------------------------------------------------------------
MODES = [(24, 40, 8), (24, 40, 10), (24, 40, 12), (26, 44, 12), (24, 36, 10)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("native", ["RGGB", "MONO"])
def test_numbers_of_a_raspberry_pi_4_come_out_whole(install, mode, packed: bool, native: str) -> None:
    if packed and mode[2] == 8:
        pytest.skip("eight bits are not packed")
    world = install(World(modes=(mode,), native=native))
    with opened(world, packed=packed) as made:
        frames = list(made.capture(LONG, 3))
        said = frames[0].metadata["picamera2"]
        assert said["row_bytes"] > mode[1] * mode[2] // 8, "no padding: this test shows nothing"
        assert said["format"].endswith("_CSI2P") == packed
        assert made.info.black_level_dn == 4096 / 2 ** (16 - mode[2])
        check_true(world, frames)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("native", ["BGGR", "MONO"])
def test_left_justified_numbers_of_a_raspberry_pi_5_come_down(install, mode, native: str) -> None:
    world = install(World(modes=(mode,), native=native, pisp=True))
    with opened(world) as made:
        frames = list(made.capture(LONG, 3))
        assert frames[0].metadata["picamera2"]["format"] == ("R16" if native == "MONO" else "SBGGR16")
        assert frames[0].raw.max() < 2 ** mode[2]
        check_true(world, frames)


def test_all_bits_are_kept_where_that_is_asked(install) -> None:
    world = install(World(pisp=True))
    with opened(world, bit_depth=16) as made:
        (frame,) = made.capture(LONG, 1)
        assert (made.info.bit_depth, made.info.black_level_dn) == (16, 4096)
        np.testing.assert_array_equal(frame.raw, world.truth[round(frame.timestamp_s * 1e9)] << 4)


def test_compressed_numbers_are_refused_and_it_is_said_what_to_do(install) -> None:
    world = install(World(pisp=True))
    with pytest.raises(PrivcamError, match=r"with loss.*COMP1.*leave `packed` out"), camera(world, packed=True):
        pass
    assert world.opened == world.held == 0


@pytest.mark.parametrize(("hflip", "vflip", "cfa"), [(0, 0, "rggb"), (1, 0, "grbg"), (0, 1, "gbrg"), (1, 1, "bggr")])
@pytest.mark.parametrize("pisp", [False, True])
def test_colours_lie_where_the_configured_format_says(install, hflip: bool, vflip: bool, cfa: str, pisp: bool) -> None:
    world = install(World(pisp=pisp))
    with opened(world, hflip=bool(hflip), vflip=bool(vflip)) as made:
        assert made.info.cfa == cfa
        (frame,) = made.capture(LONG, 1)
        mean = {letter: np.mean([frame.raw[row::2, column::2].mean() for row, column in itertools.product((0, 1), (0, 1))
                                 if cfa[2 * row + column] == letter]) for letter in "rgb"}
        assert mean["r"] > 1.2 * mean["g"] > 1.2 * 1.2 * mean["b"]
        check_true(world, [frame])


def test_an_old_mount_turns_the_colours_too(install) -> None:
    """A camera that libcamera turns by half, as a board's device tree may say, gives the other order; no preset knows that."""
    with opened(install(World(native="BGGR"))) as made:
        assert made.info.cfa == "bggr"


@pytest.mark.parametrize(("sensor", "black_16", "bits", "level"), [
    ("imx219", 4096, 10, 64), ("imx477", 4096, 12, 256), ("imx708", 4096, 10, 64), ("imx296", 3840, 10, 60), ("ov9281", 4096, 10, 64),
    ("imx296", None, 10, 60), ("imx477", None, 12, 256), ("imx477", None, 10, 64)])
def test_black_levels_are_those_of_the_sensor_at_its_bit_depth(install, sensor: str, black_16: int | None, bits: int, level: float) -> None:
    world = install(World(model=sensor, black_16=black_16, modes=((24, 40, bits),), native="MONO" if sensor == "ov9281" else "RGGB"))
    with opened(world, sensor=sensor) as made:
        assert made.info.black_level_dn == level
        assert len(list(made.capture(LONG, 2))) == 2
    with opened(world, sensor=sensor, black_level_dn=61.5) as made:
        assert made.info.black_level_dn == 61.5


def test_an_unknown_sensor_needs_its_black_level(install) -> None:
    world = install(World(model="imx999", black_16=None))
    with pytest.raises(PrivcamError, match="black level"), camera(world, sensor="imx999"):
        pass
    with opened(world, sensor="imx999", black_level_dn=10) as made:
        assert made.info.sensor == "imx999"


# --- settings -------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", GENERATIONS)
@pytest.mark.parametrize("delays", [(2, 2, 2), (2, 4, 2), (4, 2, 2), (2, 2, 15)])
def test_no_frame_has_anything_old(install, version: str, delays: tuple[int, int, int]) -> None:
    """Exposure, gain and colour gains reach the sensor in different frames: a frame with one of them new and another old is let go."""
    exposure, gain, colour = delays
    world = install(World(version=version, exposure_delay=exposure, gain_delay=gain, colour_delay=colour))
    with opened(world, colour_gains=(1.5, 1.25)) as made:
        for settings in (SHORT, LONG, SHORT, CaptureSettings(exposure_s=0.004, analogue_gain=2), LONG):
            for frame in made.capture(settings, 2):
                assert frame.settings.exposure_s == pytest.approx(settings.exposure_s, rel=0.01)
                assert frame.settings.analogue_gain == pytest.approx(settings.analogue_gain, rel=0.005)
                assert frame.metadata["picamera2"]["metadata"]["ColourGains"] == [1.5, 1.25]
                check_true(world, [frame])


def test_a_step_that_metadata_cannot_show_is_waited_for(install) -> None:
    """Of two exposures within a sensor's rounding the old one could pass for the new one."""
    world = install(World())
    with opened(world) as made:
        list(made.capture(SHORT, 1))
        near = CaptureSettings(exposure_s=0.00403)
        before = world.frame
        (frame,) = made.capture(near, 1)
        assert world.frame - before > SETTLING_FRAMES
        assert frame.settings.exposure_s == pytest.approx(0.00402), "whole lines of 30 us"
        near = CaptureSettings(exposure_s=0.00403, analogue_gain=1.008)
        (frame,) = made.capture(near, 1)
        assert frame.settings.analogue_gain > 1.005


def test_long_exposures_are_not_waited_for(install) -> None:
    world = install(World(light_dn_per_s=100, colour_delay=0))
    with opened(world) as made:
        list(made.capture(SHORT, 1))
        starts, frames = world.starts, world.frame
        second = CaptureSettings(exposure_s=3.0)
        (frame,) = made.capture(second, 1)
        assert frame.settings.exposure_s == pytest.approx(3.0, rel=1e-4)
        assert (world.starts - starts, world.frame - frames) == (1, 1)
        (frame,) = made.capture(SHORT, 1)
        assert world.starts - starts == 2 and world.frame - frames == 2
        check_true(world, [frame])


def test_frames_begun_before_they_were_asked_for_are_let_go(install) -> None:
    world = install(World(idle_frames=0))
    with opened(world) as made:
        for _ in range(3):
            asked_ns = world.clock()
            for frame in made.capture(LONG, 2):
                assert frame.timestamp_s * 1e9 - frame.settings.exposure_s * 1e9 >= asked_ns - 1


def test_a_camera_that_will_not_do_it_is_told_of(install) -> None:
    """A tuning file, or another program, that holds the gain; each frame is let go, and not for ever."""
    world = install(World(gain_delay=10_000))
    with pytest.raises(PrivcamError, match=rf"no frame as it was asked for.*{MOST_PASSED} others.*gain"), camera(world) as made:
        list(made.capture(LONG, 1))
    assert world.opened == world.held == 0


def test_automatic_exposure_and_white_balance_are_off(install) -> None:
    """The stand-in's automatic exposure hunts: with it on, no two frames would be alike."""
    for version in GENERATIONS:
        world = install(World(version=version))
        with opened(world) as made:
            assert len({frame.settings for frame in made.capture(LONG, 10)}) == 1


@pytest.mark.parametrize(("exposure_s", "gain"), [(1e-5, 1), (11, 1), (0.01, 17), (0.01, 0.5)])
def test_settings_beyond_the_camera_are_refused(install, exposure_s: float, gain: float) -> None:
    impossible = CaptureSettings(exposure_s=exposure_s, analogue_gain=gain)
    with opened(install(World())) as made, pytest.raises(PrivcamError, match="cannot do this"):
        next(made.capture(impossible, 1))


def test_a_longest_exposure_of_0_is_no_limit(install) -> None:
    with opened(install(World(model="imx296", longest_us=0, native="BGGR")), sensor="imx296") as made:
        assert len(list(made.capture(LONG, 1))) == 1


# --- requests -------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", GENERATIONS)
def test_every_request_goes_back(install, version: str) -> None:
    """A request that is held stalls the queue of four: forty frames come, and a capture that was left off holds none."""
    world = install(World(version=version))
    with opened(world) as made:
        assert len(list(made.capture(SHORT, 40))) == 40
        next(made.capture(LONG, 9))
        assert world.held == 0
        assert len(list(made.capture(LONG, 9))) == 9


def test_the_stand_in_stalls_when_requests_are_held(install) -> None:
    """The control of the test above."""
    world = install(World())
    with opened(world) as made:
        made._patience_s = 0.1  # of frames; the other steps keep theirs
        stream = made._running().stream
        held = []
        for _ in range(4):
            stream._camera.capture_request(wait=False, signal_function=lambda job: held.append(job.get_result()))
        with pytest.raises(PrivcamError, match="no frame comes"):
            list(made.capture(SHORT, 1))
        for request in held:
            request.release()
        assert len(list(made.capture(SHORT, 2))) == 2


@pytest.mark.parametrize("version", GENERATIONS)
def test_a_camera_that_freezes_is_told_of_and_closes(install, version: str) -> None:
    world = install(World(version=version))
    with opened(world) as made:
        made._patience_s = 0.1  # of frames; the other steps keep theirs
        frames = made.capture(SHORT, 5)
        before = next(frames)
        world.frozen = True
        began = time.monotonic()
        with pytest.raises(PrivcamError, match=r"no frame comes.*cable"):
            next(frames)
        assert time.monotonic() - began < 5
        with pytest.raises(PrivcamError, match="no frame comes"):
            list(made.capture(LONG, 1))
        world.frozen = False
        made._running().stream._camera.pass_frames(3)
        assert world.held == 0, "what was given up took a request when it came after all"
        starts = world.starts
        after = list(made.capture(SHORT, 3))
        assert world.starts == starts + 1, "it was started anew"
        assert after[0].index > before.index and after[0].timestamp_s > before.timestamp_s
        check_true(world, after)


@pytest.mark.parametrize("version", GENERATIONS)
def test_a_camera_that_is_frozen_from_the_start_does_not_open(install, version: str) -> None:
    world = install(World(version=version, frozen=True))
    with pytest.raises(PrivcamError, match="no frame comes"), camera(world, patience_s=1):
        pass
    assert world.opened == world.held == 0


def test_a_camera_that_does_not_close_is_told_of(install) -> None:
    world = install(World(closes=False))
    with pytest.raises(PrivcamError, match="does not close"), camera(world, patience_s=1):
        pass


@pytest.mark.parametrize("version", GENERATIONS)
def test_who_ends_the_program_while_it_waits_leaves_a_camera_that_closes(install, monkeypatch, version: str) -> None:
    world = install(World(version=version))
    with opened(world) as made:
        world.frozen = True
        monkeypatch.setattr(pi_stream, "Queue", lambda: SimpleNamespace(put=print, get=interrupted))
        with pytest.raises(KeyboardInterrupt):
            made._running().stream.next(1)
        monkeypatch.undo()


def interrupted(timeout: float) -> None:
    if timeout == 1:
        raise KeyboardInterrupt
    raise Empty


def test_a_request_that_comes_while_it_is_given_up_goes_back(install, monkeypatch) -> None:
    world = install(World())
    with camera(world) as made:
        stream = made._running().stream
        late: list[Callable[[], None]] = []
        asked = stream._camera.capture_request
        monkeypatch.setattr(stream._camera, "capture_request", lambda wait, signal_function: late.append(
            lambda: asked(wait=False, signal_function=signal_function)))
        monkeypatch.setattr(stream._camera, "cancel_all_and_flush", lambda: late[-1]())
        with pytest.raises(PrivcamError, match="no frame comes"):
            stream.next(0.05)
        assert len(late) == 1 and world.held == 0
        monkeypatch.undo()


def test_a_wait_ends_and_what_comes_late_is_cleared_away() -> None:
    cleared: list[int] = []
    with pytest.raises(PrivcamError, match="too slow"):
        within(lambda: time.sleep(0.2) or 7, 0.05, "too slow", late=cleared.append)
    time.sleep(0.4)
    assert cleared == [7]
    assert within(lambda: 7, 5, "too slow") == 7
    with pytest.raises(KeyError):
        within(lambda: {}[1], 5, "too slow")


def test_dropped_frames_are_counted_by_time_stamps(install) -> None:
    world = install(World())
    with opened(world) as made:
        made_before = list(made.capture(SHORT, 1))
        lost = {world.frame + 3, world.frame + 4, world.frame + 9}
        world.lost = lambda frame: frame in lost
        first = world.frame
        frames = list(made.capture(SHORT, 10))
        truth = [stamp for stamp in sorted(world.truth) if stamp >= round(frames[0].timestamp_s * 1e9)][:10]
        assert [round(frame.timestamp_s * 1e9) for frame in frames] == truth
        gaps = np.diff([frame.index for frame in frames])
        assert sorted(gaps) == [1] * 7 + [2, 3]
        assert frames[-1].index - made_before[0].index == world.frame - first


def test_frames_whose_stamps_stand_still_or_lie_ahead_are_refused(install, monkeypatch) -> None:
    world = install(World())
    with pytest.raises(PrivcamError, match="another clock"), camera(world, clock=lambda: 0) as made:
        list(made.capture(SHORT, 1))
    with opened(install(World())) as made:
        monkeypatch.setattr(made, "_stamp_ns", 10**18)
        with pytest.raises(PrivcamError, match="do not rise"):
            list(made.capture(SHORT, 1))


# --- which camera ---------------------------------------------------------------------------------
def test_another_sensor_is_refused_and_variants_are_not(install) -> None:
    with pytest.raises(PrivcamError, match=r"another sensor.*imx219.*imx477"), camera(install(World(model="imx219"))):
        pass
    for model in ("imx708", "imx708_wide", "imx708_wide_noir"):
        with opened(install(World(model=model)), sensor="imx708") as made:
            assert made.info.sensor == "imx708" and model in made.info.name
    with pytest.raises(PrivcamError, match="another sensor"), camera(install(World(model="imx7080")), sensor="imx708"):
        pass


def test_absent_cameras_modes_and_programs_are_told_of(install, monkeypatch) -> None:
    with pytest.raises(PrivcamError, match=r"no camera of this number.*none is connected"), camera(install(World(model=""))):
        pass
    with pytest.raises(PrivcamError, match=r"no camera of this number.*imx477"), camera(install(World()), number=1):
        pass
    with pytest.raises(PrivcamError, match="does not open"), camera(install(World(busy=True))):
        pass
    for shape, bits in (((48, 80), 12), ((12, 20), 12)):
        world = install(World())
        with pytest.raises(PrivcamError, match=r"no such mode|another bit depth"), camera(world, shape=shape, bit_depth=bits):
            pass
        assert world.opened == 0
    world = install(World(pisp=True))  # its words would not tell ten bits from twelve
    with pytest.raises(PrivcamError, match=r"no such mode.*10 bits.*12 bits"), camera(world, shape=(12, 20)):
        pass
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(PrivcamError, match=r"needs Picamera2.*apt install"), camera(World()):
        pass


def test_another_numpy_is_told_of(monkeypatch) -> None:
    def broken(name: str):
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr(pi_stack, "import_module", broken)
    with pytest.raises(PrivcamError, match=r"numpy<2"):
        pi_stack.picamera2()


def test_a_mode_that_the_sensor_computes_is_refused_unless_it_is_asked_for() -> None:
    full = {"sensor": "imx708", "shape": (2592, 4608), "bit_depth": 10}
    with pytest.raises(PrivcamError, match="computes from others"):
        Picamera2Camera(**full)
    Picamera2Camera(**full, remosaiced=True)


def test_a_triggered_sensor_is_refused(install, tmp_path: Path, monkeypatch) -> None:
    parameters = tmp_path / "sys/module/imx296/parameters"
    parameters.mkdir(parents=True)
    (parameters / "trigger_mode").write_text("1\n")
    assert pi_stack.switches("imx296", tmp_path) == {"trigger_mode": "1"}
    monkeypatch.setattr("hil.cameras.picamera2.switches", lambda sensor: pi_stack.switches(sensor, tmp_path))
    world = install(World(model="imx296", native="MONO"))
    with pytest.raises(PrivcamError, match=r"trigger.*trigger_mode=1"), camera(world, sensor="imx296"):
        pass
    assert world.opened == 0
    (parameters / "trigger_mode").write_text("0\n")
    with opened(world, sensor="imx296"):
        pass


def test_frames_are_physical_on_a_raspberry_pi_alone(tmp_path: Path) -> None:
    real, virtual = "/base/soc/i2c0mux/i2c@1/imx477@1a", "/base/hil/virtual/imx477@1a"
    assert pi_stack.source_of(real, None, tmp_path) == "emulated"
    assert pi_stack.source_of(real, "physical", tmp_path) == "physical"
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert pi_stack.source_of(real, None, tmp_path) == "physical"
    assert pi_stack.source_of(real, "emulated", tmp_path) == "emulated"
    assert pi_stack.source_of(virtual, "physical", tmp_path) == "emulated"


# --- what is kept ---------------------------------------------------------------------------------
def test_versions_and_metadata_are_stored_with_every_frame(install, tmp_path: Path) -> None:
    world = install(World(pisp=True))
    with opened(world) as made, CaptureWriter.create(tmp_path / "set", made.info, clock=lambda: "then") as writer:
        for frame in made.capture(LONG, 2):
            assert frame.temperature_c == 31.0
            writer.add(frame)
        made_shape = made.info.shape
        stored: CaptureSet = writer.close()
    assert not stored.damage()
    said = stored.frame(stored.entries[0]).metadata["picamera2"]
    assert said["versions"]["libcamera"] == "v0.7.1" and said["versions"]["kernel"] and said["versions"]["python"]
    assert said["model"] == "imx477" and said["metadata"]["ExposureTime"] == 7980
    assert said["metadata"]["Lux"] == "inf" and said["metadata"]["PispStatsOutput"] == "1000 bytes"
    json.dumps(said, allow_nan=False)
    head, raw = read_frame(frame_bytes(frame, boot="", capture=0, place=0, confirmed=False), made_shape)
    assert head.entry.metadata["picamera2"] == said | {"metadata": frame.metadata["picamera2"]["metadata"]}, "as an agent sends it"
    np.testing.assert_array_equal(raw, frame.raw)


def test_versions_are_read_where_a_raspberry_pi_has_them(tmp_path: Path, monkeypatch) -> None:
    tree = tmp_path / "proc/device-tree"
    (tree / "chosen/bootloader").mkdir(parents=True)
    (tree / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\0")
    (tree / "chosen/bootloader/version").write_bytes(b"a5e6a4d3\0")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    (tmp_path / "proc/meminfo").write_text("MemTotal: 3884000 kB\nMemAvailable: 2048000 kB\nCmaFree: 102400 kB\n")
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\necho Nov 26 2023\necho version 3f9d2e1 clean\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = pi_stack.versions(tmp_path)
    assert found["board"] == "Raspberry Pi 4 Model B Rev 1.4" and found["bootloader"] == "a5e6a4d3"
    assert found["system"] == "Debian GNU/Linux 12 (bookworm)" and pi_stack.free_memory(tmp_path) == {"free": 2000, "cma": 100}
    monkeypatch.setenv("PATH", "/bin:/usr/bin:" + str(tmp_path))
    assert pi_stack.versions(tmp_path)["firmware"] == "Nov 26 2023 version 3f9d2e1 clean"


def test_a_bench_file_opens_it(install, tmp_path: Path) -> None:
    world = install(World(sleep=time.sleep))
    (tmp_path / "bench.toml").write_text(
        '[camera]\nkind = "picamera2"\nsensor = "imx477"\nshape = [24, 40]\nbit_depth = 12\n[rig]\nkind = "person"\n')
    with Bench.open(tmp_path / "bench.toml", ask=lambda *words: "") as bench:
        (frame,) = bench.camera.capture(SHORT, 1)
        assert frame.source == "emulated" and bench.camera.info.shape == (24, 40)
        check_true(world, [frame])
    assert world.opened == 0


def test_outside_its_block_there_is_no_camera() -> None:
    with pytest.raises(PrivcamError, match="is not open"):
        _ = camera(World()).info


def test_it_loads_no_torch() -> None:
    import subprocess

    code = "import sys, hil.cameras.picamera2; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert pi_stream.BUFFERS < SETTLING_FRAMES

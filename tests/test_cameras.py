"""The simulated camera answers to its world as a camera does, and every camera keeps the contract."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from camera_contract import CameraBench, CameraContract

from hil.cameras.replay import ReplayCamera
from hil.cameras.simulated import SimulatedCamera, Timing
from hil.cameras.world import World
from hil.capture_set.stored import CaptureSet
from hil.capture_set.writer import CaptureWriter
from hil.protocols import Camera, Rig
from hil.rigs.simulated import SimulatedRig
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, OpenPattern, PinholePattern, RandomPattern
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings
from optics_sim.learning.pipeline import start_design
from optics_sim.optics.point import placed, point_irradiance
from optics_sim.sensor.readout import bayer_planes, readout_of_crop
from optics_sim.stimulus import Dark, Flat, Light, Pattern, Point

SHORT = CaptureSettings(exposure_s=0.004)
LONG = CaptureSettings(exposure_s=0.008, analogue_gain=2)
NEVER = CaptureSettings(exposure_s=100)
ERRORS = 5.0  # standard errors


@pytest.fixture(scope="module")
def design() -> CameraDesign:
    """A pinhole on 31 x 31 scene pixels; small bins keep the raw frame at 64 x 64."""
    made = start_design(PinholePattern(), (31, 31), (16, 16), bin_px=4)
    return made.replace(**{"exposure.white_photons_per_px_s": 5e7, "optics.propagation": "geometric"})


def simulated(design: CameraDesign, seed: int = 0, **world) -> tuple[SimulatedCamera, World]:
    there = World(**{"scene": np.full((31, 31), 0.5)} | world)
    return SimulatedCamera(design, there, generator=torch.Generator().manual_seed(seed)), there


def signal(camera: Camera, settings: CaptureSettings, count: int = 4) -> float:
    frames = list(camera.capture(settings, count))
    return float(np.mean([frame.raw for frame in frames])) - camera.info.black_level_dn


def filled(folder: Path, camera: Camera) -> CaptureSet:
    with CaptureWriter.create(folder, camera.info, clock=lambda: "then") as writer:
        for settings in (SHORT, LONG):
            for frame in camera.capture(settings, 5):
                writer.add(frame)
        return writer.close()


class TestSimulatedCamera(CameraContract):
    @pytest.fixture
    def bench(self, design: CameraDesign) -> CameraBench:
        camera, _ = simulated(design, 3, drop_probability=0.5)
        return CameraBench(camera, (SHORT, LONG), False, NEVER)


class TestReplayCamera(CameraContract):
    @pytest.fixture
    def bench(self, design: CameraDesign, tmp_path: Path) -> CameraBench:
        camera, _ = simulated(design, 3, drop_probability=0.5)
        return CameraBench(ReplayCamera(filled(tmp_path / "set", camera)), (SHORT, LONG), True, NEVER)


# --- the simulated camera -------------------------------------------------------------------------
def test_the_signal_follows_exposure_gain_light_and_scene(design) -> None:
    camera, world = simulated(design)
    once = signal(camera, SHORT)
    assert once > 80
    assert signal(camera, CaptureSettings(exposure_s=0.008)) == pytest.approx(2 * once, rel=0.02)
    assert signal(camera, CaptureSettings(exposure_s=0.004, analogue_gain=2)) == pytest.approx(2 * once, rel=0.02)
    world.light = 0.5
    assert signal(camera, SHORT) == pytest.approx(0.5 * once, rel=0.02)
    world.scene = np.zeros((31, 31))
    assert signal(camera, SHORT) == pytest.approx(0, abs=1)
    world.light, world.scene = 1e4, np.ones((31, 31))
    assert signal(camera, LONG) == 2**camera.info.bit_depth - 1 - camera.info.black_level_dn


def test_noise_is_shot_noise(design) -> None:
    """Twice the light has twice the variance; and the variance per signal is the gain, which doubles with it."""
    camera, _ = simulated(design, scene=np.full((31, 31), 0.25))

    def variance_per_signal(settings: CaptureSettings) -> float:
        one, other = (frame.raw.astype(float) for frame in camera.capture(settings, 2))
        read_dn2 = (design.sensor.read_noise_e**2 + design.sensor.row_noise_e**2) * (
            design.sensor.gain_dn_per_e * settings.analogue_gain)**2 + 1 / 12
        return ((one - other).var() / 2 - read_dn2) / ((one + other).mean() / 2 - camera.info.black_level_dn)

    error = ERRORS * (2 / 64**2) ** 0.5
    assert variance_per_signal(SHORT) == pytest.approx(design.sensor.gain_dn_per_e, rel=error)
    assert variance_per_signal(CaptureSettings(exposure_s=0.008)) == pytest.approx(design.sensor.gain_dn_per_e, rel=error)
    assert variance_per_signal(LONG) == pytest.approx(2 * design.sensor.gain_dn_per_e, rel=error)


def test_darkness_grows_with_temperature_and_time(design) -> None:
    camera, world = simulated(design, scene=np.zeros((31, 31)))
    second = CaptureSettings(exposure_s=1.0, analogue_gain=8)
    rate = design.sensor.dark_current_e_per_s * design.sensor.gain_dn_per_e * 8
    gained = []
    for temperature_c in (25.0, 43.0):
        world.temperature_c = temperature_c
        gained.append(signal(camera, second) - signal(camera, CaptureSettings(exposure_s=0.001, analogue_gain=8)))
        assert next(camera.capture(second, 1)).temperature_c == temperature_c
    assert gained == pytest.approx([rate, 8 * rate], rel=0.1)


def test_it_is_the_design_s_camera(design) -> None:
    """The readout of a frame shows the scene upright, where a pinhole puts it: the wire's order and the crop are right."""
    scene = np.zeros((31, 31))
    scene[10:13, 18:21] = 1.0
    camera, _ = simulated(design, scene=scene)
    frame = next(camera.capture(SHORT, 1))
    spec = design.readout.model_copy(update={"shift": 4})
    bright = np.argwhere(readout_of_crop(frame.raw, spec, design.sensor.cfa) > 0)
    assert bright.tolist() == [[row, column] for row in (2, 3, 4) for column in (10, 11, 12)]
    assert np.argwhere(readout_of_crop(frame.raw[::-1, ::-1], spec, design.sensor.cfa) > 0).tolist() != bright.tolist()


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_colours_lie_where_the_camera_says(design, shift: tuple[int, int]) -> None:
    top, left, rows, columns = design.readout.crop
    moved = design.replace(**{"readout.crop": (top + shift[0], left + shift[1], rows, columns)})
    camera, _ = simulated(moved)
    planes = bayer_planes(next(camera.capture(SHORT, 1)).raw, camera.info.cfa)
    red, green, blue = design.sensor.quantum_efficiency
    seen = {name: plane.mean() - camera.info.black_level_dn for name, plane in planes.items()}
    assert seen["red"] / seen["green_r"] == pytest.approx(red / green, rel=0.05)
    assert seen["blue"] / seen["green_b"] == pytest.approx(blue / green, rel=0.05)


def test_new_settings_take_their_frames_and_these_are_never_given(design) -> None:
    camera, world = simulated(design, settling_frames=3)
    first = next(camera.capture(SHORT, 1))
    dark = next(camera.capture(SHORT, 1))
    second = next(camera.capture(LONG, 1))
    assert (dark.index - first.index, second.index - dark.index) == (1, 4)
    assert second.raw.mean() - 256 == pytest.approx(4 * (first.raw.mean() - 256), rel=0.05)
    assert world.time_s == second.timestamp_s


def test_time_passes_and_a_moving_scene_is_seen_when_it_is(design) -> None:
    slept: list[float] = []
    camera, world = simulated(design, scene=lambda time_s: np.full((31, 31), time_s), delay_s=0.25, sleep=slept.append)
    first, second = camera.capture(CaptureSettings(exposure_s=0.01), 2)
    assert second.timestamp_s - first.timestamp_s == pytest.approx(0.25 + Timing().shortest_frame_s)
    assert sum(slept) == pytest.approx(world.time_s)
    ratio = (second.raw.mean() - 256) / (first.raw.mean() - 256)
    assert ratio == pytest.approx((second.timestamp_s - 0.005) / (first.timestamp_s - 0.005), rel=0.05)


def test_a_scene_is_rendered_once_and_again_when_it_was_changed_in_place(design, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[float] = []
    render = PrivacyCamera.relative_irradiance

    def told(self: PrivacyCamera, radiance: torch.Tensor) -> torch.Tensor:
        rendered.append(float(radiance.mean()))
        return render(self, radiance)

    monkeypatch.setattr(PrivacyCamera, "relative_irradiance", told)
    scene = np.full((31, 31), 0.25)
    camera, world = simulated(design, scene=scene)
    once = signal(camera, SHORT)
    assert rendered == [0.25]
    scene *= 2
    assert signal(camera, SHORT) == pytest.approx(2 * once, rel=0.02)
    world.light = 0.5
    assert signal(camera, SHORT) == pytest.approx(once, rel=0.02)
    world.capped = True
    assert signal(camera, SHORT) == pytest.approx(0, abs=1)
    assert rendered == [0.25, 0.5, 0.25, 0.0]


def test_lost_frames_leave_gaps_and_a_dead_line_is_told(design) -> None:
    camera, world = simulated(design)
    frames = camera.capture(SHORT, 3)
    first = next(frames)
    world.drop_next = 2
    assert next(frames).index - first.index == 3
    assert next(frames).index - first.index == 4
    world.drop_probability = 1.0
    with pytest.raises(PrivcamError, match="no frame comes"):
        next(camera.capture(SHORT, 1))


def test_the_same_generator_gives_the_same_frames(design) -> None:
    one, same, other = (next(simulated(design, seed)[0].capture(SHORT, 1)).raw for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_settings_are_the_sensor_s_steps() -> None:
    timing = Timing()
    applied = timing.applied(CaptureSettings(exposure_s=0.0123456, analogue_gain=3.3))
    assert applied.exposure_s == pytest.approx(617 * 20e-6) and applied.analogue_gain == pytest.approx(256 / 78)
    assert timing.applied(applied) == applied
    for wrong in (CaptureSettings(exposure_s=1e-6), CaptureSettings(exposure_s=11), CaptureSettings(exposure_s=1, analogue_gain=0.5),
                  CaptureSettings(exposure_s=1, analogue_gain=17)):
        with pytest.raises(PrivcamError, match="cannot"):
            timing.applied(wrong)


def test_a_rig_changes_the_world(design) -> None:
    camera, world = simulated(design)
    rig: Rig = SimulatedRig(world, (31, 31))
    seen = {}
    for stimulus in (Dark(), Flat(level=1.0), Dark(), Light(level=0.5), Pattern(cells=((0.0, 1.0),))):
        rig.show(stimulus)
        seen[stimulus.kind] = signal(camera, SHORT)
        rig.confirm()
    assert seen["dark"] == pytest.approx(0, abs=1)
    assert seen["light"] == pytest.approx(seen["flat"] / 2, rel=0.02)
    assert seen["pattern"] == pytest.approx(seen["flat"] / 2, rel=0.1)


# --- a point source -------------------------------------------------------------------------------
def irradiance(design: CameraDesign, row: int, column: int) -> torch.Tensor:
    """The light of one white scene pixel on the code pixels, as the forward model has it."""
    scene = torch.zeros(31, 31)
    scene[row, column] = 1
    return PrivacyCamera.from_design(design).relative_irradiance(scene)


def on_code_pixels(light: torch.Tensor, design: CameraDesign) -> torch.Tensor:
    rows, columns = design.readout.bin
    return light.reshape(light.shape[0] // rows, rows, light.shape[1] // columns, columns).mean((1, 3))


@pytest.mark.parametrize("propagation", ["geometric", "wave"])
@pytest.mark.parametrize("place", [(15, 15), (12, 20)])
def test_a_point_in_the_scene_s_plane_is_a_scene_pixel(propagation: str, place: tuple[int, int]) -> None:
    """Down is +y and right is +x: the scene's pixel and the point of its middle give the same light, at the same place."""
    design = start_design(RandomPattern(seed=1), (31, 31), (16, 16), bin_px=4).replace(**{"optics.propagation": propagation})
    scene_pixel_m = design.code_pitch_m * design.optics.scene_to_mask_m / design.optics.mask_to_sensor_m
    y_m, x_m = ((at - 15) * scene_pixel_m for at in place)
    found = on_code_pixels(point_irradiance(design, y_m, x_m, design.optics.scene_to_mask_m), design)
    expected = irradiance(design, *place)
    assert (found - expected).abs().max() < 1e-5 * expected.max()
    assert (found.flip(0) - expected).abs().max() > 0.5 * expected.max()


def test_a_nearer_point_has_a_larger_shadow_and_the_same_light() -> None:
    """The shadow's width is the mask's times 1 + d/D, whatever the scene's distance."""
    design = start_design(OpenPattern(), (31, 31), (16, 16), bin_px=16).replace(**{"optics.propagation": "geometric"})
    optics = design.optics
    for distance_m in (0.012, 0.05, 0.4):
        light = point_irradiance(design.replace(**{"readout.crop": (0, 0, 512, 512)}), 0.0, 0.0, distance_m)
        width = float(light.sum(0).gt(light.sum(0).max() / 2).sum())
        expected = optics.cells[1] * optics.cell_m * (1 + optics.mask_to_sensor_m / distance_m) / design.sensor.pixel_pitch_m
        assert width == pytest.approx(expected, abs=1.5)
        assert float(light.sum()) == pytest.approx(math.prod(design.readout.bin), rel=1e-4)


def test_a_point_is_put_between_pixels_and_cut_at_the_edge() -> None:
    psf = torch.tensor([[1.0, 3.0]])
    assert placed(psf, (0.5, 2.0), (1, 4)).tolist() == [[0, 1, 3, 0]]
    assert placed(psf, (0.5, 2.25), (1, 4)).tolist() == [[0, 0.75, 2.5, 0.75]]
    assert placed(psf, (0.5, 0.0), (1, 4)).tolist() == [[3, 0, 0, 0]]
    assert placed(psf, (0.5, 4.0), (1, 4)).tolist() == [[0, 0, 0, 1]]
    for off in ((0.5, -9.0), (0.5, 99.0), (-9.0, 2.0)):
        assert placed(psf, off, (1, 4)).sum() == 0


def test_the_camera_sees_a_point_and_nothing_else(design) -> None:
    camera, world = simulated(design, scene=np.ones((31, 31)))
    rig = SimulatedRig(world, (31, 31))
    pixel_m = design.code_pitch_m * design.optics.scene_to_mask_m / design.optics.mask_to_sensor_m
    rig.show(Point(y_m=2 * pixel_m, x_m=-3 * pixel_m, distance_m=design.optics.scene_to_mask_m, level=1.0))
    raw = next(camera.capture(SHORT, 1)).raw
    spec = design.readout.model_copy(update={"shift": 4})
    assert np.argwhere(readout_of_crop(raw, spec, design.sensor.cfa) > 0).tolist() == [[9, 4]]
    rig.show(Dark())
    assert (readout_of_crop(next(camera.capture(SHORT, 1)).raw, spec, design.sensor.cfa) <= 0).all()


# --- replay ---------------------------------------------------------------------------------------
def test_a_replayed_frame_is_the_stored_one_but_for_saying_so(design, tmp_path: Path) -> None:
    camera, _ = simulated(design)
    stored = filled(tmp_path / "set", camera)
    for frame, original in zip(ReplayCamera(stored).capture(LONG, 5), list(stored)[5:], strict=True):
        assert frame.replayed and not original.replayed
        assert {**vars(frame), "raw": 0, "replayed": 0} == {**vars(original), "raw": 0, "replayed": 0}
        np.testing.assert_array_equal(frame.raw, original.raw)


def test_replay_never_makes_a_frame_up(design, tmp_path: Path) -> None:
    camera, _ = simulated(design)
    replay = ReplayCamera(filled(tmp_path / "set", camera))
    list(replay.capture(SHORT, 3))
    with pytest.raises(PrivcamError, match=r"2 of them; all that follow: 0.004 s at gain 1, 0.008 s at gain 2"):
        next(replay.capture(SHORT, 3))
    list(replay.capture(LONG, 1))
    with pytest.raises(PrivcamError, match="too few"):
        next(replay.capture(SHORT, 1))

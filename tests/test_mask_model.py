"""The shadow of a mounted mask: numpy and torch agree, both agree with brute force, and a mount means what its words say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from calibration.as_built import Calibration
from calibration.mask_model import MaskModel, Mounting, Pose, Source, pose
from optics_sim.camera import PrivacyCamera, image_through
from optics_sim.design import CameraDesign, IdentityOptics, Mount, PinholePattern, Printing, RandomPattern, RowsPattern
from optics_sim.errors import PrivcamError
from optics_sim.learning.pipeline import start_design
from optics_sim.measure import Measure
from optics_sim.optics import turned
from optics_sim.optics.psf import design_psf

TORCH = 1e-5  # of the largest value: torch computes in float32
F = ("11111", "10000", "11100", "10000", "10000")  # nothing turns or mirrors an F into itself
OFF = Mount(shift_m=(90e-6, -150e-6), rotation_rad=0.05)


def lensless(pattern=None, **optics) -> CameraDesign:
    design = start_design(pattern or RandomPattern(seed=3, open_fraction=0.4), (31, 31), (16, 16))
    return design.replace(**{f"optics.{name}": value for name, value in optics.items()}) if optics else design


def brute(light: np.ndarray, at: turned.Placing, pixels: tuple[int, int], points: int) -> np.ndarray:
    """Light at many points of each pixel; no areas, no lines."""
    y, x = np.meshgrid(*((np.arange(n * points) + 0.5) / points - n / 2 - c for n, c in zip(pixels, at.centre, strict=True)), indexing="ij")
    cosine, sine = np.cos(at.rotation_rad), np.sin(at.rotation_rad)
    rows = np.floor((cosine * y - sine * x) / at.sample + light.shape[0] / 2).astype(int)
    columns = np.floor((sine * y + cosine * x) / at.sample + light.shape[1] / 2).astype(int)
    framed = np.pad(light, 1)
    seen = framed[np.clip(rows + 1, 0, light.shape[0] + 1), np.clip(columns + 1, 0, light.shape[1] + 1)]
    return seen.reshape(pixels[0], points, pixels[1], points).mean((1, 3)) / at.sample**2


# --- areas ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("at", [turned.Placing(1.0, (0.0, 0.0), 0.0), turned.Placing(1.007, (1.3, -2.2), 0.05),
                                turned.Placing(0.31, (0.2, 0.1), -0.3), turned.Placing(2.4, (-0.5, 3.0), 1.9)])
def test_areas_are_those_of_brute_force(at):
    light = np.random.default_rng(0).random((12, 17))
    found = turned.on_pixels(turned.Light.of(light), at, (14, 11))
    coarse, fine = (np.abs(found - brute(light, at, (14, 11), points)).max() for points in (16, 128))
    scale = found.max()
    assert fine < 2e-3 * scale
    assert fine < coarse / 3 or coarse < 1e-12  # it is the points that are inexact


def test_light_is_neither_lost_nor_made():
    light = np.random.default_rng(1).random((9, 13))
    found = turned.on_pixels(turned.Light.of(light), turned.Placing(0.7, (0.4, -0.9), 0.4), (24, 24))
    assert found.sum() == pytest.approx(light.sum(), rel=1e-12)


def test_slopes_are_those_of_differences():
    light = turned.Light.of(np.random.default_rng(2).random((12, 17)))
    at = np.array([1.01, 0.03, 0.6, -1.2])

    def seen(values):
        return turned.on_pixels(light, turned.Placing(values[0], (values[2], values[3]), values[1]), (14, 15))

    change = turned.slopes(light, turned.Placing(at[0], (at[2], at[3]), at[1]), (14, 15))[1]
    for one, step in zip(change, np.eye(4) * 1e-6, strict=True):
        difference = (seen(at + step) - seen(at - step)) / 2e-6
        np.testing.assert_allclose(one, difference, atol=1e-6 * np.abs(difference).max())


# --- numpy and torch ------------------------------------------------------------------------------
@pytest.mark.parametrize("optics", [{}, {"mask_to_sensor_m": 3.4e-3}, {"printing": Printing(edge_blur_m=8e-6).model_dump()},
                                    {"printing": Printing(edge_blur_m=5e-6, opaque_transmission=0.02, clear_transmission=0.9).model_dump()},
                                    {"mount": OFF.model_dump()},
                                    {"mount": OFF.model_dump(), "printing": Printing(edge_blur_m=8e-6).model_dump()}])
def test_numpy_and_torch_draw_the_same_shadow(optics):
    design = lensless(**optics)
    wanted = design_psf(design, propagation="geometric").numpy()
    mount = design.optics.mount or Mount()
    mounting = Mounting(design.optics.mask_to_sensor_m, mount.shift_m, mount.rotation_rad)
    at = pose(mounting, Source((0.0, 0.0), design.optics.scene_to_mask_m), design.code_pitch_m)
    found = MaskModel.of(design).psf(at, wanted.shape)
    assert np.abs(found - wanted).max() <= TORCH * wanted.max()
    assert not np.allclose(found[::-1], wanted, atol=TORCH * wanted.max())  # control


def test_a_shadow_in_parts_is_the_shadow():
    model, at = MaskModel.of(lensless()), Pose(1.01, 0.04, (0.3, -1.7))
    whole, change = model.slopes(at, (20, 20))
    parts = model.psf(at, (20, 20), 3)
    np.testing.assert_allclose(parts.reshape(20, 3, 20, 3).sum((1, 3)), whole, atol=1e-15)
    moved = model.psf(Pose(1.01, 0.04, (0.3, -1.7 + 1e-6)), (20, 20))
    np.testing.assert_allclose((moved - whole) / 1e-6, change[3], atol=1e-6)


def test_only_a_mask_has_a_shadow():
    with pytest.raises(PrivcamError, match="only a mask"):
        MaskModel.of(lensless().replace(optics=IdentityOptics().model_dump()))


# --- what a mount means ---------------------------------------------------------------------------
def middle(psf: torch.Tensor) -> tuple[float, float]:
    y, x = (torch.arange(n) - (n - 1) / 2 for n in psf.shape)
    return float((psf.sum(1) * y).sum() / psf.sum()), float((psf.sum(0) * x).sum() / psf.sum())


@pytest.mark.parametrize("mode", ["geometric", "wave"])
def test_a_mask_moved_down_by_a_code_pixel_moves_the_psf_up_by_one(mode):
    """The PSF is drawn turned by 180 degrees, so that a mask moved one way moves it the other, scaled by M."""
    still = lensless(mount=Mount().model_dump())
    pitch = still.code_pitch_m / still.optics.magnification
    moved = still.replace(**{"optics.mount": Mount(shift_m=(pitch, 0.0)).model_dump()})
    margin = 3
    before, after = design_psf(still, propagation=mode, margin=margin), design_psf(moved, propagation=mode, margin=margin - 1)
    assert before.shape == after.shape
    torch.testing.assert_close(after[2:-2], before[3:-1], atol=2e-3 * float(before.max()) if mode == "wave" else 1e-6, rtol=0)
    assert not torch.allclose(after[2:-2], before[1:-3], atol=0.1 * float(before.max()))


def test_a_quarter_turn_from_x_to_y_is_clockwise_as_drawn():
    design = start_design(RowsPattern(rows=F), (9, 9), (5, 5), bin_px=160)
    upright = design_psf(design, propagation="geometric").flip(0, 1)
    turned_mask = design.replace(**{"optics.mount": Mount(rotation_rad=float(np.pi / 2)).model_dump()})
    found = design_psf(turned_mask, propagation="geometric").flip(0, 1)
    torch.testing.assert_close(found, torch.rot90(upright, -1), atol=1e-6, rtol=0)
    assert not torch.allclose(found, torch.rot90(upright, 1), atol=1e-3)


def test_a_shifted_pinhole_shows_an_upright_f_further_along():
    """The scene's F stays upright; a mask moved right shows what lay further right... of the picture, further left."""
    design = lensless(PinholePattern())
    scene = torch.zeros(31, 31)
    scene[13:18, 13:18] = torch.tensor([[float(c) for c in row] for row in F])
    pitch = design.code_pitch_m / design.optics.magnification
    moved = design.replace(**{"optics.mount": Mount(shift_m=(0.0, 2 * pitch)).model_dump()})
    image, other = (image_through(scene, PrivacyCamera.from_design(d).psf("geometric"), d) for d in (design, moved))
    assert image.shape == other.shape == (16, 16)
    torch.testing.assert_close(other[:, :-2], image[:, 2:], atol=1e-5, rtol=0)
    assert float(image.max()) > 0


@pytest.mark.parametrize("mode", ["geometric", "wave"])
def test_a_mount_at_nothing_changes_nothing(mode):
    design = lensless()
    torch.testing.assert_close(design_psf(design.replace(**{"optics.mount": Mount().model_dump()}), propagation=mode),
                               design_psf(design, propagation=mode), atol=1e-7, rtol=0)


def test_a_mounted_wave_psf_keeps_its_light_and_its_gradient():
    design = lensless(mount=OFF.model_dump())
    aligned, mounted = design_psf(lensless(), margin=4), design_psf(design, margin=4)
    assert float(mounted.sum()) == pytest.approx(float(aligned.sum()), rel=5e-3)
    y, x = middle(mounted)
    scale = design.optics.magnification / design.code_pitch_m
    zero = middle(aligned)
    cosine, sine = np.cos(OFF.rotation_rad), np.sin(OFF.rotation_rad)
    assert y == pytest.approx(cosine * zero[0] + sine * zero[1] - OFF.shift_m[0] * scale, abs=0.05)
    assert x == pytest.approx(cosine * zero[1] - sine * zero[0] - OFF.shift_m[1] * scale, abs=0.05)


# --- designs --------------------------------------------------------------------------------------
def test_a_design_without_a_mount_says_nothing_of_one():
    design = lensless()
    assert "mount" not in design.to_toml() and "mount" not in design.model_dump()["optics"]
    assert CameraDesign.model_validate(design.model_dump()).digest == design.digest
    mounted = design.replace(**{"optics.mount": Mount().model_dump()})
    assert mounted.digest != design.digest and mounted.parent == design.digest


def test_a_mounted_design_survives_its_file(tmp_path):
    mounted = lensless(mount=OFF.model_dump())
    mounted.save(tmp_path)
    again = CameraDesign.load(tmp_path)
    assert again == mounted and again.digest == mounted.digest and again.optics.mount == OFF


def test_as_built_puts_the_mask_where_it_is():
    design = lensless()
    values = {"mask to sensor": 3.3e-3, "shift y": 1e-5, "shift x": -2e-5, "rotation": math.degrees(0.02)}
    built = Calibration(mask={name: Measure(name=name, value=value) for name, value in values.items()}).as_built(design)
    assert built.parent == design.digest and built.name == "lensless, as built"
    assert built.optics.mask_to_sensor_m == 3.3e-3 and built.optics.mount.shift_m == (1e-5, -2e-5)
    assert built.optics.mount.rotation_rad == pytest.approx(0.02)
    assert built.sensor == design.sensor and built.optics.scene_to_mask_m == design.optics.scene_to_mask_m
    code = PrivacyCamera.from_design(built).relative_irradiance(torch.ones(31, 31))
    assert code.shape == (16, 16)  # a shadow that is no longer the size of the mask's cells still makes a code
    with pytest.raises(PrivcamError, match="nothing was measured"):
        Calibration().as_built(design)
    with pytest.raises(PrivcamError, match="another design"):
        Calibration(design="0" * 64, mask={"x": Measure(name="x", value=1.0)}).as_built(design)

from __future__ import annotations

import math

import pytest
import torch

from optics_sim.design import (
    BlackOptics,
    CameraDesign,
    DefocusOptics,
    Exposure,
    IdentityOptics,
    LenslessOptics,
    OpenPattern,
    Printing,
    RandomPattern,
    Readout,
    RowsPattern,
    Sensor,
)
from optics_sim.errors import PrivcamError
from optics_sim.optics.lens import blur_diameter_m, defocus_psf
from optics_sim.optics.mask import LearnableMask
from optics_sim.optics.patterns import default_lensless, transmission
from optics_sim.optics.propagation import rayleigh_sommerfeld
from optics_sim.optics.psf import design_psf, lensless_psf

PITCH_M = 62e-6
GREEN_M = 550e-9
F = ("11111", "10000", "11100", "10000", "10000")  # nothing turns or mirrors an F into itself
FLOAT32 = 1e-6


def cells_of(optics: LenslessOptics) -> torch.Tensor:
    return torch.from_numpy(transmission(optics.pattern, optics.cells, optics.cell_m))


def random_optics(fraction: float = 0.3, seed: int = 1) -> LenslessOptics:
    return default_lensless(RandomPattern(seed=seed, open_fraction=fraction))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def centroid(psf: torch.Tensor) -> tuple[float, float]:
    """(y, x) in code pixels from the grid's centre."""
    y, x = ((torch.arange(n) - (n - 1) / 2) for n in psf.shape)
    return float((psf.sum(1) * y).sum() / psf.sum()), float((psf.sum(0) * x).sum() / psf.sum())


def shares(middle: float, width: float, pixels: int) -> torch.Tensor:
    """Overlap of an interval with each of a centred row of unit pixels, as a share of the interval."""
    low, high = middle - width / 2 + pixels / 2, middle + width / 2 + pixels / 2
    return torch.tensor([max(0.0, min(high, k + 1) - max(low, k)) / width for k in range(pixels)])


# --- geometry -------------------------------------------------------------------------------------
def test_aligned_shadow_is_exactly_the_turned_pattern():
    optics = random_optics()
    psf = lensless_psf(cells_of(optics), optics, PITCH_M, propagation="geometric")
    assert torch.equal(psf, cells_of(optics).flip(0, 1) / 1024)
    margin = lensless_psf(cells_of(optics), optics, PITCH_M, propagation="geometric", margin=2)
    assert torch.equal(margin[2:-2, 2:-2], psf) and margin.shape == (36, 36)


@pytest.mark.parametrize("mode", ["wave", "geometric"])
def test_an_f_is_turned_by_180_degrees(mode):
    optics = default_lensless(RowsPattern(rows=F), cells=(5, 5), code_pitch_m=4 * PITCH_M)
    pattern = cells_of(optics)
    psf = lensless_psf(pattern, optics, 4 * PITCH_M, propagation=mode)
    agreement = {turn: float((psf * torch.rot90(view, turn)).sum()) for view in [pattern] for turn in range(4)}
    assert max(agreement, key=agreement.__getitem__) == 2
    assert float((psf * pattern.flip(1)).sum()) < agreement[2] > float((psf * pattern.flip(0)).sum())


@pytest.mark.parametrize("mode", ["wave", "geometric"])
@pytest.mark.parametrize("scene_to_mask_m", [0.01, 0.1, 10.0])
def test_an_off_centre_pinhole_lands_turned_and_magnified(mode, scene_to_mask_m):
    """Row 3 and column 9 of 16: 4.5 cells up and 1.5 to the right; times M, drawn turned."""
    cell_m, pitch_m = 60e-6, 50e-6
    optics = LenslessOptics(pattern=OpenPattern(), cells=(16, 16), cell_m=cell_m, mask_to_sensor_m=2e-3,
                            scene_to_mask_m=scene_to_mask_m)
    pinhole = torch.zeros(16, 16)
    pinhole[3, 9] = 1
    scale = (1 + 2e-3 / scene_to_mask_m) * cell_m / pitch_m
    psf = lensless_psf(pinhole, optics, pitch_m, propagation=mode, margin=4)
    y, x = centroid(psf)
    # a shadow's share of pixel k tells its centroid to f (1 - f) / w <= 1 / (4 w) pixels; waves lose some at the window
    tolerance = 0.25 / scale + (0 if mode == "geometric" else 0.1)
    assert y == pytest.approx(4.5 * scale, abs=tolerance)
    assert x == pytest.approx(-1.5 * scale, abs=tolerance)
    if mode == "geometric":
        torch.testing.assert_close(psf * 256, torch.outer(shares(4.5 * scale, scale, psf.shape[0]),
                                                          shares(-1.5 * scale, scale, psf.shape[1])), atol=1e-5, rtol=0)


def test_unaligned_shadow_conserves_energy_to_float32():
    optics = LenslessOptics(pattern=OpenPattern(), cells=(13, 20), cell_m=47e-6, mask_to_sensor_m=3e-3, scene_to_mask_m=0.1)
    pattern = (torch.rand(13, 20, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    psf = lensless_psf(pattern, optics, 55e-6, propagation="geometric")
    assert psf.shape == (math.ceil(13 * 47 * 1.03 / 55), math.ceil(20 * 47 * 1.03 / 55))
    assert float(psf.sum()) == pytest.approx(float(pattern.mean()), rel=FLOAT32 * 10)


# --- waves ----------------------------------------------------------------------------------------
def direct_psf(pattern: torch.Tensor, optics: LenslessOptics, pitch_m: float, size: int, sources: int,
               points: int) -> torch.Tensor:
    """No FFT, no scaling theorem: spherical wave onto the mask, Rayleigh-Sommerfeld sum, integrated over code pixels."""
    fine, source_pitch = pattern.repeat_interleave(sources, 0).repeat_interleave(sources, 1).double(), optics.cell_m / sources
    n = fine.shape[0]
    x = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * source_pitch
    distance = optics.scene_to_mask_m
    r = torch.sqrt(x[:, None] ** 2 + x[None, :] ** 2 + distance**2)
    light = torch.zeros(size * points, size * points, dtype=torch.float64)
    at = (torch.arange(size * points, dtype=torch.float64) - (size * points - 1) / 2) * pitch_m / points
    for wavelength in optics.wavelengths_m:
        illumination = torch.polar(distance / r, 2 * math.pi / wavelength * (r - distance))
        field = rayleigh_sommerfeld(fine * illumination, source_pitch, wavelength, optics.mask_to_sensor_m, at, at)
        light += field.abs().square() / len(optics.wavelengths_m)
    psf = light.reshape(size, points, size, points).sum((1, 3)) * (pitch_m / points) ** 2 / (n * source_pitch) ** 2
    return psf.flip(0, 1).float()


@pytest.mark.parametrize("scene_to_mask_m", [20e-3, 0.4])
def test_wave_psf_is_the_direct_sum_under_a_spherical_wave(scene_to_mask_m):
    pitch_m = 24e-6
    magnification = 1 + 1.5e-3 / scene_to_mask_m
    optics = LenslessOptics(pattern=OpenPattern(), cells=(5, 5), cell_m=pitch_m / magnification, mask_to_sensor_m=1.5e-3,
                            scene_to_mask_m=scene_to_mask_m, wavelengths_m=(GREEN_M,))
    pattern = torch.tensor([[float(c) for c in row] for row in F])
    reference = direct_psf(pattern, optics, pitch_m, 9, 12, 5)
    psf = lensless_psf(pattern, optics, pitch_m, margin=2, oversample=12)
    assert relative(psf, reference) < 0.01  # 0.6 and 0.8 %; 24 samples on both sides leave 0.2 %
    without_scaling = optics.model_copy(update={"scene_to_mask_m": 1e3})
    if scene_to_mask_m < 0.1:  # control: the tolerance sees a plane wave
        assert relative(lensless_psf(pattern, without_scaling, pitch_m, margin=2, oversample=12), reference) > 0.05

@pytest.mark.parametrize(("oversample", "tolerance"), [(4, 0.035), (8, 0.016)])
def test_oversampling_errors_are_as_stated(oversample, tolerance):
    optics = random_optics()
    reference = lensless_psf(cells_of(optics), optics, PITCH_M, margin=2, oversample=32)
    assert relative(lensless_psf(cells_of(optics), optics, PITCH_M, margin=2, oversample=oversample), reference) < tolerance


def test_waves_conserve_energy():
    optics = random_optics()
    mean = float(cells_of(optics).mean())
    sums = [float(lensless_psf(cells_of(optics), optics, PITCH_M, margin=m).sum()) / mean for m in (0, 2, 8)]
    assert sums[0] < sums[1] <= sums[2] * (1 + FLOAT32)
    assert sums[2] == pytest.approx(1, abs=1e-4)
    assert sums[1] == pytest.approx(1, abs=2e-3)


def test_waves_become_rays_as_the_wavelength_vanishes():
    optics = random_optics()
    shadow = lensless_psf(cells_of(optics), optics, PITCH_M, propagation="geometric", margin=2)
    colours = [optics.model_copy(update={"wavelengths_m": (w,)}) for w in (550e-9, 55e-9, 5.5e-9, 0.55e-9)]
    apart = [relative(lensless_psf(cells_of(colour), colour, PITCH_M, margin=2), shadow) for colour in colours]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 0.02  # penumbra sqrt(lambda z) = 1.3 um of a 62 um cell


def test_magnified_and_unaligned_waves_keep_light_and_place():
    optics = LenslessOptics(pattern=OpenPattern(), cells=(15, 15), cell_m=40e-6, mask_to_sensor_m=2e-3, scene_to_mask_m=0.05)
    pattern = torch.zeros(15, 15)
    pattern[7, 7] = 1
    psf = lensless_psf(pattern, optics, 33e-6, margin=3)
    torch.testing.assert_close(psf, psf.flip(0, 1), atol=1e-8, rtol=1e-4)
    torch.testing.assert_close(psf, psf.T.contiguous(), atol=1e-8, rtol=1e-4)
    assert float(psf.sum()) == pytest.approx(1 / 225, rel=2e-3)


# --- printing and gradients -----------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["wave", "geometric"])
@pytest.mark.parametrize("blur_m", [0.0, 8e-6])
def test_finite_blackness_lets_its_light_through(mode, blur_m):
    printing = Printing(edge_blur_m=blur_m, opaque_transmission=0.02, clear_transmission=0.9)
    optics = random_optics().model_copy(update={"printing": printing})
    psf = lensless_psf(cells_of(optics), optics, PITCH_M, propagation=mode, margin=8)
    expected = 0.02 + 0.88 * float(cells_of(optics).mean())
    assert float(psf.sum()) == pytest.approx(expected, rel=1e-3 if blur_m == 0 else 1e-2)  # blurred light lost to the frame


@pytest.mark.parametrize("mode", ["wave", "geometric"])
@pytest.mark.parametrize("blur_m", [0.0, 8e-6])
@pytest.mark.parametrize("start", [0.0, 0.1, 1.0])
def test_every_logit_has_a_finite_gradient(mode, blur_m, start):
    mask = LearnableMask.sparse((32, 32), start, torch.Generator().manual_seed(0))
    printing = Printing(edge_blur_m=blur_m, opaque_transmission=0, clear_transmission=1)
    optics = random_optics().model_copy(update={"printing": printing})
    lensless_psf(mask(), optics, PITCH_M, propagation=mode, margin=2).sum().backward()
    gradient = mask.logits.grad
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient != 0).all())
    assert bool((gradient > 0).all()) or blur_m > 0 or mode == "wave"  # more clear cells, more light


@pytest.mark.parametrize("opaque", [0.0, 0.04])
def test_wave_gradient_of_a_binary_mask_is_what_a_flip_changes(opaque):
    pattern = (torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    optics = default_lensless(OpenPattern(), cells=(8, 8)).model_copy(
        update={"printing": Printing(edge_blur_m=0, opaque_transmission=opaque, clear_transmission=1)})
    weights = torch.randn(12, 12, generator=torch.Generator().manual_seed(1))

    def loss(cells: torch.Tensor) -> torch.Tensor:
        return (lensless_psf(cells, optics, PITCH_M, margin=2, oversample=16) * weights).sum()

    leaf = pattern.clone().requires_grad_()
    loss(leaf).backward()
    flips = torch.zeros(8, 8)
    for y in range(8):
        for x in range(8):
            clear, dark = pattern.clone(), pattern.clone()
            clear[y, x], dark[y, x] = 1, 0
            flips[y, x] = loss(clear) - loss(dark)
    assert relative(leaf.grad, flips) < 0.02  # the lone cell's light is followed for three cells around it


def test_wave_gradient_of_a_grey_mask_is_the_derivative():
    grey = 0.2 + 0.6 * torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    optics = default_lensless(OpenPattern(), cells=(8, 8))
    direction = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(12, 12, generator=torch.Generator().manual_seed(2))

    def loss(cells: torch.Tensor) -> torch.Tensor:
        return (lensless_psf(cells, optics, PITCH_M, margin=2) * weights).double().sum()

    leaf = grey.clone().requires_grad_()
    loss(leaf).backward()
    step = 1e-2
    expected = float(loss(grey + step * direction) - loss(grey - step * direction)) / (2 * step)
    assert float((leaf.grad * direction).sum()) == pytest.approx(expected, rel=2e-2)  # step^2 and float32


# --- lens -----------------------------------------------------------------------------------------
def lens(**changes: float) -> DefocusOptics:
    values = {"focal_length_m": 4e-3, "aperture_m": 2e-3, "lens_to_sensor_m": 6e-3, "scene_to_lens_m": 0.4}
    return DefocusOptics(**(values | changes))


def test_blur_circle_is_the_thin_lens():
    image_m = 1 / (1 / 4e-3 - 1 / 0.4)
    assert blur_diameter_m(lens()) == pytest.approx(2e-3 * abs(6e-3 - image_m) / image_m)
    assert blur_diameter_m(lens(lens_to_sensor_m=image_m)) == pytest.approx(0, abs=1e-12)


def test_disc_has_the_exact_area_and_symmetry():
    psf = defocus_psf(lens(), PITCH_M)
    radius = blur_diameter_m(lens()) / PITCH_M / 2
    assert float(psf.sum()) == pytest.approx(1, abs=FLOAT32)
    assert torch.allclose(psf, psf.T) and torch.allclose(psf, psf.flip(0), atol=1e-9)
    assert float(psf[psf.shape[0] // 2, psf.shape[0] // 2]) == pytest.approx(1 / (math.pi * radius**2), rel=FLOAT32)
    n = psf.shape[0]
    fine = (torch.arange(n * 50, dtype=torch.float64) + 0.5) / 50 - n / 2
    counted = ((fine[:, None] ** 2 + fine[None, :] ** 2) <= radius**2).double().reshape(n, 50, n, 50).mean((1, 3))
    assert float((psf - counted / (math.pi * radius**2)).abs().max() * math.pi * radius**2) < 0.01  # counting, 50 per pixel


def test_a_lens_in_focus_blurs_nothing():
    psf = defocus_psf(lens(lens_to_sensor_m=1 / (1 / 4e-3 - 1 / 0.4)), PITCH_M)
    assert torch.equal(psf, torch.ones(1, 1))


# --- designs --------------------------------------------------------------------------------------
def design(optics: LenslessOptics | DefocusOptics | IdentityOptics | BlackOptics) -> CameraDesign:
    sensor = Sensor(name="test", pixel_pitch_m=1.55e-6, shape=(3040, 4056), quantum_efficiency=0.6, bit_depth=12,
                    black_level_dn=256, gain_dn_per_e=0.5, full_well_e=8000)
    readout = Readout(crop=(0, 0, 1280, 1280), bin=(40, 40), black_level_dn=256, shift=4)
    return CameraDesign(name="test", optics=optics, sensor=sensor, readout=readout,
                        exposure=Exposure(exposure_s=0.01, white_photons_per_px_s=1e5))


def test_a_designs_psf_is_that_of_its_optics():
    optics = random_optics()
    assert torch.equal(design_psf(design(optics), margin=1), lensless_psf(cells_of(optics), optics, PITCH_M, margin=1))
    assert torch.equal(design_psf(design(lens())), defocus_psf(lens(), PITCH_M))
    assert torch.equal(design_psf(design(IdentityOptics())), torch.ones(1, 1))
    assert torch.equal(design_psf(design(BlackOptics())), torch.zeros(1, 1))


def test_caches_survive_inference_mode_and_other_precisions():
    optics = default_lensless(OpenPattern(), cells=(9, 11)).model_copy(update={"mask_to_sensor_m": 2.9e-3})
    pattern = torch.ones(9, 11)
    with torch.inference_mode():
        first = lensless_psf(pattern, optics, PITCH_M)
    leaf = pattern.clone().requires_grad_()
    second = lensless_psf(leaf, optics, PITCH_M)
    second.sum().backward()
    assert torch.equal(first, second.detach())
    double = pattern.double().requires_grad_()
    lensless_psf(double, optics, PITCH_M).sum().backward()
    torch.testing.assert_close(double.grad.float(), leaf.grad, rtol=1e-3, atol=1e-6)


# --- guards ---------------------------------------------------------------------------------------
def test_guards():
    optics = random_optics()
    pattern = cells_of(optics)
    with pytest.raises(PrivcamError, match="optics' cells"):
        lensless_psf(pattern[:5], optics, PITCH_M)
    with pytest.raises(PrivcamError, match="unknown propagation"):
        lensless_psf(pattern, optics, PITCH_M, propagation="rays")
    for wrong in ({"margin": -1}, {"oversample": 0}):
        with pytest.raises(PrivcamError, match="grid is not one"):
            lensless_psf(pattern, optics, PITCH_M, **wrong)
    with pytest.raises(PrivcamError, match="grid is not one"):
        lensless_psf(pattern, optics, 0.0)
    with pytest.raises(PrivcamError, match="code pixel has a size"):
        defocus_psf(lens(), 0.0)

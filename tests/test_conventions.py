"""What the stages' names promise about light and numbers: units, linearity, one plane."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optics_sim.camera import PrivacyCamera
from optics_sim.data.photographs import srgb_to_linear
from optics_sim.design import CameraDesign, OpenPattern, PinholePattern
from optics_sim.learning.pipeline import exposed, start_design
from optics_sim.sensor.planning import quantum_efficiencies

FLOAT32_SUMS = 2e-5  # two float32 transforms and a bin's sum of 1e6 DN, relative to the largest value
PIXEL_ERRORS = 2e-3  # PRNU of 1 % averaged over a bin of 1600 pixels is 2.5e-4; eight times that
TAILS = 4.0  # standard errors


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def scenes() -> torch.Tensor:
    return 0.1 + 0.5 * torch.rand(4, 31, 31, generator=generator())


@pytest.fixture(scope="module")
def design(scenes) -> CameraDesign:
    return exposed(start_design(OpenPattern(), (31, 31), (16, 16)), scenes)


def expected_dn(design: CameraDesign, scene: torch.Tensor) -> torch.Tensor:
    """The mean bin sum above black, before any noise."""
    camera = PrivacyCamera.from_design(design)
    photons = camera.relative_irradiance(scene) * design.exposure.white_photons_per_px_s
    return camera.sensor.binned_moments(photons)[0]


def test_expected_signal_is_linear_in_the_scene_below_saturation(design, scenes) -> None:
    dark = expected_dn(design, torch.zeros(31, 31))
    first, second = scenes[0], scenes[1]
    mixed = expected_dn(design, 0.3 * first + 0.6 * second) - dark
    apart = 0.3 * (expected_dn(design, first) - dark) + 0.6 * (expected_dn(design, second) - dark)
    assert (mixed - apart).abs().max() <= FLOAT32_SUMS * expected_dn(design, first).max()
    assert mixed.min() > 0


def test_it_is_not_linear_above_saturation_nor_in_display_codes(design, scenes) -> None:
    """The negative controls: a full well clips, and a photograph's numbers are not light."""
    dark = expected_dn(design, torch.zeros(31, 31))
    bright = 20 * scenes[0]
    assert (expected_dn(design, bright) - dark < 0.5 * 20 * (expected_dn(design, scenes[0]) - dark)).all()
    encoded = np.array([[64, 128]], np.uint8)
    light = srgb_to_linear(encoded)
    assert light[0, 1] > 4 * light[0, 0]


def test_a_stage_has_the_unit_of_its_name(design) -> None:
    """A white field: relative irradiance 1; photons per raw pixel and second; electrons; DN per electron."""
    camera = PrivacyCamera.from_design(design)
    white = torch.ones(31, 31)
    light = camera.relative_irradiance(white)
    assert float(light[8, 8]) == pytest.approx(1, abs=2e-3)  # what diffracts beyond the margin
    dim = design.replace(**{"exposure.white_photons_per_px_s": 1e4})
    red, green, blue = quantum_efficiencies(design.sensor)
    exposure, sensor = dim.exposure, dim.sensor
    photons = 1e4 * float(light[8, 8]) * exposure.exposure_s
    electrons = photons * (red + 2 * green + blue) / 4 + sensor.dark_current_e_per_s * exposure.exposure_s
    expected = electrons * sensor.gain_dn_per_e * np.prod(dim.readout.bin)
    assert float(expected_dn(dim, white)[8, 8]) == pytest.approx(expected, rel=PIXEL_ERRORS)


def test_electrons_are_counts(design) -> None:
    """Shot noise: the variance of a bin's electrons is their mean, which holds in no other unit."""
    sensor = {f"sensor.{name}": 0.0 for name in ("read_noise_e", "row_noise_e", "dark_current_e_per_s", "prnu", "dsnu_e")}
    clean = design.replace(**sensor)
    camera = PrivacyCamera.from_design(clean)
    photons = camera.relative_irradiance(torch.full((31, 31), 0.3)) * clean.exposure.white_photons_per_px_s
    sums = torch.stack([camera.sensor.binned(photons, generator=generator(seed)) for seed in range(200)])
    gain = clean.sensor.gain_dn_per_e
    rounding = 1600 / 12
    ratio = (sums.var(0).mean() - rounding) / gain**2 / (sums.mean() / gain)
    assert float(ratio) == pytest.approx(1, abs=TAILS * (2 / (199 * 256)) ** 0.5)


def test_raw_is_one_plane_with_the_black_level_and_code_is_int8(design, scenes) -> None:
    camera = PrivacyCamera.from_design(design)
    rows, columns = design.readout.crop[2:]
    raw = camera.sensor.raw(torch.zeros(2, rows, columns), generator=generator())
    assert raw.shape == (2, rows, columns)  # a mosaic: no axis for colour
    assert float(raw.mean()) == pytest.approx(design.sensor.black_level_dn, abs=0.5)
    code = camera(scenes, generator=generator())
    assert code.shape == (4, 16, 16) and torch.equal(code, code.round())
    assert code.min() >= -128 and code.max() <= 127


def test_a_valid_camera_measures_what_a_pinhole_sees(scenes) -> None:
    """The pinhole of a 31/16 camera sees the scene's middle 16 x 16 as it stands, and nothing else."""
    camera = PrivacyCamera.from_design(start_design(PinholePattern(), (31, 31), (16, 16)))
    seen = camera.relative_irradiance(scenes[0], camera.psf("geometric")) * 16**2
    assert torch.allclose(seen, scenes[0, 8:24, 8:24], atol=1e-5)

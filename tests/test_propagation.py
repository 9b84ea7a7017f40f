"""Diffraction against closed forms and against a direct sum. Lengths in metres."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import fresnel

from optics_sim.design import Printing
from optics_sim.errors import PrivcamError
from optics_sim.optics.printing import printed
from optics_sim.optics.propagation import angular_spectrum, rayleigh_sommerfeld

GREEN_M = 550e-9


def grid(n: int, pitch: float) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * pitch


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_angular_spectrum_is_the_rayleigh_sommerfeld_sum():
    """A soft aperture, so that neither method's sampling matters: they agree to the first's band limit."""
    n, pitch, z = 64, 0.8e-6, 150e-6
    y, x = grid(n, pitch)[:, None], grid(n, pitch)[None, :]
    field = torch.exp(-((y - 4e-6) ** 2 + (x + 2e-6) ** 2) / (2 * (5e-6) ** 2)).to(torch.complex128)
    field = field * torch.exp(2j * math.pi * 0.05e6 * x)
    spectrum = angular_spectrum(field, pitch, GREEN_M, z)
    direct = rayleigh_sommerfeld(field, pitch, GREEN_M, z, grid(n, pitch), grid(n, pitch))
    tolerance = 1e-4  # the Gaussian's tail cut at the window's edge is e^-4.8 of its amplitude, on one corner only
    assert relative(spectrum, direct) < tolerance


def test_slit_has_its_fresnel_integral():
    """Near field of a slit: |u| from C and S. One row per line: the slit is uniform along y, periodic there."""
    n, pitch, z, half = 4096, 0.5e-6, 1e-3, 60e-6
    x = grid(n, pitch)
    field = (x.abs() < half).to(torch.complex128)[None, :].expand(4, n)
    wave = angular_spectrum(field, pitch, GREEN_M, z, padding=0)[1]
    scale = math.sqrt(2 / (GREEN_M * z))
    s1, c1 = fresnel(scale * (x.numpy() + half))
    s0, c0 = fresnel(scale * (x.numpy() - half))
    expected = torch.from_numpy(((c1 - c0) ** 2 + (s1 - s0) ** 2) / 2)
    middle = x.abs() < 100e-6
    assert relative(wave.abs().square()[middle], expected[middle]) < 0.01  # edge on a sample: half a pitch of 120 um


def test_far_field_of_a_square_is_sinc_squared():
    n, pitch, side, z = 512, 10e-6, 200e-6, 1.0
    field = ((grid(n, pitch)[:, None].abs() < side / 2) & (grid(n, pitch)[None].abs() < side / 2)).double()
    light = angular_spectrum(field, pitch, GREEN_M, z, padding=3 * n).abs().square()
    x = grid(n, pitch).numpy()
    centre = light[n // 2]
    first_zero = GREEN_M * z / side  # 2.75 mm, outside the window; half of it is inside: sinc^2(1/2) = 0.405
    half = np.argmin(np.abs(x - first_zero / 2))
    expected = np.sinc(x[half] * side / (GREEN_M * z)) ** 2
    assert float(centre[half] / centre[n // 2]) == pytest.approx(expected, abs=0.02)  # Fresnel number 0.02


def test_airy_radius():
    """The first dark ring of a disc behind a lens: 1.22 lambda f / diameter."""
    n, pitch, radius, f = 512, 4e-6, 0.8e-3, 40e-3
    y, x = grid(n, pitch)[:, None], grid(n, pitch)[None, :]
    k = 2 * math.pi / GREEN_M
    disc = (y**2 + x**2 < radius**2).to(torch.complex128) * torch.exp(-1j * k * (y**2 + x**2) / (2 * f))
    light = angular_spectrum(disc, pitch, GREEN_M, f).abs().square()
    # the centre lies between the four middle samples: ring averages there
    ring = torch.sqrt(y**2 + x**2)
    edges = torch.arange(0, 40e-6, 2e-6)
    profile = [float(light[(ring >= a) & (ring < a + 2e-6)].mean()) for a in edges if ((ring >= a) & (ring < a + 2e-6)).any()]
    at = [float(a) + 1e-6 for a in edges if ((ring >= a) & (ring < a + 2e-6)).any()]
    dark = at[next(i for i in range(1, len(profile) - 1) if profile[i] < profile[i - 1] and profile[i] <= profile[i + 1])]
    assert dark == pytest.approx(1.22 * GREEN_M * f / (2 * radius), abs=4e-6)  # one sample


def test_talbot_self_imaging():
    """A grating of period p repeats after 2 p^2 / lambda, and is shifted by half a period after half of that."""
    period, samples, pitch = 160e-6, 16, 10e-6
    row = (torch.arange(60 * samples) % samples < samples // 2).double()
    field = row[None, :].expand(16, -1)
    talbot = 2 * period**2 / GREEN_M

    def image(distance: float) -> torch.Tensor:
        return angular_spectrum(field, pitch, GREEN_M, distance, padding=0)[3].abs().square()

    tolerance = 0.04  # order 7, the highest, dephases by (pi / 2) (lambda / p)^2 7^4 = 0.045 rad
    assert relative(image(talbot), row) < tolerance
    assert relative(image(talbot / 2), torch.roll(row, samples // 2)) < tolerance
    assert relative(image(talbot / 4), row) > 0.3  # control: in between it does not look like itself


def test_energy_is_kept_and_the_propagator_is_its_own_inverse_in_adjoint():
    n, pitch = 128, 2e-6
    field = torch.randn(n, n, generator=torch.Generator().manual_seed(0)).double()
    smooth = torch.nn.functional.avg_pool2d(field[None, None], 9, 1, padding=4)[0, 0]
    smooth[:32] = smooth[-32:] = 0
    smooth[:, :32] = smooth[:, -32:] = 0
    wave = angular_spectrum(smooth, pitch, GREEN_M, 100e-6)
    assert float(wave.abs().square().sum()) == pytest.approx(float(smooth.square().sum()), rel=2e-3)  # light beyond the window
    a = torch.randn(32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    b = torch.randn(32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    # adjoint = propagation of the conjugate, conjugated (reciprocity)
    left = torch.vdot(b.flatten(), angular_spectrum(a, pitch, GREEN_M, 100e-6).flatten())
    back = angular_spectrum(b.conj().resolve_conj(), pitch, GREEN_M, 100e-6).conj().resolve_conj()
    right = torch.vdot(back.flatten(), a.flatten())
    assert abs(left - right) < 1e-5 * float(a.norm() * b.norm())


def test_gradient_is_the_derivative():
    field = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def light(values: torch.Tensor) -> torch.Tensor:
        return angular_spectrum(values, 2e-6, GREEN_M, 20e-6).abs().square()

    assert torch.autograd.gradcheck(light, (field,))


def test_guards():
    field = torch.ones(4, 4)
    for wrong in [(0.0, GREEN_M, 1e-3), (1e-6, -GREEN_M, 1e-3), (1e-6, GREEN_M, 0.0)]:
        with pytest.raises(PrivcamError, match="positive lengths"):
            angular_spectrum(field, *wrong)
        with pytest.raises(PrivcamError, match="positive lengths"):
            rayleigh_sommerfeld(field, *wrong, grid(4, 1e-6), grid(4, 1e-6))


# --- printing -------------------------------------------------------------------------------------
def test_sharp_printing_repeats_cells_at_the_films_two_levels():
    cells = (torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    fine = printed(cells, Printing(opaque_transmission=0.01, clear_transmission=0.9), 50e-6, 4)
    expected = torch.where(cells > 0, 0.9, 0.01).repeat_interleave(4, 0).repeat_interleave(4, 1)
    torch.testing.assert_close(fine, expected)


def test_blur_has_its_standard_deviation_and_keeps_the_light_inside():
    blur, cell, oversample = 20e-6, 50e-6, 10
    cells = torch.zeros(11, 11)
    cells[5, 5] = 1
    fine = printed(cells, Printing(edge_blur_m=blur, opaque_transmission=0.0, clear_transmission=1.0), cell, oversample)
    assert float(fine.sum()) == pytest.approx(oversample**2, rel=1e-4)
    x = grid(110, cell / oversample)
    variance = float((fine.sum(0) * x**2).sum() / fine.sum())
    assert variance == pytest.approx(blur**2 + cell**2 / 12, rel=1e-3)  # Gaussian plus box
    with pytest.raises(PrivcamError, match="one pattern"):
        printed(cells[None], Printing(edge_blur_m=0, opaque_transmission=0, clear_transmission=1), cell, 4)

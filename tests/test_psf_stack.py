"""PSF stacks: known shifts, magnifications and a known gap come back, the field is told, bad stacks are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from calibration.ladder import HdrImage
from calibration.psf import Place, PsfStack, fit, plan
from calibration.registration import register, warped
from optics_sim.errors import PrivcamError

GAP_M, PITCH_M, SIDE = 2e-3, 20e-6, 72
DISTANCES = (0.1, 0.03, 0.02, 0.015)
ANGLES = tuple((a, b) for a, b in ((0.05, 0), (-0.05, 0.05), (0.08, -0.08), (0, 0.12), (-0.1, -0.1)))
CELLS = np.kron(np.random.default_rng(0).integers(0, 2, (12, 12)), np.ones((12, 12))).astype(float)  # 4 samples to a pixel
CELLS = gaussian_filter(np.pad(CELLS, 24), 4)


def shadow(place: Place, misplaced_px: tuple[float, float] = (0, 0), off_axis_blur: float = 0.0) -> np.ndarray:
    """What a mask of 36 x 36 px gives, drawn afresh from its fine picture: no interpolation of the registration's own."""
    scale = 1 + GAP_M / place.distance_m
    y, x = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2.0
    shift = [GAP_M / PITCH_M * np.tan(angle) + off for angle, off in zip(place.angle_rad, misplaced_px, strict=True)]
    fine = [(v - s) / scale * 4 + (len(CELLS) - 1) / 2 for v, s in zip((y, x), shift, strict=True)]
    mask = gaussian_filter(CELLS, 1e-9 + off_axis_blur * place.off_axis_rad)
    return map_coordinates(mask, fine, order=1, mode="constant") / scale**2


def picture(rate: np.ndarray, rng: np.random.Generator, light: float = 2e4) -> HdrImage:
    variance = light * rate + 30.0**2
    return HdrImage(light * rate + rng.normal(0, np.sqrt(variance)), variance, np.ones(rate.shape, int))


def stack(seed: int = 0, change=None, **options) -> PsfStack:
    rng, places = np.random.default_rng(seed), plan(DISTANCES, ANGLES)
    pictures = [picture(shadow(place, **options), rng) for place in places]
    return fit(*(change(places, pictures) if change else (places, pictures)), pitch_m=PITCH_M)


def test_shifts_are_found_to_a_part_of_a_pixel_and_within_their_errors():
    rng, pulls = np.random.default_rng(1), []
    place = Place(1.0)
    for _ in range(25):
        shift = tuple(rng.uniform(-6, 6, 2))
        found = register(picture(shadow(place), rng), picture(shadow(place, shift), rng)).estimates
        assert all(abs(found[name].value - s) < 0.1 for name, s in zip(("row", "column"), shift, strict=True))
        pulls += [(found[name].value - s) / found[name].error for name, s in zip(("row", "column"), shift, strict=True)]
    assert 0.75 < np.sqrt(np.mean(np.square(pulls))) < 1.3


def test_the_stack_gives_the_gap_twice():
    found = stack()
    for gap in (found.gap_from_distance, found.gap_from_angle):
        assert gap is not None and gap.relative < 0.01
        assert abs(gap.value - GAP_M) < 4 * gap.error + 0.002 * GAP_M  # the shadow is drawn from samples 4 to a pixel
    scales = [one.magnification for one in found.registrations[:len(DISTANCES)]]
    np.testing.assert_allclose(scales, [(1 + GAP_M / d) / (1 + GAP_M / DISTANCES[0]) for d in DISTANCES], rtol=2e-3)


def test_registered_pictures_lie_on_each_other_and_keep_their_energy():
    found = stack()
    field = [0, *range(len(DISTANCES), len(found.places))]
    first, *others = found.registered[field]
    for other in others:
        assert np.corrcoef(first.ravel(), other.ravel())[0, 1] > 0.98
        assert other.sum() == pytest.approx(first.sum(), rel=0.02)


def test_a_camera_that_is_shift_invariant_is_told_from_one_that_is_not():
    same, blurred = stack(), stack(off_axis_blur=100.0)
    assert same.invariant_to_rad() == pytest.approx(max(place.off_axis_rad for place in same.places))
    assert all(correlation.value > 0.99 for _, correlation in same.field())
    correlations = [correlation.value for _, correlation in blurred.field()]
    assert correlations == sorted(correlations, reverse=True) and correlations[-1] < 0.9
    assert 0 < blurred.invariant_to_rad() < same.invariant_to_rad()


def test_noise_alone_does_not_make_a_camera_vary():
    """At little light two pictures of one PSF correlate less; the correlation counts that out."""
    rng, rate = np.random.default_rng(2), shadow(Place(1.0))
    pairs = [[picture(rate, rng, light=100.0) for _ in range(2)] for _ in range(15)]
    plain = np.mean([np.corrcoef(a.rate_e_s.ravel(), b.rate_e_s.ravel())[0, 1] for a, b in pairs])
    found = [register(a, b).correlation for a, b in pairs]
    assert plain < 0.75
    assert abs(np.mean([one.value for one in found]) - 1) < 0.03


def test_a_defect_pixel_has_no_say():
    rng, rate = np.random.default_rng(3), shadow(Place(1.0))
    image = picture(rate, rng)
    image.rate_e_s[30, 30], image.variance[30, 30], image.rungs[30, 30] = 0.0, np.inf, 0
    found = register(picture(rate, rng), image)
    assert max(map(abs, found.shift_px)) < 0.05 and found.correlation.value > 0.99


def test_warping_moves_as_it_says():
    spot = np.zeros((21, 21))
    spot[10, 10] = 1
    assert np.unravel_index(warped(spot, (3, -2)).argmax(), spot.shape) == (13, 8)


def test_refusals():
    rng = np.random.default_rng(4)

    def refused(match: str, change) -> None:
        with pytest.raises(PrivcamError, match=match):
            stack(change=change)

    refused("too few", lambda places, pictures: (places[:3], pictures[:3]))
    refused("repeated at the end", lambda places, pictures: (places[:-1], pictures[:-1]))
    refused("there twice", lambda places, pictures: ([*places[:2], *places[1:]], [*pictures[:2], *pictures[1:]]))
    refused("too dark", lambda places, pictures: (places, [*pictures[:2], picture(0 * shadow(places[2]), rng), *pictures[3:]]))
    refused("moved", lambda places, pictures: (places, [*pictures[:-1], picture(shadow(places[0], (0.5, 0)), rng)]))
    refused("changed its light", lambda places, pictures: (places, [*pictures[:-1], picture(shadow(places[0]) * 0.9, rng)]))
    refused("magnification against", lambda places, pictures: (places, [pictures[0], pictures[2], pictures[1], *pictures[3:]]))
    refused("tangent of the angle", lambda places, pictures: (places, [*pictures[:4], pictures[5], pictures[4], *pictures[6:]]))
    with pytest.raises(PrivcamError, match="two sizes"):
        register(picture(shadow(Place(1.0)), rng), picture(shadow(Place(1.0))[1:], rng))

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from optics_sim.design import (
    FilePattern,
    FresnelZonePattern,
    MlsPattern,
    MuraPattern,
    OpenPattern,
    PinholePattern,
    RandomPattern,
    RowsPattern,
)
from optics_sim.errors import PrivcamError
from optics_sim.optics.patterns import default_lensless, mls, mura_decoder, transmission

CELL_M = 60e-6


def periodic_correlation(a, b):
    """Exact: integers through a direct sum."""
    a, b = a.astype(int), b.astype(int)
    return np.array([[(np.roll(a, (-y, -x), (0, 1)) * b).sum() for x in range(a.shape[1])] for y in range(a.shape[0])])


@pytest.mark.parametrize("prime", [5, 7, 11, 13, 17, 19, 23, 29])
def test_mura_correlates_to_a_delta(prime):
    array = transmission(MuraPattern(prime=prime), (prime, prime), CELL_M)
    correlation = periodic_correlation(array, mura_decoder(prime))
    assert correlation[0, 0] == (prime**2 - 1) // 2 == array.sum()
    correlation[0, 0] = 0
    assert not correlation.any()


def test_mura_23_has_peak_264():
    assert periodic_correlation(transmission(MuraPattern(prime=23), (23, 23), CELL_M), mura_decoder(23)).max() == 264


def test_a_decoder_with_one_wrong_cell_has_sidelobes():
    decoder = mura_decoder(23)
    decoder[0, 0] = -1
    correlation = periodic_correlation(transmission(MuraPattern(prime=23), (23, 23), CELL_M), decoder)
    assert np.abs(correlation[1:, 1:]).max() == 2


@pytest.mark.parametrize("side", [9, 15, 21, 25])
def test_mura_refuses_a_side_that_is_no_prime(side):
    with pytest.raises(PrivcamError, match="prime"):
        transmission(MuraPattern(prime=side), (side, side), CELL_M)


@pytest.mark.parametrize("cells", [(32, 32), (17, 40), (46, 46)])
def test_periodic_patterns_are_continued_and_cut_around_the_centre(cells):
    native = transmission(MuraPattern(prime=23), (23, 23), CELL_M)
    array = transmission(MuraPattern(prime=23), cells, CELL_M)
    for y, x in [(0, 0), (3, -2), (-8, 8), (8, 7)]:
        assert array[cells[0] // 2 + y, cells[1] // 2 + x] == native[(11 + y) % 23, (11 + x) % 23]


@pytest.mark.parametrize("order", [3, 5, 8])
def test_mls_is_flat_and_its_mask_an_xnor(order):
    sequence = mls(order)
    length = 2**order - 1
    correlation = np.array([np.dot(sequence, np.roll(sequence, s)) for s in range(length)])
    assert correlation[0] == length
    assert (correlation[1:] == -1).all()
    spectrum = np.abs(np.fft.fft(sequence)) ** 2  # flat: length + 1 everywhere but at 0
    np.testing.assert_allclose(spectrum[1:], length + 1, rtol=1e-5)  # float32 input
    array = transmission(MlsPattern(order=order), (length, length), CELL_M)
    assert set(np.unique(array)) == {0, 1}
    assert np.linalg.matrix_rank(2 * array - 1) == 1  # separable in +-1


def test_pinhole_and_open():
    for cells, where in {(32, 32): (16, 16), (5, 7): (2, 3)}.items():
        array = transmission(PinholePattern(), cells, CELL_M)
        assert array.sum() == 1
        assert array[where] == 1
        assert transmission(OpenPattern(), cells, CELL_M).sum() == cells[0] * cells[1]


def test_random_is_seeded_and_keeps_its_fraction():
    cells, fraction = (200, 200), 0.3
    array = transmission(RandomPattern(seed=3, open_fraction=fraction), cells, CELL_M)
    assert np.array_equal(array, transmission(RandomPattern(seed=3, open_fraction=fraction), cells, CELL_M))
    assert not np.array_equal(array, transmission(RandomPattern(seed=4, open_fraction=fraction), cells, CELL_M))
    five_sigma = 5 * np.sqrt(fraction * (1 - fraction) / array.size)
    assert abs(array.mean() - fraction) < five_sigma


def test_fresnel_zones_are_where_the_radius_says():
    first = 1e-3
    array = transmission(FresnelZonePattern(first_radius_m=first), (127, 127), 30e-6)
    assert np.array_equal(array, array[::-1]) and np.array_equal(array, array.T)
    radius = np.arange(64) * 30e-6
    assert np.array_equal(array[63, 63:] == 1, np.cos(np.pi * radius**2 / first**2) > 0)
    turned = transmission(FresnelZonePattern(first_radius_m=first, phase_rad=np.pi), (127, 127), 30e-6)
    assert (array + turned == 1).mean() > 0.99  # complementary but on the zones' edges


def test_fresnel_zones_finer_than_a_cell_are_refused():
    with pytest.raises(PrivcamError, match="finer than a cell"):
        transmission(FresnelZonePattern(first_radius_m=1e-4), (64, 64), CELL_M)


def test_files_read_back(tmp_path):
    array = transmission(RandomPattern(seed=1), (12, 9), CELL_M)
    np.save(tmp_path / "mask.npy", array)
    Image.fromarray((array * 255).astype(np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray((array * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray((array * 255).astype(np.uint8)).convert("1").save(tmp_path / "one.png")
    Image.fromarray((array * 255).astype(np.uint8)).convert("RGB").save(tmp_path / "colour.png")
    for file in sorted(tmp_path.iterdir()):
        assert np.array_equal(transmission(FilePattern(path=str(file)), (12, 9), CELL_M), array), file.name


def test_bad_files_say_what_is_wrong(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "cube.npy", np.ones((3, 3, 3)))
    np.save(tmp_path / "dark.npy", np.zeros((12, 9)))
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    np.save(tmp_path / "small.npy", np.ones((3, 3)))
    expected = {"text.png": "cannot be read", "text.npy": "cannot be read", "objects.npy": "cannot be read",
                "cube.npy": "not one picture", "dark.npy": "no clear cell", "small.npy": "differ in size",
                "absent.png": "cannot be read"}
    for name, words in expected.items():
        with pytest.raises(PrivcamError, match=words) as caught:
            transmission(FilePattern(path=str(tmp_path / name)), (12, 9), CELL_M)
        assert caught.value.todo


def test_rows_of_another_size_and_empty_masks_are_refused():
    rows = RowsPattern(rows=("010", "111"))
    assert np.array_equal(transmission(rows, (2, 3), CELL_M), [[0, 1, 0], [1, 1, 1]])
    with pytest.raises(PrivcamError, match="differ in size"):
        transmission(rows, (3, 2), CELL_M)
    with pytest.raises(PrivcamError, match="positive size"):
        transmission(OpenPattern(), (0, 3), CELL_M)
    with pytest.raises(PrivcamError, match="positive size"):
        transmission(OpenPattern(), (3, 3), 0.0)


def test_default_geometry_casts_a_cell_on_a_code_pixel():
    optics = default_lensless(OpenPattern())
    assert optics.cells == (32, 32)
    assert optics.cell_m * optics.magnification == pytest.approx(62e-6, rel=1e-12)

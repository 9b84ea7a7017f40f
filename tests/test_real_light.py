"""Our forward model explains light that a real lensless camera measured, and no mirrored model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from optics_sim.attacks.linear import data_residual, fista
from optics_sim.data.diffusercam import box_average, load_capture
from optics_sim.errors import PrivcamError

LARGEST_RESIDUAL = 0.03
LEAST_RATIO_OF_A_FLIP = 1.7
FLIPS = {"up-down": (-2,), "left-right": (-1,), "both": (-2, -1)}


@pytest.mark.data
def test_only_the_upright_psf_explains_the_measured_hand(real_data: Path) -> None:
    capture = load_capture(real_data / "lensless" / "diffusercam_tutorial")
    psf, measurement = torch.from_numpy(capture.psf), torch.from_numpy(capture.measurement)
    assert psf.shape == measurement.shape == (300, 400)
    keys = torch.stack([psf, *(psf.flip(axes) for axes in FLIPS.values())])
    residuals = []
    for key in keys:
        scene = fista(measurement, key, (300, 400), "same", iterations=60)
        residuals.append(float(data_residual(scene, measurement, key, "same")))
    assert residuals[0] <= LARGEST_RESIDUAL
    for name, residual in zip(FLIPS, residuals[1:], strict=True):
        assert residual >= LEAST_RATIO_OF_A_FLIP * residuals[0], name


def write(folder: Path, name: str, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(folder / name)


def test_loader_subtracts_the_corner_and_averages(tmp_path: Path) -> None:
    psf = np.full((40, 48), 100, dtype=np.uint16)
    psf[20:24, 24:28] = 1100
    write(tmp_path, "psf_sample.png", psf)
    write(tmp_path, "rawdata_hand_sample.png", psf)
    capture = load_capture(tmp_path)
    expected = np.zeros((10, 12), dtype=np.float32)
    expected[5, 6] = 1
    np.testing.assert_allclose(capture.psf, expected, atol=1e-7)
    np.testing.assert_allclose(capture.measurement, expected, atol=1e-7)


def test_box_average() -> None:
    np.testing.assert_array_equal(box_average(np.arange(16, dtype=np.float32).reshape(4, 4), 2), [[2.5, 4.5], [10.5, 12.5]])


def test_loader_guards(tmp_path: Path) -> None:
    with pytest.raises(PrivcamError, match="cannot read"):
        load_capture(tmp_path)
    write(tmp_path, "psf_sample.png", np.ones((40, 40), dtype=np.uint16))
    write(tmp_path, "rawdata_hand_sample.png", np.ones((40, 44), dtype=np.uint16))
    with pytest.raises(PrivcamError, match="one size"):
        load_capture(tmp_path)
    write(tmp_path, "rawdata_hand_sample.png", np.ones((40, 40), dtype=np.uint16))
    with pytest.raises(PrivcamError, match="one size"):
        load_capture(tmp_path, factor=7)
    write(tmp_path, "psf_sample.png", np.ones((40, 40, 3), dtype=np.uint8))
    with pytest.raises(PrivcamError, match="grey"):
        load_capture(tmp_path)

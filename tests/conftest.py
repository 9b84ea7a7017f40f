"""Shared fixtures: one thread (steady on a busy machine) and the place of the real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def data_root() -> Path | None:
    """The folder of real data sets: PRIVCAM_DATA, or `../shared/data` beside the checkout."""
    candidates = [os.environ.get("PRIVCAM_DATA"), str(Path(__file__).parents[2] / "shared" / "data")]
    return next((Path(c) for c in candidates if c and Path(c).is_dir()), None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    root = data_root()
    if root is None:
        pytest.skip("no real data: set PRIVCAM_DATA to the folder that holds faces_orl, lensless, ...")
    return root

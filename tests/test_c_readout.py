"""The readout in C is the integer readout, bit for bit, for every plane, turn and filter order."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from firmware_export.c_host import SANITIZED, STRICT, compiler
from firmware_export.c_readout import readout_files
from optics_sim.design import CameraDesign
from optics_sim.encoding import BdqEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_pipeline import clip_design
from optics_sim.sensor.readout import readout_of_crop

HARNESS = b"""#include <stdio.h>

#include "readout.h"

static uint16_t raw[READOUT_RAW_COLUMNS];
static int8_t frame[READOUT_FRAME_BYTES];

int main(void)
{
    readout_begin();
    while (fread(raw, sizeof raw, 1, stdin) == 1)
        if (readout_row(raw, frame) && fwrite(frame, sizeof frame, 1, stdout) != 1)
            return 2;
    return 0;
}
"""


def design(**changes: object) -> CameraDesign:
    return clip_design((6, 8), BdqEncoder()).replace(**{
        "readout.crop": (3, 5, 12, 24), "readout.bin": (2, 3) if changes.get("readout.planes", "sum") == "sum" else (2, 4),
        "readout.black_level_dn": 256, "readout.shift": 7, **changes})


def codes_in_c(made: CameraDesign, raw: np.ndarray, folder: Path) -> np.ndarray:
    if (found := compiler()) is None:
        pytest.skip("there is no C compiler")
    for name, data in {**readout_files(made), "main.c": HARNESS}.items():
        (folder / name).write_bytes(data)
    command = [found, *STRICT, "-Wconversion", *SANITIZED, str(folder / "readout.c"), str(folder / "main.c"), "-o", str(folder / "program")]
    subprocess.run(command, check=True)
    ran = subprocess.run([str(folder / "program")], input=raw.astype("<u2").tobytes(), capture_output=True, check=True)
    return np.frombuffer(ran.stdout, np.int8).reshape(-1, *made.readout.shape)


@pytest.mark.parametrize("planes", ["sum", "red", "green", "blue"])
@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("crop", [(3, 5, 12, 24), (2, 5, 12, 24)])
def test_c_reads_out_as_numpy_does(planes: str, turn: bool, crop: tuple[int, ...], tmp_path: Path) -> None:
    made = design(**{"readout.planes": planes, "readout.turn": turn, "readout.crop": crop})
    rng = np.random.default_rng(0)
    raw = np.stack([rng.integers(0, 65536, (12, 24)), rng.integers(200, 4096, (12, 24)), np.zeros((12, 24), int),
                    np.full((12, 24), 65535), rng.integers(240, 280, (12, 24))]).astype(np.uint16)
    expected = readout_of_crop(raw, made.readout, made.sensor.cfa)
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(codes_in_c(made, raw, tmp_path), expected)


def test_the_shifts_ends(tmp_path: Path) -> None:
    for shift in (0, 1, 20):
        made, raw = design(**{"readout.shift": shift}), np.random.default_rng(1).integers(250, 300, (1, 12, 24)).astype(np.uint16)
        (tmp_path / str(shift)).mkdir()
        np.testing.assert_array_equal(codes_in_c(made, raw, tmp_path / str(shift)), readout_of_crop(raw, made.readout, made.sensor.cfa))


def test_bins_beyond_32_bits_are_refused() -> None:
    with pytest.raises(PrivcamError, match="32 bits"):
        readout_files(design(**{"readout.crop": (0, 0, 400, 400), "readout.bin": (200, 200)}))

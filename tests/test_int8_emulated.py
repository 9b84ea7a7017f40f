"""The generated C on emulated Cortex-M4 and M7: equal to the integer reference, and how many instructions a frame takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from int8_nets import bottleneck

from firmware_export.bdq_graph import bdq_graph
from firmware_export.c_code import c_files
from firmware_export.golden import golden_files
from optics_sim.encoding import BdqEncoder

BOARD = Path(__file__).parent / "cortex_m"
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-mthumb")
INSTRUCTIONS_A_TICK = 40
"""An instruction takes 1 ns of the emulator's clock (-icount shift=0); SysTick counts the boards' 25 MHz."""
BDQ_GOAL = 400_000
MACHINES = {"cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500"}


def _call(folder, *command):
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stderr}{ran.stdout}"
    return ran.stdout


def emulated(graph, core, folder, frames):
    """Returns (codes equal the golden ones, instructions a frame) of a graph on an emulated core."""
    files = {**c_files(graph), **golden_files(graph, np.random.default_rng(0), frames)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for source in ("model", "kernels"):
        _call(folder, TOOLS[0], f"-mcpu={core}", *STRICT, "-c", f"{source}.c", "-o", f"{source}.o")
    _call(folder, TOOLS[0], f"-mcpu={core}", "-mthumb", "-O2", "--specs=rdimon.specs", "-nostartfiles", "-T", str(BOARD / "link.ld"),
          f"-I{folder}", str(BOARD / "start.c"), str(BOARD / "main.c"), "model.o", "kernels.o", "-o", "image.elf")
    ticks = _call(folder, TOOLS[1], "-M", MACHINES[core], "-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config",
                  "enable=on,target=native", "-icount", "shift=0", "-kernel", "image.elf")
    return (folder / "found.bin").read_bytes() == files["codes.bin"], int(ticks) * INSTRUCTIONS_A_TICK


@pytest.mark.parametrize("core", MACHINES)
def test_bdq_is_equal_and_within_its_budget(core, tmp_path):
    equal, instructions = emulated(bdq_graph(BdqEncoder(), (64, 64)), core, tmp_path, 100)
    assert equal
    assert instructions < BDQ_GOAL


@pytest.mark.parametrize("core", MACHINES)
def test_an_autoencoder_is_equal(core, tmp_path):
    assert emulated(bottleneck(0, (32, 32)), core, tmp_path, 20)[0]

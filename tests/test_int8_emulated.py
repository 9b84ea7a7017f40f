"""The generated C on emulated Cortex-M4, M7 and M55: equal to the integer reference, and how many instructions a frame takes."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from int8_nets import bottleneck, obfuscator

from firmware_export.bdq_graph import bdq_graph
from firmware_export.c_code import c_files
from firmware_export.golden import golden_files
from optics_sim.encoding import BdqEncoder

BOARD = Path(__file__).parent / "cortex_m"
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-mthumb")
BDQ_GOAL = 400_000
RAM = "512K"


@dataclass(frozen=True)
class Machine:
    """A board that QEMU has. An instruction takes 1 ns of the emulator's clock (-icount shift=0); SysTick counts the board's."""

    name: str
    clock_hz: int
    kind: str
    """What the kernels are compiled as."""
    flags: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def instructions(self, ticks):
        return ticks * 1_000_000_000 // self.clock_hz


MACHINES = {"cortex-m4": Machine("mps2-an386", 25_000_000, "DSP"), "cortex-m7": Machine("mps2-an500", 25_000_000, "DSP"),
            "cortex-m55": Machine("mps3-an547", 32_000_000, "Helium", ("-mfloat-abi=hard",), ("ROM_AT=0x10000000", "RAM_AT=0x31000000"))}
SIMD = {"as the core has it": (), "portable": ("-DKERNEL_SIMD=0",)}


def _call(folder, *command, timeout_s=600):
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stderr}{ran.stdout}"
    return ran.stdout


def linked(files, core, folder, options=(), ram="4M"):
    """Leaves image.elf of these files; it has as much RAM as is said."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    target = (f"-mcpu={core}", *MACHINES[core].flags)
    for source in ("model", "kernels"):
        _call(folder, TOOLS[0], *target, *STRICT, *options, "-c", f"{source}.c", "-o", f"{source}.o")
    places = [f"-Wl,--defsym={place}" for place in (f"RAM_BYTES={ram}", *MACHINES[core].places)]
    _call(folder, TOOLS[0], *target, "-mthumb", "-O2", "--specs=rdimon.specs", "-nostartfiles", "-T", str(BOARD / "link.ld"),
          *places, f"-I{folder}", str(BOARD / "start.c"), str(BOARD / "main.c"), "model.o", "kernels.o", "-o", "image.elf")


def emulated(graph, core, folder, frames, options=(), ram="4M", streamed=None):
    """Returns (codes equal the golden ones, instructions a frame) of a graph on an emulated core."""
    files = {**c_files(graph, streamed), **golden_files(graph, np.random.default_rng(0), frames)}
    linked(files, core, folder, options, ram)
    ticks = _call(folder, TOOLS[1], "-M", MACHINES[core].name, "-nographic", "-monitor", "none", "-serial", "none",
                  "-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", "image.elf")
    return (folder / "found.bin").read_bytes() == files["codes.bin"], MACHINES[core].instructions(int(ticks))


@pytest.mark.parametrize("options", SIMD.values(), ids=SIMD)
@pytest.mark.parametrize("core", MACHINES)
def test_bdq_is_equal_and_within_its_budget(core, options, tmp_path):
    equal, instructions = emulated(bdq_graph(BdqEncoder(), (64, 64)), core, tmp_path, 100, options)
    assert equal
    assert instructions < BDQ_GOAL


@pytest.mark.parametrize("options", SIMD.values(), ids=SIMD)
@pytest.mark.parametrize("core", MACHINES)
def test_autoencoders_are_equal(core, options, tmp_path):
    assert emulated(bottleneck(0, (32, 32)), core, tmp_path, 20, options)[0]
    assert emulated(obfuscator(0, (48, 40)), core, tmp_path, 3, options, streamed=True)[0]


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_fast_kernels_are_compiled_and_save_instructions(core, tmp_path):
    graph = obfuscator(0, (24, 32))
    fast = emulated(graph, core, tmp_path, 2)[1]
    assert MACHINES[core].kind.encode() + b"\0" in (tmp_path / "kernels.o").read_bytes()
    portable = emulated(graph, core, tmp_path, 2, SIMD["portable"])[1]
    assert b"portable\0" in (tmp_path / "kernels.o").read_bytes()
    assert fast < 0.8 * portable


# --- 320 x 200 in 512 KiB -------------------------------------------------------------------------
def test_320_x_200_whole_does_not_link_into_512_kib(tmp_path):
    """The negative control: the linker does hold the limit."""
    with pytest.raises(AssertionError, match=r"overflowed|will not fit"):
        linked(c_files(obfuscator(0), streamed=False), "cortex-m4", tmp_path, ram=RAM)


@pytest.mark.parametrize("frames", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_320_x_200_runs_in_512_kib(frames, tmp_path):
    """Input, output, rows, the C library's own data and 8 KiB of stack."""
    assert emulated(obfuscator(0), "cortex-m4", tmp_path, frames, ram=RAM)[0]

"""Byte for byte, everywhere: two encoders at 64 x 64 and one at 320 x 200 by every way there is to run them.

PRIVCAM_FRAMES=1000 python -m pytest tests/test_parity.py      # 1,000 frames of 64 x 64, 1,000 of 320 x 200 on the host, 20 on each core

Every second frame is drawn, the others are saturated, constant, checkerboards, points, edges and steps of one level.
"""

from __future__ import annotations

import functools
import importlib.util
import os

import numpy as np
import pytest
from int8_nets import obfuscator
from test_int8_emulated import MACHINES, MISSING, _call, linked
from tflite_micro_runner import MicroArtifact

from firmware_export.bdq_graph import bdq_graph
from firmware_export.c_code import c_files
from firmware_export.c_host import CArtifact, compiler
from firmware_export.golden import golden_clip, interleaved
from firmware_export.int8 import Reference
from firmware_export.tflite import TfliteArtifact
from optics_sim.encoding import BdqEncoder

FRAMES = int(os.environ.get("PRIVCAM_FRAMES", "100"))
LARGE_EMULATED = max(2, FRAMES // 50)
NETWORKS = {"bdq": lambda: bdq_graph(BdqEncoder(), (64, 64)), "obfuscator": lambda: obfuscator(0, (64, 64)), "large": lambda: obfuscator(0)}
SMALL = ("bdq", "obfuscator")
SIDES = {"LiteRT reference kernels": TfliteArtifact, "TFLite-Micro": MicroArtifact, "C": CArtifact}
LACKS = {"LiteRT reference kernels": importlib.util.find_spec("ai_edge_litert") is None and "ai-edge-litert is not installed",
         "TFLite-Micro": importlib.util.find_spec("tflite_micro") is None and "tflite-micro is not installed",
         "C": compiler() is None and "there is no C compiler"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(20 * FRAMES + 600)]


@functools.cache
def given(name, frames):
    """Returns (graph, clip, codes by the integer reference)."""
    graph = NETWORKS[name]()
    clip = golden_clip(graph, np.random.default_rng(FRAMES), frames)
    return graph, clip, Reference(graph).run(clip)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_byte_differs_on_the_host(name, side):
    if LACKS[side]:
        pytest.skip(LACKS[side])
    graph, clip, codes = given(name, FRAMES)
    found = SIDES[side](graph).run(clip)
    assert {output: int((found[output] != array).sum()) for output, array in codes.items()} == dict.fromkeys(codes, 0)
    assert all(len(np.unique(array)) > 10 for array in codes.values())


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("core", MACHINES)
@pytest.mark.parametrize("name", NETWORKS)
def test_no_byte_differs_on_an_emulated_core(name, core, tmp_path):
    frames = FRAMES if name in SMALL else LARGE_EMULATED
    graph, clip, codes = given(name, frames)
    linked({**c_files(graph), "frames.bin": interleaved(clip)}, core, tmp_path)
    _call(tmp_path, "qemu-system-arm", "-M", MACHINES[core].name, "-nographic", "-monitor", "none", "-serial", "none",
          "-semihosting-config", "enable=on,target=native", "-kernel", "image.elf", timeout_s=20 * FRAMES + 600)
    found, wanted = (tmp_path / "found.bin").read_bytes(), interleaved(codes)
    assert len(found) == len(wanted)
    assert int((np.frombuffer(found, np.int8) != np.frombuffer(wanted, np.int8)).sum()) == 0

"""The real aarch64 wheels of a Raspberry Pi, emulated: golden vectors by the file alone, with litert and with tflite-runtime.

`make pi-root` brings them. QEMU's user emulation runs Debian's own Python for arm64; nothing here says how fast a Pi is.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from int8_nets import bottleneck, convolution

from firmware_export.bdq_graph import bdq_graph
from firmware_export.golden import golden_files, write_golden
from firmware_export.tflite import tflite_bytes
from optics_sim.encoding import BdqEncoder

CHECKOUT = Path(__file__).parents[1]
ROOT = Path(os.environ.get("PRIVCAM_PI_ROOT") or Path.home() / ".cache" / "privcam" / "pi")
EMULATOR = "qemu-aarch64-static"
PROCESSOR = "cortex-a72"  # of a Raspberry Pi 4
SEGMENTATION_FAULT = (-11, 139)
CRASHES, DEEP = "litert-2.3.0", "autoencoder"
"""QEMU 7.2 crashes on this interpreter's fast path, and on this network; on 2.1.6 nothing may."""


@dataclass(frozen=True)
class Pi:
    suite: str
    python: str
    site: str


LITERT_311, LITERT_313 = Pi("bookworm", "python3.11", "litert-2.3.0-cp311"), Pi("trixie", "python3.13", "litert-2.3.0-cp313")
OLDER_311, OLDER_313 = Pi("bookworm", "python3.11", "litert-2.1.6-cp311"), Pi("trixie", "python3.13", "litert-2.1.6-cp313")
RUNTIME = Pi("bookworm", "python3.11", "runtime-2.14.0-cp311")
RUNTIME_NUMPY2 = Pi("bookworm", "python3.11", "runtime-2.14.0-numpy2")
ALL = (LITERT_311, LITERT_313, OLDER_311, OLDER_313, RUNTIME)

MISSING = [str(ROOT / name) for pi in (*ALL, RUNTIME_NUMPY2) for name in (pi.suite, pi.site) if not (ROOT / name).is_dir()]
NO_EMULATOR = [] if shutil.which(EMULATOR) else [f"{EMULATOR} (Debian's qemu-user-static)"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING or NO_EMULATOR),
                                                   reason=f"missing: {', '.join(NO_EMULATOR + MISSING[:1])}; see `make pi-root`")]

FAST_LEVELS = {"bdq": 0, "convolution": 1, "autoencoder": 8}
"""By how many levels the fast path may be off: a convolution is rounded once, not twice; ten operators with a state add up."""


def networks():
    return {"bdq": bdq_graph(BdqEncoder(), (64, 64), design="ab" * 32),
            "convolution": convolution("CONV_2D", 3, size=(20, 20), channels=8, out=16), "autoencoder": bottleneck(0, (32, 32))}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folders as they are copied to a Pi, by the network's name."""
    folders = {name: tmp_path_factory.mktemp("exported") / name for name in networks()}
    for name, graph in networks().items():
        write_golden(folders[name], golden_files(graph, np.random.default_rng(0), 30))
        (folders[name] / "encoder.tflite").write_bytes(tflite_bytes(graph))
    return folders


def emulated(pi, mode, folders):
    """Returns what the Pi's Python says; skips where the emulator crashes on what it is known to crash on."""
    python, script = ROOT / pi.suite / "usr" / "bin" / pi.python, CHECKOUT / "tests" / "pi_run.py"
    command = [EMULATOR, "-cpu", PROCESSOR, str(python), "-s", "-B", str(script), mode, *map(str, folders)]
    path = f"{CHECKOUT}:{ROOT / pi.site}"
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300,
                         env={"PATH": os.environ["PATH"], "QEMU_LD_PREFIX": str(ROOT / pi.suite), "PYTHONPATH": path, "LANG": "C.UTF-8"})
    if ran.returncode in SEGMENTATION_FAULT and pi.site.startswith(CRASHES) and (
            mode == "fast" or DEEP in {folder.name for folder in folders}):
        pytest.skip(f"{pi.site} crashes in this emulator: {_version()}")
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stderr[-3000:]}"
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said["machine"] == "aarch64"
    assert f"python{said['python'].rpartition('.')[0]}" == pi.python
    return said


@functools.cache
def _version():
    return subprocess.run([EMULATOR, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


@pytest.mark.parametrize("names", [("bdq", "convolution"), (DEEP,)], ids=["bdq and a convolution", DEEP])
@pytest.mark.parametrize("pi", ALL, ids=lambda pi: pi.site)
def test_reference_kernels_equal_the_golden_codes(pi, names, exported, record_property):
    said = emulated(pi, "reference", [exported[name] for name in names])
    assert said["interpreter"].startswith("tflite_runtime" if pi is RUNTIME else "ai_edge_litert"), said
    assert not said["torch"]
    assert said["found"].keys() == set(names)
    assert {output["differ"] for outputs in said["found"].values() for output in outputs.values()} == {0}, said
    record_property("cost", {name: said[name] for name in ("numpy_s", "encoder_s", "numpy_kib", "encoder_kib", "peak_kib")})


@pytest.mark.parametrize("pi", ALL, ids=lambda pi: pi.site)
def test_the_fast_path_is_within_its_tolerance(pi, exported, record_property):
    said = emulated(pi, "fast", exported.values())
    for name, outputs in said["found"].items():
        assert max(output["most"] for output in outputs.values()) <= FAST_LEVELS[name], said
    record_property("found", said["found"])


def test_a_changed_weight_is_seen(exported, tmp_path):
    """The negative control: the same names and golden codes, another network."""
    changed = shutil.copytree(exported["convolution"], tmp_path / "convolution")
    (changed / "encoder.tflite").write_bytes(tflite_bytes(convolution("CONV_2D", 4, size=(20, 20), channels=8, out=16)))
    (outputs,) = emulated(OLDER_311, "reference", [changed])["found"].values()
    assert all(output["differ"] > 0 for output in outputs.values())


def test_tflite_runtime_with_numpy_2_says_what_to_do(exported):
    assert "numpy<2" in emulated(RUNTIME_NUMPY2, "reference", [exported["bdq"]])["error"]


def test_the_pi_refuses_the_file_of_another_design(exported, tmp_path):
    changed = shutil.copytree(exported["bdq"], tmp_path / "bdq")
    (changed / "encoder.tflite").write_bytes(tflite_bytes(bdq_graph(BdqEncoder(), (64, 64), design="cd" * 32)))
    assert "another design" in emulated(LITERT_313, "reference", [changed])["error"]

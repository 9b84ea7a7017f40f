"""Every benchmark in one run, written to benchmarks/results.md and results.json.

Run: python -m benchmarks [--peer-python PYTHON] [--rounds N] [--threads N] [--results FILE]
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._timing import benches
from benchmarks.admm import admm
from benchmarks.bdq import bdq
from benchmarks.coded import coded
from benchmarks.forward import forward
from benchmarks.sensor import sensor

if __name__ == "__main__":
    benches(__doc__ or "", [forward, admm, sensor, bdq, coded], Path(__file__).with_name("results.md"))

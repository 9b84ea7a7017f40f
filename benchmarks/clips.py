"""The benchmarks of the systems for clips alone, written to benchmarks/results-clips.md and results-clips.json.

Run: python -m benchmarks.clips [--rounds N] [--threads N] [--results FILE]
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._timing import benches
from benchmarks.bdq import bdq
from benchmarks.coded import coded

if __name__ == "__main__":
    benches(__doc__ or "", [bdq, coded], Path(__file__).with_name("results-clips.md"))

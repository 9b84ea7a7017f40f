"""Timings of the fast paths beside plain ones and peers; `python -m benchmarks.<name>`."""

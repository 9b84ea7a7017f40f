"""Alternating timings, so that a busy machine slows every contender alike."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any


@dataclass
class Bench:
    """One run of the benchmarks: its options, the peers' process, and the rows and lines found so far."""

    rounds: int
    threads: int
    peer: Peer | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def compare(self, title: str, ours: Mapping[str, Callable[[], Any]], base: str,
                peers: Mapping[str, str] | None = None, floor: str = "") -> None:
        """Times one case in alternating rounds, prints its table and keeps its rows; `floor` is a line below it."""
        contenders: dict[str, Callable[[], float]] = {name: partial(timed, call) for name, call in ours.items()}
        for name, question in (peers or {}).items():
            if self.peer is not None and self.peer.ask(question) is not None:
                contenders[name] = partial(self.peer.ask, question)
        text, rows = table(title, alternate(contenders, self.rounds), base if base in contenders else next(iter(contenders)))
        self.rows += rows
        self.say(text)
        if floor:
            self.say(f"\nFloor: {floor}")

    def say(self, text: str) -> None:
        """Prints a line and keeps it for the results."""
        print(text, flush=True)
        self.lines.append(text)


def benches(description: str, parts: Sequence[Callable[[Bench], None]], results: Path | None = None) -> None:
    """Runs parts with the options on the command line and writes what they found where it was asked for."""
    options = arguments(description, results)
    import torch  # after the thread counts are set

    torch.set_num_threads(options.threads)
    script = Path(__file__).with_name("_peers.py")
    peer = Peer(options.peer_python, script, options.threads) if options.peer_python else None
    bench = Bench(options.rounds, options.threads, peer)
    bench.say(machine(options.threads, options.rounds))
    try:
        for part in parts:
            part(bench)
    finally:
        if peer is not None:
            peer.close()
    if options.results is not None:
        options.results.write_text("\n".join(["# Benchmarks", "", *bench.lines, ""]), encoding="utf-8")
        options.results.with_suffix(".json").write_text(
            json.dumps({"machine": bench.lines[0], "threads": options.threads, "rows": bench.rows}, indent=1), encoding="utf-8")


def machine(threads: int, rounds: int) -> str:
    """Returns one line on where and how this was measured."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (f"{cpu}, {os.cpu_count()} CPUs, {threads} thread(s) pinned{load}; torch {torch.__version__}, Python "
            f"{platform.python_version()}; {rounds} alternating rounds after one that does not count.")


def arguments(description: str, results: Path | None) -> argparse.Namespace:
    """Returns the options every benchmark shares, after pinning this process and its children to one set of CPUs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpus", type=int, nargs="*", default=None, help="CPU numbers to pin to (default: the last ones)")
    parser.add_argument("--results", type=Path, default=results, help="write the tables here, and the numbers beside it as .json")
    parser.add_argument("--peer-python", type=Path, default=None, help="a python that has lensless 1.0.8 (and deepinv 0.5.0)")
    options = parser.parse_args()
    pin(options.threads, options.cpus)
    return options


def pin(threads: int, cpus: list[int] | None) -> None:
    """Pins the process to `threads` CPUs (where the system can) and sets the thread counts that libraries read."""
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cpus or available[-threads:]))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)


def timed(run: Callable[[], Any], at_least_s: float = 0.02) -> float:
    """Returns seconds per call, of as many calls as take `at_least_s` together."""
    calls, begin = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        elapsed = time.perf_counter() - begin
        if elapsed >= at_least_s:
            return elapsed / calls


def alternate(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Returns each contender's seconds per call, one from each round; a first round warms up and is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, measure in contenders.items():
            value = measure()
            if turn:
                seconds[name].append(value)
    return seconds


def peak_mb(call: Callable[[], object]) -> float:
    """Returns how far the process grew in memory during a call, in MB, by the kernel's own high-water mark (Linux)."""
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls left free would hide growth
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kb("VmRSS")
    call()
    return (_status_kb("VmHWM") - before) / 1024


def _status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


class Peer:
    """A worker process in the peer's own environment: one line in (a case), one line out (its answer)."""

    def __init__(self, python: Path, script: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [str(python), str(script), str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, case: str) -> Any:
        """Returns the worker's answer to one case, None for a contender that is not installed there."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer's process ended at {case!r}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the worker."""
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:  # a busy machine, or a peer that hangs at its exit
            self._process.kill()
            self._process.wait()


def table(title: str, seconds: Mapping[str, list[float]], base: str) -> tuple[str, list[dict[str, Any]]]:
    """Returns a markdown table and its rows: median and minimum in ms, and how many times faster than `base`."""
    reference = seconds[base]
    rows = [
        {"case": title, "contender": name, "median_ms": 1e3 * statistics.median(values), "minimum_ms": 1e3 * min(values),
         "times_by_median": statistics.median(reference) / statistics.median(values),
         "times_by_minimum": min(reference) / min(values), "rounds": len(values)}
        for name, values in seconds.items()
    ]
    lines = [f"\n### {title}\n", "| | median ms | minimum ms | times (median) | times (minimum) |", "|---|---|---|---|---|"]
    lines += [f"| {r['contender']} | {r['median_ms']:.3g} | {r['minimum_ms']:.3g} | {r['times_by_median']:.3g} | "
              f"{r['times_by_minimum']:.3g} |" for r in rows]
    return "\n".join(lines), rows

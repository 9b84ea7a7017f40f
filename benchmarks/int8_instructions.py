"""Instructions a frame of the generated C on emulated cores, and the memory it takes: the figures of docs/int8.md.

    PYTHONPATH=.:tests python benchmarks/int8_instructions.py

Needs the ARM compiler and QEMU. Emulated instructions are no cycles.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from int8_nets import obfuscator
from test_int8_emulated import MACHINES, SIMD, emulated

from firmware_export.bdq_graph import bdq_graph
from firmware_export.graph import Graph
from firmware_export.schedule import planned
from optics_sim.encoding import BdqEncoder


def counted(graph: Graph, core: str, kernels: str, ram: str = "4M") -> str:
    """Returns a line of the table: two frames on an emulated core."""
    with tempfile.TemporaryDirectory() as folder:
        equal, instructions = emulated(graph, core, Path(folder), 2, SIMD[kernels], ram)
    height, width = graph[graph.inputs[0]].shape[1:3]
    size = f"{width} x {height}"
    return f"{graph.name:11} {size:10} {core:11} {kernels:19} {instructions:13,} {'equal' if equal else 'NOT EQUAL'}"


def main() -> None:
    """Prints arenas, then instructions."""
    for size in ((200, 320), (64, 64)):
        graph = obfuscator(0, size)
        print(size, "arena whole", planned(graph, False).arena_bytes, "streamed", planned(graph, True).arena_bytes)
    for graph in (bdq_graph(BdqEncoder(), (64, 64)), obfuscator(0, (64, 64))):
        for core in MACHINES:
            for kernels in SIMD:
                print(counted(graph, core, kernels), flush=True)
    print(counted(obfuscator(0), "cortex-m4", "as the core has it", "512K"))


if __name__ == "__main__":
    main()

"""`privcam calibrate`: a camera on a bench, measured: its sensor, its mask, and the design as it was built."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from optics_sim.errors import PrivcamError

HELP = "measure the camera on a bench: sensor, mask, and the design as it was built"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds bench, folder, parts, and how much to take."""
    parser.add_argument("bench", type=Path, metavar="BENCH", help="bench.toml: what is on the table")
    parser.add_argument("--out", type=Path, required=True, help="folder of the calibration; one that stopped goes on there")
    parser.add_argument("--parts", nargs="+", choices=("sensor", "mask"), default=None,
                        help="what to measure, each perhaps on another bench (default: both; the sensor where there is no mask)")
    parser.add_argument("--levels", type=int, default=50, help="of the sensor's sweep (default 50)")
    parser.add_argument("--stack", type=int, default=50, help="frames of its flat and of its dark stack (default 50)")
    parser.add_argument("--distances", type=float, nargs="+", default=None, metavar="M",
                        help="of the point from the mask in metres (default: half the scene's and the whole)")
    parser.add_argument("--places", type=int, default=3, help="of the point to a side, at each distance (default 3)")
    parser.add_argument("--repeats", type=int, default=4, help="frames of each exposure at each place (default 4)")
    parser.add_argument("--rungs", type=int, default=2, help="exposures at each place, each a quarter of the next (default 2)")
    parser.add_argument("--point-level", type=float, default=None, help="of the point (default: as many as the mask has cells)")
    parser.add_argument("--shortest", type=float, default=1e-4, metavar="S", help="exposure to try (default 1e-4 s)")
    parser.add_argument("--longest", type=float, default=2.0, metavar="S", help="exposure to try (default 2 s)")


def run(arguments: Namespace) -> int:
    """Returns 0 when the parts are measured, and the as-built design and the page are written."""
    from hil.bench import even_light
    from hil.bench_file import BenchFile
    from hil.calibrate.page import PAGE, write
    from hil.calibrate.request import Request
    from hil.calibrate.run import PARTS, calibrate, opener
    from hil.verbs.options import now, progress
    from optics_sim.design import CameraDesign
    from optics_sim.run import Run

    content = BenchFile.load(arguments.bench)
    if content.design is None:
        raise PrivcamError("a calibration needs a design", got=f"{arguments.bench} names none", todo="add `design = \"design.toml\"` to it")
    design = CameraDesign.load(arguments.bench.parent / content.design)
    request = Request(levels=arguments.levels, stack=arguments.stack, places=arguments.places, repeats=arguments.repeats,
                      rungs=arguments.rungs, distances_m=None if arguments.distances is None else tuple(arguments.distances),
                      point_level=arguments.point_level, shortest_s=arguments.shortest, longest_s=arguments.longest)
    parts = arguments.parts or (PARTS if design.optics.kind == "lensless" else PARTS[:1])
    start = time.monotonic()
    with Run(arguments.out, "calibrate", vars(arguments)) as record:
        record.add_input("bench", arguments.bench)
        say = progress(record)
        found = calibrate(design, opener(arguments.bench, arguments.out, say), arguments.out, request, tuple(parts),
                          light=even_light(arguments.bench), clock=now, say=say)
        write(found, design, arguments.out)
        say(f"as built: {arguments.out / 'as_built' / 'design.toml'}, in {time.monotonic() - start:.1f} s; page: {arguments.out / PAGE}")
    return 0

"""`privcam snapshot`: a decoder of coded images, trained on ordinary video and judged beside GAP-TV."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hil.verbs.options import add_run, checked_device, progress, snapshot_plan_of

HELP = "train a decoder of video from coded images, and judge it on a benchmark"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds what is learned from, what is judged on, and how."""
    parser.add_argument("--videos", required=True, help="what to learn from: a folder of videos, of folders of frames, or a zip of these; "
                        "or the name of one below PRIVCAM_DATA")
    parser.add_argument("--benchmark", required=True, help="code and videos to judge on, an NPZ file with mask* and videos; or the name "
                        "below PRIVCAM_DATA of the folder that holds it")
    add_run(parser, out=Path("runs/snapshot"))


def run(arguments: Namespace) -> int:
    """Returns 0 when the decoder is trained, judged, and its page written."""
    from optics_sim.data.snapshot_benchmark import load_snapshot_benchmark
    from optics_sim.report.snapshot_table import write_snapshot
    from optics_sim.run import Run
    from optics_sim.tables.snapshot import DECODER, SnapshotSetting, judged, trained

    setting = SnapshotSetting(videos=arguments.videos, benchmark=arguments.benchmark, plan=snapshot_plan_of(arguments),
                              device=checked_device(arguments.device))
    benchmark = load_snapshot_benchmark(setting.benchmark)
    with Run(arguments.out, "snapshot", vars(arguments), setting.plan.seed) as record:
        say = progress(record)
        decoder = trained(setting, benchmark, arguments.out, say)
        page = write_snapshot(arguments.out, setting, benchmark, judged(decoder, benchmark, setting.device, say), record)
    print(f"decoder: {arguments.out / DECODER}\npage: {page}")
    return 0

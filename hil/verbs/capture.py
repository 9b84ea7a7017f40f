"""`privcam capture`: the shots of a plan, taken on a bench into one packed capture set; a session that stopped resumes."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from optics_sim.shots import Plan

HELP = "show and take the shots of a plan on a bench, into one capture set"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds bench, plan and folder."""
    parser.add_argument("bench", type=Path, metavar="BENCH", help="bench.toml: what is on the table")
    parser.add_argument("plan", type=Path, metavar="PLAN", help="plan.toml: the shots")
    parser.add_argument("--out", type=Path, required=True, help="folder of the session; one that stopped resumes there")


def run(arguments: Namespace) -> int:
    """Returns 0 when every frame of the plan is in the packed set."""
    from hil.bench import Bench
    from hil.session import PACKED, finished_session, occasion, run_session
    from hil.verbs.options import now, progress
    from optics_sim.run import Run

    plan = Plan.load(arguments.plan)
    start = time.monotonic()
    with Run(arguments.out, "capture", vars(arguments)) as record:
        record.add_input("bench", arguments.bench)
        record.add_input("plan", arguments.plan)
        say = progress(record)
        taken = finished_session(plan, arguments.out)  # no bench is opened for a session that is done
        if taken is None:
            with Bench.open(arguments.bench, pictures=arguments.plan.parent, occasion=occasion(arguments.out), tell=say) as bench:
                taken = run_session(plan, bench.table, arguments.out, clock=now, tell=say)
        say(f"{len(taken)} frames, source {taken.header.camera.source}, in {time.monotonic() - start:.1f} s: {arguments.out / PACKED}")
    return 0

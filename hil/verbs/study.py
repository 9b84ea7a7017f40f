"""`privcam study`: shows a person pairs from a run, keeps the answers, and scores them. The work is in the report room."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "ask people whether they recognise anybody in a run's images, and score the answers"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the run, and whether to ask or to score."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder made by `privcam design`")
    parser.add_argument("--score", action="store_true", help="print the score of the answers kept so far, with its interval")
    parser.add_argument("--port", type=int, default=8000, help="port of the page on this machine (default 8000)")


def run(arguments: Namespace) -> int:
    """Returns 0 after the answers are scored or the page is closed."""
    from optics_sim.report import study

    folder = arguments.run / "study"
    if arguments.score:
        for measure in study.score(folder):
            print(f"{measure.name}: {measure.text()} {measure.unit} (n = {measure.n})")
    else:
        study.serve(folder, port=arguments.port, on_ready=lambda address: print(f"study: {address} (Ctrl-C ends)", flush=True))
    return 0

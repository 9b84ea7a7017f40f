"""`privcam agent`: serves the camera and the rig of a bench to a PC, on this machine's loopback address."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "serve a bench's camera and rig to a PC, over ssh -L (see docs/agent.md)"
PORT, SILENT_S = 8765, 60.0


def add_arguments(parser: ArgumentParser) -> None:
    """Adds bench, port, and what sessions may do."""
    parser.add_argument("bench", type=Path, metavar="BENCH", help="bench.toml: what is on this machine's table")
    parser.add_argument("--port", type=int, default=PORT, help=f"port on 127.0.0.1 (default {PORT}); 0 takes any that is free")
    parser.add_argument("--silent-s", type=float, default=SILENT_S, dest="silent_s",
                        help=f"seconds without a request after which another client may take the session over (default {SILENT_S:g})")


def run(arguments: Namespace) -> int:
    """Returns 0 after the program was told to end."""
    import secrets
    from collections.abc import Iterator
    from contextlib import contextmanager

    from hil.agent.serve import desk_of, serve
    from hil.agent.served import OnTable
    from hil.bench import Bench
    from hil.bench_file import BenchFile, replays
    from hil.cli import version

    def tell(text: str) -> None:
        print(text, flush=True)

    content = BenchFile.load(arguments.bench, served=True)

    @contextmanager
    def open_table(occasion: int, pictures: Path) -> Iterator[OnTable]:
        with Bench.open(arguments.bench, pictures=pictures, occasion=occasion, tell=tell, served=True) as bench:
            yield OnTable(bench.camera, bench.rig, bench.table.design, replays(content.camera))

    desk = desk_of(open_table, boot=secrets.token_hex(8), version=version(), silent_s=arguments.silent_s)
    serve(desk, arguments.port, lambda address: tell(f"agent: {address} (Ctrl-C ends)"))
    return 0

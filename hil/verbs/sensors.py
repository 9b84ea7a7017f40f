"""`privcam sensors`: the presets, and where each of their numbers comes from."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

HELP = "list the sensor presets with the source of every number"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the names to show."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="presets to show; all when none is named")


def run(arguments: Namespace) -> int:
    """Returns 0 after printing the presets asked for."""
    from optics_sim.sensor import presets

    for name in arguments.names or presets.names():
        rows = presets.describe(presets.load(name))
        print(name)
        for field, value, unit, source in rows:
            print(f"  {field:22}{value:>18} {unit:30}{source}")
        print()
    return 0

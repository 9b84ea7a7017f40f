"""The verbs of `privcam`: one module each, named here, imported when asked for.

A verb module has `HELP: str`, `add_arguments(parser) -> None` and `run(arguments) -> int`. Its top level imports
nothing heavy (torch, matplotlib): `run` does, so that `privcam --help` is quick and works on the light core install.
"""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace
from typing import Protocol, cast

VERBS: dict[str, str] = {
    "design": "hil.verbs.design",
    "table": "hil.verbs.table",
    "snapshot": "hil.verbs.snapshot",
    "capture": "hil.verbs.capture",
    "agent": "hil.verbs.agent",
    "calibrate": "hil.verbs.calibrate",
    "validate": "hil.verbs.validate",
    "adapt": "hil.verbs.adapt",
    "export": "hil.verbs.export",
    "read-sheet": "hil.verbs.read_sheet",
    "study": "hil.verbs.study",
    "lineage": "hil.verbs.lineage",
    "sensors": "hil.verbs.sensors",
    "doctor": "hil.verbs.doctor",
}


class Verb(Protocol):
    """What the command line asks of a verb's module."""

    HELP: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Adds the verb's options."""

    def run(self, arguments: Namespace) -> int:
        """Returns the exit code after the work is done."""


def load(name: str) -> Verb:
    """Returns the module of a verb named in `VERBS`; KeyError for another name."""
    return cast("Verb", importlib.import_module(VERBS[name]))

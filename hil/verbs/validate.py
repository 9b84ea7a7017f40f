"""`privcam validate BENCH RUN`: a run's pictures on the bench; its numbers from both twins and from captured frames, side by side."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.verbs.options import adapting_of, add_adapting, add_judges, add_run_of_design, checked_device, now, progress
from optics_sim.errors import PrivcamError

if TYPE_CHECKING:
    from hil.validation.run_folder import DesignRun
    from hil.validation.stage import Asked

HELP = "show a run's pictures on a bench; the same numbers from the nominal twin, the as-built twin and captured frames"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds bench, run, what is compared with, and how much is shown."""
    parser.add_argument("bench", type=Path, metavar="BENCH", help="bench.toml: what is on the table")
    add_run_of_design(parser, Path("runs/validate"))
    built = parser.add_mutually_exclusive_group()
    built.add_argument("--as-built", type=Path, default=None, metavar="DESIGN", help="the design with the mask where it really is")
    built.add_argument("--calibration", type=Path, default=None, metavar="FOLDER", help="a calibration's folder, with as_built/design.toml")
    parser.add_argument("--pictures", type=int, default=None, metavar="N",
                        help="show at most N pictures of each of the enrolled and of each victim (default: all)")
    parser.add_argument("--attack-pictures", type=int, default=0, metavar="N",
                        help="show N pictures of the attacker's people too: attackers then train on captures besides the twin's codes")
    adapted = parser.add_mutually_exclusive_group()
    adapted.add_argument("--adapt", action="store_true", help="adapt the recogniser to the as-built twin first")
    adapted.add_argument("--adapted", type=Path, default=None, metavar="FOLDER", help="the folder of a `privcam adapt`")
    add_adapting(parser)
    add_judges(parser)


def run(arguments: Namespace) -> int:
    """Returns 0 when all columns are judged and the page is written."""
    from hil.validation.run_folder import DesignRun
    from hil.validation.stage import opener, validate
    from optics_sim.report.validation_table import write_validation
    from optics_sim.run import Run

    device = checked_device(arguments.device)
    designed = DesignRun.load(arguments.run, device=device, data=arguments.data, others=arguments.others, verifier=arguments.verifier,
                              detector=arguments.detector)
    asked = _asked(arguments, designed)
    with Run(arguments.out, "validate", vars(arguments), designed.experiment.seed if asked.seed is None else asked.seed) as record:
        record.add_input("bench", arguments.bench)
        record.add_input("design", designed.folder / "design")
        say = progress(record)
        found = validate(designed, opener(arguments.bench, say), arguments.out, asked, say, now)
        page = write_validation(arguments.out, found, record)
    print(f"page: {page}")
    return 0


def _asked(arguments: Namespace, designed: DesignRun) -> Asked:
    from hil.bench_file import BenchFile, NoDevice
    from hil.validation.run_folder import built_design
    from hil.validation.stage import Asked

    for name, least in (("pictures", 1), ("attack_pictures", 0)):
        given = getattr(arguments, name)
        if given is not None and given < least:
            raise PrivcamError("so many pictures cannot be shown", got=f"--{name.replace('_', '-')} {given}", allowed=f"{least} or more")
    place = arguments.as_built if arguments.calibration is None else arguments.calibration / "as_built"
    device = not isinstance(BenchFile.load(arguments.bench).device, NoDevice)
    return Asked(as_built=None if place is None else built_design(place, designed.design),
                 adapting=adapting_of(arguments) if arguments.adapt else None, adapted=arguments.adapted, per_person=arguments.pictures,
                 attack_pictures=arguments.attack_pictures, seed=arguments.seed, device=device, trusted=arguments.trust_data)

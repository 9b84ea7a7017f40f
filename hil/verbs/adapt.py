"""`privcam adapt RUN --as-built DESIGN`: the run's recogniser, trained on for the camera as it was built, beside the run's own."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hil.verbs.options import adapting_of, add_adapting, add_run_of_design, checked_device, progress

HELP = "train a run's recogniser on for the camera as it was built, and show what that recovers"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds run, as-built design and how to train."""
    add_run_of_design(parser, Path("runs/adapt"))
    parser.add_argument("--as-built", type=Path, required=True, metavar="DESIGN", help="the design with the mask where it really is")
    add_adapting(parser)


def run(arguments: Namespace) -> int:
    """Returns 0 when the adapted recogniser is kept and the report is written."""
    from hil.validation.adapting import ADAPTED, adapt, recovered
    from hil.validation.run_folder import DesignRun, built_design
    from hil.validation.stage import Asked, people_of
    from optics_sim.design import write_atomically
    from optics_sim.report.lensless_table import as_markdown
    from optics_sim.report.validation_table import adapted_tables
    from optics_sim.run import Run

    designed = DesignRun.load(arguments.run, device=checked_device(arguments.device), data=arguments.data, others=arguments.others)
    as_built = built_design(arguments.as_built, designed.design)
    asked = Asked(seed=arguments.seed, trusted=arguments.trust_data)
    with Run(arguments.out, "adapt", vars(arguments), designed.experiment.seed if asked.seed is None else asked.seed) as record:
        record.add_input("design", designed.folder / "design")
        say = progress(record)
        cohort, experiment = people_of(designed, asked)
        adapted = adapt(designed, as_built, cohort, experiment, adapting_of(arguments), arguments.out, say)
        measures = recovered(designed, as_built, cohort, experiment, adapted)
        record.report(measures, design=designed.design.digest, as_built=as_built.digest, adapted=adapted.provenance.model_dump(mode="json"))
        tables = "\n\n".join(as_markdown(table) for table in adapted_tables(measures))
        write_atomically(arguments.out / "report.md", (f"# Adapted to {as_built.name}\n\n{tables}\n").encode())
        for one in measures:
            say(f"{one.name}: {one.text()}")
    print(f"recogniser: {arguments.out / ADAPTED}")
    return 0

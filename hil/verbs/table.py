"""`privcam table lensless`: the paper's table on the user's people, resuming from the rows that are there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hil.verbs.options import add_common, experiment_of, progress

HELP = "train, attack and judge a paper's table on your data"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the verb's options."""
    parser.add_argument("system", choices=["lensless"], help="whose table")
    parser.add_argument("--data", required=True, help="photographs: a folder of folders, a zip, an npz, or synthetic:PEOPLE:IMAGES:SEED")
    parser.add_argument("--others", nargs="*", default=[], help="other people's data sets, for decoder pairs (and outsiders where "
                                                                "everybody is enrolled)")
    parser.add_argument("--scene", type=int, default=63, help="side of the scene in pixels")
    parser.add_argument("--mask", type=int, default=32, help="side of the mask in cells")
    parser.add_argument("--seeds", type=int, default=3, help="independent repetitions")
    parser.add_argument("--enrolled", type=int, default=None, help="how many of the largest people are enrolled (default: experiment)")
    parser.add_argument("--weights", type=float, nargs="+", default=None, help="loss weights to choose from")
    parser.add_argument("--weights-from", type=Path, default=None, help="take the loss weights another table chose")
    add_common(parser, out=Path("tables/lensless"))


def run(arguments: Namespace) -> int:
    """Returns 0 when the table is complete and its page is written."""
    from optics_sim.report.lensless_table import write_table
    from optics_sim.run import Run
    from optics_sim.tables import lensless

    overrides = {"enrolled": arguments.enrolled} if arguments.enrolled is not None else {}
    setting = lensless.Setting(
        data=arguments.data, others=tuple(arguments.others), out=str(arguments.out), scene=(arguments.scene,) * 2,
        cells=(arguments.mask,) * 2, experiment=experiment_of(arguments, overrides), verifier=arguments.verifier,
        detector=arguments.detector, device=arguments.device, bin_px=arguments.bin)
    with Run(arguments.out, "table", vars(arguments), setting.experiment.seed) as record:
        say = progress(record)
        lensless.run_table(setting, arguments.seeds, say, workers=arguments.workers,
                           weights=tuple(arguments.weights or lensless.WEIGHTS), weights_from=arguments.weights_from)
        page = write_table(arguments.out, setting, record)
    print(f"table: {page}")
    return 0

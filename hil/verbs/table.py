"""`privcam table SYSTEM`: a paper's table on the user's data, resuming from the rows that are there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from hil.verbs.options import add_common, add_faces, add_judges, clip_experiment_of, experiment_of, progress

if TYPE_CHECKING:
    from optics_sim.tables.clip_rows import ClipSetting

HELP = "train, attack and judge a paper's table on your data"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the systems and their options."""
    systems = parser.add_subparsers(dest="system", required=True, metavar="SYSTEM",
                                    help="whose table; privcam table SYSTEM --help says more")
    _lensless(systems.add_parser("lensless", help="masks in front of a bare sensor, on photographs of people"))
    _bdq(systems.add_parser("bdq", help="blur, difference, quantise and its rivals, on clips of actions"))
    _exposure(systems.add_parser("exposure", help="one coded image instead of a clip, by drawn and learned codes, on clips of actions"))
    _integers(systems.add_parser("integers", help="a trained row of a bdq table, judged again on the codes of its exported encoder"))


def run(arguments: Namespace) -> int:
    """Returns 0 when the table is complete and its page is written."""
    page = {"lensless": _run_lensless, "bdq": _run_bdq, "exposure": _run_exposure,
            "integers": _run_integers}[arguments.system](arguments)
    print(f"table: {page}")
    return 0


# --- lensless -------------------------------------------------------------------------------------
def _lensless(parser: ArgumentParser) -> None:
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
    add_faces(parser)


def _run_lensless(arguments: Namespace) -> Path:
    from optics_sim.report.lensless_table import write_table
    from optics_sim.run import Run
    from optics_sim.tables import lensless

    overrides = {"enrolled": arguments.enrolled} if arguments.enrolled is not None else {}
    setting = lensless.Setting(
        data=arguments.data, others=tuple(arguments.others), out=str(arguments.out), scene=(arguments.scene,) * 2,
        cells=(arguments.mask,) * 2, experiment=experiment_of(arguments, overrides), verifier=arguments.verifier,
        detector=arguments.detector, device=arguments.device, bin_px=arguments.bin)
    with Run(arguments.out, "table", vars(arguments), setting.experiment.seed) as record:
        lensless.run_table(setting, arguments.seeds, progress(record), workers=arguments.workers,
                           weights=tuple(arguments.weights or lensless.WEIGHTS), weights_from=arguments.weights_from)
        return write_table(arguments.out, setting, record)


# --- tables on clips ------------------------------------------------------------------------------
def _clips(parser: ArgumentParser, out: Path, core: str) -> None:
    parser.add_argument("--data", required=True, help="clips: a folder (action/actor_*.mp4, KTH, SBU, IPN), the name of one below "
                        "PRIVCAM_DATA, synthetic:ACTORS:ACTIONS:TAKES:SEED or semireal:FACES:PEOPLE:TAKES:SEED")
    parser.add_argument("--scene", type=int, default=64, help="side of the scene in pixels")
    parser.add_argument("--seeds", type=int, default=3, help="independent repetitions, each testing other actors")
    parser.add_argument("--rows", nargs="+", default=None, metavar="ROW", help=f"only these rows; `core`: {core} (default: the whole grid)")
    add_common(parser, out=out)
    add_judges(parser)


def _clip_setting(arguments: Namespace) -> ClipSetting:
    from optics_sim.tables.clip_rows import ClipSetting

    return ClipSetting(data=arguments.data, out=str(arguments.out), scene=(arguments.scene,) * 2, device=arguments.device,
                       experiment=clip_experiment_of(arguments), verifier=arguments.verifier, detector=arguments.detector)


def _bdq(parser: ArgumentParser) -> None:
    _clips(parser, Path("tables/bdq"), "raw, D, BDQ, one low resolution and the controls")


def _run_bdq(arguments: Namespace) -> Path:
    from optics_sim.report.bdq_table import write_bdq_table
    from optics_sim.run import Run
    from optics_sim.tables import bdq

    labels = bdq.CORE if arguments.rows == ["core"] else tuple(arguments.rows or bdq.variants())
    setting = _clip_setting(arguments)
    with Run(arguments.out, "table", vars(arguments), setting.experiment.seed) as record:
        bdq.run_clip_table(setting, labels, arguments.seeds, progress(record), workers=arguments.workers)
        return write_bdq_table(arguments.out, setting, record)


def _exposure(parser: ArgumentParser) -> None:
    _clips(parser, Path("tables/exposure"), "video, long, short, a random and a learned tile, and the controls")


def _run_exposure(arguments: Namespace) -> Path:
    from optics_sim.report.exposure_table import write_exposure_table
    from optics_sim.run import Run
    from optics_sim.tables import exposure

    labels = exposure.CORE if arguments.rows == ["core"] else tuple(arguments.rows or exposure.LABELS)
    setting = _clip_setting(arguments)
    with Run(arguments.out, "table", vars(arguments), setting.experiment.seed) as record:
        exposure.run_exposure_table(setting, labels, arguments.seeds, progress(record), workers=arguments.workers)
        return write_exposure_table(arguments.out, setting, record)


# --- integers -------------------------------------------------------------------------------------
def _integers(parser: ArgumentParser) -> None:
    parser.add_argument("--trained", type=Path, required=True, help="folder of a table that `privcam table bdq` made")
    parser.add_argument("--row", default="BDQ", help="which encoder (default: BDQ)")
    parser.add_argument("--out", type=Path, default=Path("tables/integers"), help="folder of the table; one that stopped resumes there")
    parser.add_argument("--device", default="cpu", help="torch device, e.g. cpu or cuda")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one thread each; 0 runs in this process")


def _run_integers(arguments: Namespace) -> Path:
    from hil.integer_rows import FLOAT, VARIANTS, float_rows, run_integer_rows, trained_setting
    from optics_sim.report.integer_table import write_integer_table
    from optics_sim.run import Run
    from optics_sim.tables.clip_rows import read_clip_rows

    setting = trained_setting(arguments.trained, arguments.out, arguments.device)
    rows = {FLOAT: float_rows(arguments.trained, arguments.row)}
    with Run(arguments.out, "table", vars(arguments), setting.experiment.seed) as record:
        run_integer_rows(setting, arguments.trained, arguments.row, [row.seed for row in rows[FLOAT]], progress(record),
                         workers=arguments.workers)
        rows |= read_clip_rows(arguments.out, VARIANTS)
        return write_integer_table(arguments.out, setting, record, rows, FLOAT, f"{arguments.row} as integers")

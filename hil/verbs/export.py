"""`privcam export`: what was designed, as files to print or to flash. Each thing that is exported is one sub-command."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from firmware_export.images import USUAL_BOARDS
from hil.verbs import export_encoder
from hil.verbs.lineage import design_file
from hil.verbs.options import parsed_override
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError

HELP = "write a design's mask for a print shop, or its encoder for a microcontroller or a Raspberry Pi"
FILM = ("gds", "pdf", "svg", "png")  # what needs no thought; stencils and prints ask for bridges


def add_arguments(parser: ArgumentParser) -> None:
    """Adds what can be exported and its options."""
    things = parser.add_subparsers(dest="thing", required=True, metavar="THING", help="what; privcam export THING --help says more")
    _mask(things.add_parser("mask", help="the mask of a lensless design: film, photomask, stencil or print"))
    _sheet(things.add_parser("sheet", help="a calibration sheet, which measures a printer"))
    _everything(things.add_parser("all", help="mask and encoder, in everything this machine can write, with one manifest"))
    export_encoder.add_arguments(things.add_parser("encoder", help="what the camera computes: integer network, TFLite, C, firmware"))


def run(arguments: Namespace) -> int:
    """Returns 0 when the files are written and checked; 1 when the process cannot print the mask."""
    return {"mask": _run_mask, "sheet": _run_sheet, "encoder": export_encoder.run, "all": _run_everything}[arguments.thing](arguments)


# --- everything -----------------------------------------------------------------------------------
def _everything(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder; what is exported goes into its folder export")
    parser.add_argument("--board", nargs="+", default=list(USUAL_BOARDS), dest="boards", help="boards to build firmware for")


def _run_everything(arguments: Namespace) -> int:
    from hil.export_run import EXPORT, export_run
    from optics_sim.run import Run

    if not arguments.run.is_dir():
        raise PrivcamError("everything is exported of a run", got=arguments.run, allowed="a run folder",
                           todo="name the folder that `privcam design` made")
    with Run(arguments.run / EXPORT, "export", vars(arguments)) as record:
        record.add_input("design", design_file(arguments.run))
        manifest = export_run(arguments.run, print, boards=arguments.boards)
    print(f"one manifest: {arguments.run / EXPORT / 'manifest.json'}")
    return 0 if manifest["files"] else 1


# --- mask -----------------------------------------------------------------------------------------
def _mask(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, a design folder or a design.toml")
    parser.add_argument("--format", nargs="+", default=list(FILM), dest="formats", metavar="FORMAT",
                        help=f"gds oasis pdf svg png dxf gerber stl (default: {' '.join(FILM)})")
    parser.add_argument("--out", type=Path, default=None, help="folder to write into (default: export/mask in the run)")
    parser.add_argument("--drawn", choices=("format", "clear", "opaque"), default=None,
                        help="what a drawn shape means (default: what the format's process expects)")
    parser.add_argument("--emulsion", choices=("up", "down"), default=None, help="up faces the sensor; down faces the scene (mirrored)")
    parser.add_argument("--bridge", type=float, default=None, metavar="METRES", dest="bridge_m",
                        help="hold islands of stencils (gerber, stl) by bridges of this width")
    parser.add_argument("--options", type=Path, default=None, help="TOML file of all options (docs/mask-export.md)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="overrides",
                        help="one option, e.g. --set border_m=3e-3")
    parser.add_argument("--process", type=Path, default=None, help="TOML file of what the printer can do: the mask is checked first")
    parser.add_argument("--compensate", action="store_true", help="draw against the dot gain that the process file states")
    parser.add_argument("--anyway", action="store_true", help="write although the process cannot print it")


def _run_mask(arguments: Namespace) -> int:
    from firmware_export.masks.export import export_mask
    from optics_sim.run import Run

    file = design_file(arguments.run)
    design, options, compensation = CameraDesign.load(file), _options(arguments), _compensation(arguments)
    home = arguments.run if arguments.run.is_dir() else file.parent
    if _violations(design, options, arguments) and not arguments.anyway:
        print("nothing written; change the design, choose another process, or add --anyway")
        return 1
    out = arguments.out or home / "export" / "mask"
    with Run(out, "export", vars(arguments)) as record:
        record.add_input("design", file)
        made = export_mask(design, arguments.formats, out, options, compensation)
    for entry in made.manifest["files"]:
        print(f"{out / entry['file']}  {entry['bytes']} bytes, drawn is {entry['drawn']}, read back: {entry['read_back']}")
    if compensation:
        error = made.manifest["compensation"]["predicted_rms_error"]
        print(f"predicted error of the film (rms): {error['uncompensated']:.4f} drawn as designed, {error['compensated']:.4f} compensated")
    print(f"how to print: {out / 'how-to-print.txt'}")
    return 0


def _compensation(arguments: Namespace) -> Any:
    from firmware_export.masks.compensation import Compensation

    if arguments.compensate and arguments.process is None:
        raise PrivcamError("compensation needs the printer's dot gain", got="--compensate alone", allowed="--process FILE --compensate",
                           todo="measure a sheet (docs/mask-export.md), or leave it out")
    return Compensation.load(arguments.process) if arguments.compensate else None


def _options(arguments: Namespace) -> Any:
    from firmware_export.masks.options import MaskOptions

    read = {} if arguments.options is None else MaskOptions.load(arguments.options).model_dump()
    given = {name: getattr(arguments, name) for name in ("drawn", "emulsion", "bridge_m") if getattr(arguments, name) is not None}
    return MaskOptions.checked({**read, **dict(parsed_override(text) for text in arguments.overrides), **given})


def _violations(design: CameraDesign, options: Any, arguments: Namespace) -> int:
    """Returns how many rules of the process the mask breaks, each printed; 0 without a process."""
    from firmware_export.masks.options import Process
    from firmware_export.masks.rules import check

    if arguments.process is None:
        return 0
    process = Process.load(arguments.process)
    found = check(design, process, options, compensate=arguments.compensate)
    for violation in found:
        print(violation.text())
    print(f"{len(found)} violations of {process.name} ({process.source})")
    return len(found)


# --- calibration sheet ----------------------------------------------------------------------------
def _sheet(parser: ArgumentParser) -> None:
    parser.add_argument("--format", nargs="+", default=list(FILM), dest="formats", metavar="FORMAT",
                        help=f"gds oasis pdf svg png dxf (default: {' '.join(FILM)})")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--process", type=Path, default=None, help="TOML file of the printer; if it states a dpi, a dot is the unit")
    parser.add_argument("--unit", type=float, default=None, metavar="METRES", dest="unit_m",
                        help="width of the narrowest line (default: 10 um)")
    parser.add_argument("--emulsion", choices=("up", "down"), default="up", help="down: the file is mirrored")
    parser.add_argument("--drawn", choices=("format", "clear", "opaque"), default="format", help="what a drawn shape means")


def _run_sheet(arguments: Namespace) -> int:
    from firmware_export.masks.options import MaskOptions, Process
    from firmware_export.masks.printer.plan import SheetPlan
    from firmware_export.masks.printer.sheet_files import SHEET, export_sheet, plan_for
    from optics_sim.run import Run

    process = None if arguments.process is None else Process.load(arguments.process)
    plan = plan_for(process) if arguments.unit_m is None else SheetPlan.of(arguments.unit_m)
    options = MaskOptions.checked({"emulsion": arguments.emulsion, "drawn": arguments.drawn})
    with Run(arguments.out, "export", vars(arguments)):
        made = export_sheet(plan, arguments.formats, arguments.out, options)
    for entry in made["files"]:
        print(f"{arguments.out / entry['file']}  {entry['bytes']} bytes, drawn is {entry['drawn']}, read back: {entry['read_back']}")
    print(f"unit {plan.unit_m * 1e6:.3f} um; print at 100 %, scan, then: privcam read-sheet SCAN --sheet {arguments.out / SHEET}")
    return 0

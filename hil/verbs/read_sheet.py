"""`privcam read-sheet`: a scan of the printed calibration sheet, measured and written as a process file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from optics_sim.design import write_atomically

if TYPE_CHECKING:
    from firmware_export.masks.options import Process

HELP = "measure a printer from a scan of its calibration sheet, as a process file"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the scan, the sheet's file, and what a picture does not say about itself."""
    parser.add_argument("scan", type=Path, metavar="SCAN", help="PNG or TIFF of the sheet in transmitted light, grey")
    parser.add_argument("--sheet", type=Path, required=True, help="the sheet.json that was written beside the printed file")
    parser.add_argument("--out", type=Path, required=True, help="process file to write")
    parser.add_argument("--date", required=True, help="of the scan, for the file, e.g. 2026-11-21")
    parser.add_argument("--encoding", choices=("srgb", "linear"), default="srgb",
                        help="how the scanner's numbers stand for light (default: srgb)")
    parser.add_argument("--dpi", type=float, default=None, help="pixels per inch (default: as the picture states)")
    parser.add_argument("--scanner-blur", type=float, default=0.0, metavar="METRES", dest="scanner_blur_m",
                        help="the scanner's own blur (standard deviation), taken off; 0: the film's blur is an upper limit")
    parser.add_argument("--process", type=Path, default=None, help="process file whose other limits (dpi, size, corners) are kept")
    parser.add_argument("--name", default=None, help="of the process, for people")


def run(arguments: Namespace) -> int:
    """Returns 0 when the process file is written."""
    from firmware_export.masks.options import Process
    from firmware_export.masks.printer.plan import SheetPlan
    from firmware_export.masks.printer.reading import process_of, process_toml, read_sheet
    from firmware_export.masks.printer.scan import load_scan

    plan, base = SheetPlan.load(arguments.sheet), None if arguments.process is None else Process.load(arguments.process)
    if arguments.name is not None:
        base = (base or Process(name=arguments.name)).model_copy(update={"name": arguments.name})
    scan = load_scan(arguments.scan, arguments.encoding, arguments.dpi)
    found = process_of(read_sheet(scan, plan, arguments.scanner_blur_m), scan, plan, date=arguments.date, encoding=arguments.encoding,
                       scanner_blur_m=arguments.scanner_blur_m, base=base)
    write_atomically(arguments.out, process_toml(found).encode())
    _say(found)
    print(f"process file: {arguments.out}")
    return 0


def _say(process: Process) -> None:
    measured = process.measured
    if measured is None:
        return
    side = "the film lay on its other side (mirrored)" if measured.mirrored else "the film lay as drawn"
    print(f"{side}, turned by {measured.turned_deg} degrees; {measured.scan_dpi[0]:.1f} x {measured.scan_dpi[1]:.1f} pixels per inch")
    for name, value, (low, high) in (
        ("edge blur", process.edge_blur_m, measured.edge_blur_low_high_m),
        ("dot gain, y", process.dot_gain_m[0], measured.dot_gain_y_low_high_m),
        ("dot gain, x", process.dot_gain_m[1], measured.dot_gain_x_low_high_m),
    ):
        print(f"{name}: {value * 1e6:.2f} um ({low * 1e6:.2f} to {high * 1e6:.2f})")
    print(f"narrowest clear gap {process.minimum_clear_m * 1e6:.1f} um, opaque line {process.minimum_opaque_m * 1e6:.1f} um, "
          f"line of a pair {measured.line_pair_m[0] * 1e6:.1f} um (y), {measured.line_pair_m[1] * 1e6:.1f} um (x)")
    print(f"clear {measured.clear_level:.4f}, opaque {measured.opaque_level:.4f} of full scale; "
          f"dots off by {measured.tone_error:.4f} (rms)")

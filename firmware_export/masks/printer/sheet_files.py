"""The calibration sheet as files for a print shop, by the mask's writers and with the same exact reading back.

Nothing is compensated here: what the printer does to the sheet as drawn is what one wants to know.
Deliberately not here: stencils, in which lines cannot hang free.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firmware_export.masks.export import job_for, write_jobs
from firmware_export.masks.formats import FORMATS, format_named
from firmware_export.masks.layout import nm
from firmware_export.masks.options import MaskOptions, Process
from firmware_export.masks.printer.drawing import drawn_sheet, sheet_pattern
from firmware_export.masks.printer.plan import SheetPlan
from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError

SHEET = "sheet.json"
_INCH_M, _UNIT_M = 0.0254, 10e-6
_DOTS_PER_UNIT = 1


def plan_for(process: Process | None) -> SheetPlan:
    """Returns the sheet for a printer: its unit is one of the printer's dots, or 10 um where these are not known."""
    return SheetPlan.of(_UNIT_M if process is None or process.dpi is None else _INCH_M / process.dpi)


def export_sheet(plan: SheetPlan, formats: Sequence[str], folder: Path, options: MaskOptions | None = None) -> dict[str, Any]:
    """Returns what was written into a folder, which `sheet.json` holds too: the plan, its digest, and each file.

    All or nothing, as a mask. PrivcamError for no format, an unknown one, or a stencil's.
    """
    chosen = {name: format_named(name) for name in dict.fromkeys(formats)}
    films = [name for name, made in FORMATS.items() if not made.stencil]
    if not chosen or any(made.stencil for made in chosen.values()):
        raise PrivcamError("a calibration sheet is a film or a photomask", got=" ".join(formats) or "no format", allowed=" ".join(films),
                           todo="choose among these")
    options = (options or MaskOptions()).model_copy(update={"bridge_m": None})
    if options.dpi is None:
        options = options.model_copy(update={"dots_per_cell": _DOTS_PER_UNIT * round(sheet_pattern(plan).cell_m / plan.unit_m)})
    pattern, sheet = sheet_pattern(plan), drawn_sheet(plan, nm(options.bleed_m))
    jobs = {name: job_for(made, pattern, sheet, plan.digest, options) for name, made in chosen.items()}
    entries = write_jobs(folder, f"sheet-{plan.digest[:12]}", jobs)
    content = {"digest": plan.digest, "files": [{**entry, "how": chosen[entry["format"]].how} for entry in entries],
               "options": options.model_dump(mode="json"), "plan": plan.model_dump(mode="json")}
    write_atomically(folder / SHEET, (json.dumps(content, indent=1) + "\n").encode())
    return content

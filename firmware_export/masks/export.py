"""Writes mask files that were read again: each equals the intended pattern to the nanometre or the dot, or nothing is written.

Two comparisons, by different ways. The file's edges, found by a reader of our own, are XORed with what should be drawn.
And the middle of every cell, looked up in those edges, is compared with the design's array, without the layout between.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from firmware_export.masks.compensation import Compensation
from firmware_export.masks.formats import Format, format_named
from firmware_export.masks.job import Job, corrupt, job_of
from firmware_export.masks.layout import NM, Pattern, Sheet, nm, pattern_of, sheet_of
from firmware_export.masks.options import Drawn, MaskOptions
from firmware_export.masks.region import Region, difference, from_edges, from_rectangles, minus
from firmware_export.masks.stencil import bridges, faults
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.errors import PrivcamError

MANIFEST, HOW_TO_PRINT = "manifest.json", "how-to-print.txt"
_NAMED = 8  # corner contacts that an error names one by one; islands are all named


@dataclass(frozen=True)
class MaskExport:
    """What was written: the folder, and the content of its manifest."""

    folder: Path
    manifest: dict[str, Any]


def export_mask(design: CameraDesign, formats: Sequence[str], folder: Path, options: MaskOptions | None = None,
                compensation: Compensation | None = None) -> MaskExport:
    """Returns what was written into a folder: a file for each format, `manifest.json` and `how-to-print.txt`.

    All or nothing: every file is written under another name and read back before the first is moved into place. The
    same design and options give the same bytes. With a `compensation` everything on the sheet is drawn against the
    printer's dot gain, and files are compared with that. Raises PrivcamError for a design without a mask, an unknown
    format, islands in a stencil, a cell that is no whole number of dots (PNG), parts that compensation would lose, and
    a file that does not read back.
    """
    options = options or MaskOptions()
    chosen = {name: format_named(name) for name in dict.fromkeys(formats)}
    if not chosen:
        raise PrivcamError("no format to write", got=list(formats), allowed="at least one", todo="name a format, e.g. pdf")
    pattern, digest = pattern_of(design), design.digest
    labels = ("PRIVCAM", f"EMULSION {options.emulsion}", *(compensation.labels if compensation else ()))
    whole = sheet_of(pattern, options, labels, digest)
    jobs = {name: job_for(made, pattern, whole, digest, options, compensation) for name, made in chosen.items()}
    entries = write_jobs(folder, f"mask-{digest[:12]}", jobs)
    manifest = _manifest(design, pattern, whole, options, entries)
    manifest["compensation"] = compensation.summary(pattern, whole) if compensation else None
    write_atomically(folder / HOW_TO_PRINT, _how_to_print(manifest, chosen).encode())
    write_atomically(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    return MaskExport(folder, manifest)


def write_jobs(folder: Path, stem: str, jobs: Mapping[str, Job]) -> list[dict[str, Any]]:
    """Returns the manifest's line of each file (format -> job), after all were written, read back and moved into place."""
    chosen = {name: format_named(name) for name in jobs}
    folder.mkdir(parents=True, exist_ok=True)
    staged: list[tuple[Path, Path]] = []
    try:
        entries = []
        for name, job in jobs.items():
            target = folder / f"{stem}.{chosen[name].suffix}"
            staged.append((_staged(target, chosen[name].write(job)), target))
            entries.append(_entry(name, target, staged[-1][0], chosen[name], job))
        for temporary, target in staged:
            temporary.replace(target)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    return entries


def job_for(made: Format, pattern: Pattern, sheet: Sheet, digest: str, options: MaskOptions,
            compensation: Compensation | None = None) -> Job:
    """Returns the job of one format; PrivcamError where a stencil has parts that nothing holds, or compensation loses some."""
    drawn: Drawn = made.drawn if options.drawn == "format" else options.drawn
    if made.stencil:
        sheet = _held(sheet, pattern, options)
    if compensation:
        sheet = compensation.drawn(sheet, pattern, made.grid_nm(pattern, options))
        if made.stencil:
            _refuse_loose(sheet)
    return job_of(sheet, pattern, drawn, digest, options)


def read_back(made: Format, data: bytes, job: Job) -> Region:
    """Returns the figure that a file holds; PrivcamError where it is not the job's, with the first place that differs."""
    found = from_edges(made.read(data))
    wrong = difference(found, made.expected(job))
    if len(wrong):
        left, top, right, bottom = wrong[0].tolist()
        raise corrupt(f"{len(wrong)} places differ from the design", f"first x {left} to {right} nm, y {top} to {bottom} nm")
    _refuse_other_cells(found, job)
    return found


# --- helpers --------------------------------------------------------------------------------------
def _held(sheet: Sheet, pattern: Pattern, options: MaskOptions) -> Sheet:
    """Returns the sheet with its bridges; PrivcamError names every island where no bridges were asked for."""
    held = sheet if options.bridge_m is None else Sheet(minus(sheet.clear, _bridges(pattern, options)), sheet.trim_nm, sheet.bleed_nm)
    _refuse_loose(held)
    return held


def _refuse_loose(held: Sheet) -> None:
    """Raises PrivcamError where an opaque part of a stencil hangs on nothing, or by a corner."""
    islands, corners = faults(minus(held.whole, held.clear))
    if islands or corners:
        more = [f"{len(corners) - _NAMED} more corner contacts"] if len(corners) > _NAMED else []
        raise PrivcamError("parts of this mask would fall out, or hang by a corner", got="; ".join([*islands, *corners[:_NAMED], *more]),
                           allowed="one opaque part, held by sides",
                           todo="ask for bridges (bridge_m, other than half a cell), or print a film")


def _bridges(pattern: Pattern, options: MaskOptions) -> Region:
    return from_rectangles(bridges(pattern, nm(options.bridge_m or 0.0)))


def _refuse_other_cells(found: Region, job: Job) -> None:
    """Raises PrivcamError unless the middle of every cell is as the design says; cells with a bridge are the XOR's to check."""
    y, x = ((np.arange(count) - (count - 1) / 2) * job.pattern.cell_m / NM for count in job.pattern.clear.shape)
    clear = found.at(x, y) == (job.drawn == "clear")
    clear = clear[:, ::-1] if job.mirrored else clear
    bridged = job.options.bridge_m is not None
    if (clear & ~job.pattern.clear).any() or (not bridged and (job.pattern.clear & ~clear).any()):
        raise corrupt("cells differ from the design's array", int((clear != job.pattern.clear).sum()))


def _staged(target: Path, data: bytes) -> Path:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    temporary.write_bytes(data)
    return temporary


def _entry(name: str, target: Path, staged: Path, made: Format, job: Job) -> dict[str, Any]:
    """Returns a file's line in the manifest, after it was read back from the disk."""
    data = staged.read_bytes()
    found = read_back(made, data, job)
    return {"file": target.name, "format": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "drawn": job.drawn,
            "mirrored": job.mirrored, "drawn_area_m2": found.area_nm2 * NM**2, "read_back": "equal",
            "opaque_edges_moved_m": [move / 1e9 for move in job.moved_nm],
            "writer": _version(made.needs) if made.needs else "privcam"}


def _manifest(design: CameraDesign, pattern: Pattern, sheet: Sheet, options: MaskOptions, entries: list[dict[str, Any]]) -> dict[str, Any]:
    size = {name: [2 * half * NM for half in sizes] for name, sizes in (("trim", sheet.trim_nm), ("bleed", sheet.bleed_nm))}
    bridged = options.bridge_m is not None and any(format_named(entry["format"]).stencil for entry in entries)
    return {
        "design": {"digest": design.digest, "name": design.name},
        "pattern": {"cells": list(pattern.clear.shape), "cell_m": pattern.cell_m, "open_fraction": float(pattern.clear.mean()),
                    "size_m": [float(lines[-1] - lines[0]) * NM for lines in (pattern.y_nm, pattern.x_nm)]},
        "sheet": {"trim_m": size["trim"], "bleed_m": size["bleed"]},
        "bridges": _bridge_summary(pattern, options) if bridged else None,
        "options": options.model_dump(mode="json"), "files": entries, "versions": {"privcam": _version("privcam")},
    }


def _bridge_summary(pattern: Pattern, options: MaskOptions) -> dict[str, Any]:
    """Returns how many bridges the stencils have, and the share of the clear parts that they take."""
    rectangles = bridges(pattern, nm(options.bridge_m or 0.0))
    left = minus(pattern.region, from_rectangles(rectangles)).area_nm2
    return {"count": len(rectangles), "width_m": options.bridge_m, "clear_share_lost": 1 - left / max(pattern.region.area_nm2, 1)}


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def _how_to_print(manifest: dict[str, Any], chosen: dict[str, Format]) -> str:
    """Returns the note for the print shop and for the person who mounts the film."""
    options, (height, width) = manifest["options"], (1e3 * length for length in manifest["pattern"]["size_m"])
    side = ("up: the files show the image as seen when the emulsion faces you; mount the emulsion towards the sensor"
            if options["emulsion"] == "up" else
            "down: the files are mirrored, once, here; mount the emulsion towards the scene. The shop must not mirror again")
    lines = [f"Mask of design {manifest['design']['digest']}", "",
             f"The pattern is {height:.6f} mm high and {width:.6f} mm wide. Measure it, or the scale bar, before mounting.",
             f"Emulsion {side}.", "Mounted right, the F and the labels read right when seen from the sensor.",
             "Everything around the pattern is opaque. The marks are clear: cover them when the mask is in place.",
             *([manifest["compensation"]["note"]] if manifest["compensation"] else []), ""]
    lines += [f"{entry['file']}: drawn is {entry['drawn']}. {chosen[entry['format']].how}." for entry in manifest["files"]]
    return "\n".join(lines) + "\n"

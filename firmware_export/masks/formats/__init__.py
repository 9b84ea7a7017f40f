"""The table of formats. A new one is a file with `write` and `read`, and one line here.

`write(Job) -> bytes` draws the job's region. `read(bytes) -> edges` finds vertical edges [n, (x, top, bottom)] in nm
again, x right and y down with the optical axis at 0, by a way of its own: no writer's library reads its own file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from firmware_export.masks.formats import dxf, gdsii, gerber, oasis, pdf, png, stl, svg
from firmware_export.masks.job import Job
from firmware_export.masks.layout import Pattern
from firmware_export.masks.options import Drawn, MaskOptions
from firmware_export.masks.region import Integers, Region
from optics_sim.errors import PrivcamError


def _as_drawn(job: Job) -> Region:
    return job.region


def _nanometres(pattern: Pattern, options: MaskOptions) -> float:
    return 1.0


@dataclass(frozen=True)
class Format:
    """One file format: how it is written and read, what its process calls drawn, and who makes it.

    `stencil`: opaque parts must hang together. `needs`: the package that writes it. `expected`: the region that the file
    can hold where its numbers are coarser than nanometres. `grid_nm`: the distance of the lines that edges can lie on.
    `how` tells a print shop what the file is.
    """

    suffix: str
    drawn: Drawn
    write: Callable[[Job], bytes]
    read: Callable[[bytes], Integers]
    how: str
    stencil: bool = False
    needs: str | None = None
    expected: Callable[[Job], Region] = _as_drawn
    grid_nm: Callable[[Pattern, MaskOptions], float] = _nanometres


FORMATS: dict[str, Format] = {
    "gds": Format("gds", "clear", gdsii.write, gdsii.read, gdsii.HOW, needs="gdstk"),
    "oasis": Format("oas", "clear", oasis.write, oasis.read, oasis.HOW, needs="gdstk"),
    "pdf": Format("pdf", "opaque", pdf.write, pdf.read, pdf.HOW, needs="reportlab"),
    "svg": Format("svg", "opaque", svg.write, svg.read, svg.HOW),
    "png": Format("png", "opaque", png.write, png.read, png.HOW, expected=png.expected, grid_nm=png.dot_nm),
    "dxf": Format("dxf", "clear", dxf.write, dxf.read, dxf.HOW),
    "gerber": Format("gbr", "clear", gerber.write, gerber.read, gerber.HOW, stencil=True),
    "stl": Format("stl", "opaque", stl.write, stl.read, stl.HOW, stencil=True, expected=stl.expected),
}


def format_named(name: str) -> Format:
    """Returns the line of the table; PrivcamError for another name."""
    if name not in FORMATS:
        raise PrivcamError("no such mask format", got=name, allowed=", ".join(FORMATS), todo="choose one of these")
    return FORMATS[name]

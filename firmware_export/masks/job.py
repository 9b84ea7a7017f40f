"""One file to write: the region to draw, as it lies in the file, and what a writer may say about it."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_export.masks.layout import Pattern, Sheet
from firmware_export.masks.options import Drawn, MaskOptions
from firmware_export.masks.region import Region, minus
from optics_sim.errors import PrivcamError


@dataclass(frozen=True)
class Job:
    """`region` is what is drawn, mirrored already where the emulsion is down; x right, y down, the axis at (0, 0).

    `drawn` says what that means, `clear` or `opaque`. The sheet's half sizes are (height, width) in nm. `moved_nm`: how far
    opaque edges were moved outward along (y, x), against dot gain.
    """

    region: Region
    drawn: Drawn
    trim_nm: tuple[int, int]
    bleed_nm: tuple[int, int]
    pattern: Pattern
    digest: str
    options: MaskOptions
    moved_nm: tuple[int, int] = (0, 0)

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged, for an emulsion that faces the scene."""
        return self.options.emulsion == "down"

    @property
    def title(self) -> str:
        """One line for a file's header: what it is, what drawn means, and which side carries the image."""
        return f"privcam mask {self.digest}, drawn is {self.drawn}, emulsion {self.options.emulsion}"


def job_of(sheet: Sheet, pattern: Pattern, drawn: Drawn, digest: str, options: MaskOptions) -> Job:
    """Returns the job of a sheet: the parts that are drawn, and the one place where a mirror is held up."""
    region = sheet.clear if drawn == "clear" else minus(sheet.whole, sheet.clear)
    region = region.mirrored() if options.emulsion == "down" else region
    return Job(region, drawn, sheet.trim_nm, sheet.bleed_nm, pattern, digest, options, sheet.moved_nm)


def corrupt(what: str, got: object = None) -> PrivcamError:
    """Returns the error of a file that its reader cannot follow."""
    return PrivcamError(f"the file does not read back: {what}", got=got, todo="export again; if it stays, report it as a fault")

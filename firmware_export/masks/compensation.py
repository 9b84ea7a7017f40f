"""Drawing against a printer's dot gain: every edge of the sheet moved by what the process file says, the other way.

Deliberately not here: how edges are moved (`offset`), what the process makes of it (`film`), how gain is measured (`printer`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from firmware_export.masks.film import gain_nm, predicted
from firmware_export.masks.layout import NM, Pattern, Sheet
from firmware_export.masks.offset import Move, compensated
from firmware_export.masks.options import Process
from firmware_export.masks.region import Region, corner_contacts
from firmware_export.masks.rules import lost_parts
from optics_sim.errors import PrivcamError

_NAMED = 8  # lost parts that an error names one by one
_SAMPLES = 8  # a cell and axis, of the prediction


@dataclass(frozen=True)
class Compensation:
    """A process, and the hash of the file that it was read from (None where it is no file's)."""

    process: Process
    sha256: str | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Returns the compensation of a process file; PrivcamError when it cannot be read or is not valid."""
        process = Process.load(path)
        return cls(process, hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def labels(self) -> tuple[str, ...]:
        """The line that the sheet itself carries: how far opaque edges were moved outward along y and x."""
        y, x = (-gain for gain in gain_nm(self.process))
        return (f"OPAQUE {y} {x} NM",)

    def drawn(self, sheet: Sheet, pattern: Pattern, grid_nm: float = 1.0) -> Sheet:
        """Returns the sheet to draw on a grid of dots; PrivcamError names what would be lost, and a gain below half a dot.

        The move is a whole number of dots: where the grid is coarse, it is the nearest.
        """
        move = _on_grid(gain_nm(self.process), grid_nm)
        found = lost_parts(sheet, pattern, move)
        if found:
            more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
            raise PrivcamError("compensation for dot gain would lose parts", got="; ".join([*(v.text() for v in found[:_NAMED]), *more]),
                               allowed="parts wider than twice the gain", todo="larger cells or labels (text_dot_m), or another process")
        return Sheet(compensated(sheet.clear, move), sheet.trim_nm, sheet.bleed_nm, (-move[0], -move[1]))

    def summary(self, pattern: Pattern, sheet: Sheet) -> dict[str, Any]:
        """Returns the manifest's entry: whose gain, how far edges were moved, the geometry designed and drawn, and what to expect."""
        gain = gain_nm(self.process)
        drawn = compensated(pattern.region, gain)
        contacts = len(corner_contacts(pattern.region))
        without, with_it = predicted(pattern, self.process, _SAMPLES).rms
        return {
            "process": {"name": self.process.name, "source": self.process.source, "sha256": self.sha256},
            "dot_gain_m": list(self.process.dot_gain_m), "opaque_edges_moved_m": [-move / 1e9 for move in gain],
            "designed": _geometry(pattern.region, pattern), "drawn": _geometry(drawn, pattern),
            "sheet_clear_area_m2": {"designed": sheet.clear.area_nm2 * NM**2, "drawn": compensated(sheet.clear, gain).area_nm2 * NM**2},
            "corner_contacts": {"count": contacts, "opaque_parts_drawn_apart_m": [2 * move / 1e9 for move in gain]},
            "predicted_rms_error": {"uncompensated": without, "compensated": with_it, "samples_per_cell": _SAMPLES},
            "note": f"The drawing is compensated for {self.process.name}: opaque edges moved outward by {-gain[0]} nm along y and "
                    f"{-gain[1]} nm along x. Print it there only, and let nobody compensate again.",
        }


def _geometry(clear: Region, pattern: Pattern) -> dict[str, float]:
    whole = float(pattern.x_nm[-1] - pattern.x_nm[0]) * float(pattern.y_nm[-1] - pattern.y_nm[0])
    return {"clear_area_m2": clear.area_nm2 * NM**2, "clear_share": clear.area_nm2 / whole}


def _on_grid(gain: Move, grid_nm: float) -> Move:
    """Returns the gain in whole dots, in nm; PrivcamError where one that is not zero becomes zero."""
    dots = [round(move / grid_nm) for move in gain]
    if any(move and not count for move, count in zip(gain, dots, strict=True)):
        raise PrivcamError("the dots are too coarse for this compensation",
                           got=f"gain of {gain[0]}, {gain[1]} nm, dots of {grid_nm:.0f} nm",
                           allowed="dots of less than twice the gain", todo="more dots_per_cell or dpi, or leave this format out")
    return round(dots[0] * grid_nm), round(dots[1] * grid_nm)

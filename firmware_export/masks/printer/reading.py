"""A scan of the calibration sheet read back into a process file, each number with its interval; a bad scan is refused.

Deliberately not here: the verb, and what a person says about the scanner (arguments of `read_sheet`).
"""

from __future__ import annotations

from dataclasses import dataclass

import tomli_w

from firmware_export.masks.options import Measured, Process
from firmware_export.masks.printer.edges import Bar, measured_bar
from firmware_export.masks.printer.fiducials import place
from firmware_export.masks.printer.plan import Element, SheetPlan
from firmware_export.masks.printer.scan import INCH_M, Encoding, Placement, Scan
from firmware_export.masks.printer.tones import (
    Figure,
    Light,
    bar_kept,
    light_of,
    mean_of,
    narrowest,
    pair_kept,
    patch_shares,
    refuse_clipped,
)
from optics_sim.errors import PrivcamError

_WIDE = (8, 12, 16, 24)  # units: bars whose edges are fitted; the blur must be well below them
_LEAST_PIXELS = 10  # across the widest bar
_MOST_BLUR = 0.35  # of the narrowest bar that is fitted: above, its two edges are one
_FLOOR_PIXELS = 0.001  # half width that every length's interval has besides: what the model of a pixel leaves out


@dataclass(frozen=True)
class Reading:
    """What a scan shows. Lengths in metres; gains and line pairs along (y, x); widths None where not even the widest is kept."""

    placement: Placement
    blur_m: Figure
    gain_m: tuple[Figure, Figure]
    minimum_clear_m: float
    minimum_opaque_m: float
    line_pair_m: tuple[float, float]
    light: Light
    patches: list[tuple[Element, float, float]]

    @property
    def tone_error(self) -> float:
        """The root mean square of what patches of dots let through beside what their moved edges predict."""
        wrong = [(seen - wanted) ** 2 for _, seen, wanted in self.patches]
        return float((sum(wrong) / len(wrong)) ** 0.5)


def read_sheet(scan: Scan, plan: SheetPlan, scanner_blur_m: float = 0.0) -> Reading:
    """Returns what a scan of the sheet shows.

    `scanner_blur_m`, the scanner's own standard deviation, is taken off the film's; where it is not known, 0 makes the
    blur an upper limit. Raises PrivcamError, with what to do, for a scan that is too coarse, cropped, saturated or too
    askew, for another sheet, and for a film too blurred for the sheet.
    """
    _refuse_coarse(scan, plan)
    placement = place(scan, plan)
    refuse_clipped(scan, placement, plan)
    bars = [measured_bar(scan.light, placement, element) for element in plan.elements
            if element.kind in ("gap", "line") and element.width in _WIDE]
    blur, gain = _blur(bars, placement, plan, scanner_blur_m), _gain(bars, placement, plan)
    light = light_of(bars)
    least = {kind: _least(scan, placement, light, plan, kind) for kind in ("gap", "line")}
    pairs = [narrowest(scan, placement, light, plan.named("pairs", axis), pair_kept) for axis in ("y", "x")]
    if None in pairs or None in least.values():
        raise PrivcamError("not even the widest lines are resolved", got=f"line pairs of {2 * 24 * plan.unit_m * 1e6:.0f} um",
                           allowed="a film that shows them", todo="print a sheet of a larger unit, or scan finer and in focus")
    units = (gain[0].value / plan.unit_m, gain[1].value / plan.unit_m)
    patches = [(element, *patch_shares(scan, placement, light, element, units))
               for element in plan.elements if element.kind in ("wedge", "checks")]
    return Reading(placement, blur, gain, (least["gap"] or 0) * plan.unit_m, (least["line"] or 0) * plan.unit_m,
                   ((pairs[0] or 0) * plan.unit_m, (pairs[1] or 0) * plan.unit_m), light, patches)


def process_of(reading: Reading, scan: Scan, plan: SheetPlan, *, date: str, encoding: Encoding, scanner_blur_m: float = 0.0,
               base: Process | None = None) -> Process:
    """Returns the process file's content; limits that no sheet shows (size, dots per inch, corners) are those of `base`."""
    y, x = reading.gain_m
    light, placement = reading.light, reading.placement
    opaque = [level * light.clear.value for level in (light.opaque_share.value, light.opaque_share.low, light.opaque_share.high)]
    scale_y, scale_x = (pixels * INCH_M / plan.unit_m for pixels in placement.pixels_per_unit)
    measured = Measured(
        scan_sha256=scan.sha256, sheet=plan.digest, scan_dpi=(scale_y, scale_x), date=date, encoding=encoding,
        scanner_blur_m=scanner_blur_m, turned_deg=placement.turned_deg, mirrored=placement.mirrored,
        edge_blur_low_high_m=(reading.blur_m.low, reading.blur_m.high),
        dot_gain_y_low_high_m=(y.low, y.high), dot_gain_x_low_high_m=(x.low, x.high), line_pair_m=reading.line_pair_m,
        clear_level=light.clear.value, clear_level_low_high=(light.clear.low, light.clear.high), opaque_level=opaque[0],
        opaque_level_low_high=(opaque[1], opaque[2]), tone_error=reading.tone_error)
    return (base or Process(name="measured printer")).model_copy(update={
        "source": f"measured: scan {scan.sha256[:12]} of sheet {plan.digest[:12]} at {scan.dpi:g} dpi, {date}",
        "minimum_clear_m": reading.minimum_clear_m, "minimum_opaque_m": reading.minimum_opaque_m, "edge_blur_m": reading.blur_m.value,
        "dot_gain_m": (y.value, x.value), "measured": measured})


def process_toml(process: Process) -> str:
    """Returns a process as the text of its file."""
    return tomli_w.dumps(process.model_dump(mode="json", exclude_none=True))


# --- helpers --------------------------------------------------------------------------------------
def _refuse_coarse(scan: Scan, plan: SheetPlan) -> None:
    widest_m = max(_WIDE) * plan.unit_m
    if widest_m * scan.dpi / INCH_M < _LEAST_PIXELS:
        raise PrivcamError("the scan is too coarse for this sheet", got=f"{scan.dpi:g} pixels per inch",
                           allowed=f"at least {_LEAST_PIXELS * INCH_M / widest_m:.0f}",
                           todo="scan finer, or print a sheet of a larger unit")


def _blur(bars: list[Bar], placement: Placement, plan: SheetPlan, scanner_blur_m: float) -> Figure:
    """Returns the film's blur: the root of the mean variance of all bars, without the scanner's."""
    own = (scanner_blur_m / plan.unit_m) ** 2
    variance = mean_of([bar.variance - own for bar in bars])
    floor = _FLOOR_PIXELS * placement.pixel
    blur, low, high = (max(value, 0.0) ** 0.5 for value in (variance.value, variance.low, variance.high))
    if max(bar.variance for bar in bars) > (_MOST_BLUR * min(_WIDE)) ** 2:
        raise PrivcamError("the film is too blurred for this sheet", got=f"edges of {blur * plan.unit_m * 1e6:.1f} um (standard deviation)",
                           allowed=f"{_MOST_BLUR * min(_WIDE) * plan.unit_m * 1e6:.1f} um", todo="focus the scanner, or print a sheet of a "
                           "larger unit")
    return _in_metres(Figure(blur, max(low - floor, 0.0), high + floor), plan)


def _gain(bars: list[Bar], placement: Placement, plan: SheetPlan) -> tuple[Figure, Figure]:
    y, x = (_in_metres(mean_of([bar.gain for bar in bars if bar.element.axis == axis], _FLOOR_PIXELS * placement.pixel), plan)
            for axis in ("y", "x"))
    return y, x


def _least(scan: Scan, placement: Placement, light: Light, plan: SheetPlan, kind: str) -> int | None:
    """Returns the narrowest gap or line that is kept along both axes."""
    found = [narrowest(scan, placement, light, [e for e in plan.elements if (e.kind, e.axis) == (kind, axis)], bar_kept)
             for axis in ("y", "x")]
    return None if None in found else max(width or 0 for width in found)


def _in_metres(figure: Figure, plan: SheetPlan) -> Figure:
    return Figure(figure.value * plan.unit_m, figure.low * plan.unit_m, figure.high * plan.unit_m)

"""One page of a calibration: what the design says and what was measured, side by side.

Deliberately not here: the datasheet of the sensor (`calibration.datasheet`), which lies beside its frames.
"""

from __future__ import annotations

import math
from pathlib import Path

from calibration.as_built import SENSOR_FIELDS, Calibration
from optics_sim.design import CameraDesign, LenslessOptics, Mount, write_atomically
from optics_sim.measure import Measure
from optics_sim.report.page import Cell, Page

PAGE = "calibration.html"
HEAD = ["what", "designed", "measured", "n", "interval", "note"]


def write(found: Calibration, design: CameraDesign, folder: Path) -> None:
    """Writes the page into an existing folder."""
    write_atomically(folder / PAGE, page(found, design).encode())


def page(found: Calibration, design: CameraDesign) -> str:
    """Returns the page as one self-contained HTML file."""
    sheet = Page(f"Calibration of {design.name}", "what the design says and what was measured, every figure with its 95 % interval")
    if found.mask:
        sheet.section("Where the mask is", "From frames of a point of light at several places; the as-built design has these numbers.")
        sheet.table(HEAD, _mask_rows(found, design), "mask")
    if found.sensor:
        sheet.section("What the sensor is", "Photon transfer after EMVA 1288 release 4; all figures: sensor/datasheet.html.")
        sheet.table(HEAD, _sensor_rows(found, design), "sensor")
    return sheet.html()


def scaled(measure: Measure, factor: float, unit: str) -> Measure:
    """Returns a measure in another unit."""
    value = None if measure.value is None else measure.value * factor
    interval = None if measure.interval is None else (measure.interval[0] * factor, measure.interval[1] * factor)
    return measure.model_copy(update={"value": value, "interval": interval, "unit": unit})


def _row(what: str, designed: float, measured: Measure) -> list[Cell]:
    return [what, f"{designed:.3f} {measured.unit}", measured, measured.n, measured.interval_kind, measured.note]


def _mask_rows(found: Calibration, design: CameraDesign) -> list[list[Cell]]:
    optics = design.optics
    mount = (optics.mount if isinstance(optics, LenslessOptics) else None) or Mount()
    away_m = optics.mask_to_sensor_m if isinstance(optics, LenslessOptics) else 0.0
    meant = {"mask to sensor": (away_m, 1e3, "mm"), "shift y": (mount.shift_m[0], 1e6, "um"), "shift x": (mount.shift_m[1], 1e6, "um"),
             "rotation": (math.degrees(mount.rotation_rad), 1.0, "degree")}
    rows = []
    for name, (designed, factor, unit) in meant.items():
        rows.append(_row(name, designed * factor, scaled(found.mask[name], factor, unit)))
    pitch_m = design.code_pitch_m
    rows += [_row(f"{name} in code pixels", mount.shift_m[i] / pitch_m, found.mask[f"{name} in code pixels"])
             for i, name in enumerate(("shift y", "shift x"))]
    return rows


def _sensor_rows(found: Calibration, design: CameraDesign) -> list[list[Cell]]:
    sensor = design.sensor
    rows = [_row("gain", sensor.gain_dn_per_e * design.exposure.analogue_gain, found.sensor["gain"])]
    known = [(figure, field) for figure, field in SENSOR_FIELDS.items() if figure in found.sensor]
    return rows + [_row(figure, getattr(sensor, field), found.sensor[figure]) for figure, field in known]

"""The datasheet of a photon transfer: one JSON for programs, one page for people.

The curves stand in the JSON only: drawing them needs a plotting package, and this one runs without.
Deliberately not here: the figures themselves (`calibration.photon_transfer`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from calibration.photon_transfer import PhotonTransfer
from optics_sim.design import write_atomically
from optics_sim.measure import Measure
from optics_sim.report.page import Page

SCHEMA = "privcam photon transfer 1"
GROUPS = (
    ("Sensitivity", ("gain", "responsivity", "quantum efficiency", "sensitivity threshold", "sensitivity threshold e")),
    ("Dark", ("black level", "dark noise", "dark noise dn", "dark current from mean", "dark current from variance",
              "doubling temperature")),
    ("Range", ("saturation", "saturation photons", "saturation dn", "snr max", "dynamic range")),
    ("Linearity", ("linearity error", "linearity error low", "linearity error high", "light flicker")),
    ("Non-uniformity", tuple(f"{kind}{part}" for kind in ("dsnu", "prnu") for part in ("", " row", " column", " pixel"))),
)


def document(result: PhotonTransfer) -> dict[str, Any]:
    """Returns the datasheet as plain data: every figure whole, the curve, the spectrograms, and units of all."""
    c = result.curve
    return {
        "schema": SCHEMA,
        "standard": "EMVA 1288 release 4 (linear)",
        "source": result.source,
        "figures": [measure.model_dump(mode="json") for measure in result.figures.values()],
        "curve": {
            "light": c.light.tolist(), "light_unit": "photons/px" if c.photons_known else "s", "exposure_s": c.exposure_s.tolist(),
            "signal_dn": c.signal.tolist(), "variance_dn2": c.variance.tolist(), "variance_error_dn2": c.variance_error.tolist(),
            "dark_mean_dn": c.dark_mean.tolist(), "dark_variance_dn2": c.dark_variance.tolist(), "snr": c.snr.tolist(),
            "fit_levels": c.fit.stop, "linear_levels": [c.linear.start, c.linear.stop], "saturation_level": c.saturation_index,
        },
        "spectrograms": {name: {"cycles_per_px": s.frequency.tolist(), "power_dn2": s.power.tolist(), "noise_dn2": s.noise}
                         for name, s in result.spectrograms.items()},
    }


def figures(text: str) -> dict[str, Measure]:
    """Returns the figures of a datasheet's JSON by name."""
    return {entry["name"]: Measure.model_validate(entry) for entry in json.loads(text)["figures"]}


def page(result: PhotonTransfer, camera: str) -> str:
    """Returns the datasheet of `camera` as one self-contained HTML page."""
    sheet = Page(f"Photon transfer of {camera}", "after EMVA 1288 release 4 (linear); every figure with its 95 % interval")
    for heading, names in GROUPS:
        rows = [[m.name, m, m.unit, m.n, m.interval_kind, m.note] for m in map(result.figures.get, names) if m is not None]
        sheet.section(heading).table(["figure", "value", "unit", "n", "interval", "note"], rows, heading)
    return sheet.html()


def write(result: PhotonTransfer, camera: str, folder: Path) -> None:
    """Writes datasheet.json and datasheet.html into an existing folder."""
    write_atomically(folder / "datasheet.json", json.dumps(document(result), indent=1).encode())
    write_atomically(folder / "datasheet.html", page(result, camera).encode())

"""The design of the camera that was really built: the author's, with what was measured in place of what was meant.

Deliberately not here: measuring (`calibration.geometry`, `calibration.photon_transfer`).
"""

from __future__ import annotations

from typing import Any

from calibration.geometry import Geometry
from calibration.photon_transfer import PhotonTransfer
from optics_sim.design import CameraDesign, LenslessOptics, Mount
from optics_sim.errors import PrivcamError

# figure of the photon transfer -> field of the sensor; where the figure is absent the design's number stays
SENSOR_FIELDS = {"dark noise": "read_noise_e", "dark current from mean": "dark_current_e_per_s", "dsnu": "dsnu_e", "prnu": "prnu"}
MEASURED = "measured by photon transfer"


def as_built(design: CameraDesign, geometry: Geometry | None = None, transfer: PhotonTransfer | None = None, *,
             name: str | None = None) -> CameraDesign:
    """Returns the design with the mask where it is and the sensor as it is, its parent being `design`.

    The gain is that of analogue gain 1: the transfer must have been taken at the design's. Figures a transfer lacks stay as designed.
    Raises PrivcamError without anything measured, and for the geometry of a design without a mask.
    """
    if geometry is None and transfer is None:
        raise PrivcamError("nothing was measured", got=None, allowed="a geometry, a photon transfer, or both", todo="calibrate first")
    changes: dict[str, Any] = {"name": name or f"{design.name}, as built"}
    if geometry is not None:
        changes |= _optics(design, geometry)
    if transfer is not None:
        changes |= _sensor(design, transfer)
    return design.replace(**changes)


def _optics(design: CameraDesign, geometry: Geometry) -> dict[str, Any]:
    if not isinstance(design.optics, LenslessOptics):
        raise PrivcamError("only a mask has a mounting", got=design.optics.kind, allowed="lensless",
                           todo="give the design that was calibrated")
    at = geometry.mounting
    mount = Mount(shift_m=at.shift_m, rotation_rad=at.rotation_rad)
    return {"optics.mask_to_sensor_m": at.mask_to_sensor_m, "optics.mount": mount.model_dump()}


def _sensor(design: CameraDesign, transfer: PhotonTransfer) -> dict[str, Any]:
    found = {"gain_dn_per_e": (transfer["gain"].value or 0.0) / design.exposure.analogue_gain}
    for figure, field in SENSOR_FIELDS.items():
        value = transfer.figures[figure].value if figure in transfer.figures else None
        if value is not None and value >= 0:
            found[field] = value
    if "saturation" in transfer.figures:
        found["full_well_e"] = transfer["saturation"].value or design.sensor.full_well_e
    sources = {**design.sensor.sources, **dict.fromkeys(found, MEASURED)}
    return {f"sensor.{field}": value for field, value in found.items()} | {"sensor.sources": sources}

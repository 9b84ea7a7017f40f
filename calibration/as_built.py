"""What a calibration found, and the design of the camera that was really built: the author's, with what was measured in place of
what was meant.

Deliberately not here: measuring (`calibration.geometry`, `calibration.photon_transfer`), and where it is kept (`hil/calibrate/run.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from calibration.geometry import Geometry
from calibration.mask_model import Mounting
from calibration.photon_transfer import PhotonTransfer
from optics_sim.design import CameraDesign, LenslessOptics, Mount
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure
from optics_sim.plain import Plain

# figure of the photon transfer -> field of the sensor; where the figure is absent the design's number stays
SENSOR_FIELDS = {"dark noise": "read_noise_e", "dark current from mean": "dark_current_e_per_s", "dsnu": "dsnu_e", "prnu": "prnu",
                 "saturation": "full_well_e", "black level": "black_level_dn"}
MASK_FIGURES = ("mask to sensor", "shift y", "shift x", "rotation")
MEASURED = "measured by photon transfer"


class Calibration(Plain):
    """The figures of one camera by name: of its sensor, of its mask, or of both."""

    design: str = Field("", description="digest of the design that was calibrated")
    sensor: Mapping[str, Measure] = Field(default_factory=dict, description="of the photon transfer")
    mask: Mapping[str, Measure] = Field(default_factory=dict, description="of the geometry; metres and degrees")

    @classmethod
    def of(cls, transfer: PhotonTransfer | None = None, geometry: Geometry | None = None, *, design: CameraDesign | None = None) -> Self:
        """Returns the calibration that a photon transfer and a geometry make."""
        return cls(design="" if design is None else design.digest, sensor={} if transfer is None else transfer.figures,
                   mask={} if geometry is None else geometry.figures)

    @property
    def mounting(self) -> Mounting | None:
        """Where the mask sits, or None where nobody looked."""
        if not self.mask:
            return None
        away, down, right, turn = (_value(self.mask, name) for name in MASK_FIGURES)
        return Mounting(away, (down, right), math.radians(turn))

    def as_built(self, design: CameraDesign, *, name: str | None = None) -> CameraDesign:
        """Returns the design with the mask where it is and the sensor as it is, its parent being `design`.

        The gain is that of analogue gain 1: the frames must have been taken at the design's. Figures that lack stay as designed.
        Raises PrivcamError without anything measured, for another design, and for the geometry of a design without a mask.
        """
        if not self.sensor and not self.mask:
            raise PrivcamError("nothing was measured", got=None, allowed="a geometry, a photon transfer, or both", todo="calibrate first")
        if self.design not in ("", design.digest):
            raise PrivcamError("the calibration is of another design", got=design.digest[:12], allowed=self.design[:12],
                               todo="give the design that was calibrated")
        changes: dict[str, Any] = {"name": name or f"{design.name}, as built"}
        if (mounting := self.mounting) is not None:
            changes |= _optics(design, mounting)
        if self.sensor:
            changes |= _sensor(design, self.sensor)
        return design.replace(**changes)


def _value(figures: Mapping[str, Measure], name: str) -> float:
    value = figures[name].value if name in figures else None
    if value is None:
        raise PrivcamError("a figure is missing from the calibration", got=", ".join(figures), allowed=name, todo="calibrate again")
    return value


def _optics(design: CameraDesign, at: Mounting) -> dict[str, Any]:
    if not isinstance(design.optics, LenslessOptics):
        raise PrivcamError("only a mask has a mounting", got=design.optics.kind, allowed="lensless",
                           todo="give the design that was calibrated")
    mount = Mount(shift_m=at.shift_m, rotation_rad=at.rotation_rad)
    return {"optics.mask_to_sensor_m": at.mask_to_sensor_m, "optics.mount": mount.model_dump()}


def _sensor(design: CameraDesign, figures: Mapping[str, Measure]) -> dict[str, Any]:
    found = {"gain_dn_per_e": _value(figures, "gain") / design.exposure.analogue_gain}
    for figure, field in SENSOR_FIELDS.items():
        value = figures[figure].value if figure in figures else None
        if value is not None and value >= 0:
            found[field] = value
    sources = {**design.sensor.sources, **dict.fromkeys(found, MEASURED)}
    return {f"sensor.{field}": value for field, value in found.items()} | {"sensor.sources": sources}

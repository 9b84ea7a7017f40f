"""How a simulated camera was really put together: what a calibration has to find.

A point source is seen through the wave model of `hidden.py`, which no calibration fits; scenes through the design's own optics with
the mask where it really is. Deliberately not here: the camera (`simulated.py`), and anything of `calibration`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hil.cameras.hidden import HiddenCamera
from optics_sim.design import CameraDesign, LenslessOptics, Mount
from optics_sim.errors import PrivcamError
from optics_sim.plain import Plain
from optics_sim.stimulus import Point

SAMPLES = 4  # at least, to a side of a code pixel


class RigOffset(Plain):
    """Where a rig's source really is when it says that it is somewhere: turned about the axis, then moved."""

    origin_m: tuple[float, float] = Field((0.0, 0.0), description="(y, x) of the rig's zero from the sensor's axis")
    distance_m: float = Field(0.0, description="added to each distance")
    roll_rad: float = Field(0.0, description="of the rig's axes about the camera's")


class Made(Plain):
    """What differs from the design; what is left out is as designed."""

    mask_to_sensor_m: float | None = Field(None, gt=0, description="of the mask that was mounted")
    shift_m: tuple[float, float] = Field((0.0, 0.0), description="(y, x) of the mask's middle from the sensor's axis")
    rotation_rad: float = Field(0.0, description="of the mask, clockwise as the camera sees the scene")
    sensor: dict[str, float] = Field(default_factory=dict, description="fields of the design's sensor with their true numbers")
    rig: RigOffset = Field(RigOffset(), description="of what the rig says of a point's place")

    def design(self, nominal: CameraDesign) -> CameraDesign:
        """Returns the design of the camera as it is; PrivcamError for the mounting of a design without a mask, or a wrong field."""
        changes: dict[str, Any] = {f"sensor.{field}": value for field, value in self.sensor.items()}
        if isinstance(nominal.optics, LenslessOptics):
            changes["optics.mount"] = Mount(shift_m=self.shift_m, rotation_rad=self.rotation_rad).model_dump()
            changes["optics.mask_to_sensor_m"] = self.mask_to_sensor_m or nominal.optics.mask_to_sensor_m
        elif self.mask_to_sensor_m or any(self.shift_m) or self.rotation_rad:
            raise PrivcamError("only a mask has a mounting", got=nominal.optics.kind, allowed="lensless",
                               todo="leave the mounting out of camera.made")
        return nominal.replace(**changes) if changes else nominal

    def seen(self, nominal: CameraDesign, point: Point) -> NDArray[np.float64]:
        """Returns the light of a point of level 1 on the raw pixels of the crop [row, column], upright as the camera sees the scene.

        Relative to a white field through an open aperture; sampled at four or more to a side of a code pixel.
        """
        optics = nominal.optics
        if not isinstance(optics, LenslessOptics):
            raise PrivcamError("a point source before this camera needs a mask", got=optics.kind, allowed="lensless")
        coarse, factors = _coarse(nominal)
        camera = HiddenCamera(coarse, self.mask_to_sensor_m or optics.mask_to_sensor_m, self.shift_m, self.rotation_rad,
                              rig_origin_m=self.rig.origin_m, rig_distance_m=self.rig.distance_m, rig_roll_rad=self.rig.roll_rad,
                              reference_m=point.distance_m)
        in_sensor_order = camera.irradiance((point.y_m, point.x_m), point.distance_m)
        upright = in_sensor_order[::-1, ::-1] if nominal.readout.turn else in_sensor_order
        return np.repeat(np.repeat(upright, factors[0], 0), factors[1], 1) / math.prod(optics.cells)


def _coarse(design: CameraDesign) -> tuple[CameraDesign, tuple[int, int]]:
    """Returns the design with no more than the samples that are needed for raw pixels, and raw pixels to a sample (down, right)."""
    bins, code = design.readout.bin, design.readout.shape
    samples = [next((n for n in range(SAMPLES, size) if size % n == 0), size) for size in bins]
    if bins[0] != bins[1]:  # pixels are square, so samples are
        samples = list(bins)
    down, right = (size // n for size, n in zip(bins, samples, strict=True))
    side = (code[0] * samples[0], code[1] * samples[1])
    return design.replace(**{"sensor.pixel_pitch_m": design.sensor.pixel_pitch_m * down, "sensor.shape": side,
                             "readout.crop": (0, 0, *side), "readout.bin": tuple(samples)}), (down, right)

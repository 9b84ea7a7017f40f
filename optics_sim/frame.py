"""A frame: raw numbers together with how they were taken and where they came from, which never changes.

Deliberately not here: cameras (`hil/cameras/`), frames on a disk (`hil/capture_set/`), and what is computed from frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from optics_sim.errors import PrivcamError
from optics_sim.measure import Source
from optics_sim.plain import Plain


class CaptureSettings(Plain):
    """What a camera is asked for, and, in a frame, what it really did: a sensor knows whole lines and steps of gain alone."""

    exposure_s: float = Field(gt=0, allow_inf_nan=False, description="exposure time")
    analogue_gain: float = Field(1.0, gt=0, allow_inf_nan=False, description="1 is the sensor's lowest")


class CameraInfo(Plain):
    """What a camera says of itself; it does not change while the camera is open.

    `cfa` is that of the frames, from their own top left: a crop at an odd row starts on the other colours.
    """

    name: str = Field(description="of the camera, for people")
    sensor: str = Field(description="as sold, or as a preset names it")
    shape: tuple[int, int] = Field(description="of a frame (rows, columns)")
    bit_depth: int = Field(ge=1, le=16, description="of the raw numbers")
    black_level_dn: float = Field(ge=0, description="raw value of no light")
    cfa: Literal["mono", "rggb", "bggr", "grbg", "gbrg"] = Field("mono", description="colour filter array of a frame, from its top left")
    source: Source = Field(description="what makes the frames")


@dataclass(frozen=True, eq=False)
class Frame:
    """One read-out of a sensor.

    `raw` is uint16 [row, column] in DN with the black level included, in the order the sensor reads it out; `settings` are
    those that applied. `timestamp_s` is the end of the first row's exposure on the camera's own clock, which does not run
    backwards and knows no date. `index` counts what the sensor took while the camera was open: a frame that was dropped
    leaves a gap. `source` says what made it and is carried into every number computed from it; `replayed` tells a stored
    frame from a live one. `stimulus` names what was shown, "" where nobody said; `temperature_c` is the sensor's, where it knows.
    Raises PrivcamError for raw that is not uint16 [row, column].
    """

    raw: NDArray[np.uint16]
    settings: CaptureSettings
    timestamp_s: float
    source: Source
    index: int
    sensor: str
    temperature_c: float | None = None
    replayed: bool = False
    stimulus: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.raw.dtype != np.uint16 or self.raw.ndim != 2:
            raise PrivcamError("raw is one plane of DN", got=f"{self.raw.dtype} {self.raw.shape}", allowed="uint16 [row, column]",
                               todo="widen 8-bit numbers; a colour sensor's mosaic is one plane")

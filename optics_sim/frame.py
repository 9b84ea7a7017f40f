"""A frame: raw numbers together with where they came from, which never changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.measure import Source


@dataclass(frozen=True)
class Frame:
    """One read-out of a sensor.

    `raw` is [row, column] in DN with the black level included; `source` says what made it and
    is carried into every number computed from it; `replayed` tells a stored frame from a live one.
    """

    raw: NDArray[np.uint16]
    source: Source
    exposure_s: float
    analogue_gain: float = 1.0
    replayed: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

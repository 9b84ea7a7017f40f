"""How much a calibration takes, as plain data."""

from __future__ import annotations

from pydantic import Field

from optics_sim.plain import Plain


class Request(Plain):
    """What to ask of a bench. Exposures are found by trial between the shortest and the longest."""

    levels: int = Field(50, ge=1, description="of the sensor's sweep")
    stack: int = Field(50, ge=1, description="frames of the flat and of the dark stack")
    distances_m: tuple[float, ...] | None = Field(None, description="of the point from the mask; left out, half the scene's and the whole")
    places: int = Field(3, ge=2, description="of the point, to a side, at each distance")
    repeats: int = Field(4, ge=2, description="frames of each exposure at each place")
    rungs: int = Field(2, ge=1, le=6, description="exposures at each place, each a quarter of the next")
    point_level: float | None = Field(None, gt=0, description="of the point; left out, as many as the mask has cells")
    shortest_s: float = Field(1e-4, gt=0, description="exposure to try")
    longest_s: float = Field(2.0, gt=0, description="exposure to try")

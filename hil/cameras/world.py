"""A simulated bench: what there is to see, how bright and how warm it is, and what goes wrong on the wire.

Change it between frames or by a `SimulatedRig` (`hil/rigs/simulated.py`); a `SimulatedCamera` looks at it. Deliberately not
here: optics and sensor (`optics_sim`), and torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optics_sim.stimulus import Point

Scene = NDArray[np.floating] | Callable[[float], NDArray[np.floating]]


def _no_wait(seconds: float) -> None:
    """Simulated time passes at once."""


@dataclass
class World:
    """What a simulated camera answers to. All of it may be changed at any time; `time_s` only moves on.

    `scene`: linear radiance relative to white, [row, column], or a function of the time in seconds that returns it.
    `light` multiplies the design's white. A `point` is there instead of the scene, in the dark; a camera that is `capped` sees
    nothing, one whose sensor is `bare` sees the scene's mean evenly: mask or lens are away. `drop_probability` is that of a frame
    to be lost on the wire, and the next `drop_next` frames are lost for certain. New settings apply `settling_frames` frames
    after they were asked for. Each frame reaches the host `delay_s` after its exposure; `sleep` is called with what passes of
    the world's time (`time.sleep` makes it real time).
    """

    scene: Scene
    light: float = 1.0
    point: Point | None = None
    capped: bool = False
    bare: bool = False
    temperature_c: float = 25.0
    drop_probability: float = 0.0
    drop_next: int = 0
    settling_frames: int = 2
    delay_s: float = 0.0
    time_s: float = 0.0
    sleep: Callable[[float], None] = _no_wait

    def radiance(self, time_s: float) -> NDArray[np.float64]:
        """Returns the scene at a time, [row, column], with the light as it is now: dark where the camera is capped."""
        scene = self.scene(time_s) if callable(self.scene) else self.scene
        return np.asarray(scene, np.float64) * (0.0 if self.capped else self.light)

    def pass_time(self, seconds: float) -> None:
        """Moves the clock on."""
        self.time_s += seconds
        self.sleep(seconds)

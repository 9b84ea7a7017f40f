"""A rig that shows by changing a simulated world. Deliberately not here: the world (`hil/cameras/world.py`) and its camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hil.cameras.world import World
from hil.protocols import RigInfo, Shown
from hil.rigs.refuse import nothing_shown
from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Dark, Even, Flat, Light, Pattern, Picture, Point, Stimulus, over


class SimulatedRig:
    """A rig for everything: it puts the stimulus into the world, where it is at once. A lamp lights a white field.

    `shape` is that of the world's scenes (rows, columns); pictures are looked for in `folder`.
    """

    def __init__(self, world: World, shape: tuple[int, int], folder: Path = Path()) -> None:
        self._world, self._shape, self._folder = world, shape, folder
        self._info = RigInfo(name="simulated world", source="simulated")
        self._last: tuple[object, ...] | None = None

    @property
    def info(self) -> RigInfo:
        """Returns what the rig says of itself."""
        return self._info

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns why the world cannot be so, or None."""
        try:
            self._scene(stimulus)
        except PrivcamError as error:
            return error
        return None

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the world is the stimulus, and nothing of what was there before."""
        world = self._world
        scene = self._scene(stimulus)
        world.scene, world.capped, world.light = scene, isinstance(stimulus, Dark), 1.0
        world.bare = isinstance(stimulus, Even)
        world.point = stimulus if isinstance(stimulus, Point) else None
        self._last = self._state()
        return Shown(rig=self._info, proof="the world was changed")

    def confirm(self) -> None:
        """Raises PrivcamError where somebody else changed the world since."""
        if self._last is None:
            raise nothing_shown()
        if any(one is not other for one, other in zip(self._last, self._state(), strict=True)):
            raise PrivcamError("the world is not as it was shown", todo="let the rig alone change it")

    def _state(self) -> tuple[object, ...]:
        world = self._world
        return world.scene, world.light, world.point, world.capped, world.bare

    def _scene(self, stimulus: Stimulus) -> NDArray[np.float64]:
        match stimulus:
            case Flat() | Even() | Light():
                return np.full(self._shape, stimulus.level)
            case Pattern():
                return over(stimulus.radiance(), self._shape)
            case Picture():
                return over(stimulus.radiance(self._folder), self._shape)
            case _:
                return np.zeros(self._shape)

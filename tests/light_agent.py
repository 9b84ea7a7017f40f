"""Run as a program: an agent with a rig and a camera that is quick to start: no optics, a frame's mean is the scene's. It says where.

`light_agent.py SEED DROP_PROBABILITY SILENT_S`
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hil.agent.serve import desk_of, serve
from hil.agent.served import OnTable
from hil.cameras.world import World
from hil.rigs.simulated import SimulatedRig
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

SHAPE = (64, 64)
BLACK_DN, WHITE_DN = 64.0, 800.0


class LightCamera:
    """White at 4 ms is 800 DN; noise of 4 DN; lost frames."""

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self._world, self._rng, self._index = world, rng, -1
        self.info = CameraInfo(name="light", sensor="none", shape=SHAPE, bit_depth=12, black_level_dn=BLACK_DN, source="simulated")

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        for _ in range(count):
            lost = True
            while lost:
                self._index += 1
                self._world.pass_time(settings.exposure_s)
                lost = self._rng.random() < self._world.drop_probability
            mean_dn = BLACK_DN + WHITE_DN * float(self._world.radiance(0).mean()) * settings.exposure_s / 0.004
            raw = np.rint(self._rng.normal(mean_dn, 4, SHAPE)).clip(0, 4095).astype(np.uint16)
            yield Frame(raw=raw, settings=settings, timestamp_s=self._world.time_s, source="simulated", index=self._index, sensor="none")


def main() -> None:
    seed, drop, silent_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])

    @contextmanager
    def open_table(occasion: int, pictures: Path) -> Iterator[OnTable]:
        world = World(scene=np.zeros((31, 31)), drop_probability=drop)
        camera = LightCamera(world, np.random.default_rng([seed, occasion]))
        yield OnTable(camera, SimulatedRig(world, (31, 31), pictures), "", replays=False)

    serve(desk_of(open_table, boot=secrets.token_hex(8), version="test", silent_s=silent_s), 0,
          lambda address: print(address, flush=True))  # noqa: T201


if __name__ == "__main__":
    main()

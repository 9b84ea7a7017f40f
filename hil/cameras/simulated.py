"""A camera in a simulated world: each frame is rendered from what the world is then, down to the raw pixel.

Light goes through the design's optics, the electron-level sensor counts it, and what comes out is what the wire carries: raw
DN with the black level, under the colour filters, in the sensor's order. Exposure and gain act where they act in a camera.
Deliberately not here: the world (`world.py`), and any picture that was made beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from hil.cameras.made import Made
from hil.cameras.replay import alike, check_count
from hil.cameras.world import World
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, Exposure, Sensor
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame
from optics_sim.optics.point import point_irradiance
from optics_sim.plain import Plain
from optics_sim.sensor.model import SensorModel
from optics_sim.sensor.readout import colours
from optics_sim.stimulus import Point

FRAMES_LOST_IN_A_ROW = 50  # after so many nobody waits for another
_LETTERS = "rgb"


class Timing(Plain):
    """How a sensor keeps time and amplifies. The numbers are assumed: plausible for a rolling-shutter sensor of a Pi camera.

    Exposures are whole lines, gains are 1 / (1 - k / `gain_steps`), both the nearest to the request. The dark current, which
    the sensor's description gives at `reference_c`, doubles with every `doubling_c` (between 5 and 8 degrees in silicon;
    Widenhorn et al. 2002, Proc. SPIE 4669).
    """

    line_s: float = 20e-6
    shortest_frame_s: float = 1 / 60
    longest_exposure_s: float = 10.0
    gain_steps: int = 256
    largest_gain: float = 16.0
    reference_c: float = 25.0
    doubling_c: float = 6.0

    def applied(self, settings: CaptureSettings) -> CaptureSettings:
        """Returns what the sensor makes of a request; PrivcamError for one that it cannot have."""
        if not self.line_s / 2 <= settings.exposure_s <= self.longest_exposure_s:
            raise PrivcamError("the camera cannot expose so", got=f"{settings.exposure_s:g} s",
                               allowed=f"{self.line_s:g} to {self.longest_exposure_s:g} s")
        if not 1 <= settings.analogue_gain <= self.largest_gain:
            raise PrivcamError("the camera cannot amplify so", got=settings.analogue_gain, allowed=f"1 to {self.largest_gain:g}")
        step = round(self.gain_steps * (1 - 1 / settings.analogue_gain))
        return CaptureSettings(exposure_s=max(1, round(settings.exposure_s / self.line_s)) * self.line_s,
                               analogue_gain=1 / (1 - step / self.gain_steps))

    def dark_current_e_per_s(self, sensor: Sensor, temperature_c: float) -> float:
        """Returns the electrons per second without light at a temperature."""
        return float(sensor.dark_current_e_per_s * 2 ** ((temperature_c - self.reference_c) / self.doubling_c))


class SimulatedCamera:
    """The camera of a design in a world. All noise and all lost frames come from the generator.

    It gives the readout's crop of the sensor. What differs from frame to frame is rendered from the world at the middle of
    the exposure: nothing moves within one. `made` says how the camera differs from its design, of which it knows nothing itself.
    Raises PrivcamError for a design with an exposure code, which one frame cannot show.
    """

    def __init__(self, design: CameraDesign, world: World, *, generator: torch.Generator, timing: Timing | None = None,
                 made: Made | None = None) -> None:
        if design.coding is not None:
            raise PrivcamError("a simulated camera gives plain exposures", got="a design with an exposure code",
                               todo="set `coding` to None")
        self._nominal, self._made, self._world, self._generator = design, made, world, generator
        self._design = design if made is None else made.design(design)
        self._timing = timing or Timing()
        self._optics = PrivacyCamera.from_design(self._design)
        self._last_seen: tuple[torch.Tensor, torch.Tensor] | None = None
        self._last_spot: tuple[Point, torch.Tensor] | None = None
        exposure = design.exposure
        self._asked = self._timing.applied(CaptureSettings(exposure_s=exposure.exposure_s, analogue_gain=exposure.analogue_gain))
        self._applied, self._settling, self._index = self._asked, 0, -1
        top, left, rows, columns = design.readout.crop
        sensor = design.sensor
        tile = colours(sensor.cfa, (2, 2), (top, left)).ravel()
        self._info = CameraInfo.model_validate({
            "name": f"simulated {design.name}", "sensor": sensor.name, "shape": (rows, columns), "bit_depth": sensor.bit_depth,
            "black_level_dn": sensor.black_level_dn, "source": "simulated",
            "cfa": "mono" if sensor.cfa == "mono" else "".join(_LETTERS[colour] for colour in tile)})

    @property
    def info(self) -> CameraInfo:
        """Returns what the camera says of itself."""
        return self._info

    def capture(self, settings: CaptureSettings, count: int) -> Iterator[Frame]:
        """Returns `count` frames of the world as it is when each is taken; see `hil.protocols.Camera`."""
        check_count(count)
        asked = self._timing.applied(settings)
        if not alike(asked, self._asked):
            self._asked, self._settling = asked, self._world.settling_frames
        for _ in range(count):
            yield self._next_frame(asked)

    def _next_frame(self, asked: CaptureSettings) -> Frame:
        """Takes frames until one comes that was exposed as asked, as a program before a real sensor must."""
        for _ in range(FRAMES_LOST_IN_A_ROW + self._world.settling_frames):
            lost, applied = self._take()
            if not lost and alike(applied, asked):
                return self._frame(applied)
        raise PrivcamError("no frame comes from the camera", got=f"{FRAMES_LOST_IN_A_ROW} frames lost in a row",
                           todo="look after the line between camera and host")

    def _take(self) -> tuple[bool, CaptureSettings]:
        """Lets the sensor expose one frame; returns whether it was lost and what applied."""
        world = self._world
        if self._settling:
            self._settling -= 1
        else:
            self._applied = self._asked
        self._index += 1
        world.pass_time(max(self._applied.exposure_s, self._timing.shortest_frame_s))
        chance = float(torch.rand((), generator=self._generator))
        certain = world.drop_next > 0
        world.drop_next -= certain
        return certain or chance < world.drop_probability, self._applied

    def _frame(self, applied: CaptureSettings) -> Frame:
        world, time_s = self._world, self._world.time_s
        frame = Frame(raw=self._render(self._irradiance(time_s - applied.exposure_s / 2), applied), settings=applied, timestamp_s=time_s,
                      source="simulated", index=self._index, sensor=self._info.sensor, temperature_c=world.temperature_c)
        world.pass_time(world.delay_s)
        return frame

    @torch.no_grad()
    def _irradiance(self, time_s: float) -> torch.Tensor:
        """Returns the light on each raw pixel of the crop at a time, relative to a white field through an open aperture."""
        world, bins = self._world, self._design.readout.bin
        if world.point is not None and not world.capped:
            level = world.point.level * world.light
            return self._spot(world.point.model_copy(update={"level": 1.0})) * level if level else torch.zeros(self._info.shape)
        if world.bare:
            return torch.full(self._info.shape, float(world.radiance(time_s).mean()))
        light = self._through(torch.as_tensor(world.radiance(time_s), dtype=torch.float32))
        return light.repeat_interleave(bins[0], -2).repeat_interleave(bins[1], -1)

    def _through(self, radiance: torch.Tensor) -> torch.Tensor:
        """Returns the light on each code pixel; the last is kept, and its radiance too: a scene may be changed in place."""
        if self._last_seen is None or not torch.equal(self._last_seen[0], radiance):
            self._last_seen = (radiance, self._optics.relative_irradiance(radiance))
        return self._last_seen[1]

    def _spot(self, point: Point) -> torch.Tensor:
        """Returns the light of a point source of level 1: the last one is kept, for many frames are taken of each."""
        if self._last_spot is None or self._last_spot[0] != point:
            light = (point_irradiance(self._design, point.y_m, point.x_m, point.distance_m) if self._made is None
                     else torch.as_tensor(self._made.seen(self._nominal, point), dtype=torch.float32))
            self._last_spot = (point, light)
        return self._last_spot[1]

    @torch.no_grad()
    def _render(self, irradiance: torch.Tensor, applied: CaptureSettings) -> NDArray[np.uint16]:
        """Returns the raw frame [row, column] that light makes, as the wire carries it."""
        design = self._design
        pixels = (irradiance * design.exposure.white_photons_per_px_s).clamp_min(0)
        dark = self._timing.dark_current_e_per_s(design.sensor, self._world.temperature_c)
        exposure = Exposure(exposure_s=applied.exposure_s, analogue_gain=applied.analogue_gain,
                            white_photons_per_px_s=design.exposure.white_photons_per_px_s, wavelength_m=design.exposure.wavelength_m)
        sensor = SensorModel(design.sensor.model_copy(update={"dark_current_e_per_s": dark}), exposure, design.readout)
        raw = sensor.in_sensor_order(sensor.raw(pixels, generator=self._generator))
        return raw.numpy().astype(np.uint16)

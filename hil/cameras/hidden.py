"""A simulated camera whose mask sits somewhere else than drawn, looking at a point source: what a calibration has to find.

It is not the model that the calibration fits. Light is a wave: a spherical one from the source through the mask, propagated at
an angle by the angular spectrum, for each wavelength of the design; the irradiance falls with the fourth power of the cosine;
the mask is upright and the sensor's pixels are what is turned; and every raw pixel is sampled by itself, four and more to a code
pixel. Pixels differ, noise is that of electrons, the converter clips. Frames come in the sensor's order.
Deliberately not here: anything of `calibration`.

Reference: Matsushima, "Shifted angular spectrum method for off-axis numerical propagation", Optics Express 18 (2010) 18453; here the
source's direction is taken out of the field instead of the window being shifted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from optics_sim.design import CameraDesign, LenslessOptics
from optics_sim.errors import PrivcamError
from optics_sim.optics.patterns import transmission

Array = NDArray[np.floating]
SAMPLES_PER_CELL = 8
POINTS_PER_PIXEL = 2  # per side of a raw pixel
EDGE_CELLS = 4  # of darkness around the mask on the wave's grid, so that what diffracts does not come round


@dataclass(frozen=True, eq=False)
class HiddenCamera:
    """A camera as it was really put together, and the rig before it.

    `mask_to_sensor_m`, `shift_m` (y, x), `rotation_rad`: of the mask. The rig puts the source where it says but for its own
    zero: `rig_origin_m` (y, x), `rig_distance_m` added to each distance, `rig_roll_rad`. `photons_per_px_s`: on a raw pixel from the
    source on the axis at the nearest distance used, `reference_m`, through a fully open aperture.
    """

    design: CameraDesign
    mask_to_sensor_m: float
    shift_m: tuple[float, float] = (0.0, 0.0)
    rotation_rad: float = 0.0
    rig_origin_m: tuple[float, float] = (0.0, 0.0)
    rig_distance_m: float = 0.0
    rig_roll_rad: float = 0.0
    photons_per_px_s: float = 1e6
    reference_m: float = 0.2
    seed: int = 0
    _seen: dict[tuple[float, float, float], Array] = field(default_factory=dict)

    def frames(self, position_m: tuple[float, float], distance_m: float, exposure_s: float, count: int, *,
               generator: np.random.Generator, light: float = 1.0) -> NDArray[np.uint16]:
        """Returns raw frames [count, row, column] of the source where the rig says it is; `light` 0 is switched off."""
        sensor, gain = self.design.sensor, self.design.sensor.gain_dn_per_e * self.design.exposure.analogue_gain
        efficiency = sensor.quantum_efficiency
        share = float(np.mean(efficiency)) * self.photons_per_px_s * exposure_s
        response, offset = self._pixels()
        lit = self.irradiance(position_m, distance_m) if light else np.zeros(response.shape)
        mean = np.maximum(light * share * lit * response + sensor.dark_current_e_per_s * exposure_s, 0)
        electrons = generator.poisson(np.broadcast_to(mean, (count, *mean.shape))).clip(max=sensor.full_well_e)
        electrons = electrons + generator.normal(0, sensor.read_noise_e, electrons.shape) + offset
        raw = np.rint(sensor.black_level_dn + gain * electrons).clip(0, 2**sensor.bit_depth - 1)
        return raw.astype(np.uint16)

    def _pixels(self) -> tuple[Array, Array]:
        generator, sensor = np.random.default_rng(self.seed), self.design.sensor
        shape = self.design.readout.crop[2:]
        return 1 + generator.normal(0, sensor.prnu, shape), generator.normal(0, sensor.dsnu_e, shape)

    def source(self, position_m: tuple[float, float], distance_m: float) -> tuple[float, float, float]:
        """Returns where the source really is: (y, x) from the sensor's axis and the distance from the mask."""
        (y, x), cosine, sine = position_m, np.cos(self.rig_roll_rad), np.sin(self.rig_roll_rad)
        return (float(cosine * y + sine * x + self.rig_origin_m[0]), float(cosine * x - sine * y + self.rig_origin_m[1]),
                distance_m + self.rig_distance_m)

    def irradiance(self, position_m: tuple[float, float], distance_m: float) -> Array:
        """Returns the light on each raw pixel in the sensor's order, 1 for the open aperture on the axis at `reference_m`."""
        source = self.source(position_m, distance_m)
        if source not in self._seen:
            self._seen[source] = self._rendered(source)
        return self._seen[source]

    def _rendered(self, source: tuple[float, float, float]) -> Array:
        y, x, distance = source
        pitch, (rows, columns), n = self.design.sensor.pixel_pitch_m, self.design.readout.crop[2:], POINTS_PER_PIXEL
        at_y, at_x = np.meshgrid(*((np.arange(n * count) + 0.5 - n * count / 2) * pitch / n for count in (rows, columns)), indexing="ij")
        cosine, sine = np.cos(self.rotation_rad), np.sin(self.rotation_rad)

        def on_mask(y_m: Array | float, x_m: Array | float) -> tuple[Array | float, Array | float]:
            dy, dx = y_m - self.shift_m[0], x_m - self.shift_m[1]
            return cosine * dy - sine * dx, sine * dy + cosine * dx

        seen_from_mask = on_mask(y, x)
        light = self._behind_mask((float(seen_from_mask[0]), float(seen_from_mask[1]), distance), *on_mask(at_y, at_x))
        depth = distance + self.mask_to_sensor_m
        squared = (at_y - y) ** 2 + (at_x - x) ** 2
        light = light * (depth**2 / (depth**2 + squared)) ** 2 * (self.reference_m / distance) ** 2
        pixels = light.reshape(rows, n, columns, n).mean((1, 3))
        return pixels if self.design.readout.turn else pixels[::-1, ::-1]

    def _behind_mask(self, source: tuple[float, float, float], y_m: Array | float, x_m: Array | float) -> Array:
        """Returns the intensity at points of the sensor's plane, all seen from the middle of the mask, 1 in front of it."""
        optics = self.design.optics
        if not isinstance(optics, LenslessOptics):
            raise PrivcamError("a hidden camera has a mask", got=optics.kind, allowed="lensless", todo="give a lensless design")
        pitch = optics.cell_m / SAMPLES_PER_CELL
        amplitude = np.sqrt(_film(optics)).astype(np.float32)
        size = [scipy.fft.next_fast_len(n + 2 * EDGE_CELLS * SAMPLES_PER_CELL) for n in amplitude.shape]
        before = [(whole - n) // 2 for whole, n in zip(size, amplitude.shape, strict=True)]
        framed = np.pad(amplitude, [(b, whole - n - b) for b, whole, n in zip(before, size, amplitude.shape, strict=True)])
        middle = [b + (n - 1) / 2 for b, n in zip(before, amplitude.shape, strict=True)]
        u, v = ((np.arange(whole) - m) * pitch for whole, m in zip(size, middle, strict=True))
        total = np.zeros(np.shape(y_m))
        for wavelength in optics.wavelengths_m:
            light, (walk_y, walk_x) = self._propagated(framed, u[:, None], v[None, :], source, wavelength, pitch)
            points = [(y_m - walk_y) / pitch + middle[0], (x_m - walk_x) / pitch + middle[1]]
            total += map_coordinates(light, points, order=1, mode="constant") / len(optics.wavelengths_m)
        return total

    def _propagated(self, amplitude: Array, u: Array, v: Array, source: tuple[float, float, float], wavelength: float,
                    pitch: float) -> tuple[Array, tuple[float, float]]:
        """Returns the intensity behind the mask on its own grid, moved back by the (y, x) that the source's direction walked."""
        y, x, distance = source
        direct = np.sqrt(y**2 + x**2 + distance**2)
        path = np.sqrt((u - y) ** 2 + (v - x) ** 2 + distance**2) - direct + (u * y + v * x) / direct
        spectrum = scipy.fft.fft2(amplitude * np.exp(1j * (2 * np.pi / wavelength * path).astype(np.float32)))
        tilt_y, tilt_x = -y / direct / wavelength, -x / direct / wavelength
        f, g = (scipy.fft.fftfreq(n, pitch) for n in amplitude.shape)
        straight = np.sqrt(wavelength**-2 - tilt_y**2 - tilt_x**2)
        walk = (self.mask_to_sensor_m * tilt_y / straight, self.mask_to_sensor_m * tilt_x / straight)
        along = np.sqrt(np.maximum(wavelength**-2 - (f[:, None] + tilt_y) ** 2 - (g[None, :] + tilt_x) ** 2, 0))
        phase = 2 * np.pi * (self.mask_to_sensor_m * (along - straight) + f[:, None] * walk[0] + g[None, :] * walk[1])
        field = scipy.fft.ifft2(spectrum * np.exp(1j * phase.astype(np.float32)))
        return np.asarray(field.real**2 + field.imag**2), walk


def _film(optics: LenslessOptics) -> Array:
    """Returns the film's transmission at `SAMPLES_PER_CELL`, its edges sharp: the printer's blur is not in a hidden camera's film."""
    cells = transmission(optics.pattern, optics.cells, optics.cell_m).astype(np.float64)
    clear, opaque = optics.printing.clear_transmission, optics.printing.opaque_transmission
    return np.kron(opaque + (clear - opaque) * cells, np.ones((SAMPLES_PER_CELL, SAMPLES_PER_CELL)))

"""What the virtual camera of tests/picamera2/ sees: a design's optics and its pixels' response by privcam's simulator, as a scene file.

The file holds electrons per second of each pixel, in the sensor's order; the sensor itself, with exposure, gain and noise, is
simulated where the frames are made (tests/picamera2/virtual_sensor.h), and what is simulated here is all before it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, write_atomically

LEVELS = 65535


@torch.no_grad()
def electrons_per_s(design: CameraDesign, radiance: np.ndarray) -> np.ndarray:
    """Returns the electrons [row, column] that light makes in a second in each pixel of the readout's crop, as the sensor reads it out."""
    camera, bins = PrivacyCamera.from_design(design), design.readout.bin
    light = camera.relative_irradiance(torch.as_tensor(radiance, dtype=torch.float32)) * design.exposure.white_photons_per_px_s
    pixels = light.repeat_interleave(bins[0], -2).repeat_interleave(bins[1], -1)
    per_exposure = camera.sensor.in_sensor_order(pixels.clamp_min(0) * camera.sensor.response)
    return per_exposure.numpy().astype(np.float64) / design.exposure.exposure_s


def write_scene(file: Path, design: CameraDesign, electrons: np.ndarray, *, temperature_c: float = 25.0) -> np.ndarray:
    """Returns the electrons per second that the file really holds, to 16 bits; it is there at once or not at all."""
    sensor, white = design.sensor, max(float(electrons.max()), 1.0)
    numbers = {"white_e_per_s": white, "dark_e_per_s": sensor.dark_current_e_per_s, "full_well_e": sensor.full_well_e,
               "read_noise_e": sensor.read_noise_e, "gain_dn_per_e": sensor.gain_dn_per_e, "temperature_c": temperature_c}
    levels = np.rint(electrons / white * LEVELS).astype(">u2")
    said = "".join(f"# {name} {value!r}\n" for name, value in numbers.items())
    write_atomically(file, f"P5\n{said}{levels.shape[1]} {levels.shape[0]}\n{LEVELS}\n".encode() + levels.tobytes())
    return levels / LEVELS * white

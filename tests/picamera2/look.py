"""Runs the unmodified Picamera2 in the root and does what tests/test_picamera2_root.py asks, one line of JSON each, answered by another.

    look.py    {"do": "open"}, {"do": "start", ...}, {"do": "set", ...}, {"do": "frames", ...}, {"do": "stop"}
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import libcamera
import numpy as np
import picamera2
from picamera2 import Picamera2

SHOWN = ("ExposureTime", "AnalogueGain", "SensorTimestamp", "FrameDuration", "SensorBlackLevels", "SensorTemperature")


class Look:
    camera: Picamera2

    def open(self):
        self.camera = Picamera2()
        return {"properties": self.camera.camera_properties, "picamera2": version("picamera2"), "code": picamera2.__file__,
                "libcamera": libcamera.CameraManager.singleton().version}

    def modes(self):
        return [{**mode, "format": str(mode["format"])} for mode in self.camera.sensor_modes]

    def start(self, raw, controls, hflip=0, vflip=0, buffers=4):
        transform = libcamera.Transform(hflip=hflip, vflip=vflip)
        self.camera.configure(self.camera.create_still_configuration(
            main={"size": (640, 480)}, raw={**raw, "size": tuple(raw["size"])}, buffer_count=buffers, queue=False, transform=transform,
            controls={"FrameDurationLimits": (25_000, 10_000_000), **controls}))
        self.camera.start()
        return self.camera.camera_configuration()["raw"]

    def set(self, controls):
        self.camera.set_controls(controls)

    def frames(self, count, pause_s=0.0, file=""):
        """Metadata of each frame, with the sum of its buffer's bytes; the buffers themselves go to a file, where one is named."""
        said, buffers = [], []
        for _ in range(count):
            request = self.camera.capture_request(wait=10)
            try:
                metadata, buffer = request.get_metadata(), request.make_buffer("raw")
                time.sleep(pause_s)
            finally:
                request.release()
            buffers.append(buffer)
            said.append({name: metadata[name] for name in SHOWN})
        if file:
            np.save(Path(file), np.stack(buffers))
        return said

    def stop(self):
        self.camera.stop()

    def close(self):
        self.camera.close()


def main() -> None:
    look = Look()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"answer": getattr(look, asked.pop("do"))(**asked)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


main()

"""A stand-in for Picamera2 over libcamera on a Raspberry Pi, with the traps of the real ones and a clock of its own.

Controls reach the sensor frames later, each in its time; rows are padded; requests that are held stall the queue; what is asked and
does not come blocks `stop` and `close`; a sensor rounds. Nothing sleeps unless `sleep` says so. `World.truth` has the numbers that
each frame was made of, by its time stamp: the bytes that are given are packed here, by other code than the one that is tested.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import numpy as np

LINE_US = 30
START_NS = 100_000_000
RATES = {"R": 1.0, "G": 0.7, "B": 0.4}  # of the colours, relative
JUNK = 0xA5  # in a row's padding


@dataclass
class World:
    """What stands before the camera, what the camera is, and what goes wrong with it."""

    model: str = "imx477"
    native: str = "RGGB"  # as the sensor reads out unturned; MONO for a grey one
    modes: tuple[tuple[int, int, int], ...] = ((24, 40, 12), (12, 20, 10))  # rows, columns, bits
    pisp: bool = False  # a Raspberry Pi 5
    version: str = "0.3.38"
    camera_id: str = "/base/soc/fake/virtual/imx477@1a"
    black_16: int | None = 4096
    longest_us: int = 10_000_000
    exposure_delay: int = 2
    gain_delay: int = 2
    colour_delay: int = 2
    light_dn_per_s: float = 60_000.0
    frozen: bool = False
    lost: object = staticmethod(lambda frame: False)  # whether a frame is lost on the wire
    busy: bool = False
    closes: bool = True
    idle_frames: int = 0  # that pass before each request is asked for
    wrong: object = None  # (data) -> data: what the memory makes of a frame
    sleep: object = None
    now_ns: int = 1_000_000_000
    frame: int = 0
    truth: dict[int, np.ndarray] = field(default_factory=dict)
    held: int = 0  # requests that somebody has
    opened: int = 0  # cameras that are open
    starts: int = 0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def mono(self) -> bool:
        return self.native == "MONO"

    def clock(self) -> int:
        return self.now_ns

    def code_gain(self, gain: float) -> float:
        return 1024 / (1024 - int(1024 - 1024 / gain))


def modules(world: World) -> dict[str, ModuleType]:
    """Returns what `import picamera2` and `import libcamera` are to find."""
    libcamera = ModuleType("libcamera")
    libcamera.Transform = Transform
    libcamera.CameraManager = SimpleNamespace(singleton=lambda: SimpleNamespace(version="v0.0.5" if _old(world) else "v0.7.1"))
    picamera2 = ModuleType("picamera2")
    kind = OlderPicamera2 if _old(world) else NewerPicamera2
    picamera2.Picamera2 = type("Picamera2", (kind,), {"world": world})
    return {"libcamera": libcamera, "picamera2": picamera2}


def unfit():
    """Fails as Picamera2 does over a numpy that its extension modules were not built with."""
    raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")


def _old(world: World) -> bool:
    return world.version == "0.3.12"


@dataclass(frozen=True)
class Transform:
    hflip: int = 0
    vflip: int = 0


@dataclass
class Effective:
    """What the sensor is set to; None: the camera chooses itself."""

    exposure_us: int | None = None
    gain: float | None = None
    colour_gains: tuple[float, float] | None = None
    longest_frame_us: float = 1e9


class Request:
    """A completed request: held until it is released as often as it was acquired."""

    def __init__(self, camera, data, metadata) -> None:
        self._camera, self._data, self._metadata = camera, data, metadata
        self.uses, self.started = 1, camera.starts
        camera.world.held += 1

    def make_buffer(self, name: str) -> np.ndarray:
        assert name == "raw" and self.uses > 0, "the memory is the camera's again"
        return self._data.copy()

    def get_metadata(self) -> dict:
        assert self.uses > 0, "the memory is the camera's again"
        return dict(self._metadata)

    def release(self) -> None:
        self.uses -= 1
        assert self.uses >= 0, "released too often"
        self._camera.world.held -= 1
        if self.started == self._camera.starts and self._camera.started:
            self._camera.queue.append(self._camera.take_controls())


class Job:
    def __init__(self, signal_function) -> None:
        self._signal, self._result = signal_function, None

    def finish(self, request: Request) -> None:
        self._result = request
        if self._signal:
            self._signal(self)

    def get_result(self) -> Request:
        assert self._result is not None, "Picamera2 would wait for ever"
        return self._result


class OlderPicamera2:
    """As of 0.3.12: waits have no end, nothing can be cancelled, the sensor's mode is not told."""

    world: World

    def __init__(self, number: int = 0) -> None:
        if self.world.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.lock, self._job_list = threading.Lock(), []
        self.started, self.starts, self.configured = False, 0, None
        self.queue: deque[dict] = deque()
        self.pending: dict = {}
        self.kept: list[Request] = []
        self.world.opened += 1

    @classmethod
    def global_camera_info(cls) -> list[dict]:
        return [{"Model": cls.world.model, "Location": 2, "Rotation": 180, "Id": cls.world.camera_id, "Num": 0}] if cls.world.model else []

    @property
    def sensor_format(self) -> str:
        bits = max(mode[2] for mode in self.world.modes)
        return f"R{bits}_CSI2P" if self.world.mono else f"S{self.world.native}{bits}_CSI2P"

    @property
    def camera_controls(self) -> dict:
        rows = self.configured["raw"]["size"][1] if self.configured else self.world.modes[0][0]
        found = {"ExposureTime": (LINE_US, self.world.longest_us, 20_000), "AnalogueGain": (1.0, 16.0, 1.0),
                 "AeEnable": (False, True, True), "FrameDurationLimits": (rows * LINE_US, 20_000_000, 33_333)}
        if not self.world.mono:
            found |= {"AwbEnable": (False, True, True), "ColourGains": (0.0, 32.0, 1.0)}
        if not _old(self.world):
            found |= {"ExposureTimeMode": (0, 1, 0), "AnalogueGainMode": (0, 1, 0)}
        return found

    def create_still_configuration(self, main=None, raw=None, transform=None, buffer_count=1, queue=True) -> dict:
        return {"main": main, "raw": raw, "transform": transform or Transform(), "buffer_count": buffer_count, "queue": queue}

    def configure(self, wanted: dict) -> None:
        assert not self.started
        name, (width, height) = wanted["raw"]["format"], wanted["raw"]["size"]
        if width % 2 or height % 2:
            raise RuntimeError("width and height should be even")
        asked = int("".join(letter for letter in name.partition("_")[0] if letter.isdecimal()))
        rows, columns, bits = min(self.world.modes, key=lambda mode: (abs(mode[0] - height) + abs(mode[1] - width), abs(mode[2] - asked)))
        letters = _turned(self.world.native, wanted["transform"])
        packed = name.endswith("_CSI2P")
        if self.world.pisp:
            given = f"{letters}_PISP_COMP1" if packed else "R16" if self.world.mono else f"S{letters}16"
            width_bytes, align = (columns if packed else 2 * columns), 64
        else:
            given = f"{'R' if self.world.mono else 'S' + letters}{bits}{'_CSI2P' if packed else ''}"
            width_bytes, align = (columns * bits // 8 if packed else columns * (1 if bits == 8 else 2)), 32
        stride = -(-width_bytes // align) * align
        self.configured = wanted | {"raw": {"format": given, "size": (columns, rows), "stride": stride, "framesize": stride * rows}}
        if not _old(self.world):
            self.configured["sensor"] = {"bit_depth": bits, "output_size": (columns, rows)}
        self.bits = bits

    def camera_configuration(self) -> dict:
        return self.configured

    def set_controls(self, controls: dict) -> None:
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.pending |= controls

    def take_controls(self) -> dict:
        taken, self.pending = self.pending, {}
        return taken

    def start(self) -> None:
        if self.started:
            return
        self.started = True
        self.starts += 1
        self.world.starts += 1
        self.world.now_ns += START_NS
        self._set = Effective()
        self._plan: dict[int, list] = {}
        self._apply(self.take_controls(), self.world.frame, now=True)
        self.queue = deque({} for _ in range(self.configured["buffer_count"]))

    def stop(self) -> None:
        if not self.started:
            return
        if self._job_list:
            threading.Event().wait()  # behind a job that never ends
        self.started = False
        while self.kept:
            self.kept.pop().release()

    def close(self) -> None:
        if not self.world.closes:
            threading.Event().wait()
        self.stop()
        self.world.opened -= 1

    def capture_request(self, wait=None, signal_function=None) -> Job:
        assert wait is False and signal_function is not None, "Picamera2 would wait for ever"
        self.pass_frames(self.world.idle_frames)
        job = Job(signal_function)
        self._job_list.append(job)
        for _ in range(200):  # a queue that is stalled gives none in any time
            self._process()
            if not self._job_list or not self._step():
                break
        self._process()
        return job

    def pass_frames(self, count: int) -> None:
        """Time that passes while nobody asks: what was asked before is answered."""
        for _ in range(count):
            self._step()
            self._process()

    def _process(self) -> None:
        while self._job_list and self.kept:
            self._job_list.pop(0).finish(self.kept.pop(0))
        while len(self.kept) > (1 if self.configured["queue"] else 0):
            self.kept.pop(0).release()

    # --- the sensor -------------------------------------------------------------------------------
    def _apply(self, controls: dict, frame: int, *, now: bool = False) -> None:
        world, old = self.world, _old(self.world)

        def later(delay: int, name: str, value) -> None:
            self._plan.setdefault(frame if now else frame + delay, []).append((name, value))

        by_hand = controls.get("AeEnable") is False if old else controls.get("ExposureTimeMode") == 1
        if "ExposureTime" in controls and by_hand:
            later(world.exposure_delay, "exposure_us", controls["ExposureTime"])
        if "AnalogueGain" in controls and by_hand:
            later(world.gain_delay, "gain", controls["AnalogueGain"])
        if "ColourGains" in controls and controls.get("AwbEnable") is False:
            self._plan.setdefault(frame + world.colour_delay, []).append(("colour_gains", tuple(controls["ColourGains"])))
        if "FrameDurationLimits" in controls:
            later(world.exposure_delay, "longest_frame_us", controls["FrameDurationLimits"][1])

    def _step(self) -> bool:
        """Lets the sensor take a frame; returns whether it did."""
        world = self.world
        if world.frozen or not self.started:
            return False
        frame, world.frame = world.frame, world.frame + 1
        for name, value in self._plan.pop(frame, []):
            setattr(self._set, name, value)
        rows, columns = self.configured["raw"]["size"][::-1]
        exposure_us = self._set.exposure_us or int(world.rng.uniform(1000, 30_000))  # automatic exposure hunts
        exposure_us = int(min(exposure_us, self._set.longest_frame_us)) // LINE_US * LINE_US
        gain = world.code_gain(self._set.gain or world.rng.uniform(1, 8))
        duration_us = max(rows * LINE_US, exposure_us + 4 * LINE_US)
        readout_ns = rows * LINE_US * 1000
        if world.sleep:
            world.sleep(duration_us * 1e-6)
            world.now_ns = time.monotonic_ns()
        else:
            world.now_ns += duration_us * 1000
        stamp_ns = world.now_ns - readout_ns
        if not self.queue or world.lost(frame):
            return True
        self._apply(self.queue.popleft(), frame)
        raw = self._exposed(exposure_us * 1e-6 * gain, (rows, columns))
        world.truth[stamp_ns] = raw
        metadata = {"SensorTimestamp": stamp_ns, "ExposureTime": exposure_us, "AnalogueGain": gain, "DigitalGain": 1.0,
                    "FrameDuration": duration_us, "SensorTemperature": 31.0, "Lux": math.inf, "ScalerCrop": (0, 0, columns, rows)}
        if world.black_16 is not None:
            metadata["SensorBlackLevels"] = (world.black_16,) * 4
        if not world.mono:
            metadata["ColourGains"] = self._set.colour_gains or (1.9, 1.6)
        if world.pisp:
            metadata["PispStatsOutput"] = bytes(1000)
        data = self._bytes(raw)
        self.kept.append(Request(self, world.wrong(data) if world.wrong else data, metadata))
        return True

    def _exposed(self, exposure: float, shape: tuple[int, int]) -> np.ndarray:
        """Returns right-justified numbers of a field of even light, brighter to the lower right of the sensor."""
        rows, columns = np.indices(shape)
        letters = self.world.native
        rate = np.ones(shape)
        if not self.world.mono:
            pattern = np.array([RATES[letter] for letter in letters]).reshape(2, 2)
            rate = pattern[rows % 2, columns % 2]
        rate = rate * (1 + rows / shape[0] / 10 + columns / shape[1] / 10)
        transform = self.configured["transform"]
        rate = rate[:: -1 if transform.vflip else 1, :: -1 if transform.hflip else 1]
        black = (self.world.black_16 or 4096) / 2 ** (16 - self.bits)
        noise = self.world.rng.normal(0, 1.5, shape)
        scale = 2.0 ** (self.bits - 12)
        seen = np.rint(black + (rate * exposure * self.world.light_dn_per_s + noise) * scale)
        return np.clip(seen, 0, 2**self.bits - 1).astype(np.uint16)

    def _bytes(self, raw: np.ndarray) -> np.ndarray:
        given = self.configured["raw"]
        if "PISP" in given["format"]:
            rows = np.zeros((raw.shape[0], raw.shape[1]), np.uint8)
        elif "CSI2P" in given["format"]:
            rows = packed(raw, self.bits)
        elif self.bits == 8 and not self.world.pisp:
            rows = raw.astype(np.uint8)
        else:
            words = raw << (16 - self.bits) if self.world.pisp else raw
            rows = np.stack([words & 255, words >> 8], -1).astype(np.uint8).reshape(raw.shape[0], -1)
        padded = np.full((raw.shape[0], given["stride"]), JUNK, np.uint8)
        padded[:, : rows.shape[1]] = rows
        return np.concatenate([padded.ravel(), np.full(64, JUNK, np.uint8)])  # a buffer ends on a page


class NewerPicamera2(OlderPicamera2):
    """As of 0.3.38, over a libcamera that knows modes of exposure and gain."""

    def cancel_all_and_flush(self) -> None:
        with self.lock:
            self._job_list = []


def packed(raw: np.ndarray, bits: int) -> np.ndarray:
    """Returns bytes [row, byte] as MIPI packs them, pixel by pixel; columns are whole groups."""
    pixels = {10: 4, 12: 2, 14: 4}[bits]
    lines = []
    for line in raw.tolist():
        out: list[int] = []
        for start in range(0, len(line), pixels):
            group = line[start:start + pixels]
            out += [value >> (bits - 8) for value in group]
            low = sum((value & (2 ** (bits - 8) - 1)) << ((bits - 8) * place) for place, value in enumerate(group))
            out += list(low.to_bytes((bits - 8) * pixels // 8, "little"))
        lines.append(out)
    return np.array(lines, np.uint8)


def _turned(letters: str, transform: Transform) -> str:
    if letters == "MONO":
        return letters
    square = np.array(list(letters)).reshape(2, 2)
    return "".join(square[:: -1 if transform.vflip else 1, :: -1 if transform.hflip else 1].ravel())

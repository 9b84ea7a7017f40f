"""What a Raspberry Pi's camera is asked for, in libcamera's words, and what its metadata say of a frame. Pure functions.

Deliberately not here: the camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings

Limits = Mapping[str, tuple[Any, Any, Any]]  # (lowest, highest, default) of each control that a camera has
TOLERANCE = 0.01  # relative, of an exposure, of colour gains, and of a gain beyond its step
_LONGEST_US = 1_000_000_000
_MANUAL = 1  # of libcamera's ExposureTimeMode and AnalogueGainMode


def _coarse_step(gain: float) -> float:
    return max(gain / 256, 1 / (16 * gain))


_GAIN_STEPS: dict[str, Callable[[float], float]] = {  # relative, at a gain; libcamera's src/ipa/rpi/cam_helper
    "imx219": lambda gain: gain / 256, "imx477": lambda gain: gain / 1024, "imx708": lambda gain: gain / 1024,
    "imx296": lambda gain: 10 ** (1 / 200) - 1, "ov9281": lambda gain: 1 / (16 * gain)}


def controls(settings: CaptureSettings, colour_gains: tuple[float, float], limits: Limits) -> dict[str, Any]:
    """Returns all that is set, of what a camera has: a grey one has no colour gains, an older libcamera no modes.

    PrivcamError where it lets nobody set its exposure.
    """
    if missing := {"ExposureTime", "AnalogueGain"} - limits.keys():
        raise PrivcamError("the camera's exposure cannot be set", got=f"no {', '.join(sorted(missing))}", todo="take another camera")
    by_hand = {"ExposureTimeMode": _MANUAL, "AnalogueGainMode": _MANUAL} if "ExposureTimeMode" in limits else {"AeEnable": False}
    shortest_us, longest_us = limits.get("FrameDurationLimits", (0, 0))[:2]
    wanted = by_hand | {
        "ExposureTime": _us(settings), "AnalogueGain": settings.analogue_gain, "AwbEnable": False, "ColourGains": colour_gains,
        "FrameDurationLimits": (int(shortest_us), int(longest_us) or _LONGEST_US)}
    return {name: value for name, value in wanted.items() if name in limits}


def check_possible(settings: CaptureSettings, limits: Limits) -> None:
    """Raises PrivcamError for settings beyond a camera's limits. A longest exposure of 0, as an imx296 may say, is no limit."""
    for name, value in (("ExposureTime", _us(settings)), ("AnalogueGain", settings.analogue_gain)):
        lowest, highest = limits[name][:2]
        if value < lowest or (highest and value > highest):
            raise PrivcamError("the camera cannot do this", got=f"{name} {value:g}", allowed=f"{lowest:g} to {highest:g}")


def longest_line_s(limits: Limits, rows: int) -> float:
    """Returns what a line takes at most in the camera's fastest frames: exposures are whole lines."""
    shortest_us: float = limits.get("FrameDurationLimits", (0, 0))[0]
    return shortest_us * 1e-6 / rows


def applied(metadata: Mapping[str, Any]) -> CaptureSettings:
    """Returns what a frame was exposed with, as its metadata have it."""
    return CaptureSettings(exposure_s=float(told(metadata, "ExposureTime")) * 1e-6, analogue_gain=float(told(metadata, "AnalogueGain")))


def told(metadata: Mapping[str, Any], name: str) -> Any:
    """Returns a value of a frame's metadata; PrivcamError where there is none."""
    if name not in metadata:
        raise PrivcamError("a frame that does not say how it was taken", got=", ".join(sorted(metadata)), allowed=f"{name} among it")
    return metadata[name]


def same_exposure(seen: CaptureSettings, asked: CaptureSettings, line_s: float) -> bool:
    """Returns whether an exposure can be what the sensor made of the one that was asked for: whole lines."""
    return abs(seen.exposure_s - asked.exposure_s) <= max(TOLERANCE * asked.exposure_s, line_s)


def same_gain(seen: CaptureSettings, asked: CaptureSettings, sensor: str) -> bool:
    """Returns whether a gain can be what the sensor made of the one that was asked for: one of its codes."""
    step = _GAIN_STEPS.get(sensor, _coarse_step)(asked.analogue_gain)
    return abs(seen.analogue_gain - asked.analogue_gain) <= (step + TOLERANCE) * asked.analogue_gain


def frames_since(last_ns: int, stamp_ns: int, metadata: Mapping[str, Any]) -> int:
    """Returns how many frames the sensor took after the last one, this one included: more than 1 where some were lost."""
    if stamp_ns <= last_ns:
        raise PrivcamError("the camera's time stamps do not rise", got=stamp_ns, allowed=f"above {last_ns}")
    return max(1, round((stamp_ns - last_ns) / (1e3 * float(told(metadata, "FrameDuration")))))


def plain(value: Any) -> Any:
    """Returns what JSON can hold of libcamera's metadata: tables of statistics become their size, other things their name."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _us(settings: CaptureSettings) -> int:
    return round(settings.exposure_s * 1e6)

"""One recording, whatever it lies in, and how windows of frames are cut from it.

Deliberately not here: who reads which layout (`clip_layouts`), how a video file is decoded (`video_files`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.photographs import encode_uint8, gray_light, rgb_light
from optics_sim.errors import PrivcamError

WORKING_SIDE_PX = 112  # recordings of differing sizes are letterboxed into squares of this side
KEPT_SIDE_PX = 160  # recordings of one size are kept as they are up to this side
JITTER = 0.25  # of the nominal interval: time stamps are rounded to their container's clock
DRIFT = 0.01  # of the nominal rate: another rate than this is another rate

Frames = list[NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Recording:
    """One action of one actor as it was recorded; `read` gives the frames [H, W] or [H, W, 3] of ascending numbers.

    `take` names what was recorded in one go: actions cut from one video share it. `times_s` is when each
    frame was taken, `shape` its (rows, columns), `attributes` words about the actor such as sex.
    """

    name: str
    action: str
    actor: str
    trial: int
    take: str
    times_s: NDArray[np.float64]
    shape: tuple[int, int]
    read: Callable[[Sequence[int]], Frames]
    attributes: Mapping[str, str] = field(default_factory=dict)


class Cut(NamedTuple):
    """How a recording is cut: `windows` of `frames` frames, every `stride`-th of the nominal rate, sized as `size` or kept."""

    frames: int
    stride: int
    windows: int
    size: tuple[int, int] | None

    @property
    def span(self) -> int:
        """Frames of the nominal rate from a window's first to its last."""
        return (self.frames - 1) * self.stride + 1


def check_cut(cut: Cut) -> None:
    """Raises PrivcamError unless the numbers of a cut are possible."""
    if cut.frames < 2 or cut.stride < 1 or cut.windows < 1 or (cut.size is not None and min(cut.size) < 1):
        raise PrivcamError("recordings cannot be cut like this", got=cut._asdict(),
                           allowed="2 frames or more, stride and windows 1 or more, a size of 1 pixel or more",
                           todo="change the numbers")


def regular_times(frames: int, frame_s: float) -> NDArray[np.float64]:
    """Returns the times of frames taken at one rate, in seconds."""
    return np.arange(frames, dtype=np.float64) * frame_s


def nominal_frame_s(recordings: Sequence[Recording]) -> float:
    """Returns the rate most recordings have, as seconds per frame: the median of their medians."""
    medians = [np.median(np.diff(recording.times_s)) for recording in recordings if len(recording.times_s) > 1]
    return round(float(np.median(medians)), 9)


def on_the_grid(times_s: NDArray[np.float64], frame_s: float) -> tuple[NDArray[np.int64], bool]:
    """Returns (which frame stands for each tick of the nominal rate, whether any had to be repeated or left out).

    A tick is shown by the frame nearest in time. Jitter of a quarter of an interval is a container's rounding
    and leaves the frames as they are.
    """
    steps = np.diff(times_s) / frame_s
    if not len(steps) or (abs(steps - 1).max() <= JITTER and abs(steps.mean() - 1) <= DRIFT):
        return np.arange(len(times_s)), False
    ticks = times_s[0] + np.arange(int(np.floor((times_s[-1] - times_s[0]) / frame_s + 0.5)) + 1) * frame_s
    after = np.clip(np.searchsorted(times_s, ticks), 1, len(times_s) - 1)
    nearer = after - (ticks - times_s[after - 1] <= times_s[after] - ticks)
    return nearer.astype(np.int64), True


def window_starts(length: int, cut: Cut) -> list[int]:
    """Returns where the windows begin: evenly spaced from the first frame to the last that leaves a whole window.

    One window lies in the middle. A recording too short for so many different windows gives fewer, and one too
    short for a single one gives none.
    """
    room = length - cut.span
    if room < 0:
        return []
    places = np.linspace(0, room, cut.windows) if cut.windows > 1 else np.array([room / 2])
    return sorted({int(place + 0.5) for place in places})


def cut_recording(recording: Recording, cut: Cut, frame_s: float, size: tuple[int, int] | None) -> tuple[list[Frames], bool]:
    """Returns (its windows, whether it was resampled to the nominal rate); frames are sized when `size` is given."""
    grid, resampled = on_the_grid(recording.times_s, frame_s)
    windows = [grid[start : start + cut.span : cut.stride] for start in window_starts(len(grid), cut)]
    if not windows:
        return [], resampled
    wanted = np.unique(np.concatenate(windows))
    frames = [frame if size is None else letterboxed(frame, size) for frame in recording.read(wanted.tolist())]
    return [[frames[place] for place in np.searchsorted(wanted, window)] for window in windows], resampled


def common_size(recordings: Sequence[Recording]) -> tuple[int, int] | None:
    """Returns None when all recordings have one modest size, else the size their frames become.

    One large size is reduced to a longer side of 160 pixels; differing sizes become squares of 112.
    """
    shapes = {recording.shape for recording in recordings}
    if len(shapes) > 1:
        return WORKING_SIDE_PX, WORKING_SIDE_PX
    rows, columns = next(iter(shapes))
    reduction = KEPT_SIDE_PX / max(rows, columns)
    return None if reduction >= 1 else (max(round(rows * reduction), 1), max(round(columns * reduction), 1))


def letterboxed(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the whole frame at another size, black around it: the exact area average, in linear light."""
    if frame.shape[:2] == size:
        return frame
    light = gray_light(frame[None], size, "pad") if frame.ndim == 2 else rgb_light(frame[None], size, "pad")
    return encode_uint8(light[0])

"""Video files: when each of their frames was taken, and the few frames that are wanted, upright.

Deliberately not here: what a file's name says (`clip_layouts`), other rates (`recordings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.recordings import Frames, regular_times
from optics_sim.errors import PrivcamError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"})
_WHOLE = 0.98  # of the frames a file declares; containers round, broken copies lack more


def frame_times(path: Path) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Returns (when each frame is shown in seconds, its (rows, columns)) of every frame that can be decoded.

    What a container declares is not counted on: some codecs pack two frames together and leave one empty. Where time
    stamps are absent or repeat themselves, the declared rate stands for them.
    PrivcamError when the file is no video, or lacks frames it declares.
    """
    with _opened(path) as (container, stream):
        stamps: list[int | None] = []
        shape = (0, 0)
        for frame in container.decode(stream):
            shape = shape if stamps else _upright(frame).shape[:2]
            stamps.append(frame.pts)
        declared, rate, clock = stream.frames, stream.average_rate or stream.base_rate, stream.time_base
    if not stamps or len(stamps) < _WHOLE * declared:
        raise PrivcamError(f"{path.name} is cut short", got=f"{len(stamps)} of {declared} frames", allowed="a whole video",
                           todo="copy or download the file again, or leave it out (strict=False)")
    known = np.array([stamp for stamp in stamps if stamp is not None], dtype=np.float64)
    if len(known) < len(stamps) or (np.diff(known) <= 0).any():
        if not rate:
            raise PrivcamError(f"{path.name} has neither frame times nor a rate", got=str(path), allowed="a video with one of them",
                               todo="encode it again, e.g. with ffmpeg -r 25")
        return regular_times(len(stamps), 1 / float(rate)), shape
    return known * float(clock), shape


def read_frames(path: Path, wanted: Sequence[int]) -> Frames:
    """Returns some frames, RGB uint8 [H, W, 3], in the ascending order of their numbers.

    PrivcamError when one of them cannot be decoded.
    """
    frames, chosen = [], set(wanted)
    with _opened(path) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if number in chosen:
                frames.append(_upright(frame))
            if len(frames) == len(chosen):
                break
    if len(frames) < len(chosen):
        raise PrivcamError(f"{path.name} has changed while it was read", got=f"{len(frames)} of {len(chosen)} wanted frames",
                           todo="load it again")
    return frames


def _upright(frame: Any) -> NDArray[np.uint8]:
    """Returns a decoded frame as it is meant to be shown: telephones store how they were held beside the pixels."""
    turns = round(getattr(frame, "rotation", 0) / 90)
    return np.rot90(frame.to_ndarray(format="rgb24"), turns).copy()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    try:
        import av
    except ImportError:
        raise PrivcamError("reading a video file needs PyAV", got="not installed", todo="pip install 'privcam[video]'") from None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise PrivcamError(f"{path.name} holds no video", got=str(path), allowed="a file with a video stream",
                                   todo="replace the file or leave it out (strict=False)")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise PrivcamError(f"{path.name} cannot be read as a video", got=error, allowed="what FFmpeg reads: mp4, avi, mkv, ...",
                           todo="replace the file or leave it out (strict=False)") from None

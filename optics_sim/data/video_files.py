"""Video files: their frame times by demultiplexing alone, and the few frames that are wanted.

Deliberately not here: what a file's name says (`clip_layouts`), other rates (`recordings`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.recordings import Frames
from optics_sim.errors import PrivcamError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"})
_WHOLE = 0.98  # of the frames a file declares; containers round, broken copies lack more


def frame_times(path: Path) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Returns (when each frame is shown in seconds, its (rows, columns)); no frame is decoded.

    PrivcamError when the file is no video, or is shorter than it says.
    """
    with _opened(path) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.size]
        declared, shape = stream.frames, (stream.height, stream.width)
        stamps = [packet.pts for packet in packets]
        rate, clock = stream.average_rate or stream.base_rate, stream.time_base
    if not packets or len(packets) < _WHOLE * declared:
        raise PrivcamError(f"{path.name} is cut short", got=f"{len(packets)} of {declared} frames", allowed="a whole video",
                           todo="copy or download the file again, or leave it out (strict=False)")
    if any(stamp is None for stamp in stamps) or len(set(stamps)) < len(stamps):
        if not rate:
            raise PrivcamError(f"{path.name} has neither frame times nor a rate", got=str(path), allowed="a video with one of them",
                               todo="encode it again, e.g. with ffmpeg -r 25")
        return np.arange(len(packets)) / float(rate), shape
    return np.sort(np.array(stamps, dtype=np.float64)) * float(clock), shape


def read_frames(path: Path, wanted: Sequence[int]) -> Frames:
    """Returns some frames, RGB uint8 [H, W, 3], in the ascending order of their numbers.

    PrivcamError when one of them cannot be decoded.
    """
    frames, chosen = [], set(wanted)
    with _opened(path) as (container, stream):
        stream.thread_type = "NONE"
        for number, frame in enumerate(container.decode(stream)):
            if number in chosen:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == len(chosen):
                break
    if len(frames) < len(chosen):
        raise PrivcamError(f"{path.name} has frames that cannot be decoded", got=f"{len(frames)} of {len(chosen)} wanted frames",
                           todo="copy or download the file again, or leave it out (strict=False)")
    return frames


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

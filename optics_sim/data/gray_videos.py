"""Ordinary video in gray, as it is displayed: what a decoder of coded images learns from.

Values stay display-encoded, 8-bit luma over 255: that is what the benchmark of snapshot imaging takes for light.
Deliberately not here: linear light (`photographs`), clips of people who act (`clips`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optics_sim.data.sources import LABELS, Entry, decode, folder_entries, located, zip_entries
from optics_sim.data.video_files import VIDEO_SUFFIXES, frame_times, read_frames
from optics_sim.errors import PrivcamError

FRAMES = 96
"""Of each video, from its first: at this length and side one takes at most 50 MB."""
SIDE_PX = 480
Gray = NDArray[np.float32]
_ALLOWED = "a folder of video files, a folder of pictures per video, or a zip of such folders"


def load_gray_videos(source: str | Path, *, frames: int = FRAMES, side_px: int = SIDE_PX) -> dict[str, Gray]:
    """Returns videos by name, display-encoded gray [T, H, W] in 0..1: the first `frames` frames of each.

    A source is a path or a name below PRIVCAM_DATA: a folder of video files, a folder of pictures per video (in the order of
    their names), or a zip of such folders. Frames longer than `side_px` are reduced by area average.
    PrivcamError for what cannot be read, and for frames of unlike size in one video.
    """
    path = located(source, (".zip",), _ALLOWED)
    if path.is_dir():
        films = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
        found = {film.stem: _film(film, frames, side_px) for film in films} or _stills(folder_entries(path), path.name, frames, side_px)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            found = _stills(zip_entries(archive, path.name), path.stem, frames, side_px)
    else:
        raise PrivcamError(f"{path.name} is no source of videos", got=str(path), allowed=_ALLOWED, todo="give one of these")
    if not found:
        raise PrivcamError(f"{path.name} holds no videos", got=str(path), allowed=_ALLOWED, todo="put the videos there")
    return found


def _film(path: Path, frames: int, side_px: int) -> Gray:
    times, _ = frame_times(path)
    return _stacked(path.name, (Image.fromarray(frame) for frame in read_frames(path, range(min(frames, len(times))))), side_px)


def _stills(entries: list[Entry], name: str, frames: int, side_px: int) -> dict[str, Gray]:
    pictures = (entry for entry in entries if entry.path.name != LABELS)
    videos = {str(folder): list(group)[:frames] for folder, group in groupby(pictures, lambda entry: entry.path.parent)}
    return {name if folder == "." else folder: _stacked(folder, map(_picture, group), side_px) for folder, group in videos.items()}


def _picture(entry: Entry) -> Image.Image:
    try:
        return decode(entry.read())
    except (OSError, ValueError, SyntaxError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        raise PrivcamError(f"{entry.path} cannot be read as a picture", got=error or type(error).__name__,
                           todo="replace the file, or unpack the video again") from None


def _stacked(name: str, pictures: Iterable[Image.Image], side_px: int) -> Gray:
    frames = [_reduced(picture.convert("L"), side_px) for picture in pictures]
    sizes = sorted({frame.shape for frame in frames})
    if len(sizes) > 1:
        raise PrivcamError(f"the frames of {name} differ in size", got=sizes[:3], allowed="one size in each video",
                           todo="give each video its own folder")
    return np.stack(frames).astype(np.float32) / np.float32(255)


def _reduced(luma: Image.Image, side_px: int) -> NDArray[np.uint8]:
    factor = side_px / max(luma.size)
    if factor >= 1:
        return np.asarray(luma)
    columns, rows = (max(1, round(side * factor)) for side in luma.size)
    return np.asarray(luma.resize((columns, rows), Image.Resampling.BOX))

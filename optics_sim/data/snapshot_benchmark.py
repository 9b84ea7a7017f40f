"""The benchmark of video snapshot compressive imaging: gray videos and the one code they are seen through.

Reference: Yuan, Liu, Suo and Dai, Plug-and-play algorithms for large-scale snapshot compressive imaging, CVPR 2020.
Deliberately not here: measurements, which `optics_sim.attacks.snapshot.measured` makes exactly.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.sources import located
from optics_sim.errors import PrivcamError

_ALLOWED = "an NPZ file with one array mask* [slots, H, W] of 0 and 1, and videos uint8 [n * slots, H, W]"


@dataclass(frozen=True, eq=False)
class SnapshotBenchmark:
    """A code, bits [slots, H, W] of 0 and 1, and display-encoded clips by video, uint8 [n, slots, H, W]."""

    name: str
    bits: NDArray[np.uint8]
    clips: Mapping[str, NDArray[np.uint8]]


def load_snapshot_benchmark(source: str | Path) -> SnapshotBenchmark:
    """Returns the benchmark of an NPZ file, of the folder that holds it, or of its name below PRIVCAM_DATA.

    The array whose name begins with `mask` is the code; every other one is a video, cut into clips of as many frames as the code
    has slots. PrivcamError for anything else.
    """
    path = located(source, (".npz",), _ALLOWED)
    arrays = _arrays(path)
    masks = [name for name in arrays if name.startswith("mask")]
    videos = [name for name in arrays if name not in masks]
    if len(masks) != 1 or not videos or arrays[masks[0]].ndim != 3 or not np.isin(arrays[masks[0]], (0, 1)).all():
        raise _misfit(path, arrays)
    bits = arrays[masks[0]].astype(np.uint8)
    for name in videos:
        video = arrays[name]
        if video.dtype != np.uint8 or video.ndim != 3 or video.shape[1:] != bits.shape[1:] or not len(video) or len(video) % len(bits):
            raise _misfit(path, arrays)
    return SnapshotBenchmark(path.stem, bits, {name: arrays[name].reshape(-1, *bits.shape) for name in videos})


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise PrivcamError(f"{path.name} is no benchmark", got=error, allowed=_ALLOWED, todo="save it with np.savez_compressed") from None


def _misfit(path: Path, arrays: Mapping[str, NDArray[Any]]) -> PrivcamError:
    shapes = {name: f"{array.dtype} {array.shape}" for name, array in arrays.items()}
    return PrivcamError(f"the arrays of {path.name} make no benchmark", got=shapes, allowed=_ALLOWED, todo="mend the arrays")

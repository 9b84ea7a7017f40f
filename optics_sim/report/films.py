"""Moving pictures of a report: animated PNG, which a page shows like any picture and a browser plays."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optics_sim.data.photographs import linear_to_srgb
from optics_sim.errors import PrivcamError
from optics_sim.report.figures import image_row

SHADES = 64  # of gray in a film: enough to look at, a third of the bytes


def film_png(frames: Sequence[bytes], frame_s: float) -> bytes:
    """Returns an animated PNG, without end, of still PNGs of one size; PrivcamError without frames or for unlike sizes."""
    pictures = [Image.open(io.BytesIO(frame)) for frame in frames]
    if len({picture.size for picture in pictures}) != 1:
        raise PrivcamError("a film needs frames of one size", got=sorted({picture.size for picture in pictures}),
                           allowed="one size, at least one frame", todo="draw every frame alike")
    small = [picture.convert("L").quantize(SHADES) for picture in pictures]
    stream = io.BytesIO()
    small[0].save(stream, format="PNG", save_all=True, append_images=small[1:], duration=round(1e3 * frame_s), loop=0)
    return stream.getvalue()


def side_by_side(clips: Mapping[str, NDArray[np.float32]], radiance: Sequence[str], frame_s: float, height: int = 128) -> bytes:
    """Returns a film of clips [T, H, W] side by side, titled by their keys; shorter ones begin with a still.

    Clips named in `radiance` are shown with the sRGB curve, 0..1; others are codes, stretched between their extremes.
    """
    length = max(len(clip) for clip in clips.values())
    shown = {title: _ready(clip, length, title in radiance) for title, clip in clips.items()}
    return film_png([image_row([clip[frame] for clip in shown.values()], list(shown), height=height) for frame in range(length)], frame_s)


def _ready(clip: NDArray[np.float32], length: int, radiance: bool) -> NDArray[np.float32]:
    low, high = float(clip.min()), float(clip.max())
    values = linear_to_srgb(np.clip(clip, 0, 1)) if radiance else (clip - low) / max(high - low, 1e-6)
    return np.concatenate([values[:1].repeat(length - len(values), axis=0), values])

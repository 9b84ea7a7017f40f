"""From captured frames to codes, by the design's own integer readout, and to sums of light for the distance to a twin.

Deliberately not here: showing and taking (`showing.py`, `hil.session`), and what codes are good for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hil.capture_set.stored import CaptureSet
from hil.session import taken_of
from hil.validation.showing import Part, Showing
from optics_sim.design import CameraDesign, Readout
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo
from optics_sim.measure import Source
from optics_sim.sensor.readout import bin_sums, quantise_sums


@dataclass(frozen=True)
class Captured:
    """What the camera made of every shot of a showing, in its order, as the camera sees the scene.

    `codes` int8 [n, h, w]; `sums` int64 [n, h, w] of DN above the readout's black level; `source` of the frames; `replayed` where
    they were taken before.
    """

    showing: Showing
    codes: NDArray[np.int8]
    sums: NDArray[np.int64]
    source: Source
    camera: CameraInfo
    replayed: bool

    def codes_of(self, part: Part) -> NDArray[np.int8]:
        """Returns the codes of a part."""
        return self.codes[self.showing.rows_of(part)]

    def sums_of(self, part: Part) -> NDArray[np.int64]:
        """Returns the sums of a part."""
        return self.sums[self.showing.rows_of(part)]

    @property
    def digest(self) -> str:
        """The hexadecimal SHA-256 of what was seen of what: of the plan and of all codes."""
        return hashlib.sha256(self.showing.plan.digest.encode() + self.codes.tobytes()).hexdigest()


def read_frames(taken: CaptureSet, design: CameraDesign, showing: Showing) -> Captured:
    """Returns what a finished session of a showing's plan captured.

    Raises PrivcamError for frames that the design's readout does not fit, of two sources, or of another plan.
    """
    camera, spec = taken.header.camera, design.readout
    check_camera(camera, design)
    if len(taken) != len(showing.shown):
        raise PrivcamError("the set is not of this plan", got=f"{len(taken)} frames", allowed=len(showing.shown),
                           todo="take another folder")
    sums = np.empty((len(taken), *spec.shape), np.int64)
    sources, replayed = set[Source](), False
    for number, frame in enumerate(taken):
        if (told := taken_of(frame.metadata)).number != number or told.plan != showing.plan.digest:
            raise PrivcamError("the set is not of this plan", got=f"shot {told.number} of plan {told.plan[:12]}",
                               allowed=f"shot {number} of plan {showing.plan.digest[:12]}", todo="take another folder")
        sums[number] = bin_sums(crop_of(frame.raw, camera, spec), spec, design.sensor.cfa)
        sources.add(frame.source)
        replayed |= frame.replayed
    if sources != {camera.source}:
        raise PrivcamError("a set of frames of several sources", got=", ".join(sorted(sources)), allowed=camera.source,
                           todo="capture all of it with one camera")
    seen = np.ascontiguousarray(sums[..., ::-1, ::-1]) if spec.turn else sums
    return Captured(showing, quantise_sums(seen, spec.shift), seen, camera.source, camera, replayed)


def check_camera(camera: CameraInfo, design: CameraDesign) -> None:
    """Raises PrivcamError where a design's readout does not fit a camera's frames."""
    whole, crop = tuple(design.sensor.shape), tuple(design.readout.crop[2:])
    if tuple(camera.shape) not in (whole, crop):
        raise PrivcamError("the design's readout does not fit these frames", got=f"{camera.shape[0]} x {camera.shape[1]} pixels",
                           allowed=f"the crop {crop}, or the whole sensor {whole}", todo="set the camera to one of these")
    if camera.bit_depth != design.sensor.bit_depth:
        raise PrivcamError("the design's readout is of other numbers", got=f"{camera.bit_depth} bit",
                           allowed=f"{design.sensor.bit_depth} bit", todo="set the camera to the design's raw format")


def crop_of(raw: NDArray[np.uint16], camera: CameraInfo, spec: Readout) -> NDArray[np.uint16]:
    """Returns the readout's crop of a frame that is this crop already, or the whole sensor."""
    top, left, height, width = spec.crop
    if tuple(camera.shape) == (height, width):
        return raw
    return raw[top:top + height, left:left + width]

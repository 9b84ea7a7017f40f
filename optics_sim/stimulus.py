"""What may be shown to a camera, as plain data: dark, a flat field, even light, a point, a pattern, a picture, a lamp's level.

A stimulus says all of what is there while it is shown, whatever was shown before. Its JSON goes into the journal with each frame.
Deliberately not here: what shows it (`hil/rigs/`) and the list of shots (`optics_sim/shots.py`).
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from optics_sim.errors import PrivcamError
from optics_sim.plain import Plain

Level = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Shown(Plain):
    @property
    def text(self) -> str:
        """Returns the stimulus as one line of JSON; `stimulus_of` reads it back."""
        return self.model_dump_json()

    @property
    def label(self) -> str:
        """Returns a few words for people."""
        said = [f"{name} {value:g}" if isinstance(value, float) else str(value)
                for name, value in self.model_dump(exclude={"kind"}).items() if isinstance(value, float | str)]
        return " ".join([str(getattr(self, "kind", "")), ", ".join(said)]).strip()


class Dark(_Shown):
    """No light at all reaches the sensor: the lens, or the bare sensor's box, is capped."""

    kind: Literal["dark"] = "dark"


class Flat(_Shown):
    """The whole field has one radiance."""

    kind: Literal["flat"] = "flat"
    level: Level = Field(description="radiance relative to white")


class Even(_Shown):
    """Even light on the bare sensor, mask or lens away: what measures the sensor alone."""

    kind: Literal["even"] = "even"
    level: Level = Field(description="relative to the light's full level")


class Light(_Shown):
    """A lamp at a level, 0 is off, lighting whatever stands there."""

    kind: Literal["light"] = "light"
    level: Level = Field(description="relative to the lamp's full level")


class Point(_Shown):
    """One small source in the dark. `level` 1 gives the camera as much light as one white scene pixel of its design."""

    kind: Literal["point"] = "point"
    y_m: float = Field(allow_inf_nan=False, description="down from the optical axis")
    x_m: float = Field(allow_inf_nan=False, description="to the right of the optical axis, as the camera sees it")
    distance_m: float = Field(gt=0, allow_inf_nan=False, description="along the axis, from the mask or lens")
    level: float = Field(1.0, ge=0, allow_inf_nan=False, description="relative light")


class Pattern(_Shown):
    """A small picture written out: linear radiance relative to white, [row, column]; each cell fills its share of the field."""

    kind: Literal["pattern"] = "pattern"
    name: str = Field("", description="for people")
    cells: tuple[tuple[Level, ...], ...] = Field(min_length=1, description="linear radiance relative to white, row by row")

    @model_validator(mode="after")
    def _rows_are_alike(self) -> Pattern:
        if len({len(row) for row in self.cells}) != 1 or not self.cells[0]:
            raise ValueError("rows of one length")
        return self

    def radiance(self) -> NDArray[np.float64]:
        """Returns linear radiance relative to white [row, column]."""
        return np.array(self.cells, np.float64)


class Picture(_Shown):
    """A file's picture: a display-encoded PNG (grey or colour, taken as grey) or an NPY of linear radiance 0..1, [row, column]."""

    kind: Literal["picture"] = "picture"
    file: str = Field(min_length=1, description="its path, relative to the plan")
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$", description="of the file; left out, the file that is there when the plan is read")

    def pinned(self, folder: Path) -> Picture:
        """Returns the picture with the hash of its file: what was shown is then known even where the file is not."""
        found = hashlib.sha256(self._data(folder)).hexdigest()
        if self.sha256 not in ("", found):
            raise PrivcamError(f"{self.file} is not the picture that is meant", got=found, allowed=self.sha256,
                               todo="restore the file, or write its SHA-256 into the plan")
        return self.model_copy(update={"sha256": found})

    def radiance(self, folder: Path) -> NDArray[np.float64]:
        """Returns linear radiance relative to white [row, column]; PrivcamError where the file is not the one that is meant."""
        self.pinned(folder)
        data = self._data(folder)
        return _npy_radiance(data, self.file) if self.file.endswith(".npy") else _encoded_radiance(data, self.file)

    def _data(self, folder: Path) -> bytes:
        try:
            return (folder / self.file).read_bytes()
        except OSError as error:
            raise PrivcamError("a picture cannot be read", got=error, todo="put the file beside the plan") from None


Stimulus = Annotated[Dark | Flat | Even | Light | Point | Pattern | Picture, Field(discriminator="kind")]
Kind = Literal["dark", "flat", "even", "light", "point", "pattern", "picture"]
KINDS: tuple[Kind, ...] = ("dark", "flat", "even", "light", "point", "pattern", "picture")
_STIMULUS: TypeAdapter[Stimulus] = TypeAdapter(Stimulus)


def stimulus_of(text: str) -> Stimulus:
    """Returns the stimulus of a line of JSON; PrivcamError where it is none."""
    try:
        return _STIMULUS.validate_json(text)
    except ValidationError as error:
        raise PrivcamError("not a stimulus", got=text[:80], allowed=", ".join(KINDS), todo=error.errors()[0]["msg"]) from None


def over(radiance: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Returns a pattern spread over a larger grid, each cell where its share of the field is; PrivcamError for a smaller one."""
    if radiance.shape[0] > shape[0] or radiance.shape[1] > shape[1]:
        raise PrivcamError("a pattern with more cells than there are pixels", got=radiance.shape, allowed=f"at most {shape}",
                           todo="show a coarser one")
    rows, columns = ((np.arange(n) * cells) // n for n, cells in zip(shape, radiance.shape, strict=True))
    return radiance[rows[:, None], columns]


def _npy_radiance(data: bytes, name: str) -> NDArray[np.float64]:
    try:
        radiance = np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float64)
    except (ValueError, EOFError, OSError) as error:
        raise PrivcamError("a picture cannot be read", got=f"{name}: {error}", allowed="NPY") from None
    if radiance.ndim != 2 or not radiance.size or not math.isfinite(radiance.sum()) or radiance.min() < 0 or radiance.max() > 1:
        raise PrivcamError("a picture of linear radiance", got=f"{name}: shape {radiance.shape}", allowed="0 to 1, [row, column]")
    return radiance


def _encoded_radiance(data: bytes, name: str) -> NDArray[np.float64]:
    from PIL import Image, UnidentifiedImageError

    from optics_sim.data.photographs import LUMINANCE_WEIGHTS, srgb_to_linear

    try:
        with Image.open(io.BytesIO(data)) as opened:
            colours = np.asarray(opened.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise PrivcamError("a picture cannot be read", got=f"{name}: {error}", allowed="PNG or NPY") from None
    return np.asarray(srgb_to_linear(colours) @ LUMINANCE_WEIGHTS, np.float64)

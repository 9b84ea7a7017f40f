"""What a person says about an export: `MaskOptions` (the sheet), `Process` (what a printer can do). Plain data, SI units.

Deliberately not here: what is made of it (`layout`, `rules`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator

from optics_sim.errors import PrivcamError
from optics_sim.plain import Plain, toml_of, wrong_field

Drawn = Literal["clear", "opaque"]


class OptionFile(Plain):
    """A small TOML file of one table; every wrong field is a PrivcamError that names it."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Returns the content of a TOML file; PrivcamError when it cannot be read or is not valid."""
        try:
            return cls.checked(toml_of(path))
        except OSError as error:
            raise PrivcamError("the file cannot be read", got=f"{path}: {error.strerror}", todo="check its name") from None

    @classmethod
    def checked(cls, data: Mapping[str, Any]) -> Self:
        """Returns the model of plain data; PrivcamError names the first wrong field."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise wrong_field(error, "", "docs/mask-export.md") from None


class MaskOptions(OptionFile):
    """How the sheet is drawn. The pattern itself is the design's and nothing here changes it, but `bridge_m`."""

    drawn: Literal["format", "clear", "opaque"] = Field(
        "format", description="what a drawn shape means: clear or opaque parts of the mask; `format`: what its process expects")
    emulsion: Literal["up", "down"] = Field(
        "up", description="side of the film that carries the image: up faces the sensor (drawn as seen), down faces the scene (mirrored)")
    marks: bool = Field(True, description="alignment crosses, the F, the scale bar and the labels, all clear in the opaque border")
    border_m: float = Field(1e-3, ge=0, le=0.1, description="opaque border around the pattern without any mark, and around the marks")
    bleed_m: float = Field(1e-3, ge=0, le=0.1, description="opaque border beyond the line where the sheet is cut")
    text_dot_m: float = Field(100e-6, ge=1e-6, le=1e-2, description="distance of the dots that make the labels; a letter is 7 high")
    scale_bar_m: float = Field(1e-3, ge=1e-5, le=0.1, description="length of the scale bar")
    dots_per_cell: int = Field(8, ge=1, le=1000, description="PNG: dots along a mask cell, where `dpi` is not given")
    dpi: float | None = Field(None, gt=0, le=1e6, description="PNG: dots per inch; a cell must be a whole number of them")
    thickness_m: float = Field(1e-3, ge=1e-6, le=0.1, description="STL: of the sheet")
    bridge_m: float | None = Field(
        None, gt=0, le=1e-2, description="Gerber and STL: width of bridges that hold islands; none: islands are refused")


class Measured(Plain):
    """What a scan of the calibration sheet says besides: where it comes from, and the 95 % intervals (low, high)."""

    scan_sha256: str = Field(description="hash of the scan's file")
    sheet: str = Field(description="digest of the sheet that was printed, as its text says")
    scan_dpi: tuple[float, float] = Field(description="pixels per inch of the scan along (y, x), by the fiducials")
    date: str = Field(description="of the scan, as it was told")
    encoding: Literal["linear", "srgb"] = Field(description="how the scan's numbers were turned into light, as it was told")
    scanner_blur_m: float = Field(ge=0, description="standard deviation of the scanner's own blur, as told, taken off the edge blur")
    turned_deg: int = Field(description="quarter turns of the scan, clockwise, after the mirror is undone")
    mirrored: bool = Field(description="whether the film lay on its other side")
    edge_blur_low_high_m: tuple[float, float] = Field(description="interval of `edge_blur_m`")
    dot_gain_y_low_high_m: tuple[float, float] = Field(description="interval of `dot_gain_m` along y")
    dot_gain_x_low_high_m: tuple[float, float] = Field(description="interval of `dot_gain_m` along x")
    line_pair_m: tuple[float, float] = Field(description="narrowest line of a resolved line pair along (y, x): half its pitch")
    clear_level: float = Field(description="of the scanner's full scale, where the film is clear")
    clear_level_low_high: tuple[float, float] = Field(description="interval of `clear_level`")
    opaque_level: float = Field(description="of the scanner's full scale, where the film is opaque; stray light in the scanner included")
    opaque_level_low_high: tuple[float, float] = Field(description="interval of `opaque_level`")
    tone_error: float = Field(description="root mean square of what patches of dots let through, beside what the edges predict")


class Process(OptionFile):
    """What a printer or mask shop can make, for `check`. A number nobody measured belongs to nobody: say so in `source`."""

    name: str = Field(description="of the process, for people")
    source: str = Field("assumed", description="where these numbers come from: a data sheet, a measured sheet")
    minimum_opaque_m: float = Field(0.0, ge=0, description="narrowest opaque line (the feature, where ink is drawn)")
    minimum_clear_m: float = Field(0.0, ge=0, description="narrowest clear gap between opaque parts")
    corner_contacts: bool = Field(True, description="whether parts may meet in a corner alone")
    open_fraction: tuple[float, float] = Field((0.0, 1.0), description="smallest and largest clear share of the pattern")
    size_m: tuple[float, float] | None = Field(None, description="largest sheet (height, width); none: any")
    edge_blur_m: float = Field(0.0, ge=0, description="standard deviation of the edge blur")
    dot_gain_m: tuple[float, float] = Field(
        (0.0, 0.0), description="how far an opaque edge grows outwards along (y, x), or one number for both; negative where it shrinks")
    dpi: float | None = Field(None, gt=0, description="addressable dots per inch; a cell should be a whole number of them")
    measured: Measured | None = Field(None, description="what a scan of the calibration sheet adds (`privcam read-sheet` writes it)")

    @field_validator("dot_gain_m", mode="before")
    @classmethod
    def _both_ways(cls, value: object) -> object:
        return (value, value) if isinstance(value, int | float) else value

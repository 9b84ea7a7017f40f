"""The camera as plain, frozen, hashable data: what an author writes and every step hands on.

Deliberately not here: torch, arrays of light, training. The forward model that gives a design
meaning is `optics_sim.camera.PrivacyCamera`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from optics_sim.coding import Coding, PixelwiseCoding, Shutter
from optics_sim.encoding import Encoder, NetworkWeights, ReadoutEncoder
from optics_sim.errors import PrivcamError
from optics_sim.named_file import SHA256_MEANING, NamedFile
from optics_sim.plain import Plain, toml_of, wrong_field

SCHEMA = 1
Convolution = Literal["valid", "same", "full", "circular"]


# --- patterns -------------------------------------------------------------------------------------
class PinholePattern(Plain):
    """One open cell in the middle (the cell right and below the centre when the side is even)."""

    kind: Literal["pinhole"] = "pinhole"


class OpenPattern(Plain):
    """Every cell open: the shadow of the aperture alone blurs the scene."""

    kind: Literal["open"] = "open"


class RandomPattern(Plain):
    """Cells opened independently with a stated probability."""

    kind: Literal["random"] = "random"
    seed: int = Field(0, description="of the generator that draws the cells")
    open_fraction: float = Field(0.5, gt=0, le=1, description="probability that a cell is open")


class MlsPattern(Plain):
    """Separable maximum-length sequence, as in FlatCam; the sequence is repeated and cut to the cells."""

    kind: Literal["mls"] = "mls"
    order: int = Field(5, ge=2, le=12, description="sequence length is 2**order - 1")


class MuraPattern(Plain):
    """Modified uniformly redundant array of a prime side."""

    kind: Literal["mura"] = "mura"
    prime: int = Field(23, ge=5, description="side of the array in cells, a prime")


class FresnelZonePattern(Plain):
    """Binary Fresnel zone aperture, open where cos(pi r^2 / r1^2 - phase) > 0."""

    kind: Literal["fresnel_zone"] = "fresnel_zone"
    first_radius_m: float = Field(gt=0, description="r1, radius of the innermost zone")
    phase_rad: float = Field(0.0, description="shifts the zones; pi swaps clear and opaque")


class RowsPattern(Plain):
    """A given binary pattern, written as rows of '0' (opaque) and '1' (clear): what training returns."""

    kind: Literal["rows"] = "rows"
    rows: tuple[str, ...] = Field(description="one string of 0 (opaque) and 1 (clear) for each row of cells")

    @model_validator(mode="after")
    def _is_binary_rectangle(self) -> RowsPattern:
        widths = {len(row) for row in self.rows}
        if len(widths) != 1 or set("".join(self.rows)) - {"0", "1"}:
            raise ValueError("rows must be strings of '0' and '1' of one length")
        return self

    @classmethod
    def from_array(cls, transmission: NDArray[Any]) -> RowsPattern:
        """Returns the pattern of a binary array [row, column]; anything but 0 and 1 is refused."""
        values = np.asarray(transmission)
        if values.ndim != 2 or not np.isin(values, (0, 1)).all():
            raise PrivcamError(
                "a mask pattern must be a binary [row, column] array",
                got=f"shape {values.shape}, values {np.unique(values)[:5]}",
                allowed="0 (opaque) and 1 (clear)",
                todo="threshold the array first",
            )
        return cls(rows=tuple("".join("1" if v else "0" for v in row) for row in values))

    def array(self) -> NDArray[np.float32]:
        """Returns transmission [row, column], 1 = clear."""
        return np.array([[float(c) for c in row] for row in self.rows], dtype=np.float32)


class FilePattern(Plain):
    """A binary picture (PNG, any depth) or NPY file of the pattern; clear where above half of its maximum."""

    kind: Literal["file"] = "file"
    path: str = Field(description="of the PNG or NPY file, from the design's folder")
    sha256: str = Field("", description=SHA256_MEANING)

    @property
    def file(self) -> NamedFile:
        """The file of the pattern."""
        return NamedFile("optics.pattern.path", self.path, self.sha256)


Pattern = Annotated[
    PinholePattern | OpenPattern | RandomPattern | MlsPattern | MuraPattern | FresnelZonePattern | RowsPattern | FilePattern,
    Field(discriminator="kind"),
]


# --- optics ---------------------------------------------------------------------------------------
class Printing(Plain):
    """What the printer does to a pattern: Gaussian edge blur and film that is neither clear nor black."""

    edge_blur_m: float = Field(0.0, ge=0, description="standard deviation of the edge blur")
    opaque_transmission: float = Field(0.0, ge=0, lt=1, description="of printed film; optical density 4 is 1e-4")
    clear_transmission: float = Field(1.0, gt=0, le=1, description="of the clear parts")

    @model_validator(mode="after")
    def _clear_above_opaque(self) -> Printing:
        if self.clear_transmission <= self.opaque_transmission:
            raise ValueError("clear_transmission must be above opaque_transmission")
        return self


class Mount(Plain):
    """Where a mask sits on the sensor, as a calibration found it: its middle from the sensor's axis, and its turn."""

    shift_m: tuple[float, float] = Field(
        (0.0, 0.0), description="(y, x) of the mask's middle, +y down and +x right as the camera sees the scene"
    )
    rotation_rad: float = Field(0.0, description="of the mask, from +x towards +y: clockwise as the camera sees the scene")


class LenslessOptics(Plain):
    """An amplitude mask at a distance in front of a bare sensor."""

    kind: Literal["lensless"] = "lensless"
    pattern: Pattern = Field(description="which cells are clear; a table with its own `kind`")
    cells: tuple[int, int] = Field((32, 32), description="mask cells (rows, columns)")
    cell_m: float = Field(gt=0, description="side of a mask cell")
    mask_to_sensor_m: float = Field(3e-3, gt=0, description="d, mask to sensor")
    scene_to_mask_m: float = Field(0.4, gt=0, description="D, scene to mask")
    wavelengths_m: tuple[float, ...] = Field(
        (460e-9, 550e-9, 640e-9), min_length=1, description="the PSF is the mean over these"
    )
    printing: Printing = Field(Printing(), description="what the printer does to the pattern")
    propagation: Literal["wave", "geometric"] = Field(
        "wave", description="band-limited angular spectrum, or the shadow alone"
    )
    convolution: Convolution = Field("valid", description="which part of scene (*) psf reaches the sensor")
    surround: float = Field(0.0, ge=0, description="radiance outside the field, relative to white")
    mount: Mount | None = Field(None, description="where the mask sits on the sensor; none: on the axis, as drawn")

    @model_serializer(mode="wrap")
    def _without_no_mount(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Returns the fields; `mount` only where there is one, so that designs from before it keep their digest."""
        data: dict[str, Any] = plain(self)
        return data if self.mount is not None else {name: value for name, value in data.items() if name != "mount"}

    @property
    def magnification(self) -> float:
        """Scale from mask to its shadow on the sensor, 1 + d/D."""
        return 1.0 + self.mask_to_sensor_m / self.scene_to_mask_m

    @model_validator(mode="after")
    def _rows_match_cells(self) -> LenslessOptics:
        if isinstance(self.pattern, RowsPattern):
            shape = (len(self.pattern.rows), len(self.pattern.rows[0]))
            if shape != tuple(self.cells):
                raise ValueError(f"pattern is {shape} but cells says {self.cells}")
        return self


class DefocusOptics(Plain):
    """A lens focused elsewhere (Pittaluga and Koppal 2015): the blur disc does the hiding."""

    kind: Literal["defocus"] = "defocus"
    focal_length_m: float = Field(gt=0, description="of the lens")
    aperture_m: float = Field(gt=0, description="diameter")
    lens_to_sensor_m: float = Field(gt=0, description="lens to sensor")
    scene_to_lens_m: float = Field(0.4, gt=0, description="scene to lens")
    wavelengths_m: tuple[float, ...] = Field(
        (460e-9, 550e-9, 640e-9), min_length=1, description="the PSF is the mean over these"
    )
    convolution: Convolution = Field("same", description="which part of scene (*) psf reaches the sensor")
    surround: float = Field(0.0, ge=0, description="radiance outside the field, relative to white")


class IdentityOptics(Plain):
    """The code is the scene: the camera on which every attack must succeed (a control, not a product)."""

    kind: Literal["identity"] = "identity"


class BlackOptics(Plain):
    """A capped camera: the one on which every attack must be at chance (a control, not a product)."""

    kind: Literal["black"] = "black"


Optics = Annotated[LenslessOptics | DefocusOptics | IdentityOptics | BlackOptics, Field(discriminator="kind")]


# --- sensor ---------------------------------------------------------------------------------------
class Sensor(Plain):
    """An image sensor at electron level. `sources` says where each number comes from.

    A field without a source is `assumed`, and prints so.
    """

    name: str = Field(description="of the sensor, as sold")
    pixel_pitch_m: float = Field(gt=0, description="side of a raw pixel")
    shape: tuple[int, int] = Field(description="raw pixels (rows, columns)")
    cfa: Literal["mono", "rggb", "bggr", "grbg", "gbrg"] = Field("mono", description="colour filter array from the top left")
    quantum_efficiency: float | tuple[float, float, float] = Field(
        description="electrons per photon; one number, or (red, green, blue) under a colour filter array"
    )
    bit_depth: int = Field(12, ge=1, le=16, description="of the raw numbers")
    black_level_dn: float = Field(ge=0, description="raw value of no light")
    gain_dn_per_e: float = Field(gt=0, description="at analogue gain 1")
    full_well_e: float = Field(gt=0, description="electrons a pixel holds")
    read_noise_e: float = Field(0.0, ge=0, description="standard deviation for each pixel and reading")
    row_noise_e: float = Field(0.0, ge=0, description="standard deviation shared by a row in one reading")
    dark_current_e_per_s: float = Field(0.0, ge=0, description="electrons without light")
    prnu: float = Field(0.0, ge=0, description="relative standard deviation of the pixels' gain")
    dsnu_e: float = Field(0.0, ge=0, description="standard deviation of the pixels' offset")
    shutter: Shutter = Field("rolling", description="which exposure codes the pixels can follow by themselves")
    fixed_pattern_seed: int = Field(0, description="draws this very sensor's PRNU and DSNU")
    sources: dict[str, str] = Field(default_factory=dict, description="field name to where its number comes from")

    def source_of(self, field: str) -> str:
        """Returns where a number comes from, or `assumed`."""
        return self.sources.get(field, "assumed")


class Exposure(Plain):
    """How long, how amplified, and how bright the world is.

    `white_photons_per_px_s`: photons per raw pixel and second, at `wavelength_m`, from a white field
    seen through a fully open aperture (a PSF of sum 1).
    """

    exposure_s: float = Field(gt=0, description="exposure time")
    analogue_gain: float = Field(1.0, gt=0, description="multiplies `gain_dn_per_e`")
    white_photons_per_px_s: float = Field(
        gt=0, description="on a raw pixel, from a white field through a fully open aperture"
    )
    wavelength_m: float = Field(550e-9, gt=0, description="of those photons")


class Readout(Plain):
    """The integer first step after raw, the same in training, reference, firmware and on the Pi.

    code = clip(((sum over the bin of (raw - black_level)) + half) >> shift, 0, 255) - 128, turned by 180
    degrees when `turn` says so (an aperture's image is upside down). Planes other than `sum` use only the
    raw pixels of that colour.
    """

    crop: tuple[int, int, int, int] = Field(description="(top, left, height, width) in raw pixels")
    bin: tuple[int, int] = Field((40, 40), description="raw pixels (rows, columns) in one code pixel")
    black_level_dn: int = Field(ge=0, description="subtracted from each raw pixel")
    planes: Literal["sum", "red", "green", "blue"] = Field("sum", description="all raw pixels of a bin, or one colour's")
    shift: int = Field(ge=0, le=30, description="bits dropped, rounding half up, to reach 8")
    turn: bool = Field(True, description="turn the code by 180 degrees, as an aperture's image is upside down")

    @property
    def shape(self) -> tuple[int, int]:
        """Code pixels (rows, columns)."""
        return self.crop[2] // self.bin[0], self.crop[3] // self.bin[1]

    @model_validator(mode="after")
    def _bins_divide_crop(self) -> Readout:
        if self.crop[2] % self.bin[0] or self.crop[3] % self.bin[1]:
            raise ValueError(f"bin {self.bin} does not divide crop {self.crop[2:]}")
        return self


# --- the design -----------------------------------------------------------------------------------
class CameraDesign(Plain):
    """A camera: optics, sensor, exposure, readout and encoder, for scenes of a stated size.

    `parent` is the digest of the design this one was made from. `digest` names the design everywhere
    (film, firmware, reports). Files that parts of it name count by their content: they are kept beside `design.toml`, named
    there from its folder, and a folder that was moved holds the same design.
    """

    schema_version: int = Field(SCHEMA, description="of this file format")
    name: str = Field(description="for people; the digest is what names the design")
    scene: tuple[int, int] = Field((63, 63), description="scene pixels (rows, columns)")
    optics: Optics = Field(description="what shapes the light; a table with its `kind`")
    sensor: Sensor = Field(description="what counts the light")
    exposure: Exposure = Field(description="how long, how amplified, how bright")
    readout: Readout = Field(description="raw numbers to the 8-bit code")
    coding: Coding | None = Field(None, description="which pixels are open when within one exposure; none: each frame by itself")
    encoder: Encoder = Field(ReadoutEncoder(), description="computes on the camera, after the readout; a table")
    parent: str | None = Field(None, description="digest of the design this one was made from")

    @property
    def digest(self) -> str:
        """SHA-256 of the design's canonical JSON, in hex; a file counts by its content, not by where it lies."""
        text = json.dumps(self._portable(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def files(self) -> tuple[NamedFile, ...]:
        """The files that parts of the design name."""
        parts = (self.optics.pattern if isinstance(self.optics, LenslessOptics) else None, self.coding, self.encoder)
        named = (part.file for part in parts if isinstance(part, FilePattern | PixelwiseCoding | NetworkWeights))
        return tuple(file for file in named if file is not None)

    @property
    def code_pitch_m(self) -> float:
        """Side of a code pixel on the sensor."""
        return self.sensor.pixel_pitch_m * self.readout.bin[0]

    def replace(self, **changes: Any) -> CameraDesign:
        """Returns a new design with dotted fields changed, validated, its parent being this one.

        `design.replace(**{"exposure.exposure_s": 0.02})`. Raises PrivcamError for an unknown or bad field.
        """
        data = self.model_dump()
        for path, value in changes.items():
            _set(data, path, value)
        data["parent"] = data["parent"] if "parent" in changes else self.digest
        return _validated(data)

    def to_toml(self) -> str:
        """Returns the design as the TOML text a person reads."""
        return tomli_w.dumps(_without_none(self._portable()), multiline_strings=False)

    def save(self, folder: Path) -> Path:
        """Writes `design.toml` and the files it names into a folder (created when missing) and returns its path.

        Raises PrivcamError when one of these files is missing or altered.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for named in self.files:
            write_atomically(folder / named.kept_as, named.read())
        target = folder / "design.toml"
        write_atomically(target, f"# digest {self.digest}\n{self.to_toml()}".encode())
        return target

    @classmethod
    def load(cls, path: Path) -> CameraDesign:
        """Returns the design of a `design.toml` or of the folder that holds one; PrivcamError when it is not one.

        Files are found from that folder. One without a hash in the design is read and hashed now.
        """
        file = path / "design.toml" if path.is_dir() else path
        try:
            data = toml_of(file)
        except FileNotFoundError:
            raise PrivcamError("no design file", got=str(file), todo="give a design.toml or its folder") from None
        return _placed(_validated(data), file.parent)

    def _portable(self) -> dict[str, Any]:
        """Returns the design as JSON values, each file by the name it is kept as and the hash of its content."""
        data = self.model_dump(mode="json")
        for named in self.files:
            _set(data, named.field, named.kept_as)
            _set(data, named.sha256_field, named.digest)
        return data


def _placed(design: CameraDesign, folder: Path) -> CameraDesign:
    """Returns a design read in `folder` with the whole path and the hash of each file."""
    data = design.model_dump()
    for named in design.files:
        placed = named._replace(path=str((folder / named.path).resolve()))
        _set(data, named.field, placed.path)
        _set(data, named.sha256_field, placed.digest)
    return _validated(data) if design.files else design


def _validated(data: dict[str, Any]) -> CameraDesign:
    try:
        return CameraDesign.model_validate(data)
    except ValidationError as error:
        raise wrong_field(error, "the design's ", "docs/design-file.md") from None


def _set(data: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        if not isinstance(data.get(key), dict):
            raise PrivcamError("no such field in a design", got=path, allowed=sorted(data), todo="check the spelling")
        data = data[key]
    data[last] = value


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value


def write_atomically(target: Path, data: bytes) -> None:
    """Writes a file under a temporary name, flushes it to the disk and moves it into place."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(target)

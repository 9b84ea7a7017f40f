"""Exposure codes as plain data: which pixel's shutter is open in which part of one exposure, and who can do it.

A code divides an exposure into `slots` equal parts; `bits` [slot, row, column] on the code-pixel grid says where the
shutter is open (1) and closed (0). Deliberately not here: light, electrons and learning (`optics_sim.sensor.coded`).
"""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from optics_sim.errors import PrivcamError
from optics_sim.named_file import SHA256_MEANING, NamedFile
from optics_sim.plain import Plain

SLOTS = 16
TILE = (8, 8)
Shutter = Literal["rolling", "global", "single_bump", "rows_columns", "pixelwise"]
Bits = NDArray[np.float32]


# --- the codes ------------------------------------------------------------------------------------
class _Slotted(Plain):
    slots: int = Field(SLOTS, ge=1, description="equal parts of the exposure")


class PixelwiseCoding(_Slotted):
    """Every code pixel has its own bits, drawn from a seed or read from an NPY file."""

    kind: Literal["pixelwise"] = "pixelwise"
    seed: int = Field(0, description="of the generator that draws the bits")
    open_fraction: float = Field(0.5, gt=0, le=1, description="probability that a bit is open")
    path: str | None = Field(None, description="of an NPY file of bits [slots, h, w], from the design's folder; overrules the seed")
    sha256: str = Field("", description=SHA256_MEANING)

    @property
    def file(self) -> NamedFile | None:
        """The file of bits, where there is one."""
        return None if self.path is None else NamedFile("coding.path", self.path, self.sha256)


class TileCoding(_Slotted):
    """A small block of bits repeated over the sensor (Okawara et al. 2020; SnapPix 2025)."""

    kind: Literal["tile"] = "tile"
    tile: tuple[int, int] = Field(TILE, description="code pixels (rows, columns) of the block")
    seed: int = Field(0, description="of the generator that draws the bits")
    open_fraction: float = Field(0.5, gt=0, le=1, description="probability that a bit is open")
    open_slots: int = Field(0, ge=0, description="exactly so many of each pixel's slots are open, drawn; 0: each bit is drawn alone")
    bits: tuple[tuple[str, ...], ...] = Field((), description="for each slot its rows of 0 and 1; overrules the seed")

    @model_validator(mode="after")
    def _bits_fit(self) -> TileCoding:
        if self.open_slots > self.slots:
            raise ValueError(f"open_slots must be at most the {self.slots} slots")
        _rectangles(self.bits, self.slots, self.tile)
        return self


class RowsColumnsCoding(_Slotted):
    """Open where the row's and the column's signal both say so: what shared control lines can do (Yoshida et al. 2018)."""

    kind: Literal["rows_columns"] = "rows_columns"
    tile: tuple[int, int] = Field(TILE, description="period of the signals (rows, columns) in code pixels")
    seed: int = Field(0, description="of the generator that draws the signals")
    open_fraction: float = Field(0.5, gt=0, le=1, description="probability that a pixel is open in a slot")
    rows: tuple[str, ...] = Field((), description="for each slot the row signals as 0 and 1; overrules the seed")
    columns: tuple[str, ...] = Field((), description="for each slot the column signals as 0 and 1")

    @model_validator(mode="after")
    def _signals_fit(self) -> RowsColumnsCoding:
        if self.rows or self.columns:
            _rectangles((self.rows,), 1, (self.slots, self.tile[0]))
            _rectangles((self.columns,), 1, (self.slots, self.tile[1]))
        return self


class SingleBumpCoding(_Slotted):
    """Each pixel opens once and closes once (after Hitomi et al. 2011, whose bumps are equally long)."""

    kind: Literal["single_bump"] = "single_bump"
    tile: tuple[int, int] = Field(TILE, description="code pixels (rows, columns) of the repeated block")
    seed: int = Field(0, description="of the generator that draws starts and lengths")
    start: tuple[tuple[int, ...], ...] = Field((), description="first open slot of each pixel of the tile; overrules the seed")
    length: tuple[tuple[int, ...], ...] = Field((), description="number of open slots of each pixel of the tile, 1 or more")

    @model_validator(mode="after")
    def _bumps_fit(self) -> SingleBumpCoding:
        if not self.start and not self.length:
            return self
        shapes = [(len(table), *{len(row) for row in table}) for table in (self.start, self.length)]
        if any(shape != self.tile for shape in shapes):
            raise ValueError(f"start and length must be tables of {self.tile}")
        start, length = np.array(self.start), np.array(self.length)
        if (start < 0).any() or (length < 1).any() or (start + length > self.slots).any():
            raise ValueError(f"each bump must lie within the {self.slots} slots and be 1 slot long or longer")
        return self


class GlobalFlutterCoding(Plain):
    """All pixels open and close together (Raskar et al. 2006)."""

    kind: Literal["global_flutter"] = "global_flutter"
    slots: int = Field(SLOTS, ge=1, description="equal parts of the exposure")
    bits: str = Field("1010110111000011", description="one 0 or 1 for each slot")

    @model_validator(mode="after")
    def _bits_fit(self) -> GlobalFlutterCoding:
        _rectangles(((self.bits,),), 1, (1, self.slots))
        return self


class LongCoding(_Slotted):
    """Open all the time: an ordinary exposure (a baseline)."""

    kind: Literal["long"] = "long"


class ShortCoding(_Slotted):
    """Open in one slot only: an ordinary exposure of 1 / slots of the time (a baseline)."""

    kind: Literal["short"] = "short"
    slot: int = Field(0, ge=0, description="the open one")

    @model_validator(mode="after")
    def _slot_exists(self) -> ShortCoding:
        if self.slot >= self.slots:
            raise ValueError(f"slot must be below {self.slots}")
        return self


Coding = Annotated[
    PixelwiseCoding | TileCoding | RowsColumnsCoding | SingleBumpCoding | GlobalFlutterCoding | LongCoding | ShortCoding,
    Field(discriminator="kind"),
]


def _rectangles(bits: tuple[tuple[str, ...], ...], count: int, shape: tuple[int, int]) -> None:
    if not bits:
        return
    sizes = {(len(rows), *{len(row) for row in rows}) for rows in bits}
    if len(bits) != count or sizes != {shape} or set("".join("".join(rows) for rows in bits)) - {"0", "1"}:
        raise ValueError(f"bits must be {count} x {shape[0]} strings of {shape[1]} characters 0 or 1")


# --- bits -----------------------------------------------------------------------------------------
def coding_bits(coding: Coding, shape: tuple[int, int]) -> Bits:
    """Returns the bits [slots, h, w] of a coding on a code-pixel grid, 1 = open; tiles repeat from the top left.

    Raises PrivcamError for a bits file of another shape or with other values than 0 and 1.
    """
    if isinstance(coding, PixelwiseCoding):
        return _pixelwise(coding, shape)
    block = tile_bits(coding)
    return repeated(block, shape)


def tile_bits(coding: TileCoding | RowsColumnsCoding | SingleBumpCoding | GlobalFlutterCoding | LongCoding | ShortCoding) -> Bits:
    """Returns the bits [slots, rows, columns] of the block that a coding repeats; 1 x 1 where all pixels are alike."""
    if isinstance(coding, TileCoding):
        return _tile(coding)
    if isinstance(coding, RowsColumnsCoding):
        return _rows_columns(coding)
    if isinstance(coding, SingleBumpCoding):
        return bumps(*_starts_and_lengths(coding), coding.slots)
    if isinstance(coding, GlobalFlutterCoding):
        return _signals((coding.bits,))[0][:, None, None]
    if isinstance(coding, LongCoding):
        return np.ones((coding.slots, 1, 1), np.float32)
    return bumps(np.array([[coding.slot]]), np.array([[1]]), coding.slots)


def repeated(block: NDArray[Any], shape: tuple[int, int]) -> Bits:
    """Returns a block [slots, rows, columns] repeated from the top left over a grid, cut at its edges."""
    rows, columns = (np.arange(size) % period for size, period in zip(shape, block.shape[-2:], strict=True))
    return np.ascontiguousarray(block[:, rows[:, None], columns[None, :]], dtype=np.float32)


def bumps(start: NDArray[Any], length: NDArray[Any], slots: int) -> Bits:
    """Returns bits [slots, rows, columns] with one interval per pixel, `start` <= slot < `start` + `length`."""
    slot = np.arange(slots)[:, None, None]
    return ((slot >= start) & (slot < start + length)).astype(np.float32)


def _pixelwise(coding: PixelwiseCoding, shape: tuple[int, int]) -> Bits:
    expected = (coding.slots, *shape)
    if coding.file is None:
        return (np.random.default_rng(coding.seed).random(expected) < coding.open_fraction).astype(np.float32)
    bits = np.load(io.BytesIO(coding.file.read()), allow_pickle=False)
    if bits.shape != expected or not np.isin(bits, (0, 1)).all():
        raise PrivcamError("the file does not hold these bits", got=f"{coding.path}: {bits.dtype} {bits.shape}",
                           allowed=f"0 and 1 of shape {expected}", todo="write an array of 0 and 1 with numpy.save")
    return np.asarray(bits, dtype=np.float32)


def _tile(coding: TileCoding) -> Bits:
    if coding.bits:
        return np.stack([_signals(rows) for rows in coding.bits])
    drawn = np.random.default_rng(coding.seed).random((coding.slots, *coding.tile))
    if coding.open_slots:
        return (drawn.argsort(0).argsort(0) < coding.open_slots).astype(np.float32)
    return (drawn < coding.open_fraction).astype(np.float32)


def _rows_columns(coding: RowsColumnsCoding) -> Bits:
    if coding.rows:
        rows, columns = _signals(coding.rows), _signals(coding.columns)
    else:
        rng, share = np.random.default_rng(coding.seed), coding.open_fraction**0.5
        rows, columns = ((rng.random((coding.slots, size)) < share).astype(np.float32) for size in coding.tile)
    return rows[:, :, None] * columns[:, None, :]


def _starts_and_lengths(coding: SingleBumpCoding) -> tuple[NDArray[Any], NDArray[Any]]:
    if coding.start:
        return np.array(coding.start), np.array(coding.length)
    first, length = intervals(coding.slots)
    drawn = np.random.default_rng(coding.seed).integers(len(first), size=coding.tile)
    return first[drawn], length[drawn]


def intervals(slots: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns start and length of every interval that lies within the slots: slots * (slots + 1) / 2 of them."""
    pairs = [(start, length) for start in range(slots) for length in range(1, slots - start + 1)]
    start, length = np.array(pairs).T
    return start, length


def _signals(rows: tuple[str, ...]) -> Bits:
    return np.array([[float(c) for c in row] for row in rows], dtype=np.float32)


def as_rows(block: NDArray[Any]) -> tuple[str, ...]:
    """Returns a binary array [row, column] as strings of 0 and 1, for a design file."""
    return tuple("".join("1" if value else "0" for value in row) for row in block)


# --- who can do it --------------------------------------------------------------------------------
class Realisation(Plain):
    """How a sensor makes a coded exposure."""

    how: Literal["one_exposure", "sum_of_frames"] = Field(description="electrons added in the pixel, or frames added after reading")
    frames: int = Field(description="readings of the whole sensor for one coded image")
    reason: str = Field(description="what the sensor can do, what it cannot, and what that costs")


_ABLE: dict[Shutter, set[str]] = {
    "rolling": {"long"},
    "global": {"long"},
    "single_bump": {"long", "single_bump"},
    "rows_columns": {"long", "global_flutter", "rows_columns"},
    "pixelwise": {"long", "short", "global_flutter", "rows_columns", "single_bump", "tile", "pixelwise"},
}


def realised_by(coding: Coding, shutter: Shutter) -> Realisation:
    """Returns how a sensor with a shutter of that kind makes a coding, and why.

    Only a sensor whose shutter follows the code adds the slots' electrons in the pixel and reads once. Every other one
    reads `frames` ordinary frames of one slot each; the bits decide after the converter which of them are added, so the
    read, row and rounding noise of every added frame counts, and nothing is collected while a frame is read.
    """
    if coding.kind in _ABLE[shutter]:
        return Realisation(how="one_exposure", frames=1, reason=_able_reason(coding.kind, shutter))
    if coding.kind == "short":
        return Realisation(how="sum_of_frames", frames=1, reason="one ordinary exposure of a slot's length, read once")
    return Realisation(how="sum_of_frames", frames=_open_slots(coding), reason=f"{_unable_reason(coding.kind, shutter)}; "
                       "a sum of short frames pays read, row and rounding noise for each, and the sensor must reach one frame per slot")


def _open_slots(coding: Coding) -> int:
    if isinstance(coding, PixelwiseCoding):
        return coding.slots
    return int(tile_bits(coding).any(axis=(1, 2)).sum())


def _able_reason(kind: str, shutter: Shutter) -> str:
    if kind == "long":
        return "one ordinary exposure, read once"
    return f"a {shutter} shutter follows a {kind} code: the open slots' electrons add up in the pixel and are read once"


def _unable_reason(kind: str, shutter: Shutter) -> str:
    if kind == "global_flutter" and shutter == "global":
        return ("a global shutter opens all pixels together but once a frame; several trigger pulses in one frame are not "
                "documented, and only a light that flickers with the code in an otherwise dark room gives one reading")
    if kind == "global_flutter" and shutter == "rolling":
        return ("a rolling shutter opens its rows one after the other; only a light that flickers with the code in an otherwise "
                "dark room, while all rows are open, gives one reading")
    return f"a {shutter} shutter has no way to open pixels by a {kind} code within one exposure"

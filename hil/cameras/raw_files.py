"""Single raw frames as TIFF and DNG files, in and out: what other programs write and read.

A file written here carries the whole frame (settings, source, hash) as JSON in its `ImageDescription`, and gives it back as it
was. Of other programs' files the tags of TIFF, EXIF and DNG are read. tifffile reads planes of whole
bytes, uncompressed or deflated; any other DNG needs rawpy (LibRaw). Deliberately not here:
demosaicing, or any other change to a raw number.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hil.capture_set.journal import Entry
from hil.capture_set.npy import npy_digest
from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.frame import CameraInfo, CaptureSettings, Frame

SUFFIXES = (".dng", ".tif", ".tiff")
_MINISBLACK, _CFA, _LINEAR_RAW = 1, 32803, 34892  # PhotometricInterpretation of a mosaic, and of raw numbers without one (DNG 1.4)
_DNG_VERSION = 50706
_LETTERS = "rgb"
_ISO_OF_GAIN_1 = 100  # as the Raspberry Pi's programs write it
_OURS = "privcam_frame"


@dataclass(frozen=True)
class RawFile:
    """What a file says; None where it does not. `frame` is whole where the file was written here, and is None otherwise."""

    file: Path
    shape: tuple[int, int]
    bit_depth: int
    cfa: str
    black_level_dn: float | None
    settings: CaptureSettings | None
    model: str
    entry: Entry | None
    camera: CameraInfo | None


def write_dng(file: Path, frame: Frame, camera: CameraInfo) -> None:
    """Writes a frame as an uncompressed DNG 1.4, which raw converters open; its colours there are uncalibrated."""
    mono = camera.cfa == "mono"
    tags: list[tuple[int, int, int, Any, bool]] = [
        (_DNG_VERSION, 1, 4, bytes((1, 4, 0, 0)), True), (50707, 1, 4, bytes((1, 1, 0, 0)), True),
        (50708, 2, 0, camera.sensor, True), (50714, 5, 1, _rational(camera.black_level_dn), True),
        (50717, 4, 1, 2**camera.bit_depth - 1, True), (50721, 10, 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50778, 3, 1, 21, True), *_exposure_tags(frame)]
    if not mono:
        pattern = bytes(_LETTERS.index(letter) for letter in camera.cfa)
        tags += [(33421, 3, 2, (2, 2), True), (33422, 1, 4, pattern, True), (50710, 1, 3, bytes((0, 1, 2)), True), (50711, 3, 1, 1, True),
                 (50728, 5, 3, (1, 1, 1, 1, 1, 1), True)]
    _write(file, frame, camera, _MINISBLACK if mono else _CFA, tags, interpretation=_LINEAR_RAW if mono else _CFA)


def write_tiff(file: Path, frame: Frame, camera: CameraInfo) -> None:
    """Writes a frame as an uncompressed grey 16-bit TIFF, which any program opens: DN as they are, the mosaic as it is."""
    _write(file, frame, camera, _MINISBLACK, _exposure_tags(frame), interpretation=_MINISBLACK)


def read_tags(file: Path) -> RawFile:
    """Returns what a TIFF or DNG file says of its raw plane; PrivcamError where it has none."""
    with _opened(file) as tiff:
        page = _raw_page(tiff, file)
        white = _number(page, 50717)
        entry, camera = _own(tiff.pages[0].description, file)
        bit_depth = int(white).bit_length() if white else page.bitspersample
        model = str(_tag(tiff.pages[0], 50708) or "")
        return RawFile(file, (page.imagelength, page.imagewidth), bit_depth, _cfa(page, file), _number(page, 50714),
                       _settings(tiff.pages[0]), model, entry, camera)


def read_raw(said: RawFile) -> NDArray[np.uint16]:
    """Returns the raw plane [row, column] of a file; PrivcamError where it is not the one that was written here."""
    raw = _plane(said.file)
    if said.entry is not None and npy_digest(raw) != said.entry.sha256:
        raise PrivcamError(f"{said.file} was changed since it was written", got=npy_digest(raw), allowed=said.entry.sha256,
                           todo="restore it from a copy")
    return raw


def _write(file: Path, frame: Frame, camera: CameraInfo, photometric: int, tags: list[tuple[int, int, int, Any, bool]], *,
           interpretation: int) -> None:
    """`photometric` is what tifffile takes for one plane, `interpretation` what the file then says it is."""
    if frame.raw.shape != camera.shape:
        raise PrivcamError("a frame of another camera", got=frame.raw.shape, allowed=camera.shape)
    entry = Entry.of(frame, npy_digest(frame.raw))
    told = json.dumps({_OURS: entry.model_dump(mode="json"), "camera": camera.model_dump(mode="json")})
    stream = io.BytesIO()
    _tifffile().imwrite(stream, frame.raw, photometric=photometric, description=told, metadata=None, software="privcam", extratags=tags,
                        byteorder="<")
    if interpretation != photometric:
        stream.seek(0)
        with _tifffile().TiffFile(stream, mode="r+") as tiff:
            tiff.pages[0].tags["PhotometricInterpretation"].overwrite(interpretation)
    write_atomically(file, stream.getvalue())


def _exposure_tags(frame: Frame) -> list[tuple[int, int, int, Any, bool]]:
    iso = min(round(frame.settings.analogue_gain * _ISO_OF_GAIN_1), 65535)
    return [(33434, 5, 1, _rational(frame.settings.exposure_s), True), (34855, 3, 1, iso, True)]


def _rational(value: float) -> tuple[int, int]:
    exact = Fraction(value).limit_denominator(1_000_000)
    return exact.numerator, exact.denominator


def _raw_page(tiff: Any, file: Path) -> Any:
    pages = [page for top in tiff.pages for page in (top, *(top.pages or ()))]
    single = [page for page in pages if page.samplesperpixel == 1 and page.bitspersample <= 16]
    raw = [page for page in single if page.photometric in (_MINISBLACK, _CFA, _LINEAR_RAW)]
    mosaics = [page for page in raw if page.photometric == _CFA]
    if not raw:
        raise PrivcamError("a file without a raw plane", got=f"{file}: {[(p.shape, str(p.dtype)) for p in pages]}",
                           allowed="one plane of 8 to 16 bits: a mosaic or grey", todo="export raw numbers, not a finished picture")
    return max(mosaics or raw, key=lambda page: page.imagelength * page.imagewidth)


def _plane(file: Path) -> NDArray[np.uint16]:
    with _opened(file) as tiff:
        page = _raw_page(tiff, file)
        shape = (page.imagelength, page.imagewidth)
        try:
            return np.ascontiguousarray(page.asarray(), np.uint16)
        except (ValueError, NotImplementedError):  # packed, or compressed in a way that tifffile alone does not know
            if _tag(tiff.pages[0], _DNG_VERSION) is None:  # LibRaw takes a damaged TIFF without a word
                raise PrivcamError("a packed or compressed TIFF", got=str(file), allowed="whole bytes, uncompressed or deflated; DNG",
                                   todo="export it uncompressed") from None
            return _plane_by_libraw(file, shape)


def _plane_by_libraw(file: Path, shape: tuple[int, int]) -> NDArray[np.uint16]:
    try:
        import rawpy
    except ImportError:
        raise PrivcamError("a packed or compressed raw file needs rawpy", got=str(file), todo="pip install rawpy, or export it uncompressed"
                           ) from None
    try:
        with rawpy.imread(str(file)) as opened:
            raw: NDArray[np.uint16] = np.array(opened.raw_image, np.uint16)
    except rawpy.LibRawError as error:
        raise PrivcamError("neither tifffile nor LibRaw reads this file", got=f"{file}: {error}", todo="export it uncompressed") from None
    if raw.shape != shape:
        raise PrivcamError("LibRaw gives another plane than the file's tags say", got=f"{file}: {raw.shape}", allowed=shape)
    return raw


def _cfa(page: Any, file: Path) -> str:
    if page.photometric != _CFA:
        return "mono"
    pattern = _tag(page, 33422)
    letters = "".join(_LETTERS[value] for value in bytes(pattern or b"") if value < len(_LETTERS))
    if letters not in ("rggb", "bggr", "grbg", "gbrg"):
        raise PrivcamError("a colour filter array that is not a Bayer mosaic", got=f"{file}: {letters or 'none given'}",
                           allowed="rggb, bggr, grbg, gbrg")
    return letters


def _settings(page: Any) -> CaptureSettings | None:
    exif = _tag(page, 34665) or {}
    exposure = _ratio(_tag(page, 33434) or exif.get("ExposureTime"))
    iso = _ratio(_tag(page, 34855) or exif.get("ISOSpeedRatings") or exif.get("PhotographicSensitivity"))
    return CaptureSettings(exposure_s=exposure, analogue_gain=iso / _ISO_OF_GAIN_1) if exposure and iso else None


def _own(description: str, file: Path) -> tuple[Entry | None, CameraInfo | None]:
    """Returns the frame's entry and camera that a file written here carries."""
    try:
        told = json.loads(description)
    except ValueError:
        return None, None
    if not isinstance(told, dict) or _OURS not in told:
        return None, None
    try:
        return Entry.model_validate(told[_OURS]), CameraInfo.model_validate(told["camera"])
    except (ValidationError, KeyError) as error:
        raise PrivcamError(f"{file} was changed since it was written", got=str(error), todo="restore it from a copy") from None


def _number(page: Any, code: int) -> float | None:
    value = _tag(page, code)
    return None if value is None else _ratio(value)


def _ratio(value: Any) -> float:
    """Returns a number that TIFF gives as itself, as numerator and denominator, or as several, of which the first counts."""
    if isinstance(value, tuple):
        return value[0] / value[1] if len(value) % 2 == 0 and len(value) >= 2 and value[1] else float(value[0])
    return float(value or 0)


def _tag(page: Any, code: int) -> Any:
    tag = page.tags.get(code)
    return None if tag is None else tag.value


def _opened(file: Path) -> Any:
    module = _tifffile()
    try:
        return module.TiffFile(file)
    except (module.TiffFileError, OSError) as error:
        raise PrivcamError("not a TIFF or DNG file", got=f"{file}: {error}", allowed=", ".join(SUFFIXES)) from None


def _tifffile() -> ModuleType:
    try:
        import tifffile
    except ImportError:
        raise PrivcamError("TIFF and DNG files need tifffile", todo='pip install "privcam[capture]"') from None
    module: ModuleType = tifffile
    return module

"""Pictures as they lie on a disk: folders, zip files and NPZ arrays, and every way in which they can be wrong.

Deliberately not here: what a set of faces is (`faces`) and what its numbers mean as light (`photographs`).
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from optics_sim.data.photographs import encode_uint8, resize_light, srgb_to_linear
from optics_sim.errors import PrivcamError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".tif", ".tiff"})
WORKING_SIDE_PX = 112  # pictures of differing sizes become centred squares of this side
KEPT_SIDE_PX = 512  # pictures of one size are kept as they are up to this side
_ENTRY_LIMIT_BYTES = 64 * 2**20
LABELS = "labels.csv"


@dataclass(frozen=True)
class Entry:
    """One file of a source: its path below the source's root, and how to read its bytes."""

    path: PurePosixPath
    read: Callable[[], bytes]

    @property
    def person(self) -> str:
        """The top folder."""
        return self.path.parts[0]


def data_root() -> Path | None:
    """Returns the folder of data sets named by the environment variable PRIVCAM_DATA, or None."""
    named = os.environ.get("PRIVCAM_DATA")
    return Path(named) if named and Path(named).is_dir() else None


def located(source: str | Path, packed: Collection[str], allowed: str) -> Path:
    """Returns where a source lies: its path, or the name below PRIVCAM_DATA.

    A folder without folders that holds one file with a suffix of `packed` stands for that file. `allowed` says in an error
    what a source may be. PrivcamError where there is nothing.
    """
    path, root = Path(source), data_root()
    if not path.exists() and root is not None and not path.is_absolute() and (root / path).exists():
        path = root / path
    if not path.exists():
        raise PrivcamError("no such data", got=str(path), allowed=allowed,
                           todo="check the path" + ("" if root else "; PRIVCAM_DATA names no folder of data sets"))
    if not path.is_dir():
        return path
    children = [child for child in path.iterdir() if not child.name.startswith(".")]
    files = [child for child in children if child.suffix.lower() in packed]
    return files[0] if len(files) == 1 and not any(child.is_dir() for child in children) else path


def folder_entries(root: Path) -> list[Entry]:
    """Returns the pictures (and labels.csv) below a folder, sorted; hidden files and folders are not looked at."""
    found = sorted(path for path in root.rglob("*") if not path.is_dir())
    relative = ((PurePosixPath(path.relative_to(root).as_posix()), path) for path in found)
    return [Entry(name, path.read_bytes) for name, path in relative if _wanted(name)]


def zip_entries(archive: zipfile.ZipFile, name: str) -> list[Entry]:
    """Returns the pictures (and labels.csv) of a zip file, sorted; nothing is unpacked to the disk.

    One folder around all people is looked through. PrivcamError for paths that leave the archive, for
    encrypted or huge entries.
    """
    infos = sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename)
    for info in infos:
        _refuse_tricks(info, name)
    wanted = [(PurePosixPath(info.filename), info) for info in infos if _wanted(PurePosixPath(info.filename))]
    depth = _wrapping_depth([path for path, _ in wanted])
    return [Entry(PurePosixPath(*path.parts[depth:]), lambda info=info: archive.read(info)) for path, info in wanted]  # type: ignore[misc]


def decode(data: bytes) -> Image.Image:
    """Returns an upright 8-bit picture, mode L or RGB; OSError and ValueError when the bytes are none.

    EXIF orientation is applied, 16-bit gray becomes 8-bit, transparency is dropped.
    """
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):
        return Image.fromarray((np.asarray(upright, dtype=np.int64).clip(0, 65535) / 257 + 0.5).astype(np.uint8))
    if upright.mode == "F":
        raise ValueError("floating-point pictures have no stated white")
    return upright if upright.mode in ("L", "RGB") else upright.convert("L" if upright.mode in ("1", "LA") else "RGB")


def read_pictures(entries: list[Entry], *, strict: bool) -> tuple[list[Entry], NDArray[np.uint8], list[str]]:
    """Returns (entries read, pictures uint8 [n, H, W] or [n, H, W, 3], paths skipped).

    Pictures of one size up to 512 pixels are kept; otherwise each becomes the centred square of
    112 pixels (area average in linear light). One picture in colour makes the set a colour set.
    PrivcamError names the first unreadable file when `strict`.
    """
    kept, pictures, skipped = [], [], []
    size = _common_size(entries)
    for entry in entries:
        try:
            pictures.append(_sized(decode(entry.read()), size))
            kept.append(entry)
        except (OSError, ValueError, SyntaxError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
            if strict:
                raise PrivcamError(f"{entry.path} cannot be read as a picture", got=error or type(error).__name__,
                                   todo="replace or remove the file, or skip unreadable files (strict=False)") from None
            skipped.append(str(entry.path))
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2) for picture in pictures]
    return kept, np.stack(pictures) if pictures else np.empty((0, 1, 1), np.uint8), skipped


def read_npz(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...] | None]:
    """Returns (images, labels, people or None) of an NPZ file with keys images, labels and, optionally, people.

    Pickled content is never loaded. PrivcamError for missing keys and wrong shapes or types.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"images", "labels"} - set(arrays.files)
            if missing:
                raise PrivcamError(f"{path.name} lacks the array {' and '.join(sorted(missing))}", got=arrays.files,
                                   allowed="images uint8 [n, H, W] or [n, H, W, 3], labels integer [n]",
                                   todo="save it with np.savez_compressed(file, images=..., labels=...)")
            images, labels = arrays["images"], arrays["labels"]
            names = tuple(str(name) for name in arrays["people"]) if "people" in arrays.files else None
    except PrivcamError:
        raise
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise PrivcamError(f"{path.name} is not an NPZ file of plain arrays", got=error,
                           todo="save it with np.savez_compressed, without object arrays") from None
    _check_arrays(path.name, images, labels)
    return images, labels.astype(np.int64), names


def _check_arrays(name: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    shaped = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype != np.uint8 or not shaped or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise PrivcamError(f"the arrays of {name} do not fit",
                           got=f"images {images.dtype} {images.shape}, labels {labels.dtype} {labels.shape}",
                           allowed="images uint8 [n, H, W] or [n, H, W, 3], labels integer [n]", todo="convert the arrays")


def _wanted(path: PurePosixPath) -> bool:
    if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or path.name == LABELS


def _refuse_tricks(info: zipfile.ZipInfo, name: str) -> None:
    path = PurePosixPath(info.filename)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in info.orig_filename or ":" in info.filename
    reasons = ((leaves, "a path that leaves the archive"), (bool(info.flag_bits & 1), "an encrypted file"),
               (info.file_size > _ENTRY_LIMIT_BYTES, f"a file above {_ENTRY_LIMIT_BYTES >> 20} MiB"))
    for wrong, reason in reasons:
        if wrong:
            raise PrivcamError(f"{name} holds {reason}", got=info.orig_filename, allowed="person/picture.jpg",
                               todo="do not trust this archive; make a new one from a folder of people")


def _wrapping_depth(paths: list[PurePosixPath]) -> int:
    pictures = [path.parts for path in paths if path.name != LABELS]
    wrapped = len(pictures) > 0 and all(len(parts) >= 3 for parts in pictures) and len({parts[0] for parts in pictures}) == 1
    return int(wrapped)


def _common_size(entries: list[Entry]) -> tuple[int, int] | None:
    """Returns None when every readable picture has one modest size (kept as is), else the working square."""
    sizes = set()
    for entry in entries:
        try:
            with Image.open(io.BytesIO(entry.read())) as header:
                turned = header.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5 to 8 swap rows and columns
                sizes.add(header.size[::-1] if turned else header.size)
        except (OSError, ValueError, SyntaxError, zipfile.BadZipFile, Image.DecompressionBombError):
            continue  # reported, with its reason, when it is decoded
        if len(sizes) > 1 or max(header.size) > KEPT_SIDE_PX:
            return WORKING_SIDE_PX, WORKING_SIDE_PX
    return None


def _sized(picture: Image.Image, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    values = np.asarray(picture)
    if size is None:
        return values
    light = srgb_to_linear(values)
    if light.ndim == 2:
        return encode_uint8(resize_light(light, size))
    return encode_uint8(np.moveaxis(resize_light(np.moveaxis(light, -1, 0), size), 0, -1))

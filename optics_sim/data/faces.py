"""A set of faces, real or synthetic, and the one loader that makes it from whatever lies on the disk.

Deliberately not here: how files are read (`sources`), un-gamma and resize (`photographs`), splits (`splits`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from optics_sim.data.labels import Attributes, read_labels
from optics_sim.data.photographs import Fit, gray_light, rgb_light, srgb_to_linear
from optics_sim.data.sources import LABELS, Entry, data_root, folder_entries, located, read_npz, read_pictures, zip_entries
from optics_sim.errors import PrivcamError

__all__ = ["FaceSet", "data_root", "load", "srgb_to_linear"]


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Pictures of people: display-encoded uint8 [n, H, W] or [n, H, W, 3], labels int64 [n] into `people`.

    `note` says where they come from; `skipped` lists unreadable files that were left out; `attributes`
    holds int64 [n] per attribute (-1 missing), an index into `categories` of the same name.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    kind: Literal["real", "synthetic"]
    note: str = ""
    skipped: tuple[str, ...] = ()
    attributes: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shaped = self.images.ndim == 3 or (self.images.ndim == 4 and self.images.shape[3] == 3)
        if self.images.dtype != np.uint8 or not shaped:
            raise PrivcamError("pictures must be 8-bit", got=f"{self.images.dtype} {self.images.shape}",
                               allowed="uint8 [n, H, W] or [n, H, W, 3]", todo="convert them")
        columns = {"labels": self.labels, **self.attributes}
        wrong = [name for name, column in columns.items() if column.shape != self.images.shape[:1]]
        if wrong or (len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.people)):
            raise PrivcamError("a face set needs one label per picture, each an index into its people",
                               got=wrong or f"labels {self.labels.min()}..{self.labels.max()}, {len(self.people)} people",
                               todo="number the people from 0")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pictures of each person, int64 [people]."""
        return np.bincount(self.labels, minlength=len(self.people)).astype(np.int64)

    def select_images(self, indices: NDArray[np.int64]) -> FaceSet:
        """Returns the set of some pictures, in the order given; the people and their numbers stay."""
        chosen = {name: column[indices] for name, column in self.attributes.items()}
        return replace(self, images=self.images[indices], labels=self.labels[indices], attributes=chosen)

    def select_people(self, indices: Sequence[int] | NDArray[np.int64]) -> FaceSet:
        """Returns the set of some people; the person at `indices[i]` becomes number i.

        Raises PrivcamError for a number that is no person, or twice the same.
        """
        chosen = [int(index) for index in indices]
        if len(set(chosen)) != len(chosen) or not all(0 <= index < len(self.people) for index in chosen):
            raise PrivcamError("not a choice of people", got=chosen, allowed=f"different numbers below {len(self.people)}",
                               todo="give each person once")
        renumbered = np.full(len(self.people), -1, dtype=np.int64)
        renumbered[chosen] = np.arange(len(chosen))
        part = self.select_images(np.flatnonzero(renumbered[self.labels] >= 0))
        return replace(part, labels=renumbered[part.labels], people=tuple(self.people[index] for index in chosen))

    def largest(self, k: int) -> FaceSet:
        """Returns the k people with the most pictures, most first; equal counts keep their order."""
        if not 1 <= k <= len(self.people):
            raise PrivcamError(f"cannot choose the {k} largest people of {self.name}", got=k,
                               allowed=f"1 to {len(self.people)}", todo="ask for fewer people or give a larger set")
        return self.select_people(np.argsort(-self.counts, kind="stable")[:k])

    def gray(self, shape: tuple[int, int] = (63, 63), fit: Fit = "crop") -> NDArray[np.float32]:
        """Returns scenes [n, *shape]: linear radiance 0..1 relative to white.

        Un-gamma by `srgb_to_linear`, luminance by BT.709, then the exact area average, in linear light. `fit`
        names what happens when the aspect ratios differ: `crop` takes the largest centred window of the
        wanted ratio, `pad` the smallest one around the picture (black outside), `stretch` the whole picture.
        """
        return gray_light(self.images, shape, fit)

    def rgb(self, shape: tuple[int, int] = (63, 63), fit: Fit = "crop") -> NDArray[np.float32]:
        """Returns scenes [n, *shape, 3]: linear RGB 0..1; a gray set gives three equal planes. See `gray`."""
        return rgb_light(self.images, shape, fit)


def load(source: str | Path, *, min_images: int = 3, strict: bool = True, drop_small: bool = False) -> FaceSet:
    """Returns the faces of a source: a folder with a folder per person, a zip of one, or an NPZ file.

    A folder that holds nothing but one zip or NPZ file stands for that file, and a name that is no path
    is looked for below PRIVCAM_DATA. `strict=False` leaves unreadable pictures out and lists them in
    `skipped`; `drop_small` leaves people with fewer than `min_images` pictures out instead of refusing
    them (three are needed for one each in train, validation and test). A `labels.csv` beside the people
    gives attributes. Raises PrivcamError which says what is wrong, where, and what to do.
    """
    path = located(source, (".npz", ".zip"), "a folder with a folder per person, a zip of one, or an NPZ")
    if path.is_dir():
        faces = _from_entries(path.name or str(path), folder_entries(path), strict)
    elif path.suffix.lower() == ".npz":
        faces = _from_npz(path)
    else:
        faces = _from_zip(path, strict)
    return _checked(faces, min_images, drop_small)


def _from_npz(path: Path) -> FaceSet:
    images, labels, names = read_npz(path)
    found, numbers = np.unique(labels, return_inverse=True)
    if names is not None and len(found) and not 0 <= found[0] <= found[-1] < len(names):
        raise PrivcamError(f"the labels of {path.name} do not index its people", got=f"{found[0]}..{found[-1]}",
                           allowed=f"0 to {len(names) - 1}", todo="mend the labels")
    people = tuple(names[label] if names is not None else f"person_{label:03d}" for label in found)
    return FaceSet(path.parent.name or path.stem, images, numbers.astype(np.int64), people, "real", note=path.name)


def _from_zip(path: Path, strict: bool) -> FaceSet:
    if not zipfile.is_zipfile(path):
        raise PrivcamError(f"{path.name} is neither a folder of people nor a zip or NPZ file", got=str(path),
                           allowed="a folder with a folder per person, a zip of one, or an NPZ", todo="give one of these")
    with zipfile.ZipFile(path) as archive:
        faces = _from_entries(path.parent.name or path.stem, zip_entries(archive, path.name), strict)
    return replace(faces, note=path.name)


def _from_entries(name: str, entries: list[Entry], strict: bool) -> FaceSet:
    pictures = [entry for entry in entries if entry.path.name != LABELS]
    inside = [entry for entry in pictures if len(entry.path.parts) > 1]
    if not inside:
        what = f"{name} holds pictures but no folder per person" if pictures else f"{name} holds no pictures"
        raise PrivcamError(what, got=f"{len(pictures)} pictures", allowed="person/picture.jpg (png, bmp, pgm, ppm, tif)",
                           todo="make one folder per person, named after the person, and put the pictures inside")
    kept, images, skipped = read_pictures(inside, strict=strict)
    names = sorted({entry.person for entry in inside})
    labels = np.array([names.index(entry.person) for entry in kept], dtype=np.int64)
    attributes, categories = _attributes(entries, kept, skipped)
    return FaceSet(name, images, labels, tuple(names), "real", skipped=tuple(skipped),
                   attributes=attributes, categories=categories)


def _attributes(entries: list[Entry], kept: list[Entry], skipped: list[str]) -> Attributes:
    table = next((entry for entry in entries if str(entry.path) == LABELS), None)
    if table is None:
        return {}, {}
    try:
        text = table.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise PrivcamError("labels.csv is not UTF-8 text", got=error, todo="save it as UTF-8 CSV") from None
    return read_labels(text, [str(entry.path) for entry in kept], [entry.person for entry in kept], skipped)


def _checked(faces: FaceSet, min_images: int, drop_small: bool) -> FaceSet:
    small = np.flatnonzero(faces.counts < min_images)
    if len(small) and drop_small:
        left_out = ", ".join(faces.people[index] for index in small)
        faces = faces.select_people(np.flatnonzero(faces.counts >= min_images))
        faces = replace(faces, note=f"{faces.note}; left out, too few pictures: {left_out}".lstrip("; "))
    elif len(small):
        who = ", ".join(f"{faces.people[index]} ({faces.counts[index]})" for index in small[:5])
        raise PrivcamError(f"{len(small)} people of {faces.name} have too few pictures", got=who,
                           allowed=f"at least {min_images} each", todo="add pictures, remove the folder, or drop_small=True")
    if len(faces.people) < 2:
        raise PrivcamError(f"{faces.name} holds fewer than 2 people", got=list(faces.people), allowed="2 or more",
                           todo="give the folder whose sub-folders are the people")
    return faces

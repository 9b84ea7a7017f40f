"""`privcam lineage`: the chain of designs from one run back to the author's file, by digest."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.run import read_record

HELP = "print the chain of designs a run's camera was made from"
_DESIGN_PLACES = ("design.toml", "design/design.toml")
_SHORT = 12  # hex digits of a digest shown: enough to name one design among millions


@dataclass(frozen=True)
class Link:
    """One design of a chain: its digest, and the file found for it (none when its file is not here)."""

    digest: str
    design: CameraDesign | None = None
    file: Path | None = None

    def text(self) -> str:
        """Returns the line a person reads."""
        if self.design is None or self.file is None:
            return f"{self.digest[:_SHORT]}  (its design file is not under the searched folders; --search FOLDER adds one)"
        return f"{self.digest[:_SHORT]}  {self.design.name}  {self.file}{_verb_of(self.file)}{_edited(self.file, self.digest)}"


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the run and where to look for its ancestors."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, or a design.toml")
    parser.add_argument("--search", type=Path, action="append", default=[], metavar="FOLDER",
                        help="more folders to look into; always looked into: the folder that holds RUN")


def run(arguments: Namespace) -> int:
    """Returns 0 after printing the chain, newest first; 1 when it ends at a design that is not here."""
    file = design_file(arguments.run)
    home = arguments.run if arguments.run.is_dir() else file.parent
    links = chain(file, _design_files([home.resolve().parent, *arguments.search]))
    for link in links:
        print(link.text())
    return 0 if links[-1].design is not None else 1


def design_file(place: Path) -> Path:
    """Returns the design file of a run folder or the file itself; PrivcamError when there is none."""
    candidates = [place, *(place / name for name in _DESIGN_PLACES)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise PrivcamError("no design in this run", got=place, allowed=f"a folder with {' or '.join(_DESIGN_PLACES)}",
                           todo="name a run folder that `privcam design` made, or a design.toml")
    return found


def chain(file: Path, others: Iterable[Path]) -> list[Link]:
    """Returns the design of `file`, its parent, its parent's parent ..., as far as the files go."""
    known = {design.digest: Link(design.digest, design, path) for path, design in _readable(others)}
    first = CameraDesign.load(file)
    links = [Link(first.digest, first, file)]
    while (design := links[-1].design) is not None and design.parent is not None:
        links.append(known.get(design.parent, Link(design.parent)))
    return links


def _design_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("design.toml"))


def _readable(files: Iterable[Path]) -> Iterator[tuple[Path, CameraDesign]]:
    """Yields the designs among the files; one that is not valid here cannot be an ancestor and is passed over."""
    for file in files:
        try:
            yield file, CameraDesign.load(file)
        except PrivcamError:
            continue


def _verb_of(file: Path) -> str:
    for folder in (file.parent, file.parent.parent):
        record = read_record(folder)
        if record is not None:
            return f"  [{record['verb']}: {record['status']}]"
    return ""


def _edited(file: Path, digest: str) -> str:
    """Returns a warning when the digest written on a saved file's first line is no longer its content's."""
    words = file.read_text(encoding="utf-8").split("\n", 1)[0].split()
    stale = words[:2] == ["#", "digest"] and words[2:] != [digest]
    return "  (edited after it was saved)" if stale else ""

"""Firmware images: the C project in `firmware/` built around the C files of one encoder.

Deliberately not here: making those files, and flashing or running an image.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optics_sim.errors import PrivcamError

FIRMWARE = Path(__file__).parent / "firmware"
"""The folder of the C project."""
USUAL_BOARDS = ("stm32f405", "mps2-an386")
"""One to buy, and the emulated one whose instructions can be counted."""

_BUILD_S = 300.0


@dataclass(frozen=True)
class Image:
    """The files of one build: an ELF for every board, and `.bin` and `.hex` for all but the host."""

    board: str
    elf: Path
    files: tuple[Path, ...]


def boards() -> tuple[str, ...]:
    """Returns the names of the boards that have support, sorted."""
    return tuple(sorted(file.parent.name for file in FIRMWARE.glob("boards/*/board.mk")))


def missing_tools(board: str) -> tuple[str, ...]:
    """Returns what this machine lacks to build for a board: names of programs, best installed by Debian's packages."""
    compilers = ("cc",) if board == "host" else ("arm-none-eabi-gcc", "arm-none-eabi-objcopy")
    return tuple(tool for tool in ("make", *compilers) if shutil.which(tool) is None)


def build_image(board: str, encoder: Path, out: Path, *, build: Literal["release", "test"] = "release", project: Path = FIRMWARE) -> Image:
    """Returns the image of an encoder for a board, made in the folder `out`; the same sources give the same bytes anywhere.

    `encoder` is a folder with `encoder_sizes.h` and C files that give what `firmware/encoder.h` asks for. A test build has
    sanitizers on the host; `project` is the folder of the C project, or of a copy.

    Raises PrivcamError for an unknown board, missing tools, and what the compiler says.
    """
    if board not in boards():
        raise PrivcamError("a board of the firmware", got=board, allowed=", ".join(boards()))
    if missing := missing_tools(board):
        raise PrivcamError("tools to build firmware are missing", got=", ".join(missing),
                           todo="install Debian's make, gcc, gcc-arm-none-eabi and libnewlib-arm-none-eabi")
    words = [f"BOARD={board}", f"BUILD={build}", f"ENCODER={_without_spaces(encoder)}", f"OUT={_without_spaces(out)}"]
    command = ["make", "--silent", "-C", str(project), *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_S)
    if answer.returncode != 0:
        raise PrivcamError(f"the firmware does not build for {board}", got=answer.stderr.strip()[-2000:])
    return Image(board, out / "firmware.elf", tuple(sorted(out.glob("firmware.*"))))


def image_sizes(image: Image) -> dict[str, int]:
    """Returns the bytes of an image by what holds them: `text` (code and constants), `data` (copied to RAM) and `bss` (zeros)."""
    tool = "size" if image.board == "host" else "arm-none-eabi-size"
    answer = subprocess.run([tool, "-B", str(image.elf)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise PrivcamError("the sizes of an image cannot be read", got=answer.stderr.strip() or tool, todo="install Debian's binutils")
    names, values = (line.split()[:3] for line in answer.stdout.splitlines()[:2])
    return {name: int(value) for name, value in zip(names, values, strict=True)}


def _without_spaces(folder: Path) -> Path:
    place = folder.resolve()
    if any(letter.isspace() for letter in str(place)):
        raise PrivcamError("make cannot work with spaces in a path", got=place, todo="use a folder without spaces")
    return place

"""A calibration: its parts one after the other, each a capture session in a folder of its own, and what they found together.

A part goes on where it stopped, on another day or on another bench, for a lamp and a stage need not stand on one table. Deliberately
not here: what a part does (`sensor.py`, `mask.py`), and the page (`page.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from calibration import datasheet
from calibration.as_built import Calibration
from hil.bench import Bench
from hil.calibrate import mask, sensor
from hil.calibrate.frames import Work
from hil.calibrate.request import Request
from hil.session import occasion
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.measure import Measure

Part = Literal["sensor", "mask"]
PARTS: tuple[Part, ...] = ("sensor", "mask")
FOUND, SHEET, DESIGN = "calibration.json", "datasheet.json", "as_built"
Opened = Callable[[Part], AbstractContextManager[Bench]]


def calibrate(design: CameraDesign, opened: Opened, folder: Path, request: Request, parts: tuple[Part, ...], *, light: float | None,
              clock: Callable[[], str], say: Callable[[str], None]) -> Calibration:
    """Returns what is known of the camera of a design after `parts` were measured; what lies in the folder of other parts counts too.

    `light`: see `sensor.measure`. Writes each part's figures, `calibration.json` and the design `as_built/`.
    Raises PrivcamError with what to take again.
    """
    def work(part: Part) -> Work:
        return Work(design, lambda: opened(part), folder / part, clock, lambda text: say(f"{part}: {text}"))

    if "sensor" in parts:
        sensor.measure(work("sensor"), request, light)
    of_sensor = _kept(folder / "sensor" / SHEET)
    if "mask" in parts:
        if not of_sensor:
            raise PrivcamError("the mask's frames cannot be judged", got=f"no {folder / 'sensor' / SHEET}",
                               allowed="a measured sensor: its gain, noise and saturation", todo="measure the part sensor first")
        mask.measure(work("mask"), request, of_sensor)
    found = Calibration(design=design.digest, sensor=of_sensor, mask=_kept(folder / "mask" / mask.GEOMETRY))
    write_atomically(folder / FOUND, found.model_dump_json(indent=1).encode())
    found.as_built(design).save(folder / DESIGN)
    return found


def opener(bench: Path, folder: Path, say: Callable[[str], None]) -> Opened:
    """Returns what opens a bench for a part; a simulated camera's noise is another for each part and each time it is opened.

    `say` gets what a rig has to tell.
    """
    def opened(part: Part) -> AbstractContextManager[Bench]:
        return Bench.open(bench, occasion=len(PARTS) * occasion(folder / part) + PARTS.index(part), tell=say)

    return opened


def load(folder: Path) -> Calibration:
    """Returns the calibration that lies in a folder; PrivcamError where none does."""
    try:
        return Calibration.model_validate_json((folder / FOUND).read_bytes())
    except (OSError, ValidationError) as error:
        raise PrivcamError("no calibration", got=f"{folder}: {error}", todo="run privcam calibrate") from None


def _kept(file: Path) -> dict[str, Measure]:
    return datasheet.figures(file.read_text(encoding="utf-8")) if file.exists() else {}

"""The last stages of a longer job: a finished design's camera is put on a bench, calibrated, validated, and its recogniser adapted.

A camera that cannot be calibrated is told of, with what to do, and costs the job nothing else. Deliberately not here: calibrating and
validating themselves (`hil/calibrate/`, `hil/validation/`), and the commands that do each alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from calibration.as_built import Calibration
from hil.bench import even_light
from hil.calibrate import page
from hil.calibrate.request import Request
from hil.calibrate.run import DESIGN, PARTS, calibrate
from hil.calibrate.run import opener as part_opener
from hil.simulated_bench import write_bench
from hil.validation.run_folder import DesignRun
from hil.validation.stage import Asked, validate
from hil.validation.stage import opener as picture_opener
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Adapting
from optics_sim.report.lensless_table import Table
from optics_sim.report.validation_table import validation_tables, write_validation
from optics_sim.run import Run

CALIBRATION, VALIDATION, BENCH = "calibration", "validation", "bench"
QUICK = Request(levels=12, stack=16, repeats=2, rungs=1)


def on_bench(out: Path, bench: Path | None, pictures: int, say: Callable[[str], None], clock: Callable[[], str], *,
             device: str = "cpu") -> list[Table]:
    """Returns the tables of a calibration and a validation of the design in a run's folder, and writes both below it.

    `bench`: a bench.toml; None is a simulated one, whose camera is made otherwise than designed. `pictures`: of each person, at most.
    """
    run = DesignRun.load(out, device=device)
    file = bench or write_bench(out / "design" / "design.toml", out / BENCH, run.experiment.seed)
    try:
        found = _calibrated(run.design, file, out / CALIBRATION, say, clock)
    except PrivcamError as error:
        say(f"not calibrated: {error}")
        return [(["Why"], [[str(error)]], "This camera was not calibrated", ["`privcam calibrate` goes on in the folder `calibration`."])]
    return [page.table(found, run.design), *_validated(run, file, out, pictures, say, clock)]


def _calibrated(design: CameraDesign, bench: Path, folder: Path, say: Callable[[str], None], clock: Callable[[], str]) -> Calibration:
    with Run(folder, "calibrate", {"bench": bench, **QUICK.model_dump()}) as record:
        record.add_input("bench", bench)
        found = calibrate(design, part_opener(bench, folder, say), folder, QUICK, PARTS, light=even_light(bench), clock=clock,
                          say=lambda text: None if " shot " in text else say(f"calibrating, {text}"))
        page.write(found, design, folder)
    return found


def _validated(run: DesignRun, bench: Path, out: Path, pictures: int, say: Callable[[str], None], clock: Callable[[], str]) -> list[Table]:
    def tell(text: str) -> None:
        if "epoch " not in text:
            say(f"validating, {text}")

    asked = Asked(as_built=CameraDesign.load(out / CALIBRATION / DESIGN), adapting=Adapting(), per_person=pictures, controls=False,
                  uncalibrated=False)
    with Run(out / VALIDATION, "validate", {"bench": bench, "run": out, "pictures": pictures}, run.experiment.seed) as record:
        record.add_input("bench", bench)
        found = validate(run, picture_opener(bench, say), out / VALIDATION, asked, tell, clock)
        write_validation(out / VALIDATION, found, record)
    return validation_tables(found)

"""The run's recogniser, trained on for the camera as it was built, beside the run's own, which stays as it is.

`adapted/recogniser.safetensors` with `adapted/adapted.json`: from which recogniser, for which design, how. A training that was killed
goes on from its last epoch. Deliberately not here: the training itself (`optics_sim.learning.pipeline`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors.torch import save

from hil.encoder_graphs import kept_recogniser
from hil.validation.run_folder import RECOGNISER, DesignRun, digest_of_file
from optics_sim.attacks.evaluate import digest_of, recognition
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.experiment import Adapting, Experiment
from optics_sim.learning.cohort import Cohort
from optics_sim.learning.pipeline import adapt_recogniser
from optics_sim.learning.recognisers import Recogniser
from optics_sim.measure import Measure
from optics_sim.plain import Plain
from optics_sim.report.rows import measure_of

FOLDER, PROVENANCE = "adapted", "adapted.json"
Say = Callable[[str], None]


class Provenance(Plain):
    """Where an adapted recogniser comes from: digests of the run's recogniser, of the nominal and of the as-built design."""

    recogniser: str
    design: str
    as_built: str
    seed: int
    adapting: Adapting
    pictures: int
    key: str


@dataclass(frozen=True)
class Adapted:
    """An adapted recogniser and where it comes from."""

    network: Recogniser
    provenance: Provenance


def adapt(run: DesignRun, as_built: CameraDesign, cohort: Cohort, experiment: Experiment, adapting: Adapting, out: Path,
          say: Say) -> Adapted:
    """Returns the run's recogniser trained on with the as-built twin's codes of its training pictures, kept below `out`.

    One that is there and depends on nothing else is read.
    """
    folder = out / FOLDER
    provenance = _provenance(run, as_built, cohort, experiment, adapting)
    if _kept(folder) == provenance:
        return read_adapted(out, run, as_built)
    folder.mkdir(parents=True, exist_ok=True)
    say(f"adapting the recogniser to {as_built.name}: {adapting.epochs} epochs on {provenance.pictures} pictures")
    checkpoint = folder / f"training.{provenance.key[:12]}.safetensors"
    network = adapt_recogniser(as_built, run.recogniser(), cohort.train, experiment, adapting, checkpoint=checkpoint,
                               on_epoch=lambda done: say(f"epoch {done['epoch']:g}: accuracy in training {done['accuracy']:.3f}"))
    (folder / PROVENANCE).unlink(missing_ok=True)  # without it, what is there is half of an adaptation
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomically(folder / RECOGNISER, save(tensors))
    write_atomically(folder / PROVENANCE, (provenance.model_dump_json(indent=1) + "\n").encode())
    for part in folder.glob("training.*.safetensors"):
        part.unlink()
    return read_adapted(out, run, as_built)


def read_adapted(out: Path, run: DesignRun, as_built: CameraDesign) -> Adapted:
    """Returns the adapted recogniser kept below `out`. Raises PrivcamError where there is none, or one for another camera or run."""
    provenance = _kept(out / FOLDER)
    if provenance is None:
        raise PrivcamError("no adapted recogniser there", got=str(out / FOLDER), todo="make one: privcam adapt")
    found, wanted = (provenance.recogniser, provenance.as_built), (digest_of_file(run.recogniser_file), as_built.digest)
    if found != wanted:
        raise PrivcamError("this recogniser was adapted for another run or another as-built design",
                           got=f"{found[0][:12]}, {found[1][:12]}", allowed=f"{wanted[0][:12]}, {wanted[1][:12]}",
                           todo="adapt anew: privcam adapt")
    return Adapted(kept_recogniser(out / FOLDER / RECOGNISER).to(run.setting.device), provenance)


def is_adapted(out: Path) -> bool:
    """Returns whether a folder keeps an adapted recogniser."""
    return _kept(out / FOLDER) is not None


def recovered(run: DesignRun, as_built: CameraDesign, cohort: Cohort, experiment: Experiment, adapted: Adapted) -> list[Measure]:
    """Returns recognition of the enrolled on the nominal twin and, before and after adapting, on the as-built one; all simulated."""
    twins = {"nominal": (run.design, run.recogniser()), "as_built/before": (as_built, run.recogniser()),
             "as_built/after": (as_built, adapted.network)}
    found = []
    for name, (design, network) in twins.items():
        camera = PrivacyCamera.from_design(design).to(cohort.test.scenes.device)
        found += [measure_of(sample, f"{name}/{sample.name}") for sample in recognition(camera, network, cohort, experiment)]
    return found


def _provenance(run: DesignRun, as_built: CameraDesign, cohort: Cohort, experiment: Experiment, adapting: Adapting) -> Provenance:
    recogniser = digest_of_file(run.recogniser_file)
    key = digest_of(recogniser, run.design.digest, as_built.digest, experiment.seed, experiment.training.model_dump(mode="json"),
                    adapting.model_dump(mode="json"), tensors=[cohort.train.labels, cohort.train.scenes])
    return Provenance(recogniser=recogniser, design=run.design.digest, as_built=as_built.digest, seed=experiment.seed, adapting=adapting,
                      pictures=len(cohort.train), key=key)


def _kept(folder: Path) -> Provenance | None:
    file = folder / PROVENANCE
    if not file.is_file() or not (folder / RECOGNISER).is_file():
        return None
    try:
        return Provenance.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise PrivcamError("not the record of an adapted recogniser", got=f"{file}: {error.errors()[0]['msg']}",
                           todo="adapt anew into another folder") from None

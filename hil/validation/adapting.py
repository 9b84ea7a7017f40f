"""The run's recogniser, trained on for the camera as it was built, beside the run's own, which stays as it is.

`adapted/recogniser.safetensors` with `adapted/adapted.json`: from which recogniser, for which design, how. `undisturbed/` holds its
control: the same, trained on just as long for the nominal twin. A training that was killed goes on from its last epoch.
Deliberately not here: the training itself (`optics_sim.learning.pipeline`).
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

ADAPTED, UNDISTURBED, PROVENANCE = "adapted", "undisturbed", "adapted.json"
Say = Callable[[str], None]


class Provenance(Plain):
    """Where an adapted recogniser comes from: digests of the run's recogniser, of the run's design, and of the one it was adapted to."""

    recogniser: str
    design: str
    adapted_to: str
    seed: int
    adapting: Adapting
    pictures: int
    key: str


@dataclass(frozen=True)
class Adapted:
    """A recogniser adapted to the as-built twin, its control, trained on for the nominal twin, and where the first comes from."""

    network: Recogniser
    undisturbed: Recogniser
    provenance: Provenance


def adapt(run: DesignRun, as_built: CameraDesign, cohort: Cohort, experiment: Experiment, adapting: Adapting, out: Path,
          say: Say) -> Adapted:
    """Returns the run's recogniser trained on with the as-built twin's codes of its training pictures, and its control, kept below `out`.

    One that is there and depends on nothing else is read.
    """
    for name, design in ((ADAPTED, as_built), (UNDISTURBED, run.design)):
        _train(run, design, cohort, experiment, adapting, out / name, say)
    return read_adapted(out, run, as_built)


def _train(run: DesignRun, design: CameraDesign, cohort: Cohort, experiment: Experiment, adapting: Adapting, folder: Path,
           say: Say) -> None:
    provenance = _provenance(run, design, cohort, experiment, adapting)
    if _kept(folder) == provenance:
        return
    folder.mkdir(parents=True, exist_ok=True)
    say(f"{folder.name}: training on with codes of {design.name}, {adapting.epochs} epochs, {provenance.pictures} pictures")
    checkpoint = folder / f"training.{provenance.key[:12]}.safetensors"
    network = adapt_recogniser(design, run.recogniser(), cohort.train, experiment, adapting, checkpoint=checkpoint,
                               on_epoch=lambda done: say(f"{folder.name}: epoch {done['epoch']:g}, in training {done['accuracy']:.3f}"))
    (folder / PROVENANCE).unlink(missing_ok=True)  # without it, what is there is half of an adaptation
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomically(folder / RECOGNISER, save(tensors))
    write_atomically(folder / PROVENANCE, (provenance.model_dump_json(indent=1) + "\n").encode())
    for part in folder.glob("training.*.safetensors"):
        part.unlink()


def read_adapted(out: Path, run: DesignRun, as_built: CameraDesign) -> Adapted:
    """Returns what adapting kept below `out`. Raises PrivcamError where there is nothing, or what is of another camera or run."""
    network, provenance = _read(out / ADAPTED, run, as_built)
    return Adapted(network, _read(out / UNDISTURBED, run, run.design)[0], provenance)


def _read(folder: Path, run: DesignRun, design: CameraDesign) -> tuple[Recogniser, Provenance]:
    provenance = _kept(folder)
    if provenance is None:
        raise PrivcamError("no adapted recogniser there", got=str(folder), todo="make one: privcam adapt")
    found, wanted = (provenance.recogniser, provenance.adapted_to), (digest_of_file(run.recogniser_file), design.digest)
    if found != wanted:
        raise PrivcamError("this recogniser was adapted for another run or another as-built design",
                           got=f"{found[0][:12]}, {found[1][:12]}", allowed=f"{wanted[0][:12]}, {wanted[1][:12]}",
                           todo="adapt anew: privcam adapt")
    return kept_recogniser(folder / RECOGNISER).to(run.setting.device), provenance


def is_adapted(out: Path) -> bool:
    """Returns whether a folder keeps an adapted recogniser and its control."""
    return all(_kept(out / name) is not None for name in (ADAPTED, UNDISTURBED))


def recovered(run: DesignRun, as_built: CameraDesign, cohort: Cohort, experiment: Experiment, adapted: Adapted) -> list[Measure]:
    """Returns recognition of the enrolled on both twins, before and after training on for each; all simulated."""
    own = run.recogniser()
    twins = {"nominal/before": (run.design, own), "nominal/after": (run.design, adapted.undisturbed),
             "as_built/before": (as_built, own), "as_built/after": (as_built, adapted.network)}
    found = []
    for name, (design, network) in twins.items():
        camera = PrivacyCamera.from_design(design).to(cohort.test.scenes.device)
        found += [measure_of(sample, f"{name}/{sample.name}") for sample in recognition(camera, network, cohort, experiment)]
    return found


def _provenance(run: DesignRun, design: CameraDesign, cohort: Cohort, experiment: Experiment, adapting: Adapting) -> Provenance:
    recogniser = digest_of_file(run.recogniser_file)
    key = digest_of(recogniser, run.design.digest, design.digest, experiment.seed, experiment.training.model_dump(mode="json"),
                    adapting.model_dump(mode="json"), tensors=[cohort.train.labels, cohort.train.scenes])
    return Provenance(recogniser=recogniser, design=run.design.digest, adapted_to=design.digest, seed=experiment.seed,
                      adapting=adapting, pictures=len(cohort.train), key=key)


def _kept(folder: Path) -> Provenance | None:
    file = folder / PROVENANCE
    if not file.is_file() or not (folder / RECOGNISER).is_file():
        return None
    try:
        return Provenance.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise PrivcamError("not the record of an adapted recogniser", got=f"{file}: {error.errors()[0]['msg']}",
                           todo="adapt anew into another folder") from None

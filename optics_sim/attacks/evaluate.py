"""One camera, judged whole: recognition of the enrolled, properties of the mask, every attack; kept as one row.

A row is written when it is complete, under the name of what it depends on, so a run that stops resumes with the
rows it has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from optics_sim.attacks.judge import Array, Judges, as_pictures, judge
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, DefocusOptics, LenslessOptics, write_atomically
from optics_sim.experiment import Experiment
from optics_sim.learning.cohort import Cohort
from optics_sim.learning.pipeline import train_recogniser
from optics_sim.learning.recognisers import Recogniser
from optics_sim.learning.seeds import numpy_generator, torch_generator
from optics_sim.learning.train import Labelled, OnEpoch, all_codes, correct
from optics_sim.plain import Plain
from optics_sim.report import metrics
from optics_sim.report.resampling import Sample, grouped_mean, sample

CONDITION_LIMIT = 4096  # measurements up to which the operator's singular values are computed


class Row(Plain):
    """What one camera did in one seed: its samples, and what they depend on."""

    label: str
    seed: int
    design_digest: str
    depends_on: str
    cohort: str
    samples: tuple[Sample, ...]

    def sample(self, name: str) -> Sample:
        """Returns the sample of a name; one without a value where the row has none."""
        return next((s for s in self.samples if s.name == name), Sample(name=name, value=None))


def depends_on(design: CameraDesign, experiment: Experiment, cohort: Cohort, extra: Sequence[object] = ()) -> str:
    """Returns a digest of everything a row depends on."""
    others = cohort.populations
    parts = (cohort.train, cohort.validation, cohort.test, others.attacker, others.victims)
    tensors = [tensor for part in parts for tensor in (part.labels, part.scenes)]
    return digest_of(design.digest, experiment.model_dump(mode="json"), cohort.note, list(map(str, extra)),
                     tensors=[*tensors, others.plain])


def digest_of(*values: object, tensors: Sequence[Tensor] = ()) -> str:
    """Returns the SHA-256 of JSON values and of tensors' bytes."""
    found = hashlib.sha256(json.dumps(values).encode())
    for tensor in tensors:
        found.update(tensor.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def evaluate(label: str, design: CameraDesign, cohort: Cohort, experiment: Experiment, judges: Judges, *,
             geometric: bool = False, decoder_counts: tuple[int, ...] = (), folder: Path | None = None,
             on_epoch: OnEpoch | None = None) -> Row:
    """Returns the row of a finished design; read from `folder` when it is there and nothing it depends on has changed.

    `geometric` adds the accuracy that the shadow without diffraction would have given.
    """
    key = depends_on(design, experiment, cohort, (label, geometric, decoder_counts, *judges.digests))
    if folder is not None and (kept := kept_row(folder, key)) is not None:
        return kept
    camera = PrivacyCamera.from_design(design).to(cohort.train.scenes.device)
    checkpoint = None if folder is None else _prepared(folder) / f"recogniser.{key[:12]}.part.safetensors"
    network = train_recogniser(design, cohort.train, experiment, checkpoint=checkpoint, on_epoch=on_epoch)
    samples = [*recognition(camera, network, cohort, experiment), *properties(camera, cohort)]
    if geometric and isinstance(design.optics, LenslessOptics):
        samples.append(_geometric(design, cohort, experiment))
    judgement = judge(camera, cohort.populations, experiment, judges, decoder_counts)
    row = Row(label=label, seed=experiment.seed, design_digest=design.digest, depends_on=key, cohort=cohort.note,
              samples=(*samples, *judgement.samples))
    if folder is not None:
        keep_row(folder, row, design, network.state_dict(), judgement.pictures)
        for part in folder.glob("recogniser.*.part.safetensors"):
            part.unlink()
    return row


def recognition(camera: PrivacyCamera, network: Recogniser, cohort: Cohort, experiment: Experiment) -> list[Sample]:
    """Returns the recognition accuracy of the enrolled on pictures never trained on: utility, and what the code carries."""
    samples = []
    for part, data in (("accuracy", cohort.test), ("validation_accuracy", cohort.validation)):
        hits = correct(camera, network, data, torch_generator(experiment.seed, part, device=data.scenes.device))
        samples.append(accuracy_sample(part, hits, data, experiment.seed))
    return samples


def accuracy_sample(name: str, hits: Tensor, data: Labelled, seed: int) -> Sample:
    """Returns the share of pictures recognised, `hits` [n] booleans; the enrolled people of `data` are resampled."""
    return grouped_mean(name, hits.double().cpu().numpy(), data.labels.cpu().numpy(), numpy_generator(seed, "enrolled"))


def properties(camera: PrivacyCamera, cohort: Cohort) -> list[Sample]:
    """Returns the paper's measures of a mask and of what it measures; a camera without a mask has only some."""
    generator = torch_generator(0, "properties", device=cohort.test.scenes.device)
    codes = as_pictures(all_codes(camera, cohort.test.scenes, generator))
    psf = camera.psf().detach().cpu().double().numpy()
    found = [sample("blurriness", float(np.mean(metrics.crete_roffet(codes))), n=len(codes)),
             sample("throughput", float(psf.sum())), sample("exposure", camera.design.exposure.exposure_s, unit="s"),
             sample("shift", camera.design.readout.shift, unit="bit")]
    transmission = camera.transmission()
    if transmission is not None:
        found.append(sample("aperture", float(transmission.detach().mean())))
    optics, (height, width) = camera.design.optics, camera.design.scene
    if isinstance(optics, LenslessOptics | DefocusOptics) and np.prod(camera.design.readout.shape) <= CONDITION_LIMIT:
        if isinstance(optics, LenslessOptics) and optics.convolution == "valid":
            height, width = height + psf.shape[0] - optics.cells[0], width + psf.shape[1] - optics.cells[1]
        if optics.convolution != "same":  # whose singular values nobody computes here
            found.append(sample("condition", metrics.condition_number(psf, (height, width), optics.convolution)))
    return found


def _geometric(design: CameraDesign, cohort: Cohort, experiment: Experiment) -> Sample:
    shadow = design.replace(**{"optics.propagation": "geometric", "parent": design.parent})
    network = train_recogniser(shadow, cohort.train, experiment)
    camera = PrivacyCamera.from_design(shadow).to(cohort.train.scenes.device)
    hits = correct(camera, network, cohort.test, torch_generator(experiment.seed, "accuracy", device=cohort.test.scenes.device))
    return accuracy_sample("accuracy_geometric", hits, cohort.test, experiment.seed)


def _prepared(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kept_row(folder: Path, key: str) -> Row | None:
    """Returns the row a folder holds, or None where there is none that depends on just this."""
    file = folder / "row.json"
    if not file.exists():
        return None
    row = Row.model_validate_json(file.read_text(encoding="utf-8"))
    return row if row.depends_on == key else None


def keep_row(folder: Path, row: Row, design: CameraDesign, tensors: dict[str, Tensor], pictures: Mapping[str, Array]) -> None:
    """Writes a row with its design, its recogniser and pictures for a page; the row itself last: then all is there."""
    design.save(folder)
    arrays = {name: torch.from_numpy(np.ascontiguousarray(images)) for name, images in pictures.items()}
    for name, held in (("recogniser", tensors), ("pictures", arrays)):
        on_disk = {key: value.detach().cpu().contiguous() for key, value in held.items()}
        write_atomically(folder / f"{name}.safetensors", to_bytes(on_disk))
    write_atomically(folder / "row.json", row.model_dump_json(indent=1).encode())

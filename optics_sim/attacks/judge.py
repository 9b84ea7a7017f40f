"""Everything the attackers try on one camera, as samples a report can combine, and pictures a page can show.

Privacy is measured on people who are not enrolled and whom no attacker has seen. Each attack is one entry of a
table: a new reconstruction is one function and one line in `RECONSTRUCTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.attacks import linear
from optics_sim.attacks.attributes import attribute_samples
from optics_sim.attacks.identity import embed, lda_embedding, train_embedder
from optics_sim.attacks.inversion import Inverter
from optics_sim.attacks.learned import decode, train_decoder
from optics_sim.attacks.public import FaceDetector, FaceVerifier
from optics_sim.attacks.verification import cosine_scores, verify
from optics_sim.attacks.view import Populations, View, victims_view
from optics_sim.camera import PrivacyCamera
from optics_sim.design import LenslessOptics, RandomPattern, RowsPattern
from optics_sim.experiment import Experiment
from optics_sim.learning.seeds import numpy_generator, torch_generator
from optics_sim.optics.patterns import transmission
from optics_sim.report.metrics import nmi, psnr, ssim
from optics_sim.report.resampling import Sample, grouped_mean, sample

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Judges:
    """Public networks that nobody here trained; None where the user gave none."""

    verifier: FaceVerifier | None = None
    detector: FaceDetector | None = None

    @classmethod
    def load(cls, verifier: str | None, detector: str | None) -> Judges:
        """Returns the networks of ONNX files; errors as `FaceVerifier` and `FaceDetector`."""
        return cls(FaceVerifier(Path(verifier)) if verifier else None, FaceDetector(Path(detector)) if detector else None)

    @property
    def digests(self) -> tuple[str, str]:
        """Returns the digests of the two networks' files, empty where there is none: a row depends on who judged it."""
        return (self.verifier.digest if self.verifier else "", self.detector.digest if self.detector else "")


@dataclass(frozen=True)
class Judgement:
    """The samples of all attacks, and the pictures of some victims: name -> [n, H, W] radiance; `person` says who."""

    samples: list[Sample]
    pictures: dict[str, Array] = field(default_factory=dict)


Reconstruction = Callable[[View, Inverter, torch.Generator], Tensor]


def _known(method: str) -> Reconstruction:
    def reconstruct(view: View, inverter: Inverter, generator: torch.Generator) -> Tensor:
        return inverter.run(method, view.codes)
    return reconstruct


def _wrong_mask(view: View, inverter: Inverter, generator: torch.Generator) -> Tensor:
    optics = inverter.design.optics
    if not isinstance(optics, LenslessOptics):
        return inverter.run("tikhonov", view.codes)
    other = transmission(RandomPattern(seed=_drawn(generator)), optics.cells, optics.cell_m)
    return inverter.believing(RowsPattern.from_array(other)).run("tikhonov", view.codes)


def _wrong_cells(fraction: float) -> Reconstruction:
    def reconstruct(view: View, inverter: Inverter, generator: torch.Generator) -> Tensor:
        optics = inverter.design.optics
        if not isinstance(optics, LenslessOptics):
            return inverter.run("tikhonov", view.codes)
        true = torch.as_tensor(transmission(optics.pattern, optics.cells, optics.cell_m))
        wrong = linear.wrong_cells(true, fraction, torch.Generator().manual_seed(_drawn(generator)))
        return inverter.believing(RowsPattern.from_array(wrong.numpy())).run("tikhonov", view.codes)
    return reconstruct


def _decoder(view: View, inverter: Inverter, generator: torch.Generator) -> Tensor:
    if view.pairs is None:
        raise ValueError("the decoder needs pairs")
    codes, scenes = view.pairs
    guesses = inverter.run("tikhonov", codes)
    decoder = train_decoder(codes, guesses, scenes, inverter.judging.decoder_steps, generator, inverter.training)
    return decode(decoder, view.codes, inverter.run("tikhonov", view.codes))


def reconstructions(experiment: Experiment) -> dict[str, Reconstruction]:
    """Returns the reconstruction attacks by name."""
    table: dict[str, Reconstruction] = {name: _known(name) for name in ("wiener", "tikhonov", "fista", "admm_tv")}
    table["wrong_mask"] = _wrong_mask
    for fraction in experiment.judging.wrong_cell_fractions:
        table[f"wrong_cells_{100 * fraction:g}%"] = _wrong_cells(fraction)
    table["decoder"] = _decoder
    return table


def judge(camera: PrivacyCamera, populations: Populations, experiment: Experiment, judges: Judges | None = None,
          decoder_counts: tuple[int, ...] = (), pictures: int = 8, view: View | None = None) -> Judgement:
    """Returns the judgement of a finished camera.

    `decoder_counts` adds decoders trained on fewer or more pairs (as far as there are pictures). Every attacker is
    trained afresh from `experiment.seed`. `view` is what the attackers hold, codes that were captured for one, in place of
    what `camera` makes of the victims; they still believe in `camera`.
    """
    device = populations.victims.scenes.device
    seed = experiment.seed
    view = view or victims_view(camera, populations, torch_generator(seed, "view", device=device))
    inverter = Inverter(camera.design, camera.psf().detach(), experiment.judging, experiment.training)
    truth = populations.victims.scenes
    labels = populations.victims.labels.cpu().numpy()
    recovered = {"mean_face": populations.plain.mean(0).expand_as(truth).contiguous()}
    for name, attack in reconstructions(experiment).items():
        shown = _with_pairs(view, experiment.judging.decoder_pairs) if name == "decoder" else view
        recovered[name] = attack(shown, inverter, torch_generator(seed, name, device=device)).clamp(0, 1)
    for count in decoder_counts:
        generator = torch_generator(seed, "decoder", device=device)
        recovered[f"decoder_{count}"] = _decoder(_with_pairs(view, count), inverter, generator)
    samples = list(_identity_samples(camera, populations, view, experiment, labels))
    samples += attribute_samples(view, populations, labels, experiment)
    code_pictures = as_pictures(view.codes)
    everything = {"scene": _numpy(truth), "code": code_pictures, **{name: _numpy(image) for name, image in recovered.items()}}
    guesses = {name: images for name, images in everything.items() if name not in ("scene", "code")}
    samples += _fidelity_samples(_numpy(truth), guesses, labels, seed)
    samples += _public_samples(everything, labels, experiment, judges or Judges())
    chosen = _two_of_each(labels, pictures)
    kept = {name: images[chosen] for name, images in everything.items()}
    return Judgement(samples, {**kept, "person": labels[chosen].astype(np.float32)})


def as_pictures(codes: Tensor) -> Array:
    """Returns codes as pictures in 0..1, each stretched between its own extremes (what a person would look at)."""
    low = codes.amin((-2, -1), keepdim=True)
    high = codes.amax((-2, -1), keepdim=True)
    return _numpy((codes - low) / (high - low).clamp(min=1e-6))


def _identity_samples(camera: PrivacyCamera, populations: Populations, view: View, experiment: Experiment,
                      labels: NDArray[np.int64]) -> list[Sample]:
    generator = torch_generator(experiment.seed, "embedder", device=view.codes.device)
    plan = experiment.training.model_copy(update={"epochs": experiment.judging.identity_epochs, "constraint": "none"})
    network = train_embedder(camera, populations.attacker, plan, generator)
    embeddings = {"network": embed(network, view.codes)}
    if view.labelled is not None:
        embeddings["lda"] = lda_embedding(view.labelled, view.codes)
    return [s for name, vectors in embeddings.items() for s in _verification(f"code/{name}", vectors, labels, experiment)]


def _verification(name: str, vectors: Array, labels: NDArray[np.int64], experiment: Experiment) -> list[Sample]:
    rng = numpy_generator(experiment.seed, "people")
    result = verify(cosine_scores(vectors), labels, rng, experiment.judging.shuffles)
    return [
        sample(f"{name}/auc", result.auc, result.auc_replicates, n=result.images, shuffled=result.shuffled_auc),
        sample(f"{name}/rank1", result.rank1, result.rank1_replicates, n=result.images, shuffled=result.shuffled_rank1),
    ]


def _fidelity_samples(truth: Array, recovered: dict[str, Array], labels: NDArray[np.int64], seed: int) -> list[Sample]:
    metrics: dict[str, tuple[Callable[..., Any], str]] = {"psnr": (psnr, "dB"), "ssim": (ssim, "1"), "nmi": (nmi, "1")}
    return [grouped_mean(f"{name}/{metric}", np.asarray(function(truth, images), dtype=np.float64), labels,
                         numpy_generator(seed, "people"), unit=unit)
            for name, images in recovered.items() for metric, (function, unit) in metrics.items()]


def _public_samples(pictures: dict[str, Array], labels: NDArray[np.int64], experiment: Experiment,
                    judges: Judges) -> list[Sample]:
    samples: list[Sample] = []
    some = numpy_generator(experiment.seed, "detector").permutation(len(labels))[: experiment.judging.detector_images]
    for name, images in pictures.items():
        if judges.verifier is not None and name != "mean_face":  # the mean face is one picture: it tells nobody apart
            samples += _verification(f"{name}/public", judges.verifier.embed(images), labels, experiment)
        if judges.detector is not None:
            rng = numpy_generator(experiment.seed, "people")
            samples.append(grouped_mean(f"{name}/face_found", judges.detector.found(images[some]), labels[some], rng))
    return samples


def _with_pairs(view: View, count: int) -> View:
    if view.pairs is None:
        return view
    codes, scenes = view.pairs
    return View(view.codes, view.design, (codes[:count], scenes[:count]), view.labelled)


def _drawn(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (1,), generator=generator, device=generator.device))


def _two_of_each(labels: NDArray[np.int64], people: int) -> NDArray[np.int64]:
    """Returns the first two pictures of the first people: enough to show, and to ask whether they are one person."""
    return np.concatenate([np.flatnonzero(labels == person)[:2] for person in np.unique(labels)[:people]])


def _numpy(images: Tensor) -> Array:
    return images.detach().cpu().numpy().astype(np.float32)

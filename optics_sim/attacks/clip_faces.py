"""Public face networks on clips: whom a verifier nobody here trained finds in what an attacker restored."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.attacks.clip_samples import of_people
from optics_sim.attacks.judge import Judges
from optics_sim.attacks.public import FaceVerifier
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.learning.clips import Clips
from optics_sim.report.resampling import Sample

FRAMES = 4  # of a clip, evenly spaced
SMALLEST_FACE_PX = 48  # in scenes: below it these networks were not made to work
SEMI_REAL_FACE_SHARE = 0.75  # of a semi-real frame's height that a face fills at least


def faces_are_judged(kind: str, scene: tuple[int, int]) -> bool:
    """Returns whether the faces of a set of clips are known to be large enough: those of the semi-real one in frames of 64."""
    return kind == "semi-real" and SEMI_REAL_FACE_SHARE * min(scene) >= SMALLEST_FACE_PX


def face_scores(verifier: FaceVerifier, known: Clips, probes: Tensor) -> Tensor:
    """Returns the cosine [n, people] between clips [n, T, H, W] of radiance and each person's mean face in `known` scenes."""
    mine, theirs = (_embedded(verifier, values) for values in (known.values, probes))
    actors = known.actors.cpu()
    gallery = torch.stack([mine[actors == actor].mean(0) for actor in range(int(actors.max()) + 1)])
    return (theirs @ torch.nn.functional.normalize(gallery, dim=-1).T).to(probes.device)


def judge_faces(judges: Judges, cohort: ClipCohort, restored: Tensor | None, seed: int) -> tuple[dict[str, Tensor], list[Sample]]:
    """Returns what the public networks make of restored clips: the verifier's scores by attack, and samples.

    Beside them the same on the clear scenes (`clear_scene/...`), which is the most they could reach. Nothing where faces
    are too small, nothing was restored, or no network was given.
    """
    scene = cohort.identity_test.values
    scores: dict[str, Tensor] = {}
    samples: list[Sample] = []
    if restored is None or not faces_are_judged(cohort.kind, (int(scene.shape[-2]), int(scene.shape[-1]))):
        return scores, samples
    victims = cohort.identity_test.actors
    if judges.verifier is not None:
        scores["restored face network"] = face_scores(judges.verifier, cohort.identity_train, restored)
        hits = face_scores(judges.verifier, cohort.identity_train, scene).argmax(-1) == victims
        samples.append(of_people("clear_scene/face network", hits, victims, seed))
    if judges.detector is not None:
        for name, clips in (("face_found", restored), ("clear_scene/face_found", scene)):
            found = torch.from_numpy(judges.detector.found(_chosen(clips))).reshape(len(clips), -1).mean(1)
            samples.append(of_people(name, found.to(victims.device), victims, seed))
    return scores, samples


def _embedded(verifier: FaceVerifier, clips: Tensor) -> Tensor:
    found = torch.from_numpy(verifier.embed(_chosen(clips))).float()
    return torch.nn.functional.normalize(torch.nn.functional.normalize(found, dim=-1).reshape(len(clips), FRAMES, -1).mean(1), dim=-1)


def _chosen(clips: Tensor) -> NDArray[np.float32]:
    frames = torch.linspace(0, clips.shape[1] - 1, FRAMES).round().long()
    return np.asarray(clips[:, frames.to(clips.device)].flatten(0, 1).float().cpu().numpy())

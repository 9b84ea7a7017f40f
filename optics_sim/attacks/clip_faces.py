"""Public face networks on clips: whom a verifier nobody here trained finds in what an attacker restored."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optics_sim.attacks.clip_samples import of_people
from optics_sim.attacks.judge import Judges
from optics_sim.attacks.public import FaceDetector, FaceVerifier
from optics_sim.learning.clip_cohort import ClipCohort
from optics_sim.report.resampling import Sample

FRAMES = 4  # of a clip, evenly spaced
SMALLEST_FACE_PX = 48  # in scenes: below it these networks were not made to work
SEMI_REAL_FACE_SHARE = 0.75  # of a semi-real frame's height that a face fills at least


def faces_are_judged(kind: str, scene: tuple[int, int]) -> bool:
    """Returns whether the faces of a set of clips are known to be large enough: those of the semi-real one in frames of 64."""
    return kind == "semi-real" and SEMI_REAL_FACE_SHARE * min(scene) >= SMALLEST_FACE_PX


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
        gallery = gallery_of(_clear_faces(judges.verifier, cohort.identity_train.values), cohort.identity_train.actors)
        scores["restored face network"] = (embedded(judges.verifier, restored) @ gallery.T).to(victims.device)
        hits = (_clear_faces(judges.verifier, scene) @ gallery.T).argmax(-1).to(victims.device) == victims
        samples.append(of_people("clear_scene/face network", hits, victims, seed))
    if judges.detector is not None:
        found = {"face_found": faces_found(judges.detector, restored), "clear_scene/face_found": _clear_found(judges.detector, scene)}
        samples += [of_people(name, share.to(victims.device), victims, seed) for name, share in found.items()]
    return scores, samples


def embedded(verifier: FaceVerifier, clips: Tensor) -> Tensor:
    """Returns the mean unit embedding [n, d], on the CPU, of some frames of clips [n, T, H, W] of radiance, itself of unit length."""
    found = torch.from_numpy(verifier.embed(_chosen(clips))).float()
    return torch.nn.functional.normalize(torch.nn.functional.normalize(found, dim=-1).reshape(len(clips), FRAMES, -1).mean(1), dim=-1)


def faces_found(detector: FaceDetector, clips: Tensor) -> Tensor:
    """Returns in which share of the frames looked at a face is found, [n], on the CPU."""
    return torch.from_numpy(detector.found(_chosen(clips))).reshape(len(clips), -1).mean(1)


def gallery_of(faces: Tensor, actors: Tensor) -> Tensor:
    """Returns each person's mean embedding [people, d] of faces [n, d], of unit length."""
    actors = actors.cpu()
    return torch.nn.functional.normalize(torch.stack([faces[actors == actor].mean(0) for actor in range(int(actors.max()) + 1)]), dim=-1)


# What the networks say of clear scenes is the same for every camera that looks at these clips: they are asked once.
_clear_faces = lru_cache(maxsize=4)(embedded)
_clear_found = lru_cache(maxsize=4)(faces_found)


def _chosen(clips: Tensor) -> NDArray[np.float32]:
    frames = torch.linspace(0, clips.shape[1] - 1, FRAMES).round().long()
    return np.asarray(clips[:, frames.to(clips.device)].flatten(0, 1).float().cpu().numpy())

"""What rounding to integers does to recognition and to each attack: rows of a trained table, judged again on exported codes.

The codes of a row are computed by the exported network, at the place of the float encoder; everything after them is as it was:
fresh recognisers, fresh attackers, the same people and seeds.
Deliberately not here: training encoders (`optics_sim.tables.bdq`).
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firmware_export.runner import ClipRunner
from firmware_export.tflite import TfliteArtifact
from hil.encoder_graphs import CALIBRATION_FRAMES, evenly, graph_of
from hil.verbs.options import clip_experiment_of
from optics_sim.attacks.clip_evaluate import StandIn, clip_codes, evaluate_clips
from optics_sim.attacks.evaluate import Row
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign, write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.learning.clip_cohort import PARTS
from optics_sim.learning.clips import readout_codes
from optics_sim.learning.seeds import torch_generator
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, cohort_of, read_clip_rows, said
from optics_sim.tables.work import Say, announce, run_all

EXACT, FAST, FLOAT = "int8", "fast path", "float"
VARIANTS: Mapping[str, bool] = {EXACT: False, FAST: True}
"""By label: whether TFLite's fast path computes the codes, or its reference kernels, which equal the integer reference."""
JUDGED_PARTS = tuple(part for part in PARTS if part != "encoder_train")


class ExportedEncoder(StandIn):
    """An exported network in the encoder's place: clips of readout codes in, its own codes out, no gradient."""

    def __init__(self, runner: ClipRunner, digest: str) -> None:
        super().__init__()
        self._runner, self.digest = runner, digest

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True) -> Tensor:
        """Returns codes [n, T - warmup, ...] of readout codes [n, T, h, w] on the int8 grid; the other arguments are not used."""
        frames = codes.detach().round().to("cpu", torch.int8).numpy()
        return torch.from_numpy(np.stack([self._runner(clip) for clip in frames])).to(codes)


def trained_setting(trained: Path, out: Path, device: str) -> ClipSetting:
    """Returns the setting of a table folder that `privcam table bdq` left, with another place to write to."""
    try:
        arguments: dict[str, Any] = json.loads((trained / "run.json").read_text(encoding="utf-8"))["arguments"]
    except (OSError, KeyError, ValueError) as error:
        raise PrivcamError("this is not the folder of a table", got=f"{trained}: {type(error).__name__}",
                           todo="name a folder that `privcam table bdq` made") from None
    told = Namespace(**{**arguments, "experiment": arguments.get("experiment") and Path(arguments["experiment"])})
    return ClipSetting(data=arguments["data"], out=str(out), scene=(arguments["scene"],) * 2, device=device,
                       experiment=clip_experiment_of(told), verifier=arguments["verifier"], detector=arguments["detector"])


def float_rows(trained: Path, row: str) -> list[Row]:
    """Returns a trained table's rows of one encoder, by seed, under the label `float`. Raises PrivcamError where there are none."""
    found = read_clip_rows(trained, [row]).get(row)
    if not found:
        raise PrivcamError("this table has no such row", got=row, todo=f"choose one of {trained / 'rows'}")
    return [kept.model_copy(update={"label": FLOAT}) for kept in found]


def run_integer_rows(setting: ClipSetting, trained: Path, row: str, seeds: Sequence[int], say: Say, *, workers: int = 2) -> None:
    """Judges a trained row's exported encoder, `int8` and `fast path`, for each seed; resumes from what is there."""
    tasks = [(str(trained.resolve()), row, setting, seed) for seed in seeds]
    announce(run_all(judge_integers, tasks, workers), "seed", len(tasks), say)


def judge_integers(trained: str, row: str, setting: ClipSetting, seed: int) -> str:
    """Makes both rows of a seed, or finds them, and returns a line about each.

    Where the fast path gives the very codes of the reference kernels, its row is theirs: nothing is trained twice.
    """
    design = CameraDesign.load(Path(trained) / ClipTask(label=row, seed=seed).folder)
    graph = graph_of(design, calibration_frames(design, setting, seed))
    encoders = {label: ExportedEncoder(TfliteArtifact(graph, fast=fast), f"{graph.digest} {label}") for label, fast in VARIANTS.items()}
    exact = _judged(EXACT, encoders[EXACT], design, setting, seed)
    if _codes_differ(design, setting, seed, encoders):
        return f"{said(exact)}; {said(_judged(FAST, encoders[FAST], design, setting, seed))}"
    folder = Path(setting.out) / ClipTask(label=FAST, seed=seed).folder
    folder.mkdir(parents=True, exist_ok=True)
    same = exact.model_copy(update={"label": FAST, "cohort": f"{exact.cohort}; every code equal to those of {EXACT}"})
    write_atomically(folder / "row.json", same.model_dump_json(indent=1).encode())
    return f"{said(exact)}; the fast path's codes are the same"


def _judged(label: str, encoder: ExportedEncoder, design: CameraDesign, setting: ClipSetting, seed: int) -> Row:
    folder = Path(setting.out) / ClipTask(label=label, seed=seed).folder
    return evaluate_clips(label, design, cohort_of(setting, seed), setting.of_seed(seed), judges=setting.judges, folder=folder,
                          computed_by=encoder)


def _codes_differ(design: CameraDesign, setting: ClipSetting, seed: int, encoders: Mapping[str, ExportedEncoder]) -> bool:
    """Returns whether a code of any clip that rows are judged on differs between the encoders."""
    cohort = cohort_of(setting, seed)
    for part in JUDGED_PARTS:
        clips = getattr(cohort, part)
        drawn = [torch_generator(seed, "codes", part, device=clips.values.device) for _ in encoders]
        found = [clip_codes(PrivacyCamera(design, encoder=encoder), clips, generator).values
                 for encoder, generator in zip(encoders.values(), drawn, strict=True)]
        if not torch.equal(*found):
            return True
    return False


def calibration_frames(design: CameraDesign, setting: ClipSetting, seed: int) -> NDArray[np.int8]:
    """Returns readout codes [n, h, w] of the people whom the encoder was trained on: what steps are chosen by."""
    clips = cohort_of(setting, seed).encoder_train
    camera = PrivacyCamera.from_design(design).to(clips.values.device)
    codes = readout_codes(camera, clips.values, torch_generator(seed, "calibration", device=clips.values.device))
    return evenly(codes.flatten(0, 1), CALIBRATION_FRAMES).to("cpu", torch.int8).numpy()

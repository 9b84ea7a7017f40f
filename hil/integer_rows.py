"""What rounding to integers does to recognition and to each attack: rows of a trained table, judged again on exported codes.

The codes of a row are computed by the exported network, at the place of the float encoder; everything after them is as it was:
fresh recognisers, fresh attackers, the same people and seeds.
Deliberately not here: training encoders (`optics_sim.tables.bdq`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firmware_export.graph import Graph
from firmware_export.runner import ClipRunner
from firmware_export.tflite import TfliteArtifact
from hil.encoder_graphs import graph_of
from optics_sim.attacks.clip_evaluate import StandIn, evaluate_clips
from optics_sim.attacks.evaluate import Row
from optics_sim.camera import PrivacyCamera
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError
from optics_sim.learning.clips import readout_codes
from optics_sim.learning.seeds import torch_generator
from optics_sim.tables.clip_rows import ClipSetting, ClipTask, cohort_of, read_clip_rows, run_clip_rows, said
from optics_sim.tables.work import Say

VARIANTS: Mapping[str, bool] = {"int8": False, "fast path": True}
"""By label: whether TFLite's fast path computes the codes, or its reference kernels, which equal the integer reference."""
FLOAT = "float"
CALIBRATION_FRAMES = 256


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
    from argparse import Namespace

    from hil.verbs.options import clip_experiment_of

    told = Namespace(**{**arguments, "experiment": arguments.get("experiment") and Path(arguments["experiment"])})
    return ClipSetting(data=arguments["data"], out=str(out), scene=(arguments["scene"],) * 2, device=device,
                       experiment=clip_experiment_of(told), verifier=arguments["verifier"], detector=arguments["detector"])


def float_rows(trained: Path, row: str) -> list[Row]:
    """Returns a trained table's rows of one encoder, by seed, under the label `float`. Raises PrivcamError where there are none."""
    found = read_clip_rows(trained, [row]).get(row)
    if not found:
        raise PrivcamError("this table has no such row", got=row, todo=f"choose one of {trained / 'rows'}")
    return [kept.model_copy(update={"label": FLOAT}) for kept in found]


def run_integer_rows(setting: ClipSetting, trained: Path, row: str, seeds: int, say: Say, *, workers: int = 2) -> None:
    """Judges a trained row's exported encoder, `int8` and `fast path`, for each seed; resumes from what is there."""
    judge = partial(judge_integer_row, str(trained.resolve()), row)
    run_clip_rows(judge, VARIANTS, setting, tuple(VARIANTS), seeds, say, workers=workers)


def judge_integer_row(trained: str, row: str, setting: ClipSetting, task: ClipTask) -> str:
    """Makes one row, or finds it, and returns a line about it."""
    design = CameraDesign.load(Path(trained) / ClipTask(label=row, seed=task.seed).folder)
    cohort, experiment = cohort_of(setting, task.seed), setting.of_seed(task.seed)
    graph = graph_of(design, calibration_frames(design, setting, task.seed))
    runner = TfliteArtifact(graph, fast=VARIANTS[task.label])
    computed_by = ExportedEncoder(runner, f"{graph.digest} {task.label}")
    folder = Path(setting.out) / task.folder
    return said(evaluate_clips(task.label, design, cohort, experiment, judges=setting.judges, folder=folder, computed_by=computed_by))


def calibration_frames(design: CameraDesign, setting: ClipSetting, seed: int) -> NDArray[np.int8]:
    """Returns readout codes [n, h, w] of the people whom the encoder was trained on: what steps are chosen by."""
    clips = cohort_of(setting, seed).encoder_train
    camera = PrivacyCamera.from_design(design).to(clips.values.device)
    codes = readout_codes(camera, clips, torch_generator(seed, "calibration", device=clips.values.device)).values.flatten(0, 1)
    chosen = torch.linspace(0, len(codes) - 1, min(CALIBRATION_FRAMES, len(codes))).round().long()
    return codes[chosen.to(codes.device)].to("cpu", torch.int8).numpy()


def codes_that_differ(design: CameraDesign, graph: Graph, frames: NDArray[np.int8]) -> dict[str, float]:
    """Returns how far exported codes are from the float encoder's on a clip [T, h, w]: share that differs, mean, largest (levels)."""
    from firmware_export.int8 import Reference

    with torch.no_grad():
        float_codes = PrivacyCamera.from_design(design).encoder(torch.from_numpy(frames[None]).float(), hard=True)[0].numpy()
    apart = np.abs(Reference(graph)(frames) - float_codes)
    return {"share": float((apart > 0.5).mean()), "mean": float(apart.mean()), "largest": float(apart.max())}

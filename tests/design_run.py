"""A small finished run of `privcam design` on drawn people, made quickly: shadows instead of waves, few people, no export."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from hil.verbs import design as verb
from optics_sim.design import CameraDesign, OpenPattern
from optics_sim.learning.pipeline import start_design
from optics_sim.run import Run
from optics_sim.tables.lensless import CONTROLS, design_rows, judge_row

DATA = "synthetic:8:40:0"
SMALL = ("training.batch=32", "judging.decoder_steps=2", "judging.identity_epochs=1", "judging.decoder_pairs=20",
         "judging.admm_iterations=2", "judging.fista_iterations=2", "judging.shuffles=20", "judging.images_per_victim=3",
         "judging.wrong_cell_fractions=[0.05]")


def made_run(folder: Path, *, epochs: int = 16) -> Path:
    """Returns the folder of a run: author, masks, the row of the learned mask, design, experiment and record, as the verb leaves them."""
    author = start_design(OpenPattern(), (31, 31), (16, 16), bin_px=8, name="small")
    author.replace(**{"optics.propagation": "geometric", "parent": None}).save(folder.parent / "author")
    parser = ArgumentParser()
    verb.add_arguments(parser)
    words = ["--data", DATA, "--design", str(folder.parent / "author"), "--enrolled", "4", "--workers", "0", "--out", str(folder)]
    words += [word for value in (f"training.epochs={epochs}", *SMALL) for word in ("--set", value)]
    arguments = parser.parse_args(words)
    setting = verb._setting(arguments)
    with Run(folder, "design", vars(arguments), setting.experiment.seed):
        verb._learn(setting, arguments, lambda text: None)
        main = design_rows(setting)[1]
        judge_row(setting, main)
        for control in (task for task in design_rows(setting) if task.label in CONTROLS):
            judge_row(setting, control)
        verb._keep(folder, main.folder, setting.experiment.to_toml())
    return folder


def disturbed(design: CameraDesign) -> CameraDesign:
    """Returns the camera as it was really put together: the mask shifted, turned and too far away."""
    return design.replace(name="disturbed", **{"optics.mask_to_sensor_m": design.optics.mask_to_sensor_m * 1.6,  # type: ignore[union-attr]
                                               "optics.mount": {"shift_m": (70e-6, -60e-6), "rotation_rad": 1.5}})

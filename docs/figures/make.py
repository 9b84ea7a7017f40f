"""Draws the figures of the docs from a finished `make demo` run: drawn people only, nobody in them exists."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from optics_sim.design import write_atomically
from optics_sim.errors import PrivcamError
from optics_sim.report.design_page import CAPTIONS, shown
from optics_sim.report.figures import image_row
from optics_sim.run import read_record

COLUMNS = ("scene", "code", "tikhonov", "admm_tv", "wrong_mask", "decoder", "mean_face")


def main(run: Path) -> None:
    """Writes `recovered.png` and `mask.png` beside this file from the run folder of a demo on synthetic people."""
    record = read_record(run)
    if record is None or not record["arguments"].get("synthetic"):
        raise PrivcamError("the figures of the docs show drawn people only", got=str(run), allowed="a run of `make demo`",
                           todo="run `make demo` first")
    pictures = load_file(run / "rows" / "lwoc-quarter_well-seed0" / "pictures.safetensors")
    _, firsts = np.unique(pictures["person"], return_index=True)
    here = Path(__file__).parent
    images = [shown(pictures[name][firsts[0]], name) for name in COLUMNS]
    write_atomically(here / "recovered.png", image_row(images, [CAPTIONS[name] for name in COLUMNS], height=126))
    write_atomically(here / "mask.png", (run / "figures" / "mask.png").read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))

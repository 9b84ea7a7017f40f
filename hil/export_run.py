"""Everything a run's design can be exported to, in one folder with one manifest: the mask in all formats, the encoder for all targets.

What this machine lacks a tool for, and what a design does not have, is left out and named with the reason.
Deliberately not here: options of each export (`privcam export mask`, `privcam export encoder`).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from firmware_export.c_readout import readout_files
from firmware_export.check import Problem
from firmware_export.encoders import problems
from firmware_export.graph import Graph
from firmware_export.images import USUAL_BOARDS
from firmware_export.masks.export import export_mask
from firmware_export.masks.formats import FORMATS
from firmware_export.masks.options import MaskOptions
from firmware_export.package import export_encoder, file_hashes
from firmware_export.quantise import Quantised, network_problems
from firmware_export.targets import TARGETS
from hil import encoder_graphs
from hil.devices.proof import emulated
from hil.verbs.lineage import design_file
from optics_sim.design import CameraDesign, LenslessOptics, write_atomically
from optics_sim.encoding import ReadoutEncoder
from optics_sim.errors import PrivcamError
from optics_sim.learning.recognisers import Recogniser
from optics_sim.measure import Measure

MANIFEST, EXPORT = "manifest.json", "export"
BRIDGE_CELLS = 0.25
"""Width of the bridges that hold the islands of stencils, in cells of the mask."""
_RECORDS = ("run.json", "report.json")  # they hold times: no part of what is exported
Say = Callable[[str], None]


def export_run(run: Path, say: Say, *, boards: Sequence[str] = USUAL_BOARDS) -> dict[str, Any]:
    """Returns the content of `export/manifest.json` of a run folder, after mask and encoder were written beside it."""
    design = CameraDesign.load(design_file(run))
    out = run / EXPORT
    (out / MANIFEST).unlink(missing_ok=True)  # without it, what is there is half of an export
    parts = {"mask": _mask(design, out / "mask"), "encoder": _encoder(design, run, out / "encoder", boards)}
    for name, part in parts.items():
        for what, why in part["left_out"].items():
            say(f"{name}: {what} left out: {why}")
    files = [file for name in parts for file in (out / name).rglob("*") if file.is_file() and file.name not in _RECORDS]
    manifest = {"design": design.digest, "name": design.name, **parts, "files": file_hashes(out, files)}
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    say(f"exported {len(files)} files to {out}")
    return manifest


def table_of(manifest: dict[str, Any]) -> tuple[list[str], list[list[Any]], str, list[str]]:
    """Returns what was exported as a table for a page: headers, rows, title, notes."""
    body = [[f"mask, {entry['format']}", f"mask/{entry['file']}", f"read back: {entry['read_back']}"]
            for entry in manifest["mask"]["files"]]
    for target, part in manifest["encoder"]["targets"].items():
        body += [[f"encoder, {name}", f"encoder/{target}", entry["checked"]] for name, entry in part.get("boards", {target: part}).items()]
    left = [f"{name}, {what}: {why}" for name in ("mask", "encoder") for what, why in manifest[name]["left_out"].items()]
    notes = [f"Left out: {'; '.join(left)}."] if left else []
    return ["What", "Where, below export/", "Checked before it was kept"], body, "In the hand", notes


# --- the encoder, of a design or a run ------------------------------------------------------------
def export_problems(design: CameraDesign, run: Path, *, label: bool) -> list[Problem]:
    """Returns every reason why a run's encoder (with `label` its recogniser) cannot be exported; none where it can."""
    if label:
        return encoder_graphs.recogniser_problems(design, _kept_recogniser(run))
    return network_problems(encoder_graphs.encoder_network(design)) if encoder_graphs.needs_frames(design) else problems(design)


def graph_for(design: CameraDesign, run: Path, *, label: bool, data: str | None = None, epochs: int = 0) -> tuple[Graph, list[Measure]]:
    """Returns the graph of a run's encoder (with `label` of its recogniser), and what its integers lost on frames it was not made by.

    A network is fitted to its rounding for some `epochs` over the frames.

    Raises PrivcamError with every reason why there is none, and where a network's frames are not known.
    """
    if not label and not encoder_graphs.needs_frames(design):
        return encoder_graphs.graph_of(design), []
    source = data or encoder_graphs.data_of(run)
    if source is None:
        raise PrivcamError("the integers of a network are chosen by frames, and this run does not say on what it was made",
                           got=str(run), todo="give --data")
    frames = encoder_graphs.readout_frames(design, source, encoder_graphs.CALIBRATION_FRAMES)
    if label:
        made = encoder_graphs.quantised_recogniser(design, _kept_recogniser(run), frames, epochs=epochs)
    else:
        made = encoder_graphs.quantised_encoder(design, frames, epochs=epochs)
    return made.graph, _lost(made, Path(source).name)


def _kept_recogniser(run: Path) -> Recogniser:
    return encoder_graphs.kept_recogniser(design_file(run).parent / "recogniser.safetensors")


def _lost(made: Quantised, data: str) -> list[Measure]:
    note = f"integers against floats, {made.report.held_out} frames of {data} that chose no step"
    return [Measure(name=f"{output}/{kind}", value=value, unit=unit, note=note) for output, error in made.report.errors.items()
            for kind, value, unit in (("mean_error", error.mean, "of the output"), ("largest_error", error.largest, "of the output"),
                                      ("snr", error.snr_db, "dB"))]


# --- parts ----------------------------------------------------------------------------------------
def _mask(design: CameraDesign, out: Path) -> dict[str, Any]:
    if not isinstance(design.optics, LenslessOptics):
        return {"files": [], "left_out": {"all": f"optics {design.optics.kind} has no mask"}}
    lacking = {name: f"pip install 'privcam[masks]' (missing: {made.needs})" for name, made in FORMATS.items()
               if made.needs and importlib.util.find_spec(made.needs) is None}
    options = MaskOptions(bridge_m=BRIDGE_CELLS * design.optics.cell_m)
    made = export_mask(design, [name for name in FORMATS if name not in lacking], out, options)
    return {"files": made.manifest["files"], "bridges": made.manifest["bridges"], "left_out": lacking}


def _encoder(design: CameraDesign, run: Path, out: Path, boards: Sequence[str]) -> dict[str, Any]:
    label = isinstance(design.encoder, ReadoutEncoder)
    lacking = {name: why for name, target in TARGETS.items() if (why := target.lacks())}
    try:
        graph, _ = graph_for(design, run, label=label)
    except PrivcamError as error:
        return {"targets": {}, "left_out": {"all": str(error)}}
    made = export_encoder(graph, out, [name for name in TARGETS if name not in lacking], on=boards, prove=emulated, label=label,
                          beside=readout_files(design))
    return {key: made.manifest[key] for key in ("graph", "network", "cost", "targets")} | {"left_out": lacking}

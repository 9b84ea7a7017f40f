"""`privcam export encoder`: a design's encoder as an integer network, a TFLite file, C, and firmware images."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from firmware_export.images import USUAL_BOARDS
from hil.verbs.lineage import design_file
from optics_sim.design import CameraDesign
from optics_sim.measure import Measure


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the sub-command's options."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder, a design folder or a design.toml")
    parser.add_argument("--emit", choices=("codes", "label"), default=None,
                        help="what leaves the device: the encoder's codes, or what the recogniser makes of the readout "
                             "(default: codes, and the label where there is no encoder)")
    parser.add_argument("--data", default=None, help="pictures or clips by which a network's integers are chosen (default: the run's own)")
    parser.add_argument("--fit", type=int, default=0, metavar="EPOCHS", dest="epochs",
                        help="train a network with rounding for some epochs, to say what its floats say (default: 0, not at all)")
    parser.add_argument("--check", action="store_true", help="only say every reason why it cannot be exported; write nothing")
    parser.add_argument("--target", nargs="+", default=None, dest="targets", metavar="TARGET",
                        help="reference tflite c pi mcu (default: all that this machine can make)")
    parser.add_argument("--board", nargs="+", default=list(USUAL_BOARDS), dest="boards",
                        help=f"boards of mcu (default: {' '.join(USUAL_BOARDS)})")
    parser.add_argument("--out", type=Path, default=None, help="folder to write into (default: export/encoder in the run)")
    parser.add_argument("--frames", type=int, default=100, help="golden frames that every target is checked with")


def run(arguments: Namespace) -> int:
    """Returns 0 when everything asked for is written and gave the reference's codes, or nothing stands against it."""
    from firmware_export.c_readout import readout_files
    from firmware_export.package import export_encoder
    from hil.devices.proof import emulated
    from hil.export_run import graph_for
    from optics_sim.run import Run

    file = design_file(arguments.run)
    home = arguments.run if arguments.run.is_dir() else file.parent
    design = CameraDesign.load(file)
    label = (arguments.emit or ("label" if design.encoder.kind == "readout" else "codes")) == "label"
    if arguments.check:
        return _check(design, home, label)
    graph, lost = graph_for(design, home, label=label, data=arguments.data, epochs=arguments.epochs)
    out = arguments.out or home / "export" / "encoder"
    with Run(out, "export", vars(arguments)) as record:
        record.add_input("design", file)
        made = export_encoder(graph, out, _targets(arguments.targets), on=arguments.boards, prove=emulated, frames=arguments.frames,
                              label=label, beside=readout_files(design))
        record.report([*_measures(made.manifest), *lost], design=graph.design, graph=graph.digest)
    _say(out, made.manifest)
    for found in lost:
        print(f"{found.name}: {found.text(4)} {found.unit}; {found.note}")
    return 0


def _check(design: CameraDesign, home: Path, label: bool) -> int:
    """Returns 0 where nothing stands against an export, 1 after printing what does."""
    from hil.export_run import export_problems

    found = export_problems(design, home, label=label)
    for problem in found:
        print(problem)
    print(f"{len(found)} reasons against exporting the {'recogniser' if label else 'encoder'}")
    return 1 if found else 0


def _targets(asked: list[str] | None) -> list[str]:
    from firmware_export.targets import TARGETS

    if asked is not None:
        return asked
    lacking = {name: target.lacks() for name, target in TARGETS.items()}
    for target, why in lacking.items():
        if why:
            print(f"{target} left out: {why}")
    return [target for target, why in lacking.items() if not why]


def _measures(manifest: dict[str, Any]) -> list[Measure]:
    units = {"parameters": "1", "macs": "1/frame"}
    found = [Measure(name=name, value=value, unit=units.get(name, "byte")) for name, value in manifest["cost"].items()]
    fast = manifest["targets"].get("tflite", {}).get("fast_path")
    if fast:
        found.append(Measure(name="fast_path/codes_that_differ", value=fast["codes_that_differ"], note="TFLite's fast path, golden frames"))
        found.append(Measure(name="fast_path/largest_difference", value=fast["largest_difference"], unit="code level"))
    for board, part in manifest["targets"].get("mcu", {}).get("boards", {}).items():
        found += [Measure(name=f"{board}/{name}", value=value, unit="byte") for name, value in part["bytes"].items()]
    return found


def _say(out: Path, manifest: dict[str, Any]) -> None:
    cost = manifest["cost"]
    print(f"{manifest['network']}: {cost['parameters']} numbers, {cost['macs']} multiply-adds a frame, "
          f"{cost['arena_bytes'] + cost['state_bytes']} bytes of memory")
    for target, part in manifest["targets"].items():
        for name, entry in part.get("boards", {target: part}).items():
            print(f"{name}: {entry['checked']}")
    print(f"written: {out} ({len(manifest['files'])} files; manifest.json has their hashes)")

"""Options that the long verbs share, and how they say what they are doing."""

from __future__ import annotations

import time
import tomllib
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from optics_sim.errors import PrivcamError

if TYPE_CHECKING:
    from optics_sim.attacks.snapshot_training import SnapshotPlan
    from optics_sim.clip_experiment import ClipExperiment
    from optics_sim.experiment import Adapting, Experiment, ExperimentFile
    from optics_sim.run import Run

File = TypeVar("File", bound="ExperimentFile")


def add_common(parser: ArgumentParser, out: Path) -> None:
    """Adds what every long verb with workers has: where to, how, on what."""
    add_run(parser, out)
    parser.add_argument("--workers", type=int, default=2, help="worker processes of one thread each; 0 runs in this process")


def add_run(parser: ArgumentParser, out: Path) -> None:
    """Adds what every long verb has: where to, how, on what device."""
    parser.add_argument("--out", type=Path, default=out, help=f"folder of the run (default {out}); a run that stopped resumes there")
    parser.add_argument("--experiment", type=Path, default=None, help="experiment.toml (default: built in)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                        help="override of the experiment, e.g. --set training.epochs=40")
    parser.add_argument("--seed", type=int, default=None, help="first seed (default: the experiment's)")
    parser.add_argument("--device", default="cpu", help="torch device, e.g. cpu or cuda")


def add_faces(parser: ArgumentParser) -> None:
    """Adds what the lensless verbs have besides: the scale of the code, and who else judges."""
    parser.add_argument("--bin", type=int, default=40, help="raw pixels per code pixel, each way (40: 62 um on an IMX477)")
    add_judges(parser)


def add_run_of_design(parser: ArgumentParser, out: Path) -> None:
    """Adds the run of a `privcam design`, and what every verb that goes on from it has."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a `privcam design` on photographs")
    parser.add_argument("--out", type=Path, default=out, help=f"folder of this run (default {out}); a run that stopped resumes there")
    parser.add_argument("--data", default=None, help="where the run's pictures lie now (default: where they lay then)")
    parser.add_argument("--others", nargs="*", default=None, help="where the run's other people lie now")
    parser.add_argument("--trust-data", action="store_true",
                        help="do not ask for the very bits of the run's pictures: another machine may decode their last bits otherwise")
    parser.add_argument("--seed", type=int, default=None, help="of what is drawn from here on (default: the run's; its people stay)")
    parser.add_argument("--device", default="cpu", help="torch device, e.g. cpu or cuda")


def add_adapting(parser: ArgumentParser) -> None:
    """Adds how a recogniser is adapted."""
    parser.add_argument("--epochs", type=int, default=None, help="of adapting (default: built in)")
    parser.add_argument("--learning-rate", type=float, default=None, help="of adapting (default: built in)")


def adapting_of(arguments: Namespace) -> Adapting:
    """Returns how to adapt, of the options given; PrivcamError for a bad one."""
    from pydantic import ValidationError

    from optics_sim.experiment import Adapting
    from optics_sim.plain import wrong_field

    given = {name: getattr(arguments, name) for name in Adapting.model_fields if getattr(arguments, name) is not None}
    try:
        return Adapting.model_validate(given)
    except ValidationError as error:
        raise wrong_field(error, "adapting: ", "docs/validation.md") from None


def add_judges(parser: ArgumentParser) -> None:
    """Adds the public networks that a verb takes as judges."""
    parser.add_argument("--verifier", default=None, help="a public face network (ONNX, 112x96 or 112x112) as judge")
    parser.add_argument("--detector", default=None, help="a public YuNet face detector (ONNX) as judge")


def experiment_of(arguments: Namespace, more: dict[str, Any] | None = None) -> Experiment:
    """Returns the experiment of the file and overrides given; PrivcamError for a bad one."""
    from optics_sim.experiment import Experiment

    return _read(Experiment, arguments, more)


def clip_experiment_of(arguments: Namespace) -> ClipExperiment:
    """Returns the experiment on clips of the file and overrides given; PrivcamError for a bad one."""
    from optics_sim.clip_experiment import ClipExperiment

    return _read(ClipExperiment, arguments)


def snapshot_plan_of(arguments: Namespace) -> SnapshotPlan:
    """Returns how a decoder of coded images is trained, of the file and overrides given; PrivcamError for a bad one."""
    from optics_sim.attacks.snapshot_training import SnapshotPlan

    return _read(SnapshotPlan, arguments)


def checked_device(name: str) -> str:
    """Returns the name of a device that torch can compute on here; PrivcamError for another."""
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a build of torch without CUDA
        raise PrivcamError("torch cannot compute there", got=f"--device {name}", allowed="cpu, or what this machine's torch has",
                           todo=f"choose another device ({str(error).splitlines()[0]})") from None
    return name


def _read(kind: type[File], arguments: Namespace, more: dict[str, Any] | None = None) -> File:
    overrides = {**(more or {}), **dict(parsed_override(text) for text in arguments.overrides)}
    if arguments.seed is not None:
        overrides["seed"] = arguments.seed
    if arguments.experiment is not None:
        return kind.load(arguments.experiment, overrides)
    return kind.from_dict({}, overrides)


def parsed_override(text: str) -> tuple[str, Any]:
    """Returns the name and the value of one `--set PATH=VALUE`; PrivcamError where it is not that."""
    path, equals, value = text.partition("=")
    if not equals:
        raise PrivcamError("an override is PATH=VALUE", got=text, allowed="e.g. training.epochs=40", todo="add the value")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value


def progress(record: Run) -> Callable[[str], None]:
    """Returns a function that prints a line with the time since the start, and keeps it in the run's metrics."""
    start = time.monotonic()

    def say(text: str) -> None:
        elapsed_s = time.monotonic() - start
        print(f"[{elapsed_s:7.1f} s] {text}", flush=True)
        record.log(elapsed_s=round(elapsed_s, 1), event=text)

    return say

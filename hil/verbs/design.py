"""`privcam design`: from photographs or clips to a camera, judged, on one page. Later stages join here, one function each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hil.verbs.options import add_common, add_faces, clip_experiment_of, experiment_of, now, progress
from optics_sim.errors import PrivcamError

if TYPE_CHECKING:
    from optics_sim.report.lensless_table import Table
    from optics_sim.tables.lensless import Setting

HELP = "from photographs of people, or clips of actions, to a camera, its attackers and a page to read"
SYNTHETIC = "synthetic:30:30:0"  # people, pictures of each, seed
SYNTHETIC_CLIPS = "synthetic:10:5:3:0"  # actors, actions, takes of each, seed
DEMO_OVERRIDES = {"judging.decoder_pairs": 300}  # as many as the drawn outsiders have


def add_arguments(parser: ArgumentParser) -> None:
    """Adds the verb's options."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="photographs: a folder with a folder per person, a zip of one, or an npz; or clips: a folder "
                        "with a folder of videos per action, a known layout, synthetic:... or semireal:...")
    source.add_argument("--synthetic", action="store_true", help=f"drawn people instead ({SYNTHETIC}); said so on the page")
    source.add_argument("--synthetic-clips", action="store_true", help=f"drawn people who act ({SYNTHETIC_CLIPS})")
    parser.add_argument("--others", nargs="*", default=[], help="other people's data sets, for the attacker's decoder pairs")
    parser.add_argument("--design", type=Path, default=None,
                        help="design.toml to start from (default: IMX477, 63 pixel scene, 32 cell mask)")
    parser.add_argument("--scene", type=int, default=None, help="side of the scene in pixels (default 63, clips 64; without --design)")
    parser.add_argument("--mask", type=int, default=32, help="side of the mask in cells (without --design)")
    parser.add_argument("--enrolled", type=int, default=None, help="how many of the largest people are enrolled (default: at most 10)")
    parser.add_argument("--bench", type=Path, default=None, metavar="BENCH",
                        help="bench.toml on which a design from photographs is calibrated and validated (default: a simulated one whose "
                        "camera is put together badly)")
    parser.add_argument("--bench-pictures", type=int, default=4, metavar="N", help="pictures of each person shown there (default 4)")
    add_common(parser, out=Path("runs/design"))
    add_faces(parser)


def run(arguments: Namespace) -> int:
    """Returns 0 when the camera is designed, judged, and its page written."""
    page = _run_clips(arguments) if _on_clips(arguments) else _run_photographs(arguments)
    print(f"page: {page}")
    return 0


def _on_clips(arguments: Namespace) -> bool:
    from optics_sim.data.clips import is_clip_source

    return arguments.synthetic_clips or (arguments.data is not None and is_clip_source(arguments.data))


def _run_clips(arguments: Namespace) -> Path:
    from optics_sim.report.clip_design_page import write_clip_design
    from optics_sim.run import Run
    from optics_sim.tables import bdq
    from optics_sim.tables.clip_rows import ClipSetting, ClipTask

    data = SYNTHETIC_CLIPS if arguments.synthetic_clips else arguments.data
    setting = ClipSetting(data=data, out=str(arguments.out), scene=(arguments.scene or 64,) * 2,
                          experiment=clip_experiment_of(arguments), device=arguments.device)
    with Run(arguments.out, "design", vars(arguments), setting.experiment.seed) as record:
        if Path(data).exists():
            record.add_input("data", Path(data))
        say = progress(record)
        bdq.run_clip_table(setting, bdq.CORE, 1, say, workers=arguments.workers)
        _keep(arguments.out, ClipTask(label="BDQ", seed=setting.experiment.seed).folder, setting.experiment.to_toml())
        return write_clip_design(arguments.out, setting, "BDQ", record, [_exported(arguments.out, say)])


def _run_photographs(arguments: Namespace) -> Path:
    from optics_sim.report.design_page import write_design
    from optics_sim.run import Run
    from optics_sim.tables.lensless import design_rows

    setting = _setting(arguments)
    with Run(arguments.out, "design", vars(arguments), setting.experiment.seed) as record:
        if Path(setting.data).exists():
            record.add_input("data", Path(setting.data))
        say = progress(record)
        for stage in STAGES:
            stage(setting, arguments, say)
        _keep(arguments.out, design_rows(setting)[1].folder, setting.experiment.to_toml())
        return write_design(arguments.out, setting, record, [*_on_the_bench(arguments, say), _exported(arguments.out, say)])


def _keep(out: Path, row: str, experiment: str) -> None:
    """Writes the learned design of a row, its recogniser and the experiment into a run folder."""
    from optics_sim.design import CameraDesign, write_atomically

    CameraDesign.load(out / row).save(out / "design")
    write_atomically(out / "design" / "recogniser.safetensors", (out / row / "recogniser.safetensors").read_bytes())
    write_atomically(out / "experiment.toml", experiment.encode())


def _setting(arguments: Namespace) -> Setting:
    from optics_sim.design import CameraDesign
    from optics_sim.tables.lensless import Setting, load_faces

    data = SYNTHETIC if arguments.synthetic else arguments.data
    faces = load_faces(data)
    overrides = dict(DEMO_OVERRIDES) if arguments.synthetic and arguments.experiment is None else {}
    if arguments.enrolled is not None or arguments.experiment is None:
        overrides["enrolled"] = arguments.enrolled or _enrolled(len(faces.people), bool(arguments.others))
    experiment = experiment_of(arguments, overrides)
    scene, cells = (arguments.scene or 63,) * 2, (arguments.mask,) * 2
    if arguments.design is not None:
        author = CameraDesign.load(arguments.design)
        if author.optics.kind != "lensless":
            raise PrivcamError("this verb learns a mask", got=author.optics.kind, allowed="lensless optics",
                               todo="give a lensless design")
        scene, cells = author.scene, author.optics.cells
    return Setting(data=data, others=tuple(arguments.others), out=str(arguments.out), scene=scene, cells=cells, experiment=experiment,
                   verifier=arguments.verifier, detector=arguments.detector, device=arguments.device,
                   start=None if arguments.design is None else str(arguments.design), curve=False,
                   bin_px=arguments.bin)


def _enrolled(people: int, others: bool) -> int:
    """Returns how many to enrol by default: ten, or fewer where at least four must stay outside."""
    return min(10, people if others else max(2, people - 4))


def _learn(setting: Setting, arguments: Namespace, say: Callable[[str], None]) -> None:
    from optics_sim.design import OpenPattern
    from optics_sim.tables.lensless import learn, main_mask, starting
    from optics_sim.tables.work import run_all

    starting(setting, OpenPattern(), main_mask(setting).label).save(arguments.out / "author")  # the chain's first link
    say(f"learning the mask on {setting.data}")
    for text in run_all(learn, [(setting, main_mask(setting))], min(1, arguments.workers)):
        say(text)


def _judge(setting: Setting, arguments: Namespace, say: Callable[[str], None]) -> None:
    from optics_sim.tables.lensless import design_rows, judge_row
    from optics_sim.tables.work import run_all

    tasks = design_rows(setting)
    say(f"recognising and attacking {len(tasks)} cameras")
    for done, text in enumerate(run_all(judge_row, [(setting, task) for task in tasks], arguments.workers), 1):
        say(f"camera {done}/{len(tasks)}  {text}")


STAGES = (_learn, _judge)  # before the design is kept; what needs the kept design follows: `_exported`, `_on_the_bench`


def _exported(out: Path, say: Callable[[str], None]) -> Table:
    """Writes everything that the finished design can be exported to, and returns the page's table of it."""
    from hil.export_run import export_run, table_of

    say("writing mask and encoder")
    return table_of(export_run(out, say))


def _on_the_bench(arguments: Namespace, say: Callable[[str], None]) -> list[Table]:
    """Calibrates and validates the finished design on a bench, and returns the page's tables of both."""
    from hil.on_bench import on_bench

    return on_bench(arguments.out, arguments.bench, arguments.bench_pictures, say, now, device=arguments.device)

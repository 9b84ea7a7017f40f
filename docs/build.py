"""Writes the pages of the files a person writes (design, experiments, masks) from the data models: they say what the code says.

`make docs` runs it; a test fails when a page is older than its model.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from firmware_export.masks.options import MaskOptions, Process
from hil.bench_file import BenchFile
from optics_sim.clip_experiment import ClipExperiment
from optics_sim.design import CameraDesign
from optics_sim.experiment import Experiment
from optics_sim.shots import Plan

_UNITS = (
    ("_photons_per_px_s", "photons/px/s"), ("_dn_per_e", "DN/electron"), ("_e_per_s", "electrons/s"),
    ("_m", "m"), ("_s", "s"), ("_dn", "DN"), ("_e", "electrons"), ("_rad", "rad"),
)
_BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("min_length", "length >="))

_DESIGN_HEAD = """# The design file

`design.toml` is one camera: what a person writes, what training returns, what every later step reads. This page is
generated from `optics_sim/design.py` by `make docs`; [`examples/design.toml`](../examples/design.toml) is a whole one.

Lengths are metres and times are seconds; a field's name ends in its unit. Pairs are (rows, columns). A field that is
not listed here is an error, so a misspelt one cannot pass unseen. A field without a default must be given.
"""


_EXPERIMENT_HEAD = """# The experiment file

`experiment.toml` says how a camera is trained and judged; what the camera *is* stands in the [design file](design-file.md).
This page is generated from `optics_sim/experiment.py` by `make docs`; [`examples/experiment.toml`](../examples/experiment.toml)
is a whole one and equals the defaults, so every field may be left out. `--set training.epochs=40` overrides one field for one
run. (`privcam design` without an experiment file takes 400 decoder pairs, and as many enrolled as the data allow, up to
10.) A field that is not listed here is an error.
"""

_CLIP_HEAD = """# The experiment file for clips

What the [experiment file](experiment-file.md) is for photographs, this is for clips: `privcam table bdq`, and `privcam design`
on clips. This page is generated from `optics_sim/clip_experiment.py` by `make docs`. Every field may be left out;
`--set training.alpha=4` overrides one for one run. A field that is not listed here is an error.
"""


_MASK_OPTIONS_HEAD = """# The file of mask options

`mask.toml` says how the sheet of a [mask export](mask-export.md) is drawn: `privcam export mask RUN --options mask.toml`.
This page is generated from `firmware_export/masks/options.py` by `make docs`. Every field may be left out; `--set border_m=3e-3`
overrides one for one export. Lengths are metres. A field that is not listed here is an error.
"""

_PROCESS_HEAD = """# The process file

`process.toml` says what a printer or mask shop can make; `privcam export mask RUN --process process.toml` checks the mask
against it ([mask export](mask-export.md#design-rules)). This page is generated from `firmware_export/masks/options.py` by
`make docs`; [`examples/mask-process.toml`](../examples/mask-process.toml) is a whole one. Lengths are metres. A limit that is
left out is not checked. A field that is not listed here is an error.
"""


_BENCH_HEAD = """# The bench file

`bench.toml` says what is on the table, and alone chooses what is simulated ([the bench](bench.md)). This page is generated from
`hil/bench_file.py` by `make docs`; [`examples/bench-simulated.toml`](../examples/bench-simulated.toml) is a whole one. Each part has a
`kind`, and the fields of its kind. Paths are relative to the file. A field that is not listed here is an error.
"""

_PLAN_HEAD = """# The plan file

`plan.toml` says what a capture session shows and takes, in its order: `[[shots]]` after `[[shots]]` ([the bench](bench.md)). This page is
generated from `optics_sim/shots.py` and `optics_sim/stimulus.py` by `make docs`; [`examples/plan.toml`](../examples/plan.toml) is a whole
one. Pictures are relative to the file. A field that is not listed here is an error.
"""


@dataclass(frozen=True)
class Page:
    """A page made from a model: where it goes, what stands above the tables, and the name of the file's top level."""

    target: Path
    model: type[BaseModel]
    head: str
    title: str

    def text(self) -> str:
        """Returns the whole page as Markdown."""
        return self.head + "".join(_section(name or self.title, model, bool(name)) for name, model in models(self.model))


PAGES = (
    Page(Path(__file__).parent / "design-file.md", CameraDesign, _DESIGN_HEAD, "The design"),
    Page(Path(__file__).parent / "experiment-file.md", Experiment, _EXPERIMENT_HEAD, "The experiment"),
    Page(Path(__file__).parent / "clip-experiment-file.md", ClipExperiment, _CLIP_HEAD, "The experiment"),
    Page(Path(__file__).parent / "mask-options-file.md", MaskOptions, _MASK_OPTIONS_HEAD, "The sheet"),
    Page(Path(__file__).parent / "mask-process-file.md", Process, _PROCESS_HEAD, "The process"),
    Page(Path(__file__).parent / "bench-file.md", BenchFile, _BENCH_HEAD, "The bench"),
    Page(Path(__file__).parent / "plan-file.md", Plan, _PLAN_HEAD, "The plan"),
)


def models(root: type[BaseModel], place: str = "") -> list[tuple[str, type[BaseModel]]]:
    """Returns every model of a file with its place in the file, the outer before the inner."""
    found = [(place, root)]
    for name, field in root.model_fields.items():
        for inner in _models_in([field.annotation, *field.metadata]):
            found += models(inner, f"{place}.{name}".lstrip("."))
    return found


def unit(name: str) -> str:
    """Returns the unit that a field's name ends in, or nothing for a pure number or a word."""
    return next((symbol for ending, symbol in _UNITS if name.endswith(ending)), "")


def _models_in(annotations: list[Any]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        else:
            found += _models_in(list(typing.get_args(annotation)))
    return found


def _section(place: str, model: type[BaseModel], is_table: bool) -> str:
    fields = model.model_fields
    kind = typing.get_args(fields["kind"].annotation)[0] if "kind" in fields else None
    title = f"`[{place}]`" + (f", `kind = \"{kind}\"`" if kind else "") if is_table else place
    about = " ".join((model.__doc__ or "").split())
    rows = "".join(_row(name, field) for name, field in fields.items() if name != "kind")
    table = f"\n| field | type | unit | default | meaning |\n|---|---|---|---|---|\n{rows}" if rows else ""
    return f"\n## {title}\n{about}\n{table}"


def _row(name: str, field: FieldInfo) -> str:
    default = "(required)" if field.is_required() else _default(field)
    meaning = "; ".join(part for part in (field.description or "", _bounds(field)) if part)
    return f"| `{name}` | {_type(field)} | {unit(name)} | {default} | {meaning} |\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return "empty" if value == {} else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(field: FieldInfo) -> str:
    marks = [f"{sign} {getattr(limit, key)}" for limit in field.metadata for key, sign in _BOUNDS if hasattr(limit, key)]
    return ", ".join(marks)


def _type(field: FieldInfo) -> str:
    return _type_name(field.annotation)


def _type_name(annotation: Any) -> str:
    """Returns a type in words a TOML author knows."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if _models_in([annotation]):
        return "table"
    if origin is typing.Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is tuple:
        return ("list of " if Ellipsis in arguments else f"{len(arguments)} x ") + _type_name(arguments[0])
    if origin is dict:
        return f"table of {_type_name(arguments[-1])}"
    if arguments:
        return " or ".join(_type_name(choice) for choice in arguments if choice is not type(None))
    return {int: "integer", float: "number", str: "text", Path: "text", bool: "true or false"}.get(annotation, str(annotation))


if __name__ == "__main__":
    for page in PAGES:
        page.target.write_text(page.text(), encoding="utf-8")
        print(page.target)

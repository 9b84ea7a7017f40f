"""Writes `docs/design-file.md` from the data model, so that the page cannot say something else than the code.

`make docs` runs it; a test fails when the page is older than the model.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from optics_sim.design import CameraDesign

TARGET = Path(__file__).parent / "design-file.md"
_UNITS = (
    ("_photons_per_px_s", "photons/px/s"), ("_dn_per_e", "DN/electron"), ("_e_per_s", "electrons/s"),
    ("_m", "m"), ("_s", "s"), ("_dn", "DN"), ("_e", "electrons"), ("_rad", "rad"),
)
_BOUNDS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("min_length", "length >="))

_HEAD = """# The design file

`design.toml` is one camera: what a person writes, what training returns, what every later step reads. This page is
generated from `optics_sim/design.py` by `make docs`; [`examples/design.toml`](../examples/design.toml) is a whole one.

Lengths are metres and times are seconds; a field's name ends in its unit. Pairs are (rows, columns). A field that is
not listed here is an error, so a misspelt one cannot pass unseen. A field without a default must be given.
"""


def page() -> str:
    """Returns the whole page as Markdown."""
    return _HEAD + "".join(_section(name, model) for name, model in models(CameraDesign))


def models(root: type[BaseModel], place: str = "") -> list[tuple[str, type[BaseModel]]]:
    """Returns every model of a design with its place in the file, the outer before the inner."""
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


def _section(place: str, model: type[BaseModel]) -> str:
    fields = model.model_fields
    kind = fields["kind"].default if "kind" in fields else None
    title = f"`[{place}]`" + (f", `kind = \"{kind}\"`" if kind else "") if place else "The design"
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
    if origin is tuple:
        return ("list of " if Ellipsis in arguments else f"{len(arguments)} x ") + _type_name(arguments[0])
    if origin is dict:
        return "table of text"
    if arguments:
        return " or ".join(_type_name(choice) for choice in arguments if choice is not type(None))
    return {int: "integer", float: "number", str: "text", bool: "true or false"}.get(annotation, str(annotation))


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(TARGET)

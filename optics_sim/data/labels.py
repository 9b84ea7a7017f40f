"""labels.csv: attributes of pictures or people, for attribute attacks.

Deliberately not here: who a person is (that is the folder).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optics_sim.errors import PrivcamError

MAX_CATEGORIES = 32
_MISSING = frozenset({"", "-1", "nan", "NA"})
Attributes = tuple[dict[str, NDArray[np.int64]], dict[str, tuple[str, ...]]]


def read_labels(text: str, files: Sequence[str], people: Sequence[str], also_known: Sequence[str] = ()) -> Attributes:
    """Returns (attribute -> int64 [n] category per picture, -1 where missing; attribute -> names of its categories).

    `files` are the n pictures in order (person/picture.jpg), `people` the n names beside them. The first
    column is `file` or `person`; every other column is an attribute of at most 32 categories, numbered in
    sorted order (by value when all are integers). `also_known` are files that may be listed though they
    were skipped. PrivcamError for a listed file or person that is not there, naming the line.
    """
    rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    columns = list(rows[0]) if rows else []
    key = columns[0] if columns else None
    if key not in ("file", "person") or len(columns) < 2 or None in columns:
        raise PrivcamError("labels.csv does not start with a column `file` or `person` and attributes beside it",
                           got=columns, allowed="file,glasses,... or person,glasses,...", todo="mend its first line")
    targets = _targets(list(files) if key == "file" else list(people))
    _check_known(rows, key, targets, also_known)
    values = {name: _column(rows, key, name, targets, len(files)) for name in columns[1:]}
    categories = {name: _categories(name, column) for name, column in values.items()}
    numbers = {name: _numbers(column, categories[name]) for name, column in values.items()}
    return numbers, categories


def _targets(names: Sequence[str]) -> Mapping[str, list[int]]:
    targets: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        targets.setdefault(name, []).append(index)
    return targets


def _check_known(rows: list[dict[str, str]], key: str, targets: Mapping[str, list[int]], also: Sequence[str]) -> None:
    seen: set[str] = set()
    for line, row in enumerate(rows, start=2):
        name = row[key]
        if name in also:
            continue
        if name not in targets:
            raise PrivcamError(f"labels.csv line {line} lists a {key} that is not there", got=name,
                               allowed=f"e.g. {next(iter(targets), None)}", todo="mend the line or add the picture")
        if name in seen:
            raise PrivcamError(f"labels.csv line {line} lists a {key} twice", got=name, todo="remove one of the lines")
        seen.add(name)
        if None in row or None in row.values():
            raise PrivcamError(f"labels.csv line {line} has another number of columns than the first line", got=row,
                               todo="mend the line")


def _column(rows: list[dict[str, str]], key: str, name: str, targets: Mapping[str, list[int]], count: int) -> list[str]:
    column = [""] * count
    for row in rows:
        for index in targets.get(row[key], ()):
            column[index] = row[name].strip()
    return column


def _categories(name: str, column: list[str]) -> tuple[str, ...]:
    found = {value for value in column if value not in _MISSING}
    if len(found) > MAX_CATEGORIES:
        raise PrivcamError(f"the attribute `{name}` of labels.csv is not categorical", got=f"{len(found)} different values",
                           allowed=f"at most {MAX_CATEGORIES}", todo="group its values")
    integers = all(value.lstrip("+-").isdigit() for value in found)
    return tuple(sorted(found, key=int) if integers else sorted(found))


def _numbers(column: list[str], categories: tuple[str, ...]) -> NDArray[np.int64]:
    numbers = {value: index for index, value in enumerate(categories)}
    return np.array([numbers.get(value, -1) for value in column], dtype=np.int64)

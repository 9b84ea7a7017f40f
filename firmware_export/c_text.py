"""Small pieces of C text: arrays, structures, names.

Deliberately not here: what they say about a network (`c_operators`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

WIDTH = 120
TYPES = {"int8": "int8_t", "int16": "int16_t"}


def array(kind: str, name: str, values: Iterable[Any]) -> str:
    """Returns the definition of a constant array."""
    entries = [str(value) for value in values]
    body = textwrap.fill(", ".join(entries), WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"static const {kind} {name}[{len(entries)}] = {{\n{body}\n}};"


def structure(kind: str, name: str, values: Mapping[str, Any]) -> str:
    """Returns the definition of a constant structure with its members named."""
    body = textwrap.fill(", ".join(f".{member} = {value}" for member, value in values.items()), WIDTH,
                         initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return f"static const {kind} {name} = {{\n{body}\n}};"


def braces(*values: Any) -> str:
    """Returns an initialiser."""
    return "{" + ", ".join(str(value) for value in values) + "}"

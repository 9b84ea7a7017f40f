"""What every file a person writes is made of: frozen data that knows its fields; and the bytes and the hash that content has."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from optics_sim.errors import PrivcamError


class Plain(BaseModel):
    """Frozen data that refuses unknown fields: a misspelt key in a TOML file is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def toml_of(file: Path) -> dict[str, Any]:
    """Returns the content of a TOML file; PrivcamError where it is none, OSError where it cannot be read."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PrivcamError(f"{file} is not valid TOML", got=str(error), todo="mend the file") from None


def canonical_json(content: object) -> bytes:
    """Returns JSON content as the same bytes whatever the order of its keys; ValueError where a number is not finite."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256_of(content: object) -> str:
    """Returns the hexadecimal SHA-256 of JSON content, whatever the order of its keys."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


def wrong_field(error: ValidationError, whose: str, page: str) -> PrivcamError:
    """Returns the error that names the first wrong field; `whose` goes before its name, `page` of the docs says more."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return PrivcamError(f"{whose}`{where}` is not valid", got=first.get("input"), allowed=first["msg"], todo=f"see {page}")

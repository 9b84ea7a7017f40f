"""What every file a person writes is made of: frozen data that knows its fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Plain(BaseModel):
    """Frozen data that refuses unknown fields: a misspelt key in a TOML file is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

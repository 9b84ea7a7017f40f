"""One error type whose four parts say what went wrong and what to do about it."""

from __future__ import annotations


class PrivcamError(ValueError):
    """A problem a user can act on.

    Attributes carry the parts, so that programs need not parse the text:
    `what` (the thing that is wrong), `got`, `allowed` and `todo` (what to do).
    """

    def __init__(self, what: str, *, got: object = None, allowed: object = None, todo: str = "") -> None:
        self.what, self.got, self.allowed, self.todo = what, got, allowed, todo
        super().__init__(self._text())

    def _text(self) -> str:
        parts = [self.what]
        if self.got is not None:
            parts.append(f"got: {self.got}")
        if self.allowed is not None:
            parts.append(f"allowed: {self.allowed}")
        if self.todo:
            parts.append(f"what to do: {self.todo}")
        return "; ".join(parts)

"""A file that a part of a design names: what is in it belongs to the design, where it lies does not.

Deliberately not here: which parts have one (`CameraDesign.files`), and what is in it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from optics_sim.errors import PrivcamError

SHA256_MEANING = "of that file, written when the design is saved; another file is refused"


class NamedFile(NamedTuple):
    """The dotted `field` of a design that names a file, its `path`, and the SHA-256 its content must have ("": any)."""

    field: str
    path: str
    sha256: str

    @property
    def sha256_field(self) -> str:
        """The dotted field of the hash."""
        return self.field.rpartition(".")[0] + ".sha256"

    @property
    def kept_as(self) -> str:
        """The file's name beside a saved design: its part's, so that no two are alike."""
        return self.field.split(".")[-2] + Path(self.path).suffix

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, read from the file where the design does not say it."""
        return self.sha256 or hashlib.sha256(self.read()).hexdigest()

    def read(self) -> bytes:
        """Returns the content; PrivcamError for a file that cannot be read or is not the one the design was saved with."""
        try:
            data = Path(self.path).read_bytes()
        except OSError as error:
            raise PrivcamError(f"the file of `{self.field}` cannot be read", got=f"{self.path}: {error.strerror}",
                               todo="load the design from its own folder, with the file beside it") from None
        found = hashlib.sha256(data).hexdigest()
        if self.sha256 not in ("", found):
            raise PrivcamError(f"the file of `{self.field}` is not the design's", got=f"{self.path} with SHA-256 {found}",
                               allowed=self.sha256, todo="put the file back that the design was saved with")
        return data

"""A rig made of one lamp whose level can be set: an LED on a board, a lamp on a lab supply.

What its light amounts to (a lamp in a room, an even field through a diffuser, the only light in a box) nobody but the person
who built it knows, and says in `bench.toml`. Deliberately not here: the lamps (`micropython.py`, `scpi.py`).
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Literal, Protocol, Self

from hil.protocols import RigInfo, Shown
from hil.rigs.refuse import nothing_shown, other_kind
from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Even, Flat, Light, Stimulus

LampKind = Literal["light", "flat", "even", "dark"]


class Lamp(Protocol):
    """Something on a wire that shines; use in a `with`. Each method raises PrivcamError where the wire breaks."""

    @property
    def info(self) -> RigInfo:
        """Returns what it says of itself."""
        ...

    def refusal(self, level: float) -> PrivcamError | None:
        """Returns why the lamp has no such level, or None."""
        ...

    def set_level(self, level: float) -> str:
        """Returns, when the lamp has a level from 0 (off) to 1, how that is known."""
        ...

    def confirm_level(self) -> None:
        """Raises PrivcamError where the lamp no longer has the level that was set."""
        ...

    def __enter__(self) -> Self:
        """Returns itself, open."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the wire."""
        ...


class LampRig:
    """A rig that sets a lamp's level; off again when it is closed. `shows` are the kinds that its light amounts to.

    "flat": it lights the whole field evenly, `level` relative to its full light. "even": the bare sensor, likewise. "dark": it is
    the only light there is, so that off is dark.
    """

    def __init__(self, lamp: Lamp, shows: tuple[LampKind, ...] = ("light",)) -> None:
        self._lamp, self._shows = lamp, shows
        self._shown = False

    def __enter__(self) -> Self:
        self._lamp.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shown = False
        with suppress(PrivcamError):  # of a broken wire the session has told already
            self._lamp.set_level(0.0)
        self._lamp.__exit__(kind, error, trace)

    @property
    def info(self) -> RigInfo:
        """Returns what the lamp says of itself."""
        return self._lamp.info

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns why one lamp cannot show a stimulus, or None."""
        wrong = other_kind("the lamp", stimulus, self._shows, "say in bench.toml what its light amounts to (shows), or use another rig")
        return wrong or self._lamp.refusal(_level(stimulus))

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the lamp has the stimulus' level."""
        self._shown = False
        if (refused := self.refusal(stimulus)) is not None:
            raise refused
        proof = self._lamp.set_level(_level(stimulus))
        self._shown = True
        return Shown(rig=self._lamp.info, proof=proof)

    def confirm(self) -> None:
        """Raises PrivcamError where the lamp no longer has that level, or cannot be asked."""
        if not self._shown:
            raise nothing_shown()
        try:
            self._lamp.confirm_level()
        except PrivcamError:
            self._shown = False
            raise


def _level(stimulus: Stimulus) -> float:
    return stimulus.level if isinstance(stimulus, Light | Flat | Even) else 0.0

"""The errors that rigs share. Deliberately not here: what any rig can show."""

from __future__ import annotations

from collections.abc import Sequence

from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Kind, Stimulus


def other_kind(rig: str, stimulus: Stimulus, shows: Sequence[Kind], todo: str) -> PrivcamError | None:
    """Returns the error that names what a rig shows where the stimulus is of another kind, or None."""
    if stimulus.kind in shows:
        return None
    return PrivcamError(f"{rig} cannot show this", got=stimulus.label, allowed=", ".join(shows), todo=todo)


def nothing_shown() -> PrivcamError:
    """Returns the error of a question about something that was never shown, or of which nobody knows any more."""
    return PrivcamError("nothing is shown that could be confirmed", todo="show the stimulus (again)")


def not_open(rig: str) -> PrivcamError:
    """Returns the error of a rig that is used outside its `with`."""
    return PrivcamError(f"{rig} is not open", todo="use it inside `with`")

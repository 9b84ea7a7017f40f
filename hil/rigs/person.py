"""A person who follows instructions: the rig of every bench that has no other. It shows all kinds, and proves nothing but a word.

Deliberately not here: how the person is asked (`terminal.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from hil.protocols import RigInfo, Shown
from hil.rigs.refuse import nothing_shown
from optics_sim.errors import PrivcamError
from optics_sim.measure import Source
from optics_sim.stimulus import Dark, Even, Flat, Light, Pattern, Picture, Point, Stimulus

Ask = Callable[[str, float], str]
"""Returns the line that a person answers to a text within so many seconds; PrivcamError where none comes."""
_NO = ("n", "no", "stop", "q", "quit")


class PersonRig:
    """A rig that asks somebody to show. Enter means done, "no" or "stop" means that it cannot be; another answer is kept as a note.

    What is there already is not asked for again. `source` is "physical": a stand-in for the person must say so.
    """

    def __init__(self, ask: Ask, *, timeout_s: float = 600.0, source: Source = "physical") -> None:
        self._ask, self._timeout_s = ask, timeout_s
        self._info = RigInfo(name="a person", source=source)
        self._last: tuple[Stimulus, str] | None = None

    @property
    def info(self) -> RigInfo:
        """Returns that it is a person."""
        return self._info

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns None: a person is asked, and may say no."""
        return None

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the person says that it is there; PrivcamError where they say no, or nothing in time."""
        if self._last is not None and self._last[0] == stimulus:
            return Shown(rig=self._info, proof=f"not touched since {self._last[1]}")
        self._last = None
        answer = self._ask(f"{instruction(stimulus)}, then press Enter (or type no): ", self._timeout_s).strip()
        if answer.lower() in _NO:
            raise PrivcamError("the person says that it cannot be shown", got=f"{answer!r} to {instruction(stimulus)!r}",
                               todo="change the plan, or run the same command when it can: it resumes")
        said = f"a person said {answer!r}" if answer else "a person pressed Enter"
        self._last = (stimulus, said)
        return Shown(rig=self._info, proof=said)

    def confirm(self) -> None:
        """Raises PrivcamError where nobody said that something is there; whether it still is, a person alone sees."""
        if self._last is None:
            raise nothing_shown()


def instruction(stimulus: Stimulus) -> str:
    """Returns what a person is told to do."""
    match stimulus:
        case Dark():
            return "Cap the lens so that no light gets in"
        case Flat():
            return f"Uncap the lens and show an even field at {100 * stimulus.level:g} % of white"
        case Even():
            return f"Take the mask or lens off and light the bare sensor evenly, at {100 * stimulus.level:g} % of the light's full level"
        case Light():
            return "Uncap the lens and " + (f"set the lamp to {100 * stimulus.level:g} %" if stimulus.level else "switch the lamp off")
        case Point():
            return (f"Darken the room, uncap the lens and put the point source {_way(stimulus.x_m, 'right', 'left')} and "
                    f"{_way(stimulus.y_m, 'down', 'up')} of the optical axis, as the camera sees it, {1e3 * stimulus.distance_m:g} mm "
                    f"before it, at level {stimulus.level:g}")
        case Pattern():
            return f"Uncap the lens and show the pattern {stimulus.name or f'of {len(stimulus.cells)} x {len(stimulus.cells[0])} cells'}"
        case Picture():
            return f"Uncap the lens and show the picture {stimulus.file}"


def _way(value_m: float, positive: str, negative: str) -> str:
    return f"{abs(1e3 * value_m):g} mm {positive if value_m >= 0 else negative}"

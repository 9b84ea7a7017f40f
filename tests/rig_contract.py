"""What every rig must do, whatever it is made of: inherit, and give the fixture `bench`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hil.protocols import Rig
from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Stimulus


@dataclass(frozen=True)
class RigBench:
    """A rig that is ready, two stimuli that it shows, one that it does not, a look at what is really there, and a way to spoil it.

    `spoil` is None where nothing can be told from a spoilt rig. `refused` of a rig that shows everything is None.
    """

    rig: Rig
    stimuli: tuple[Stimulus, Stimulus]
    refused: Stimulus | None
    seen: Callable[[], object]
    spoil: Callable[[], object] | None


class RigContract:
    """The protocol's promises. A subclass has a fixture `bench`, new for each test."""

    def test_what_is_shown_is_there_whatever_was_shown_before(self, bench: RigBench) -> None:
        seen = []
        for which in (0, 1, 0):
            bench.rig.show(bench.stimuli[which])
            seen.append(bench.seen())
        assert seen[0] == seen[2] != seen[1]

    def test_it_says_what_it_is_and_how_it_knows(self, bench: RigBench) -> None:
        shown = bench.rig.show(bench.stimuli[0])
        assert shown.rig == bench.rig.info and shown.proof
        assert shown.rig.source != "physical", "nothing in a test is physical"

    def test_what_it_cannot_show_is_refused_with_what_to_do_and_changes_nothing(self, bench: RigBench) -> None:
        bench.rig.show(bench.stimuli[1])
        before = bench.seen()
        assert [bench.rig.refusal(stimulus) for stimulus in bench.stimuli] == [None, None]
        if bench.refused is not None:
            refusal = bench.rig.refusal(bench.refused)
            assert isinstance(refusal, PrivcamError) and refusal.todo
            with pytest.raises(PrivcamError, match=r".*"):
                bench.rig.show(bench.refused)
        assert bench.seen() == before

    def test_only_what_was_shown_is_confirmed(self, bench: RigBench) -> None:
        with pytest.raises(PrivcamError, match="nothing is shown"):
            bench.rig.confirm()
        bench.rig.show(bench.stimuli[0])
        bench.rig.confirm()
        bench.rig.confirm()

    def test_a_spoilt_rig_confirms_nothing(self, bench: RigBench) -> None:
        bench.rig.show(bench.stimuli[0])
        bench.rig.confirm()
        if bench.spoil is None:
            pytest.skip("only a person sees whether a person's work is still there")
        bench.spoil()
        with pytest.raises(PrivcamError):
            bench.rig.confirm()

"""Row streaming: no row is overwritten before it was read, what is held is the least, and the bytes are as reported."""

from __future__ import annotations

import re

import numpy as np
import pytest
from int8_nets import alone, bottleneck, cases, frames, obfuscator, ringed, smoothed

from firmware_export.bdq_graph import bdq_graph
from firmware_export.build import GraphBuilder
from firmware_export.c_code import c_files
from firmware_export.c_host import SANITIZED, CArtifact, compiler
from firmware_export.int8 import Reference
from firmware_export.schedule import SMALL_BYTES, Timeline, kept_name, planned
from optics_sim.encoding import BdqEncoder

CASES = dict(cases())
RAM_BYTES = 512 * 1024
STACK_BYTES = 8 * 1024
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
COMPOSITE = {"autoencoder": bottleneck(0), "obfuscator": obfuscator(0, (32, 40)), "blur": smoothed(0, channels=3, kernel=7, sigma=2.0),
             "mirror": ringed(CASES["mirror_pad_reflect"](0)), "dilated": ringed(CASES["conv_dilated"](0)),
             "smaller": ringed(CASES["resize_bilinear_3x4"](0))}


class Memory(Timeline):
    """Plays a plan on the bytes of the arena and remembers whose row each byte is."""

    def __init__(self, plan, held):
        super().__init__(plan.stages)
        self.plan, self.rows_held, self.lost = plan, held, []
        self.bytes = np.full(plan.arena_bytes, -1)
        self.names = list(self.stages)

    def until(self, name, end):
        while len(self.written[name]) < end:
            y = len(self.written[name])
            super().until(name, y + 1)
            for source in self.stages[name].sources:
                if source.name in self.rows_held:
                    self.lost += [(source.name, row) for row in source.rows(y) if not self.intact(source.name, row)]
            if name in self.rows_held:
                self.bytes[self.place(name, y)] = self.tag(name, y)

    def place(self, name, row):
        start = self.plan.memory[0][name] + row % self.rows_held[name] * self.stages[name].line_bytes
        return slice(start, start + self.stages[name].line_bytes)

    def tag(self, name, row):
        return self.names.index(name) * 100_000 + row

    def intact(self, name, row):
        return bool((self.bytes[self.place(name, row)] == self.tag(name, row)).all())


def lost(plan, held=None):
    memory = Memory(plan, held or plan.held)
    memory.play(plan.targets)
    for state in plan.graph.states:
        if state.before not in plan.in_place and state.after in memory.rows_held:
            memory.lost += [(state.after, row) for row in range(memory.stages[state.after].height) if not memory.intact(state.after, row)]
    return memory.lost


@pytest.mark.parametrize("streamed", [False, True, None])
@pytest.mark.parametrize("name", COMPOSITE)
def test_every_row_is_there_when_it_is_read(name, streamed):
    assert not lost(planned(COMPOSITE[name], streamed))


@pytest.mark.parametrize("name", COMPOSITE)
def test_one_row_fewer_would_be_read_too_late(name):
    plan = planned(COMPOSITE[name], True)
    several = [stage for stage, rows in plan.held.items() if rows > 1]
    assert several
    for stage in several:
        assert lost(plan, {**plan.held, stage: plan.held[stage] - 1}), f"{stage} holds a row too many"


def test_what_needs_everything_holds_everything():
    held = planned(bottleneck(0), True).held
    assert held["conv_2d_12"] == 16, "MEAN reads it"
    assert held["conv_2d_2"] == 3, "a window of three"


# --- bytes ----------------------------------------------------------------------------------------
def test_an_autoencoder_of_320_x_200_fits_512_kib():
    graph = obfuscator(0)
    parameters = sum(tensor.data.size for tensor in graph.tensors if tensor.data is not None)
    assert 0.14e6 < parameters < 0.16e6
    whole, streamed = planned(graph, False), planned(graph, True)
    assert whole.arena_bytes > 4e6
    ends = sum(graph[name].size_bytes for name in (*graph.inputs, *graph.outputs))
    assert ends == 2 * 64_000
    assert streamed.arena_bytes + ends + STACK_BYTES < RAM_BYTES
    header = c_files(graph)["model.h"].decode()
    assert f"#define MODEL_ARENA_BYTES {streamed.arena_bytes}\n" in header


def test_a_small_network_is_not_streamed_unless_asked_for():
    graph = bottleneck(0)
    assert planned(graph, False).arena_bytes <= SMALL_BYTES
    assert c_files(graph) == c_files(graph, False) != c_files(graph, True)


def test_a_network_that_gains_nothing_stays_whole():
    """A mean reads everything: there is nothing to stream."""
    graph = ringed(alone("MEAN", 0, size=(200, 300)))
    assert planned(graph, None).targets == planned(graph, False).targets


def test_the_state_of_bdq_is_replaced_row_by_row():
    graph = bdq_graph(BdqEncoder(), (200, 320))
    streamed = planned(graph, True)
    assert streamed.in_place == {"previous"} and kept_name(graph.states[0]) in {stage.name for stage in streamed.stages}
    assert streamed.arena_bytes < 5000 < planned(graph, False).arena_bytes


def _lagging():
    """Returns a network whose old state is read one row later than the new one is there: by a window."""
    builder = GraphBuilder("lagging")
    frame = builder.input("frame", (1, 9, 7, 1))
    code = builder.add("MAX_POOL_2D", (frame,), window=(1, 1))
    before = builder.state("before", code)
    builder.keep(before, code)
    wide = builder.add("MAX_POOL_2D", (before,), window=(5, 1))
    builder.output(builder.add("SUB", (code, wide), 2.0, 0))
    return builder.build()


def test_a_state_that_is_read_late_is_held_to_the_end():
    plan = planned(_lagging(), True)
    assert not plan.in_place and plan.held[plan.graph.states[0].after] == 9


@needs_compiler
@pytest.mark.parametrize("graph", [_lagging(), bdq_graph(BdqEncoder(kernel_px=9), (20, 17))], ids=["held", "row by row"])
def test_states_are_equal_streamed(graph):
    clip = frames(graph, 0)
    wanted, found = Reference(graph).run(clip), CArtifact(graph, c_files(graph, True), SANITIZED).run(clip)
    assert all(np.array_equal(codes, found[name]) for name, codes in wanted.items())


@needs_compiler
def test_a_constant_frame_is_read_as_one():
    builder = GraphBuilder("mask")
    frame = builder.input("frame", (1, 5, 4, 2), 1 / 255, -128)
    mask = builder.constant(np.random.default_rng(0).integers(-128, 128, (1, 5, 4, 2)).astype(np.int8), [1 / 128])
    builder.output(builder.add("MUL", (frame, mask), 1 / 127, 3))
    graph = builder.build()
    clip = frames(graph, 0)
    assert np.array_equal(Reference(graph)(clip["frame"]), CArtifact(graph, options=SANITIZED)(clip["frame"]))


# --- text -----------------------------------------------------------------------------------------
def test_the_c_says_what_it_holds():
    plan = planned(bottleneck(0), True)
    text = c_files(bottleneck(0), True)["model.c"].decode()
    for stage, rows in plan.held.items():
        held = "all" if rows == next(one.height for one in plan.stages if one.name == stage) else rows
        assert re.search(rf"/\* [A-Z0-9_]+: \d+ rows of \d+, {held} held \*/\nstatic void {stage}_until", text)

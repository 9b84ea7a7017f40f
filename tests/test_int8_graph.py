"""Graphs: the same graph gives the same bytes, a graph that cannot run says every reason, golden files are whole."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_nets import alone, bottleneck, cases, convolution, frames, pair, smoothed

from firmware_export import golden, tflite, tflite_encoder
from firmware_export.arena import Block, placed
from firmware_export.c_code import c_files
from firmware_export.check import check, require
from firmware_export.graph import Operator
from firmware_export.int8 import Reference
from firmware_export.rounding import doubling_high_multiply, multiplier, rounding_divide_by_power, scaled
from firmware_export.scaling import function_table
from firmware_export.schedule import planned
from optics_sim.errors import PrivcamError

CASES = dict(cases())
LITERT = importlib.util.find_spec("ai_edge_litert") is not None


# --- rounding -------------------------------------------------------------------------------------
def test_halves_go_up_in_the_first_rounding_and_away_from_zero_in_the_second():
    values = np.array([-6, -2, -1, 1, 2, 6, 5, -5], np.int64)
    assert rounding_divide_by_power(values, 2).tolist() == [-2, -1, 0, 0, 1, 2, 1, -1]
    assert doubling_high_multiply(np.array([-3, -1, 1, 3], np.int64), 1 << 30).tolist() == [-1, 0, 1, 2]


@given(value=st.integers(-2**24, 2**24), factor=st.floats(1e-6, 1.0))
def test_a_factor_is_within_its_two_roundings(value, factor):
    """Each rounding is off by half a unit at most, the first one's shrinks in the shift; the multiplier by 2**-31."""
    by, shift = multiplier(factor)
    assert 2**30 <= by < 2**31
    assert abs(int(scaled(np.array([value]), by, shift)[0]) - value * factor) <= 1.0 + 2.0**24 * 2.0**-31


def test_logistic_is_monotone_and_symmetric_about_its_middle():
    graph = CASES["logistic"](0)
    table = function_table("LOGISTIC", dataclasses.replace(graph["frame"], zero_point=0), graph[graph.outputs[0]]).astype(int)
    assert (np.diff(table) >= 0).all()
    assert np.abs(table[1:] + table[:0:-1]).max() <= 1


# --- determinism ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["autoencoder", "conv_same", "table"])
def test_the_same_graph_gives_the_same_bytes(name):
    first, second = CASES[name](4), CASES[name](4)
    assert first.digest == second.digest != CASES[name](5).digest
    assert c_files(first) == c_files(second)
    if LITERT:
        assert tflite.tflite_bytes(first) == tflite.tflite_bytes(second)


CODE = """
import hashlib, sys
sys.path.insert(0, "tests")
from int8_nets import bottleneck
from firmware_export.c_code import c_files
from firmware_export.golden import golden_files
import numpy as np
found = {**c_files(bottleneck(0)), **golden_files(bottleneck(0), np.random.default_rng(0), 4)}
print(hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest(), "torch" in sys.modules)
"""


def test_bytes_are_the_same_in_every_process():
    answers = {subprocess.run([sys.executable, "-c", CODE], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
                              env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout for seed in ("1", "2")}
    assert len(answers) == 1
    assert answers.pop().split()[1] == "False", "torch was loaded"


@pytest.mark.skipif(not LITERT, reason="ai-edge-litert is not installed")
def test_the_file_carries_the_design_and_signature_names():
    graph = bottleneck(0)
    data = tflite.tflite_bytes(graph)
    interpreter = tflite_encoder.interpreter_module().Interpreter(model_content=data)
    ((key, names),) = interpreter.get_signature_list().items()
    assert key == "encode_after_1"
    assert set(names["inputs"]) == {"frame", "before"} and "before_next" in names["outputs"]
    assert graph.design.encode() in data and graph.digest.encode() in data


@pytest.mark.skipif(not LITERT, reason="ai-edge-litert is not installed")
def test_every_tensor_is_of_integers():
    data = tflite.tflite_bytes(bottleneck(0))
    details = tflite_encoder.interpreter_module().Interpreter(model_content=data).get_tensor_details()
    assert {detail["dtype"].__name__ for detail in details} <= {"int8", "int16", "int32"}


def test_without_an_interpreter_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tflite_encoder, "INTERPRETERS", ("no_such_module",))
    with pytest.raises(PrivcamError, match="export"):
        tflite_encoder.interpreter_module()


# --- C --------------------------------------------------------------------------------------------
def test_c_has_the_digest_and_nothing_it_may_not_have():
    files = c_files(bottleneck(0))
    text = "".join(data.decode() for data in files.values())
    assert "0123abcd" in text and bottleneck(0).digest in text
    for word in ("malloc", "float", "double ", "printf", "stdio", "stdlib"):
        assert word not in text.replace("no float", "").replace("doubled", "")


def test_the_arena_never_overlaps_and_is_reused():
    wanted = planned(bottleneck(0)).blocks
    offsets, size = placed(wanted)
    assert size < sum(block.size for block in wanted)
    for index, one in enumerate(wanted):
        for other in wanted[:index]:
            apart = offsets[one.name] + one.size <= offsets[other.name] or offsets[other.name] + other.size <= offsets[one.name]
            assert apart or one.last < other.first or other.last < one.first


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_arena_holds_its_promise_for_any_lifetimes(drawn):
    wanted = [Block(f"b{index}", size, min(first, last), max(first, last)) for index, (size, first, last) in enumerate(drawn)]
    offsets, size = placed(wanted)
    for step in range(10):
        used = sorted((offsets[b.name], offsets[b.name] + b.size) for b in wanted if b.first <= step <= b.last)
        assert all(end <= start for (_, end), (start, _) in pairwise(used))
        assert all(end <= size for _, end in used)


# --- check ----------------------------------------------------------------------------------------
def _with_tensor(graph, name, **changes):
    tensors = tuple(dataclasses.replace(tensor, **changes) if tensor.name == name else tensor for tensor in graph.tensors)
    return dataclasses.replace(graph, tensors=tensors)


def _with_operator(graph, **changes):
    return dataclasses.replace(graph, operators=(dataclasses.replace(graph.operators[0], **changes), *graph.operators[1:]))


GOOD = convolution("CONV_2D", 0)
BDQ = smoothed(0)
WEIGHTS = GOOD.operators[0].inputs[1]


@pytest.mark.parametrize(("graph", "why"), [
    (_with_operator(GOOD, kind="SOFTMAX"), "SOFTMAX.*no integer kernel.*the scores themselves"),
    (_with_operator(GOOD, kind="GELU"), "GELU.*no integer kernel.*TABLE"),
    (_with_operator(GOOD, inputs=("frame",)), "1 inputs"),
    (_with_operator(GOOD, inputs=("nothing", *GOOD.operators[0].inputs[1:])), "before it is there"),
    (_with_operator(GOOD, padding="FULL"), "SAME or VALID|shape"),
    (_with_operator(GOOD, activation="gelu"), "relu6"),
    (_with_operator(GOOD, stride=(2, 2)), "writes"),
    (_with_tensor(GOOD, GOOD.outputs[0], scale=(1e-9,)), "32 bits|32-bit"),
    (_with_tensor(GOOD, GOOD.outputs[0], zero_point=200), "zero point 200"),
    (_with_tensor(GOOD, GOOD.outputs[0], scale=(0.1,)), "32-bit float"),
    (_with_tensor(GOOD, "frame", dtype="int16"), "int16"),
    (_with_tensor(GOOD, WEIGHTS, data=None), "before it is there"),
    (dataclasses.replace(GOOD, outputs=()), "no output"),
    (dataclasses.replace(GOOD, outputs=("frame",)), "the frame itself"),
    (dataclasses.replace(GOOD, warmup=2), "without a state"),
    (dataclasses.replace(GOOD, name="Bad Name"), "C code"),
    (dataclasses.replace(GOOD, tensors=(*GOOD.tensors, GOOD.tensors[0])), "two tensors"),
    (_with_tensor(BDQ, "previous", scale=(0.5,)), "would drift"),
    (_with_operator(alone("MAX_POOL_2D", 0, window=(3, 2)), window=(9, 9), padding="VALID"), "nothing is left|writes"),
    (_with_tensor(alone("PAD", 0), "pad_0", zero_point=55), "between scales"),
    (_with_tensor(CASES["tanh"](0), "tanh_0", zero_point=1), "zero point 0"),
    (_with_tensor(CASES["table"](0), "constant_1", shape=(255,)), "256"),
    (_with_tensor(pair("ADD", 0), "add_0", scale=(2.0**-30,)), "finer"),
    (_with_tensor(BDQ, BDQ.operators[0].inputs[1], data=np.array([1, 2, 3], np.int16)), "keep the light"),
    (_with_tensor(BDQ, BDQ.operators[1].inputs[2], data=np.array([5, 5], np.int16)), "too close"),
])
def test_what_cannot_run_says_so(graph, why):
    assert check(graph)
    with pytest.raises(PrivcamError, match=why):
        require(graph)


def test_every_problem_is_named_at_once():
    graph = _with_tensor(_with_tensor(bottleneck(0), "decoded", zero_point=3), "bottleneck", zero_point=0)
    assert len({problem.operator for problem in check(graph)}) >= 3


def test_good_graphs_have_no_problem():
    assert {name: check(make(0)) for name, make in CASES.items() if check(make(0))} == {}


def test_an_operator_reads_its_inputs_before_they_change():
    assert isinstance(GOOD.operators[0], Operator)
    with pytest.raises(dataclasses.FrozenInstanceError):
        GOOD.operators[0].kind = "ADD"


@pytest.mark.parametrize("clip", [{}, {"frame": np.zeros((3, 7, 6, 3))}, {"frame": np.zeros((3, 6, 6, 3), np.int8)},
                                  {"frame": np.zeros((0, 7, 6, 3), np.int8)}])
def test_a_clip_of_another_kind_is_refused(clip):
    with pytest.raises(PrivcamError, match="clip"):
        Reference(GOOD).run(clip)


def test_a_graph_of_two_inputs_is_run_by_name():
    with pytest.raises(PrivcamError, match="several"):
        Reference(pair("ADD", 0))(np.zeros((3, 5, 4, 3), np.int8))


def test_frames_of_a_batch_do_not_see_each_other():
    clip = frames(GOOD, 0)["frame"]
    assert np.array_equal(Reference(GOOD)(clip)[2:3], Reference(GOOD)(clip[2:3]))


# --- golden files ---------------------------------------------------------------------------------
def test_golden_files_are_read_back_and_a_changed_one_is_seen(tmp_path):
    graph = bottleneck(0)
    files = golden.golden_files(graph, np.random.default_rng(1), 20)
    assert files == golden.golden_files(graph, np.random.default_rng(1), 20)
    golden.write_golden(tmp_path / "golden", files)
    arrays = golden.read_golden(tmp_path / "golden")
    codes = Reference(graph).run({"frame": arrays["frame"]})
    assert all(np.array_equal(arrays[name], found) for name, found in codes.items())
    assert len(files["codes.bin"]) == 19 * sum(graph[name].size_bytes for name in graph.outputs)
    assert json.loads(files["golden.json"])["graph"] == graph.digest
    (tmp_path / "golden" / "codes.bin").write_bytes(files["codes.bin"][:-1] + b"\x55")
    with pytest.raises(PrivcamError, match="changed"):
        golden.read_golden(tmp_path / "golden")


def test_too_few_golden_frames_are_refused():
    with pytest.raises(PrivcamError, match="too few"):
        golden.golden_clip(GOOD, np.random.default_rng(0), 1)

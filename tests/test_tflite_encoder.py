"""An exported file alone, without its graph: codes, clips and streams, what is refused, and the host as an encoder device."""

from __future__ import annotations

import functools
import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from encoder_device import Bench, EncoderDeviceContract
from int8_nets import bottleneck, frames, pair

from firmware_export import tflite_encoder
from firmware_export.bdq_graph import bdq_graph
from firmware_export.golden import golden_files
from firmware_export.int8 import Reference
from firmware_export.tflite import tflite_bytes
from firmware_export.tflite_encoder import TfliteEncoder
from firmware_export.tflite_note import METADATA, read_note
from hil.devices.host_encoder import HostEncoder
from optics_sim.encoding import BdqEncoder
from optics_sim.errors import PrivcamError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")
DESIGN = "ab" * 32
SIZE = (16, 12)


@functools.cache
def graph():
    return bdq_graph(BdqEncoder(), SIZE, design=DESIGN)


@functools.cache
def exported():
    return tflite_bytes(graph())


def clip(count=4):
    return np.random.default_rng(1).integers(-128, 128, (count, *SIZE)).astype(np.int8)


# --- what it computes -----------------------------------------------------------------------------
@pytest.mark.parametrize("fast", [False, True])
def test_the_file_alone_gives_the_codes(fast, tmp_path):
    (tmp_path / "encoder.tflite").write_bytes(exported())
    for path in (tmp_path, str(tmp_path / "encoder.tflite")):
        encoder = TfliteEncoder.load(path, fast=fast, digest=DESIGN)
        assert encoder.design == DESIGN and encoder.note.graph == graph().digest
        np.testing.assert_array_equal(encoder(clip()), Reference(graph())(clip()))


@pytest.mark.parametrize("network", [bottleneck(0), pair("ADD", 0)], ids=["states and two outputs", "two inputs"])
def test_several_inputs_outputs_and_states(network):
    given = frames(network, 0)
    wanted, found = Reference(network).run(given), TfliteEncoder(tflite_bytes(network), fast=False).run(given)
    assert wanted.keys() == found.keys()
    for name, codes in wanted.items():
        np.testing.assert_array_equal(codes, found[name])


def test_a_stream_gives_what_a_clip_gives():
    encoder, wanted = TfliteEncoder(exported()), Reference(graph())(clip())
    for _ in range(2):
        encoder.start()
        first, *rest = [encoder.feed(frame) for frame in clip()]
        assert first is None, "the first frame would be shown against black"
        np.testing.assert_array_equal(rest, wanted)


# --- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize("wrong", [clip().astype(np.uint8), clip()[:, 1:], clip()[0], clip(1)],
                         ids=["type", "size", "a frame", "too short"])
def test_another_clip_is_refused(wrong):
    with pytest.raises(PrivcamError):
        TfliteEncoder(exported())(wrong)


@pytest.mark.parametrize("wrong", [clip()[0].astype(float), clip()[0, 1:], clip()], ids=["type", "size", "a clip"])
def test_another_frame_is_refused_and_leaves_the_state(wrong):
    encoder, wanted = TfliteEncoder(exported()), Reference(graph())(clip())
    encoder.feed(clip()[0])
    with pytest.raises(PrivcamError):
        encoder.feed(wrong)
    np.testing.assert_array_equal(encoder.feed(clip()[1]), wanted[0])


def test_the_file_of_another_design_is_refused():
    with pytest.raises(PrivcamError, match="another design"):
        TfliteEncoder(exported(), digest="cd" * 32)


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(PrivcamError, match="no such encoder"):
        TfliteEncoder.load(tmp_path)


@pytest.mark.parametrize(("spoil", "match"), [
    (lambda data: b"", "not a TFLite file"), (lambda data: data[:4] + b"GGUF" + data[8:], "not a TFLite file"),
    (lambda data: data.replace(METADATA.encode(), b"another"), "not ours"),
    (lambda data: data.replace(b'"warmup"', b'"warmer"'), "cannot be read"),
    (lambda data: data.replace(b'"states": ["previous"]', b'"states": ["sometime"]'), "what its metadata says"),
    (lambda data: struct.pack("<I", 2**31) + data[4:], "damaged"), (lambda data: data[:-1], "refuses|damaged"),
], ids=["empty", "another format", "another's metadata", "a note without a warm-up", "another signature", "a lost root", "a byte cut off"])
def test_a_file_that_is_not_ours_or_damaged_is_refused(spoil, match):
    assert spoil(exported()) != exported()
    with pytest.raises(PrivcamError, match=match):
        TfliteEncoder(spoil(exported()))


def test_a_file_cut_off_anywhere_is_refused():
    """In the note's reader at the latest, or by the interpreter: nothing crashes."""
    data = exported()
    for end in range(0, len(data), 97):
        with pytest.raises(PrivcamError):
            TfliteEncoder(data[:end])


def test_the_note_is_the_schema_s():
    """The reader without a schema finds what the schema's own reader finds."""
    from ai_edge_litert import schema_py_generated as schema
    model = schema.ModelT.InitFromPackedBuf(exported(), 0)
    (entry,) = model.metadata
    assert entry.name.decode() == METADATA
    assert bytes(model.buffers[entry.buffer].data) == read_note(exported()).as_bytes()


def test_without_an_interpreter_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tflite_encoder, "INTERPRETERS", ("no_such_module",))
    with pytest.raises(PrivcamError, match=r"privcam\[pi\]"):
        TfliteEncoder(exported())


def test_it_loads_numpy_and_the_interpreter_and_no_more():
    code = ("import sys; from firmware_export.tflite_encoder import TfliteEncoder\n"
            "print(sorted({'torch', 'scipy', 'pydantic', 'tomli_w', 'ai_edge_litert'} & set(sys.modules)))")
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env={"PYTHONPATH": str(Path(__file__).parents[1])})
    assert answer.stdout.strip() == "[]"


# --- this computer as a device --------------------------------------------------------------------
class TestHostEncoder(EncoderDeviceContract):
    @pytest.fixture
    def bench(self):
        def expected(given):
            return Reference(graph())(given).reshape(-1, np.prod(SIZE))
        return Bench(HostEncoder(TfliteEncoder(exported())), SIZE, DESIGN, expected)


def test_a_frame_s_bytes_are_input_after_input_and_output_after_output():
    for network in (bottleneck(0), pair("ADD", 0)):
        files = golden_files(network, np.random.default_rng(0), 6)
        device = HostEncoder(TfliteEncoder(tflite_bytes(network), fast=False))
        sent = np.frombuffer(files["frames.bin"], np.int8).reshape(6, -1)
        assert device.encode(sent).tobytes() == files["codes.bin"]


def _device_tree(folder, model, serial):
    (folder / "model").write_bytes(model.encode() + b"\0")
    if serial is not None:
        (folder / "serial-number").write_bytes(serial.encode() + b"\0")
    return folder


def test_codes_are_physical_on_a_pi_unless_less_is_claimed(tmp_path):
    tree = _device_tree(tmp_path, "Raspberry Pi 4 Model B Rev 1.4", "10000000abcdef01")
    encoder = TfliteEncoder(exported())
    assert HostEncoder(encoder, device_tree=tree).info.source == "physical"
    assert HostEncoder(encoder, device_tree=tree).info.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert HostEncoder(encoder, device_tree=tree, source="emulated").info.source == "emulated"


@pytest.mark.parametrize(("model", "serial"), [("Raspberry Pi 4 Model B", None), ("Raspberry Pi 4 Model B", "0000000000000000"),
                                               ("linux,dummy-virt", "10000000abcdef01")])
def test_an_emulated_pi_or_another_board_cannot_pass_for_a_camera(model, serial, tmp_path):
    tree, encoder = _device_tree(tmp_path, model, serial), TfliteEncoder(exported())
    assert HostEncoder(encoder, device_tree=tree).info.source == "emulated"
    with pytest.raises(PrivcamError, match="source"):
        HostEncoder(encoder, device_tree=tree, source="physical")


@pytest.mark.parametrize("source", ["physical", "simulated"])
def test_a_pc_cannot_pass_for_a_camera(source, tmp_path):
    with pytest.raises(PrivcamError, match="source"):
        HostEncoder(TfliteEncoder(exported()), source=source, device_tree=tmp_path)

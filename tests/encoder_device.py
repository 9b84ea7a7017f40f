"""What every encoder device must do, whatever it is made of: inherit, and give the fixture `bench`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from hil.protocols import EncoderDevice
from optics_sim.errors import PrivcamError


@dataclass(frozen=True)
class Bench:
    """A device that is ready, the shape of its frames, the digest that it must name, and the codes that a clip must give."""

    device: EncoderDevice
    shape: tuple[int, ...]
    digest: str
    expected: Callable[[np.ndarray], np.ndarray]

    def clip(self, seed: int = 0, count: int = 3) -> np.ndarray:
        return np.random.default_rng(seed).integers(-128, 128, (count, *self.shape)).astype(np.int8)


class EncoderDeviceContract:
    """The protocol's promises. A subclass has a fixture `bench` of a device with a warm-up of one frame."""

    def test_it_says_who_it_is(self, bench: Bench) -> None:
        info = bench.device.info
        assert (info.digest, info.frame_bytes) == (bench.digest, np.prod(bench.shape))
        assert info.source == "emulated", "nothing in a test is physical"
        assert info.board and info.build and info.firmware_version

    def test_codes_are_the_expected_ones(self, bench: Bench) -> None:
        codes = bench.device.encode(bench.clip())
        assert codes.dtype == np.int8 and codes.shape == (2, bench.device.info.code_bytes)
        np.testing.assert_array_equal(codes, bench.expected(bench.clip()))

    def test_each_clip_begins_anew(self, bench: Bench) -> None:
        first, other, again = (bench.device.encode(bench.clip(seed)) for seed in (0, 1, 0))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    @pytest.mark.parametrize("count", [0, 1])
    def test_a_clip_without_codes_has_the_shape_of_one(self, bench: Bench, count: int) -> None:
        assert bench.device.encode(bench.clip(count=count)).shape == (0, bench.device.info.code_bytes)

    def test_frames_of_another_type_or_size_are_refused(self, bench: Bench) -> None:
        clip = bench.clip()
        for wrong in (clip.astype(np.uint8), clip[..., :-1], clip[0].ravel()):
            with pytest.raises(PrivcamError, match="a clip for this"):
                bench.device.encode(wrong)

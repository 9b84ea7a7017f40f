"""What every camera must do, whatever it is made of: inherit, and give the fixture `bench`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from hil.protocols import Camera
from optics_sim.errors import PrivcamError
from optics_sim.frame import CaptureSettings, Frame

STEP = 0.03  # relative: the coarsest step of exposure or gain that a camera here may have


@dataclass(frozen=True)
class CameraBench:
    """A camera that is ready, and two settings that it can have; at least 5 frames of each, the first one's first.

    Among the first 5 frames of the first settings one at least was dropped.
    """

    camera: Camera
    settings: Sequence[CaptureSettings]
    replayed: bool
    impossible: CaptureSettings

    def take(self, which: int, count: int = 5) -> list[Frame]:
        return list(self.camera.capture(self.settings[which], count))


class CameraContract:
    """The protocol's promises. A subclass has a fixture `bench`, new for each test."""

    def test_count_is_honoured(self, bench: CameraBench) -> None:
        assert [len(bench.take(0, count)) for count in (1, 3)] == [1, 3]
        for wrong in (0, -1):
            with pytest.raises(PrivcamError, match="one frame or more"):
                bench.take(0, wrong)

    def test_frames_say_what_applied_and_it_is_what_was_asked(self, bench: CameraBench) -> None:
        for which in (0, 1):
            asked = bench.settings[which]
            for frame in bench.take(which):
                assert frame.settings.exposure_s == pytest.approx(asked.exposure_s, rel=STEP)
                assert frame.settings.analogue_gain == pytest.approx(asked.analogue_gain, rel=STEP)

    def test_index_and_timestamp_rise_over_all_calls(self, bench: CameraBench) -> None:
        frames = [*bench.take(0), *bench.take(1, 2), *bench.take(1, 3)]
        assert (np.diff([frame.index for frame in frames]) >= 1).all()
        assert (np.diff([frame.timestamp_s for frame in frames]) > 0).all()

    def test_a_dropped_frame_is_a_gap_and_never_a_repeated_frame(self, bench: CameraBench) -> None:
        frames = bench.take(0)
        assert (np.diff([frame.index for frame in frames]) > 1).any()
        assert len({frame.raw.tobytes() for frame in frames}) == len(frames)

    def test_raw_is_one_plane_within_the_range_with_the_black_level(self, bench: CameraBench) -> None:
        info = bench.camera.info
        for frame in bench.take(0):
            assert frame.raw.dtype == np.uint16 and frame.raw.shape == info.shape
            assert frame.raw.max() < 2**info.bit_depth
            assert frame.raw.mean() > info.black_level_dn - 3

    def test_frames_say_where_they_came_from(self, bench: CameraBench) -> None:
        info = bench.camera.info
        for frame in [*bench.take(0), *bench.take(1)]:
            assert (frame.source, frame.sensor, frame.replayed) == (info.source, info.sensor, bench.replayed)
            assert frame.source != "physical", "nothing in a test is physical"

    def test_what_the_camera_cannot_do_is_refused(self, bench: CameraBench) -> None:
        with pytest.raises(PrivcamError):
            next(bench.camera.capture(bench.impossible, 1))
        assert len(bench.take(0)) == 5

"""Timing: known row times, latencies and slots come back within their intervals, and what cannot carry them is refused."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.timing import latency, row_time, slots
from optics_sim.errors import PrivcamError

ROW_S = 18.9e-6
CODE = (1, 0, 1, 1, 0, 0, 1, 0)


# --- rolling shutter ------------------------------------------------------------------------------
def rolling(rng: np.random.Generator, hz: float = 500.0, rows: int = 480, exposure_s: float = 4e-4, square: bool = False,
            row_s: float = ROW_S, shade: float = 0.1) -> np.ndarray:
    """A frame of an even wall: each row is the mean of the light over its own exposure."""
    times = rng.uniform(0, 1 / hz) + row_s * np.arange(rows)[:, None] + np.linspace(0, exposure_s, 64, endpoint=False)[None, :]
    wave = np.sin(2 * np.pi * hz * times)
    light = (0.5 + 0.4 * (np.sign(wave) if square else wave)).mean(axis=1)
    falloff = 1 - shade * np.linspace(-1, 1, rows) ** 2
    electrons = 4000 * np.broadcast_to((light * falloff)[:, None], (rows, 64))
    return 60 + 0.25 * rng.poisson(electrons)


def test_row_time_intervals_cover_the_truth_as_often_as_they_say():
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hz = float(rng.uniform(300, 900))
        low, high = row_time(rolling(rng, hz), hz, dark_dn=60).interval
        inside.append(low <= ROW_S <= high)
        assert high - low < 0.01 * ROW_S
    assert sum(inside) >= 35  # of 40 at 95 %: fewer has probability 1.4 %


def test_a_square_light_gives_the_same_row_time():
    found = row_time(rolling(np.random.default_rng(1), hz=700, square=True), 700.0, dark_dn=60, source="physical")
    assert found.value == pytest.approx(ROW_S, rel=3e-3)
    assert found.unit == "s" and found.source == "physical"


def test_an_uneven_scene_is_divided_by_its_steady_picture():
    rng = np.random.default_rng(2)
    scene = 0.5 + 0.5 * (np.arange(480) // 37 % 2)[:, None]
    frame = scene * (rolling(rng, shade=0) - 60)
    found = row_time(frame, 500.0, steady=np.broadcast_to(scene, frame.shape))
    assert found.value == pytest.approx(ROW_S, rel=3e-3)


def test_frames_without_usable_fringes_are_refused():
    rng = np.random.default_rng(3)
    with pytest.raises(PrivcamError, match="no clear fringes"):
        row_time(rolling(rng, row_s=0.0), 500.0, dark_dn=60)  # a global shutter
    with pytest.raises(PrivcamError, match="no clear fringes"):
        row_time(rolling(rng, exposure_s=2 / 500), 500.0, dark_dn=60)  # whole periods
    with pytest.raises(PrivcamError, match="no clear fringes"):
        row_time(rolling(rng, hz=60), 60.0, dark_dn=60)  # half a period in the frame
    with pytest.raises(PrivcamError, match="too few rows"):
        row_time(rolling(rng)[:8], 500.0)
    with pytest.raises(PrivcamError, match="no flicker"):
        row_time(rolling(rng), 0.0)


# --- latency --------------------------------------------------------------------------------------
def events(rng: np.random.Generator, count: int = 50, mean: float = 0.08, spread: float = 0.004) -> tuple[np.ndarray, np.ndarray]:
    shown = np.cumsum(rng.uniform(0.3, 0.6, count))
    return shown, shown + rng.normal(mean, spread, count)


def test_latency_and_jitter_cover_the_truth_as_often_as_they_say():
    inside = {"latency": 0, "jitter": 0, "clock drift": 0}
    truth = {"latency": 0.08, "jitter": 0.004, "clock drift": 0.0}
    for seed in range(200):
        found = latency(*events(np.random.default_rng(seed)))
        for one in (found.latency, found.jitter, found.drift):
            inside[one.name] += one.interval[0] <= truth[one.name] <= one.interval[1]
    assert all(183 <= count <= 198 for count in inside.values()), inside


def test_events_that_cannot_carry_a_latency_are_refused():
    rng = np.random.default_rng(4)
    shown, seen = events(rng)
    with pytest.raises(PrivcamError, match="too few events"):
        latency(shown[:5], seen[:5])
    with pytest.raises(PrivcamError, match="out of order"):
        latency(shown[::-1], seen[::-1])
    with pytest.raises(PrivcamError, match="before it was shown"):
        latency(shown, seen - 0.1)
    with pytest.raises(PrivcamError, match="drift apart"):
        latency(shown, seen + 2e-3 * shown)
    missed = seen.copy()
    missed[7] += 1 / 30
    with pytest.raises(PrivcamError, match=r"events \[7\] came a frame late"):
        latency(shown, missed, frame_s=1 / 30)
    latency(shown, seen, frame_s=1 / 30)


# --- slots ----------------------------------------------------------------------------------------
def blinked(rng: np.random.Generator, code=CODE, offset: float = 0.0, noise: float = 4.0, light: float = 200.0):
    bits = np.array(code, float)
    neighbour = np.roll(bits, 1 if offset > 0 else -1)
    parts = (1 - abs(offset)) * bits + abs(offset) * neighbour
    brightness = light * (1 + 0.1 * np.sin(np.arange(len(bits))))[:, None]
    shape = (len(bits), 6)
    return (60 + brightness * parts[:, None] + rng.normal(0, noise, shape), 60 + rng.normal(0, noise, 6),
            60 + brightness + rng.normal(0, noise, shape))


@pytest.mark.parametrize("offset", [0.0, 0.15, -0.2])
def test_slots_and_their_offset_come_back(offset: float):
    inside = []
    for seed in range(60):
        found = slots(*blinked(np.random.default_rng(seed), offset=offset), CODE)
        assert found.bits == CODE and found.offset_slots is not None
        low, high = found.offset_slots.interval
        inside.append(low <= offset <= high)
        assert abs(found.offset_slots.value - offset) < 0.05
    assert sum(inside) >= 53


def test_open_parts_have_honest_errors():
    inside = [low <= bit <= high for seed in range(40) for bit, part in
              zip(CODE, slots(*blinked(np.random.default_rng(seed)), CODE).open_part, strict=True) for low, high in [part.interval]]
    assert 0.90 <= np.mean(inside) <= 0.99


def test_a_code_without_edges_tells_no_offset():
    assert slots(*blinked(np.random.default_rng(5), code=(1,) * 8), (1,) * 8).offset_slots is None


def test_slots_other_than_asked_for_are_refused():
    rng = np.random.default_rng(6)
    with pytest.raises(PrivcamError, match="slots are not as asked for; got: slot"):
        slots(*blinked(rng), CODE[::-1])
    with pytest.raises(PrivcamError, match="too faint"):
        slots(*blinked(rng, light=2.0), CODE)
    with pytest.raises(PrivcamError, match="too few exposures"):
        slots(*blinked(rng), CODE[:-1])
    with pytest.raises(PrivcamError, match="has bits"):
        slots(*blinked(rng), (2, *CODE[1:]))

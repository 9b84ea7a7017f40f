"""Why frames of a point source cannot carry the geometry, and what to take again.

Every check returns reasons; nothing here raises. Deliberately not here: what only the fit can see (`calibration.geometry`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.point_source import Capture, Noise, Session, usable
from calibration.refusals import SIGNIFICANCE, refusal
from calibration.shadow_fit import Spot
from calibration.stacks import clipped_share
from calibration.temporal import QUANTISATION_DN2
from optics_sim.design import CameraDesign
from optics_sim.errors import PrivcamError

MIN_PLACES = 5  # at each distance: a line through fewer cannot show that one of them is wrong
SATURATED_SHARE = 1e-4  # of raw numbers at full scale on the shortest rung: a few broken pixels
FULL_SHARE = 0.9  # of the saturation that photon transfer found
MIN_SNR = 10.0  # rms of the shadow over rms of the noise, on code pixels
LIGHT_LIMIT = 0.01  # relative change of the light within a stack or between rungs
MOVED_PX, TURNED_RAD = 0.05, np.radians(0.1)  # between the first capture and the last


def form(session: Session, design: CameraDesign) -> list[PrivcamError]:
    """Returns what is wrong with types, shapes, counts and order, before any number is looked at."""
    found: list[PrivcamError] = []
    for i, capture in enumerate(session.captures):
        found.extend(_stack_faults(f"capture {i}", capture, design.readout.crop[2:]))
    return found or [*_place_faults(session)]


def _stack_faults(name: str, capture: Capture, shape: tuple[int, int]) -> Iterable[PrivcamError]:
    lit, off = [rung.exposure_s for rung in capture.lit], [rung.exposure_s for rung in capture.off]
    if not lit or lit != off or lit != sorted(set(lit)):
        yield refusal(f"{name}: exposures are not a ladder", f"on {lit}, off {off} s",
                      "the same rising exposures with the source on and off", "take the shots that `plan` lists, in its order")
    for rung in (*capture.lit, *capture.off):
        if not isinstance(rung.frames, np.ndarray) or rung.frames.dtype.kind not in "iu":
            yield refusal(f"{name}: frames are not raw integers", getattr(rung.frames, "dtype", type(rung.frames).__name__), "integer DN",
                          "take raw frames, not developed ones")
        elif rung.frames.ndim != 3 or rung.frames.shape[1:] != shape or len(rung.frames) < 2:
            yield refusal(f"{name}: frames have the wrong shape", rung.frames.shape, f"[2 or more, {shape[0]}, {shape[1]}]",
                          "take the readout's crop of the sensor, each exposure at least twice")


def _place_faults(session: Session) -> Iterable[PrivcamError]:
    captures = session.captures
    distances = {c.distance_m for c in captures}
    for distance in sorted(distances):
        places = {c.position_m for c in captures if c.distance_m == distance}
        spread = np.linalg.svd(np.array(sorted(places)) - np.mean(sorted(places), axis=0), compute_uv=False)
        on_a_line = len(places) > 1 and spread[-1] < 0.1 * spread[0]
        if len(places) < MIN_PLACES or on_a_line:
            yield refusal(f"too few places at {distance:g} m", f"{len(places)} places{', all on a line' if on_a_line else ''}",
                          f"at least {MIN_PLACES}, spread over the field", "take the shots that `plan` lists")
    if len(captures) < 2 or (captures[0].position_m, captures[0].distance_m) != (captures[-1].position_m, captures[-1].distance_m):
        yield refusal("the first place was not taken again at the end", captures[-1].position_m if captures else "no captures",
                      captures[0].position_m if captures else "captures",
                      "close the session with its first place: it shows whether anything moved")


def content(session: Session, spots: Sequence[Spot], noise: Noise) -> list[PrivcamError]:
    """Returns what is wrong with the light of frames whose form is right; `spots` are the captures' images."""
    found: list[PrivcamError] = []
    for i, (capture, spot) in enumerate(zip(session.captures, spots, strict=True)):
        faults = [*_clipping(f"capture {i}", capture, noise, session.bits), *_darkness(f"capture {i}", spot)]
        found.extend(faults or _flicker(f"capture {i}", capture, noise, session.bits))
    return found or [*_movement(spots[0], spots[-1])]


def _clipping(name: str, capture: Capture, noise: Noise, bits: int) -> Iterable[PrivcamError]:
    full = 2**bits - 1
    for rung, kind in ((capture.lit[0], "the shortest exposure is saturated"), (capture.off[0], "saturated with the source off")):
        over_dark = rung.mean_image - capture.off[0].mean_image
        share = max(clipped_share(rung, full), float(np.mean(over_dark > FULL_SHARE * noise.saturation_dn)))
        if share > SATURATED_SHARE:
            yield refusal(f"{name}: {kind}", f"{share:.1%} of raw numbers", f"at most {SATURATED_SHARE:.2%}",
                          "begin the ladder with a shorter exposure, or dim the source")
    if clipped_share(capture.off[-1], 0) > SATURATED_SHARE:
        yield refusal(f"{name}: dark frames end at 0", f"{clipped_share(capture.off[-1], 0):.1%}", f"at most {SATURATED_SHARE:.2%}",
                      "raise the camera's black level")


def _darkness(name: str, spot: Spot) -> Iterable[PrivcamError]:
    noise = float(np.mean(spot.variance))
    ratio = float(np.sqrt(max(float(np.var(spot.image)) - noise, 0.0) / noise))
    if ratio < MIN_SNR:
        yield refusal(f"{name}: too dark", f"shadow over noise {ratio:.1f}", f"at least {MIN_SNR:g}",
                      "expose longer, take more frames, or use a brighter source")


def _flicker(name: str, capture: Capture, noise: Noise, bits: int) -> Iterable[PrivcamError]:
    """Within a rung frame means must agree, and from rung to rung light per time, on pixels that count on both."""
    counted = usable(capture, noise, bits)
    for i, (on, off) in enumerate(zip(capture.lit, capture.off, strict=True)):
        means = on.frames[:, counted[i]].mean(axis=1, dtype=np.float64) - off.frames[:, counted[i]].mean()
        level, pixels = float(means.mean()), int(counted[i].sum())
        own = np.sqrt((noise.gain_dn_per_e * max(level, 0) + noise.dark_noise_dn**2 + QUANTISATION_DN2) / pixels)
        spread = float(means.std(ddof=1))
        if spread > LIGHT_LIMIT * level + SIGNIFICANCE * own:
            yield refusal(f"{name}: flickering source", f"{spread / level:.1%} rms from frame to frame at {on.exposure_s:g} s",
                          f"{LIGHT_LIMIT:.0%}",
                          "run the source on direct current or expose for whole mains periods, then take the session again")
            return
    for i in range(1, len(capture.lit)):
        rates, errors = zip(*(_rate(capture, k, counted[i], noise) for k in (i - 1, i)), strict=True)
        if abs(rates[1] - rates[0]) > LIGHT_LIMIT * rates[0] + SIGNIFICANCE * np.hypot(*errors):
            yield refusal(f"{name}: light and exposure do not agree", f"{rates[1] / rates[0] - 1:+.1%} per second at "
                          f"{capture.lit[i].exposure_s:g} s", f"{LIGHT_LIMIT:.0%}",
                          "let the source settle, check that each frame has the exposure it is said to have, then take this capture again")
            return


def _rate(capture: Capture, i: int, here: NDArray[np.bool_], noise: Noise) -> tuple[float, float]:
    on, off = capture.lit[i], capture.off[i]
    level = float(on.mean_image[here].mean() - off.mean_image[here].mean())
    own = noise.gain_dn_per_e * max(level, 0) + 2 * (noise.dark_noise_dn**2 + QUANTISATION_DN2)
    return level / on.exposure_s, float(np.sqrt(own / (max(int(here.sum()), 1) * len(on.frames)))) / on.exposure_s


def _movement(first: Spot, last: Spot) -> Iterable[PrivcamError]:
    (dy, dx, turn), errors = moved(first, last)
    beyond = [abs(at) > limit and abs(at) > SIGNIFICANCE * error
              for at, error, limit in zip((dy, dx, turn), errors, (MOVED_PX, MOVED_PX, TURNED_RAD), strict=True)]
    if any(beyond):
        yield refusal("drifting: the source, the mask or the camera moved between the first capture and the last",
                      f"shadow moved by {dy:+.2f}, {dx:+.2f} code pixels and turned by {np.degrees(turn):+.2f} degrees",
                      f"{MOVED_PX} code pixels, {np.degrees(TURNED_RAD):.1f} degrees",
                      "clamp mask, camera and rig, let them warm up, then take the session again")


def moved(first: Spot, last: Spot) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Returns by how much an image moved down and right (code pixels) and turned (rad), and the errors; brightness may differ."""
    middle = (first.image + last.image / last.image.sum() * first.image.sum()) / 2
    down, right = np.gradient(middle)
    y, x = np.meshgrid(*(np.arange(n) + 0.5 - n / 2 for n in middle.shape), indexing="ij")
    columns = np.stack([np.ones(middle.size), first.image.ravel(), -down.ravel(), -right.ravel(), (y * right - x * down).ravel()], axis=1)
    amounts, *_ = np.linalg.lstsq(columns, last.image.ravel(), rcond=None)
    left = last.image.ravel() - columns @ amounts
    errors = np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)) * float(left @ left) / (len(left) - 5))
    scale = amounts[1]
    found, spread = amounts[2:] / scale, errors[2:] / abs(scale)
    return (float(found[0]), float(found[1]), float(found[2])), (float(spread[0]), float(spread[1]), float(spread[2]))

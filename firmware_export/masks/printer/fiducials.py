"""Where the sheet lies in a scan: its five fiducials, their sub-pixel middles, and the affine map through them.

A fiducial is a clear square ring around a clear square. Its middle of light does not move with dot gain or blur.
Deliberately not here: what is measured then (`edges`, `tones`).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.ndimage import find_objects, label
from scipy.optimize import linear_sum_assignment

from firmware_export.masks.printer.plan import SheetPlan
from firmware_export.masks.printer.scan import INCH_M, Floats, Placement, Scan
from optics_sim.errors import PrivcamError

_RING_PIXELS = 6  # of the ring's width, in the small picture in which fiducials are looked for
_SIZE, _INNER_SIZE = (0.8, 1.3), (0.5, 1.7)  # a fiducial's extent beside the expected: a turn of 10 degrees makes it 1.16
_LEAST_CONTRAST = 0.1  # of full scale, between clear and opaque
_REACH = 1.3  # of a fiducial's half side: how far its light is summed; its surroundings are opaque to there
_MOST_CANDIDATES = 9
_MOST_RESIDUAL, _MOST_SCALE, _MOST_TURN_DEG, _MOST_SHEAR = 4.0, 0.03, 8.0, 0.02  # units; share; degrees; share
_WRONG_BITS = 2  # dust may hide so many of 32; another sheet's code differs in 16 on average


def place(scan: Scan, plan: SheetPlan) -> Placement:
    """Returns where the sheet lies; PrivcamError says what to scan again where it is cropped, missing, another, or too askew."""
    expected = plan.unit_m * scan.dpi / INCH_M
    low, high = np.percentile(scan.light[::4, ::4], (5, 99))
    if high - low < _LEAST_CONTRAST:
        raise PrivcamError("the scan shows no sheet", got=f"light from {low:.3f} to {high:.3f} of full scale",
                           allowed=f"a contrast of {_LEAST_CONTRAST}", todo="scan in transmitted light, exposed so that clear is bright")
    found = [_middle(scan.light, at, plan, expected) for at in _candidates(scan.light, (low + high) / 2, plan, expected)]
    if len(found) < len(plan.fiducials):
        raise PrivcamError("fiducials are missing", got=f"{len(found)} found at {scan.dpi:g} pixels per inch", allowed="all 5",
                           todo="scan the whole sheet with some border, free of dust, and state the right pixels per inch; or give the "
                           "file of the sheet that was printed")
    placement = _best(np.array(found[:_MOST_CANDIDATES]), plan, expected)
    _refuse_askew(placement, scan, expected)
    _refuse_other_sheet(placement, scan, plan, (low + high) / 2)
    return placement


def _candidates(light: Floats, threshold: float, plan: SheetPlan, expected: float) -> list[tuple[float, float]]:
    """Returns the rough places (row, column) of clear parts that look like a fiducial."""
    outside, inside, dot = plan.fiducial_halves
    step = max(int((outside - inside) * expected / _RING_PIXELS), 1)
    rows, columns = (n // step * step for n in light.shape)
    small = light[:rows, :columns].reshape(rows // step, step, columns // step, step).mean((1, 3))
    numbers, _ = label(small > threshold, np.ones((3, 3)))
    boxes = find_objects(numbers)
    found = []
    for number, box in enumerate(boxes, 1):
        if not _extent(box, 2 * outside * expected / step, _SIZE):
            continue
        middle = tuple((part.start + part.stop) / 2 for part in box)
        inner = int(numbers[int(middle[0]), int(middle[1])])
        if inner not in (0, number) and _extent(boxes[inner - 1], 2 * dot * expected / step, _INNER_SIZE):
            found.append((middle[0] * step - 0.5, middle[1] * step - 0.5))
    return found


def _extent(box: tuple[slice, ...], wanted: float, share: tuple[float, float]) -> bool:
    return all(share[0] * wanted <= part.stop - part.start <= share[1] * wanted + 2 for part in box)


def _middle(light: Floats, at: tuple[float, float], plan: SheetPlan, expected: float) -> tuple[float, float]:
    """Returns the middle of the light around a rough place, above the darkness at its border."""
    reach = round(_REACH * plan.fiducial_halves[0] * expected)
    for _ in range(2):
        top, left = (max(round(middle) - reach, 0) for middle in at)
        part = light[top:round(at[0]) + reach + 1, left:round(at[1]) + reach + 1]
        dark = np.median(np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]]))
        weight = part - dark
        rows, columns = np.arange(part.shape[0]) + top, np.arange(part.shape[1]) + left
        at = (float(weight.sum(1) @ rows / weight.sum()), float(weight.sum(0) @ columns / weight.sum()))
    return at


def _best(found: Floats, plan: SheetPlan, expected: float) -> Placement:
    """Returns the map of smallest residual, over every choice of five, quarter turns and the mirror."""
    nominal = np.array(plan.fiducials, np.float64)
    tried = [_mapped(nominal, found[list(chosen)], turn, mirrored, expected)
             for chosen in combinations(range(len(found)), len(nominal)) for turn in range(4) for mirrored in (False, True)]
    return min(tried, key=lambda placement: placement.residual)


def _mapped(nominal: Floats, found: Floats, turn: int, mirrored: bool, expected: float) -> Placement:
    """Returns the least-squares affine map, each fiducial with the nearest one found after a rough turn."""
    sin, cos = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn]
    rough = np.array([[cos, sin], [-sin, cos]]) @ np.diag([1.0, -1.0 if mirrored else 1.0])
    guess = (nominal - nominal.mean(0)) @ rough.T * expected
    distance = np.linalg.norm(guess[:, None] - (found - found.mean(0))[None], axis=2)
    _, order = linear_sum_assignment(distance)
    design = np.column_stack([nominal, np.ones(len(nominal))])
    solved = np.linalg.lstsq(design, found[order], rcond=None)[0]
    wrong = (design @ solved - found[order]) / expected
    matrix = solved[:2].T
    upright = matrix @ np.diag([1.0, -1.0 if mirrored else 1.0])
    angle = float(np.degrees(np.arctan2(upright[0, 1], upright[1, 1])))
    residual = float(np.sqrt((wrong**2).sum(1).mean()))
    return Placement(matrix, solved[2], turn * 90, mirrored, (angle - turn * 90 + 180) % 360 - 180, residual)


def _refuse_askew(placement: Placement, scan: Scan, expected: float) -> None:
    scales = [pixels / expected for pixels in placement.pixels_per_unit]
    along_y, along_x = placement.matrix.T / np.array(placement.pixels_per_unit)[:, None]
    shear = float(abs(along_y @ along_x))
    if placement.residual > _MOST_RESIDUAL or abs(placement.rotation_deg) > _MOST_TURN_DEG or shear > _MOST_SHEAR or any(
            abs(scale - 1) > _MOST_SCALE for scale in scales):
        raise PrivcamError("the fiducials do not lie as on the sheet",
                           got=f"scale {scales[0]:.4f} x {scales[1]:.4f} of {scan.dpi:g} dpi, turned by {placement.rotation_deg:.2f} "
                           f"degrees, shear {shear:.4f}, off by {placement.residual:.2f} units",
                           allowed=f"scale within {_MOST_SCALE:.0%}, {_MOST_TURN_DEG:g} degrees from straight, shear {_MOST_SHEAR:g}, "
                           f"{_MOST_RESIDUAL:g} units", todo="lay the film flat and straight, print at 100 %, state the right dpi; or give "
                           "the file of the sheet that was printed")


def _refuse_other_sheet(placement: Placement, scan: Scan, plan: SheetPlan, threshold: float) -> None:
    lights = [placement.pixels_in(scan.light, (left + 8, top + 8, right - 8, bottom - 8))[2]
              for left, top, right, bottom in plan.code_boxes()]
    wrong = sum(not len(light) or (float(light.mean()) > threshold) != bit for light, bit in zip(lights, plan.bits, strict=True))
    if wrong > _WRONG_BITS:
        raise PrivcamError("this is another sheet than its file says", got=f"{wrong} of 32 squares of the code differ",
                           allowed=f"at most {_WRONG_BITS}", todo="give the sheet.json that was written beside the printed file")

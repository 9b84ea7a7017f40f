"""Light on a fine grid, integrated over the pixels of another grid that is scaled, shifted and rotated: exact areas.

The integral of piecewise constant light over a turned square is, by Green's theorem, a line integral of the light's
running sum along the square's edges. All pixels share their edges, so each grid line is walked once, cut where it
crosses a sample's border; between two cuts the running sum is linear and its value in the middle gives the integral
exactly. The light on the edges themselves gives the exact change with scale, turn and place.
Deliberately not here: masks, distances, torch (the plan of a walk is plain data, applied by whoever has light).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int]
Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class Placing(NamedTuple):
    """Where samples lie on pixels: the side of a sample and the middle (y, x) from the pixels' middle, both in pixels, and the turn.

    `rotation_rad` counts from +x towards +y (clockwise as drawn).
    """

    sample: float
    centre: tuple[float, float]
    rotation_rad: float


@dataclass(frozen=True, eq=False)
class Walk:
    """How to integrate along one family of grid lines, [line, step]: at `row`, `column` plus `part` of a sample.

    `row` and `column` count on a grid of samples with a border of one empty sample on every side. `rise` is how far a step
    goes along the samples' columns, `step` its length and `middle` its middle along the line, both in pixels. `corner`
    [line, corner]: the number of steps before each pixel corner.
    """

    row: Indices
    column: Indices
    part: Array
    rise: Array
    step: Array
    middle: Array
    corner: Indices

    def between(self, values: Array) -> Array:
        """Returns the sums of values [line, step] from each pixel corner to the next [line, pixel]."""
        total = np.zeros((values.shape[0], values.shape[1] + 1))
        np.cumsum(values, axis=1, out=total[:, 1:])
        return np.diff(np.take_along_axis(total, self.corner, axis=1), axis=1)


@dataclass(frozen=True, eq=False)
class Light:
    """Light [r, c] in a border of one empty sample, and what lies left of each sample in its row."""

    framed: Array
    running: Array

    @classmethod
    def of(cls, light: Array) -> Light:
        """Returns the light, framed and summed."""
        framed = np.pad(light, 1)
        return cls(framed, np.cumsum(framed, axis=1) - framed)

    @property
    def samples(self) -> Shape:
        """Samples (rows, columns) without the border."""
        return self.framed.shape[0] - 2, self.framed.shape[1] - 2


def walks(samples: Shape, at: Placing, pixels: Shape) -> tuple[Walk, Walk]:
    """Returns the walks along the rows' and along the columns' borders of a grid of `pixels`."""
    cosine, sine = np.cos(at.rotation_rad), np.sin(at.rotation_rad)

    def on_samples(y: Array, x: Array) -> tuple[Array, Array]:
        dy, dx = ((v - n / 2 - c) / at.sample for v, n, c in zip((y, x), pixels, at.centre, strict=True))
        return cosine * dy - sine * dx + samples[0] / 2, sine * dy + cosine * dx + samples[1] / 2

    rows, columns = (np.arange(n + 1, dtype=np.float64) for n in pixels)
    across, down = (-sine / at.sample, cosine / at.sample), (cosine / at.sample, sine / at.sample)
    return (_walk(on_samples(rows, np.zeros_like(rows)), across, pixels[1], samples),
            _walk(on_samples(np.zeros_like(columns), columns), down, pixels[0], samples))


def _walk(start: tuple[Array, Array], slope: tuple[float, float], length: int, samples: Shape) -> Walk:
    lines = len(start[0])
    cuts = [np.broadcast_to(np.arange(length + 1, dtype=np.float64), (lines, length + 1))]
    for origin, rate, count in zip(start, slope, samples, strict=True):
        if abs(rate) > 1e-12:  # a line this close to a border's direction crosses none on its way
            cuts.append(((np.arange(count + 1) - origin[:, None]) / rate).clip(0, length))
    t = np.sort(np.concatenate(cuts, axis=1), axis=1)
    step, middle = np.diff(t, axis=1), (t[:, 1:] + t[:, :-1]) / 2
    y, x = start[0][:, None] + slope[0] * middle, start[1][:, None] + slope[1] * middle
    x = x.clip(-1, samples[1])
    row, column = np.floor(y).clip(-1, samples[0]).astype(np.int64), np.floor(x).astype(np.int64)
    offset = np.arange(lines)[:, None] * (length + 1.0)
    flat = np.searchsorted((t + offset).ravel(), (cuts[0] + offset).ravel()).reshape(lines, -1)
    return Walk(row + 1, column + 1, x - column, step * slope[0], step, middle, flat - np.arange(lines)[:, None] * t.shape[1])


def on_pixels(light: Light, at: Placing, pixels: Shape) -> Array:
    """Returns the light on each of `pixels`, in units of one full sample."""
    return _areas(light, walks(light.samples, at, pixels))


def _areas(light: Light, lines: tuple[Walk, Walk]) -> Array:
    along, down = (walk.between((light.running[walk.row, walk.column] + walk.part * light.framed[walk.row, walk.column]) * walk.rise)
                   for walk in lines)
    return along[:-1] + down[1:].T - along[1:] - down[:-1].T


def slopes(light: Light, at: Placing, pixels: Shape) -> tuple[Array, Array]:
    """Returns the light on each of `pixels` and its change with sample side, turn and centre y, x: [4, row, column].

    Where a pixel's border runs along a sample's border the change differs on its two sides, and one of them is returned.
    """
    lines = walks(light.samples, at, pixels)
    cy, cx = (n / 2 + c for n, c in zip(pixels, at.centre, strict=True))
    rows, columns = lines
    edges = [light.framed[walk.row, walk.column] * walk.step for walk in lines]
    along, down = (walk.between(edge) for walk, edge in zip(lines, edges, strict=True))
    turn_along, turn_down = rows.between(edges[0] * (rows.middle - cx)), columns.between(edges[1] * (columns.middle - cy))
    wide_along = along * (np.arange(pixels[0] + 1) - cy)[:, None]
    wide_down = down * (np.arange(pixels[1] + 1) - cx)[:, None]

    def flow(through_rows: Array, through_columns: Array) -> Array:
        return -np.diff(through_rows, axis=0) - np.diff(through_columns, axis=0).T

    area = at.sample**2
    change = (flow(wide_along, wide_down) / (area * at.sample), flow(turn_along, -turn_down) / area,
              flow(along, np.zeros_like(down)) / area, flow(np.zeros_like(along), down) / area)
    return _areas(light, lines), np.stack(change)

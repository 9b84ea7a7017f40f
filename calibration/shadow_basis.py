"""What the image of a point source is made of, for a fit that knows nothing of brightness, stray light and diffraction.

A background; the shadow under a small blur kernel; and products of blurred shadows, for light from neighbouring openings
interferes. Kernel and products are symmetric about their middle: they neither shift nor turn nor scale, so their amounts are
free in each image. All are made on parts of a code pixel: a kernel on whole ones would draw the shadow to the pixels' middles.
Deliberately not here: wavelengths and distances, of which the amounts say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from calibration.mask_model import MaskModel, Pose

Array = NDArray[np.float64]
PAD_PX = 2  # code pixels around the image whose light the kernel and the blurs bring in
BLURS_PX = (0.25, 0.5, 1.0)  # of the shadows that are multiplied, standard deviations
PAIRS = tuple(combinations_with_replacement(range(len(BLURS_PX)), 2))


@dataclass(frozen=True, eq=False)
class Basis:
    """The columns of images of `shape`: `fine` parts of a code pixel a side, a kernel that reaches `reach` parts.

    `interference` adds the products. `Basis(model, shape, 1, 0, False)` is the bare shadow.
    """

    model: MaskModel
    shape: tuple[int, int]
    fine: int = 3
    reach: int = 3
    interference: bool = True

    @property
    def _grid(self) -> tuple[int, int]:
        return self.shape[0] + 2 * PAD_PX, self.shape[1] + 2 * PAD_PX

    @cached_property
    def _blurs(self) -> list[tuple[Array, Array]]:
        rows, columns = (n * self.fine for n in self._grid)
        return [(_gaussian(rows, self.fine * s), _gaussian(columns, self.fine * s)) for s in BLURS_PX]

    def _blurred(self, light: Array) -> list[Array]:
        return [rows @ light @ columns for rows, columns in self._blurs] if self.interference else []

    def columns(self, at: Pose) -> Array:
        """Returns the columns [pixels, columns] for a shadow of a pose; the first is the background."""
        return self._columns(self.model.psf(at, self._grid, self.fine) * self.model.light.size)[0]

    def _columns(self, light: Array) -> tuple[Array, list[Array]]:
        soft = self._blurred(light)
        parts = [np.ones(self.shape[0] * self.shape[1]), *(tap.ravel() for tap in self._taps(light)),
                 *(self._at(self._boxes(soft[i] * soft[j]), 0, 0).ravel() for i, j in PAIRS if soft)]
        return np.stack(parts, axis=1), soft

    def slopes(self, at: Pose) -> tuple[Array, Callable[[Array], Array]]:
        """Returns the columns, and what gives, for their amounts, the image's change with the four parts of the pose [pixels, 4]."""
        psf, change = self.model.slopes(at, self._grid, self.fine)
        columns, soft = self._columns(psf * self.model.light.size)
        change = change * self.model.light.size

        def moved(amounts: Array) -> Array:
            taps = len(amounts) - 1 - (len(PAIRS) if soft else 0)
            with_other = _partners(soft, amounts[1 + taps:]) if soft else []
            return np.stack([self._moved(one, amounts[1:1 + taps], with_other).ravel() for one in change], axis=1)

        return columns, moved

    def _moved(self, change: Array, kernel: Array, with_other: list[Array]) -> Array:
        image = sum((amount * tap for amount, tap in zip(kernel, self._taps(change), strict=True)), np.zeros(self.shape))
        if with_other:
            product = sum((soft * other for soft, other in zip(self._blurred(change), with_other, strict=True)), np.zeros_like(change))
            image = image + self._at(self._boxes(product), 0, 0)
        return image

    def _taps(self, light: Array) -> list[Array]:
        """Returns light on code pixels, seen through each of the kernel's elements with its mirror image."""
        boxes, k = self._boxes(light), self.reach
        return [self._at(boxes, dy, dx) + self._at(boxes, -dy, -dx) for dy in range(k + 1) for dx in range(-k if dy else 0, k + 1)]

    def _boxes(self, light: Array) -> Array:
        return box_sums(light, (self.fine, self.fine))

    def _at(self, boxes: Array, dy: int, dx: int) -> Array:
        n, (rows, columns) = self.fine, self.shape
        y, x = n * PAD_PX + dy, n * PAD_PX + dx
        return boxes[y:y + n * (rows - 1) + 1:n, x:x + n * (columns - 1) + 1:n]


def box_sums(values: Array, shape: tuple[int, int]) -> Array:
    """Returns the sums of values over a box of `shape`, one for each place of it that lies within them."""
    rows, columns = shape
    sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tall = sums[rows:] - sums[:-rows]
    return np.asarray(tall[:, columns:] - tall[:, :-columns])


def _gaussian(length: int, deviation: float) -> Array:
    distance = np.arange(length)[:, None] - np.arange(length)
    weights = np.exp(-0.5 * (distance / deviation) ** 2)
    return np.asarray(weights / weights[length // 2].sum())


def _partners(soft: list[Array], amounts: Array) -> list[Array]:
    """Returns what the change of each blurred shadow is multiplied by in the change of all products."""
    others = [np.zeros_like(one) for one in soft]
    for (i, j), amount in zip(PAIRS, amounts, strict=True):
        others[i] += amount * soft[j]
        others[j] += amount * soft[i]
    return others

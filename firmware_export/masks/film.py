"""The film that a process makes of a mask, predicted in plain numpy: dot gain moves the edges, then a Gaussian softens them.

The edge is that of the simulator's printing model (`optics_sim.optics.printing`): the convolution of figure and
Gaussian is exact, by error functions, and everything around the figure is opaque. A threshold other than one half of
a blurred exposure is a dot gain; here it is given as a length, as a scan measures it.
Deliberately not here: where the light goes afterwards, how the numbers are measured (`printer`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from firmware_export.masks.layout import NM, Pattern, nm
from firmware_export.masks.offset import compensated, gained
from firmware_export.masks.options import Process
from firmware_export.masks.region import Region

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """A mask's printed transmission [row * n, column * n] at n x n samples a cell, as designed and as compensated.

    `designed` is the same for an ideal process. The errors are root mean squares over the samples.
    """

    designed: Floats
    uncompensated: Floats
    compensated: Floats

    @property
    def rms(self) -> tuple[float, float]:
        """The error without and with compensation."""
        return _rms(self.uncompensated - self.designed), _rms(self.compensated - self.designed)


def predicted(pattern: Pattern, process: Process, samples_per_cell: int = 8) -> Prediction:
    """Returns what the process makes of a mask, drawn as designed and drawn with compensation, at the samples' centres."""
    y, x = (_centres(count, pattern.cell_m, samples_per_cell) for count in pattern.clear.shape)
    clear = pattern.region
    figures = (clear, compensated(clear, gain_nm(process)))
    ideal = printed_film(clear, y, x)
    return Prediction(ideal, *(printed_film(figure, y, x, process.edge_blur_m, process.dot_gain_m) for figure in figures))


def gain_nm(process: Process) -> tuple[int, int]:
    """Returns the dot gain (along y, along x) in whole nanometres."""
    return nm(process.dot_gain_m[0]), nm(process.dot_gain_m[1])


def printed_film(clear: Region, y_m: Floats, x_m: Floats, edge_blur_m: float = 0.0, dot_gain_m: tuple[float, float] = (0.0, 0.0),
                 levels: tuple[float, float] = (0.0, 1.0)) -> Floats:
    """Returns the film's transmission at the points of a raster [row y, column x], for a figure drawn clear.

    `edge_blur_m` is the Gaussian's standard deviation, `dot_gain_m` how far opaque edges move (along y, along x) before
    it, `levels` the transmission of opaque and of clear film.
    """
    figure = gained(clear, (nm(dot_gain_m[0]), nm(dot_gain_m[1])))
    rows, columns = (_shares(at, np.asarray(lines * NM, np.float64), edge_blur_m) for at, lines in ((y_m, figure.y_nm), (x_m, figure.x_nm)))
    share = rows @ figure.covered.astype(np.float64) @ columns.T
    return levels[0] + (levels[1] - levels[0]) * share


def _shares(at_m: Floats, lines_m: Floats, blur_m: float) -> Floats:
    """Returns how much of each gap between lines [point, gap] a point sees."""
    past = at_m[:, None] - lines_m
    steps = ndtr(past / blur_m) if blur_m else (past >= 0).astype(np.float64)
    return steps[:, :-1] - steps[:, 1:]


def _centres(count: int, cell_m: float, samples: int) -> Floats:
    return ((np.arange(count * samples) + 0.5) / samples - count / 2) * cell_m


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))

"""The shadow of a mounted mask under a point source, on code pixels, in numpy: what a fit of the geometry compares with frames.

Ray optics and the printer's model of the design, exact areas over the code pixel for every scale, shift and rotation. It
equals the torch model's `geometric` PSF where that one applies. Everything is drawn as the camera sees the scene.
Deliberately not here: diffraction and obliquity (the fit takes up what they leave), noise, and the fit (`calibration.geometry`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from optics_sim.design import CameraDesign, LenslessOptics, Printing
from optics_sim.errors import PrivcamError
from optics_sim.optics import turned
from optics_sim.optics.patterns import transmission

Array = NDArray[np.float64]
OVERSAMPLE = 8  # samples per cell where the printer blurs edges, as in the torch model


@dataclass(frozen=True)
class Mounting:
    """Where a mask sits: metres from the sensor, its middle from the sensor's axis (y, x), turned from +x towards +y."""

    mask_to_sensor_m: float
    shift_m: tuple[float, float] = (0.0, 0.0)
    rotation_rad: float = 0.0


@dataclass(frozen=True)
class Source:
    """A point of light at `position_m` (y, x) from the sensor's axis, `distance_m` before the mask."""

    position_m: tuple[float, float]
    distance_m: float


@dataclass(frozen=True)
class Pose:
    """A shadow on the code pixels: scale from mask to shadow, turn, and the middle (y, x) in code pixels from the grid's."""

    magnification: float
    rotation_rad: float
    centre: tuple[float, float]


def pose(mounting: Mounting, source: Source, code_pitch_m: float) -> Pose:
    """Returns the shadow's pose: the point m of the mask falls on m + (m - P) d / D, and the code is drawn turned by 180 degrees."""
    reach = mounting.mask_to_sensor_m / source.distance_m
    y, x = ((at * reach - shift * (1 + reach)) / code_pitch_m
            for at, shift in zip(source.position_m, mounting.shift_m, strict=True))
    return Pose(1 + reach, mounting.rotation_rad, (y, x))


@dataclass(frozen=True, eq=False)
class MaskModel:
    """The mask of a design as printed: `light` [r, c] is its transmission, `samples_per_cell` to a cell's side `cell_m`."""

    light: Array
    cell_m: float
    samples_per_cell: int
    code_pitch_m: float

    @classmethod
    def of(cls, design: CameraDesign) -> MaskModel:
        """Returns the model of a lensless design; PrivcamError for other optics or code pixels that are not square."""
        optics = design.optics
        if not isinstance(optics, LenslessOptics):
            raise PrivcamError("only a mask has a shadow", got=optics.kind, allowed="lensless", todo="give the design of a lensless camera")
        if design.readout.bin[0] != design.readout.bin[1]:
            raise PrivcamError("code pixels are not square", got=design.readout.bin, allowed="equal bins", todo="set readout.bin")
        cells = transmission(optics.pattern, optics.cells, optics.cell_m).astype(np.float64)
        fine = OVERSAMPLE if optics.printing.edge_blur_m > 0 else 1
        return cls(_printed(cells, optics.printing, optics.cell_m, fine), optics.cell_m, fine, design.code_pitch_m)

    @property
    def sample_m(self) -> float:
        """Side of a sample."""
        return self.cell_m / self.samples_per_cell

    @cached_property
    def _light(self) -> turned.Light:
        return turned.Light.of(self.light)

    def _placing(self, at: Pose, fine: int) -> turned.Placing:
        return turned.Placing(self.sample_m * at.magnification / self.code_pitch_m * fine, (-at.centre[0] * fine, -at.centre[1] * fine),
                              at.rotation_rad)

    def psf(self, at: Pose, shape: tuple[int, int], fine: int = 1) -> Array:
        """Returns the PSF on code pixels of `shape` (rows, columns) around the axis; its sum is the share of light let through.

        With `fine` above 1 each code pixel is given in fine x fine parts.
        """
        upright = turned.on_pixels(self._light, self._placing(at, fine), (shape[0] * fine, shape[1] * fine))
        return upright[::-1, ::-1] / self.light.size

    def slopes(self, at: Pose, shape: tuple[int, int], fine: int = 1) -> tuple[Array, Array]:
        """Returns the PSF and its exact change with magnification, rotation (rad) and centre y, x (code pixels), [4, row, column]."""
        upright, change = turned.slopes(self._light, self._placing(at, fine), (shape[0] * fine, shape[1] * fine))
        units = np.array([self.sample_m / self.code_pitch_m * fine, 1.0, -fine, -fine])
        return upright[::-1, ::-1] / self.light.size, change[:, ::-1, ::-1] * units[:, None, None] / self.light.size


def _printed(cells: Array, printing: Printing, cell_m: float, fine: int) -> Array:
    """Returns the film's transmission at `fine` samples per cell: edges blurred by a Gaussian, levels of black and clear film."""
    if printing.edge_blur_m > 0:
        rows, columns = (_edges(n, fine, printing.edge_blur_m / cell_m) for n in cells.shape)
        cells = rows @ cells @ columns.T
    return printing.opaque_transmission + (printing.clear_transmission - printing.opaque_transmission) * cells


def _edges(cells: int, fine: int, blur_cells: float) -> Array:
    left = ((np.arange(cells * fine) + 0.5) / fine)[:, None] - np.arange(cells)
    scale = np.sqrt(2) * blur_cells
    return np.asarray((erf(left / scale) - erf((left - 1) / scale)) / 2)

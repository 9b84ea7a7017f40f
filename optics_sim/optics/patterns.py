"""Mask patterns as numpy arrays: the transmission of every kind of `Pattern`, 1 = clear, 0 = opaque.

Deliberately not here: learnable masks (`mask`), what a printer makes of a pattern (`printing`), and
mirroring for emulsion-side-down film, which belongs to the export.

A pattern with a size of its own (MLS, MURA) is a periodic array. Where `cells` differ from that size the
period is continued, or cut, so that the centre of the period (index size // 2) lies on the cell cells // 2.
Cut to less than one period it loses its correlation property. Patterns that somebody drew (rows, file) are
never stretched or cut: another size is an error.
"""

from __future__ import annotations

import io
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from scipy.signal import max_len_seq

from optics_sim.design import (
    FilePattern,
    FresnelZonePattern,
    LenslessOptics,
    MlsPattern,
    MuraPattern,
    OpenPattern,
    Pattern,
    PinholePattern,
    RandomPattern,
    RowsPattern,
)
from optics_sim.errors import PrivcamError
from optics_sim.named_file import NamedFile

Array = NDArray[np.float32]


def transmission(pattern: Pattern, cells: tuple[int, int], cell_m: float) -> Array:
    """Returns the binary transmission [row, column] of a pattern on `cells` (rows, columns), 1 = clear.

    `cell_m` is the side of a cell; only the Fresnel zone aperture, whose zones have a size in metres, needs it.
    Raises PrivcamError for cells below 1, a pattern that cannot be had on these cells, or an unreadable file.
    """
    rows, columns = cells
    if rows < 1 or columns < 1 or cell_m <= 0:
        raise PrivcamError("a mask needs cells of a positive size", got=f"cells {cells}, cell_m {cell_m}",
                           allowed="at least 1x1 cells, cell_m > 0", todo="mend `optics.cells` or `optics.cell_m`")
    if isinstance(pattern, PinholePattern):
        return _pinhole(cells)
    if isinstance(pattern, OpenPattern):
        return np.ones(cells, np.float32)
    if isinstance(pattern, RandomPattern):
        generator = np.random.default_rng(pattern.seed)
        return (generator.random(cells) < pattern.open_fraction).astype(np.float32)
    if isinstance(pattern, MlsPattern):
        return _mls(pattern.order, cells)
    if isinstance(pattern, MuraPattern):
        return _continued(mura(pattern.prime), cells)
    if isinstance(pattern, FresnelZonePattern):
        return _fresnel_zone(pattern, cells, cell_m)
    if isinstance(pattern, RowsPattern):
        return _of_size(pattern.array(), cells, "the rows")
    if isinstance(pattern, FilePattern):
        return _of_size(_read(pattern.file), cells, pattern.path)
    assert_never(pattern)


def mura(prime: int) -> Array:
    """Returns the modified uniformly redundant array [prime, prime], open in (prime**2 - 1) / 2 cells.

    Row 0 is opaque, the rest of column 0 is clear, and cell (i, j) is clear where i and j are both quadratic
    residues of the prime or both not. Raises PrivcamError where `prime` is no odd prime.
    Reference: Gottesman and Fenimore, "New family of binary arrays for coded aperture imaging", Applied Optics
    28 (1989) 4344, eq. 2.
    """
    if not _is_odd_prime(prime):
        raise PrivcamError("a MURA has a prime side", got=prime, allowed="5, 7, 11, 13, 17, 19, 23, 29, 31, 37, ...",
                           todo="choose a prime")
    residue = np.full(prime, -1)
    residue[(np.arange(1, prime) ** 2) % prime] = 1
    array = (np.outer(residue, residue) == 1).astype(np.float32)
    array[0, :] = 0
    array[1:, 0] = 1
    return array


def mura_decoder(prime: int) -> Array:
    """Returns the decoding array [prime, prime] of +-1 whose periodic cross-correlation with the MURA is a delta.

    The peak is (prime**2 - 1) / 2 and every sidelobe is exactly 0.
    Reference: Gottesman and Fenimore, Applied Optics 28 (1989) 4344, eq. 3.
    """
    decoder = 2 * mura(prime) - 1
    decoder[0, 0] = 1
    return decoder


def mls(order: int) -> NDArray[np.float32]:
    """Returns a maximum-length sequence of +-1, length 2**order - 1, periodic autocorrelation -1 off the peak."""
    sequence, _ = max_len_seq(order)
    return (2.0 * sequence - 1).astype(np.float32)


def default_lensless(pattern: Pattern, cells: tuple[int, int] = (32, 32), code_pitch_m: float = 62e-6,
                     mask_to_sensor_m: float = 3e-3, scene_to_mask_m: float = 0.4) -> LenslessOptics:
    """Returns lensless optics whose cell's shadow is exactly one code pixel: cell = code pitch / (1 + d/D)."""
    return LenslessOptics(pattern=pattern, cells=cells, cell_m=code_pitch_m / (1 + mask_to_sensor_m / scene_to_mask_m),
                          mask_to_sensor_m=mask_to_sensor_m, scene_to_mask_m=scene_to_mask_m)


def _pinhole(cells: tuple[int, int]) -> Array:
    array = np.zeros(cells, np.float32)
    array[cells[0] // 2, cells[1] // 2] = 1
    return array


def _mls(order: int, cells: tuple[int, int]) -> Array:
    # XNOR of two sequences, {0, 1} = (1 + outer product of +-1) / 2: FlatCam (Asif et al. 2017), section III-B.
    code = (1 + np.outer(mls(order), mls(order))) / 2
    return _continued(code.astype(np.float32), cells)


def _fresnel_zone(pattern: FresnelZonePattern, cells: tuple[int, int], cell_m: float) -> Array:
    y, x = ((np.arange(n) - (n - 1) / 2) * cell_m for n in cells)
    zone_m = pattern.first_radius_m**2 / max(cells) / cell_m  # half a period, r1^2 / (2 r), at the middle of an edge
    if zone_m < cell_m:
        raise PrivcamError("the outer Fresnel zones are finer than a cell", got=f"{zone_m:.3g} m at the edge",
                           allowed=f"at least a cell, {cell_m:.3g} m", todo="enlarge first_radius_m or use smaller cells")
    radius2 = y[:, None] ** 2 + x[None, :] ** 2
    return (np.cos(np.pi * radius2 / pattern.first_radius_m**2 - pattern.phase_rad) > 0).astype(np.float32)


def _continued(period: Array, cells: tuple[int, int]) -> Array:
    rows, columns = ((np.arange(n) - n // 2 + size // 2) % size for n, size in zip(cells, period.shape, strict=True))
    return period[np.ix_(rows, columns)]


def _of_size(array: Array, cells: tuple[int, int], name: str) -> Array:
    if array.shape != tuple(cells):
        raise PrivcamError(f"{name} and the mask's cells differ in size", got=array.shape, allowed=tuple(cells),
                           todo="set `optics.cells` to the pattern's size, one pixel per cell")
    return array


def _read(file: NamedFile) -> Array:
    todo, path = "give a PNG (one pixel per cell) or a two-dimensional NPY file", file.path
    data = io.BytesIO(file.read())
    try:
        values = np.load(data, allow_pickle=False) if path.endswith(".npy") else np.asarray(_grey(data))
    except (OSError, ValueError, EOFError, UnidentifiedImageError) as error:
        raise PrivcamError("the pattern file cannot be read", got=f"{path}: {error}", todo=todo) from None
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.size == 0 or values.dtype.kind not in "buif":
        raise PrivcamError("the pattern file is not one picture", got=f"{path}: {getattr(values, 'shape', type(values))}",
                           allowed="real numbers [row, column]", todo=todo)
    peak = float(values.max())
    if not np.isfinite(values).all() or peak <= 0:
        raise PrivcamError("the pattern file has no clear cell", got=f"{path}: maximum {peak}",
                           allowed="finite, maximum above 0", todo="clear cells are the bright ones: invert the picture?")
    return (values > peak / 2).astype(np.float32)


def _grey(data: io.BytesIO) -> Image.Image:
    with Image.open(data) as picture:
        picture.load()
        return picture if picture.mode in ("1", "L", "I", "I;16", "F") else picture.convert("L")


def _is_odd_prime(number: int) -> bool:
    return number > 2 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))

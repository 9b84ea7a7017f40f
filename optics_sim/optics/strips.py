"""Convolution of large planes on the CPU by strips that stay in its caches.

A two-dimensional transform is two passes, along the rows and along the columns. Here the row passes touch only the
rows that hold something or are wanted, and everything between (transform down the columns, product, transform back)
happens to some tens of columns at a time, so that no padded plane is written that nobody asked for. Between the
passes a plane lies transposed, [column of the half spectrum, row], and every transform runs along contiguous memory.

Spectra lie in memory as [..., nx // 2 + 1, ny] and are handed out as views [..., ny, nx // 2 + 1], the shape of
`torch.fft.rfft2`. `start` rolls a plane back: its element j lies at (j - start) mod n of the grid.

Deliberately not here: the choice of the grid and the gradients (`convolution`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

Shape = tuple[int, int]

STRIP_ELEMENTS = 1 << 17
"""Grid points of one strip: 1 MB of complex numbers, about what the inner caches of one core hold."""


def transform(values: Tensor, fft: Shape, start: Shape = (0, 0)) -> Tensor:
    """Returns the half spectrum [..., ny, nx // 2 + 1] of real planes [..., H, W] laid on a grid of zeros."""
    half = _row_spectra(values, fft[1], start[1])
    spectrum = half.new_empty(*half.shape[:-1], fft[0])
    for plane, out in zip(half.flatten(0, -3), spectrum.flatten(0, -3), strict=True):
        for strip in _strips(len(out), fft[0]):
            torch.fft.fft(_laid(plane[strip], fft[0], start[0]), out=out[strip])
    return _outside(spectrum, values)


def inverse(spectrum: Tensor, fft: Shape, shape: Shape, start: Shape = (0, 0)) -> Tensor:
    """Returns the part of `shape` [..., H, W] of the inverse transform of a half spectrum."""
    stored = _inside(spectrum)
    half = stored.new_empty(*stored.shape[:-1], shape[0])
    for plane, out in zip(stored.flatten(0, -3), half.flatten(0, -3), strict=True):
        for strip in _strips(len(out), fft[0]):
            _take(torch.fft.ifft(plane[strip]), out[strip], start[0])
    return _rows_of(half, fft[1], shape[1], start[1]).reshape(*spectrum.shape[:-2], *shape)


def product(
    values: Tensor | None, spectrum: Tensor | None, kernel: Tensor, fft: Shape, shape: Shape, *, turned: bool, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """Returns the top left `shape` of the inverse of F(values) * kernel, and F(values) where it is to be kept.

    Instead of values [..., H, W] their spectrum may be given. Leading axes broadcast. `turned` takes the
    conjugate of the kernel.
    """
    half = None if values is None else _row_spectra(values, fft[1], 0)
    known = None if spectrum is None else _inside(spectrum)
    if half is not None and keep:
        known = half.new_empty(*half.shape[:-1], fft[0])
    source = known if half is None else half
    if source is None:
        raise ValueError("neither values nor their spectrum")
    factor = _inside(kernel)
    batch = torch.broadcast_shapes(source.shape[:-2], factor.shape[:-2])
    result = factor.new_empty(*batch, factor.shape[-2], shape[0])
    for i, j, out in zip(_planes(source, batch), _planes(factor, batch), result.flatten(0, -3), strict=True):
        for strip in _strips(len(out), fft[0]):
            if half is None:
                columns = source.flatten(0, -3)[i][strip]
            else:
                place = None if known is None else known.flatten(0, -3)[i][strip]
                columns = torch.fft.fft(_laid(half.flatten(0, -3)[i][strip], fft[0], 0), out=place)
            by = factor.flatten(0, -3)[j][strip]
            _take(torch.fft.ifft(columns * (by.conj() if turned else by)), out[strip], 0)
    image = _rows_of(result, fft[1], shape[1], 0)
    like = values if values is not None else spectrum
    flat = image.reshape(*torch.broadcast_shapes(like.shape[:-2] if like is not None else (), kernel.shape[:-2]), *shape)
    return flat, None if known is None or like is None else _outside(known, like)


def correlation(
    slope: Tensor, spectrum: Tensor, leading: tuple[int, ...], fft: Shape, shape: Shape, start: Shape, *, turned: bool
) -> Tensor:
    """Returns the gradient to a PSF [*leading, h, w]: conj(spectrum) * F(slope), summed over the batch, and inverted.

    `turned` takes spectrum * conj(F(slope)). The sum comes before the one inverse transform per PSF.
    """
    half, known = _row_spectra(slope, fft[1], 0), _inside(spectrum)
    batch = torch.broadcast_shapes(half.shape[:-2], known.shape[:-2])
    result = half.new_empty(*(leading or (1,)), half.shape[-2], shape[0])
    terms: list[list[tuple[int, int]]] = [[] for _ in range(math.prod(leading))]
    for i, j, p in zip(_planes(half, batch), _planes(known, batch), _planes(result, batch), strict=True):
        terms[p].append((i, j))
    for pairs, out in zip(terms, result.flatten(0, -3), strict=True):
        for strip in _strips(len(out), fft[0]):
            total: Tensor | None = None
            for i, j in pairs:
                columns = torch.fft.fft(_laid(half.flatten(0, -3)[i][strip], fft[0], 0))
                scene = known.flatten(0, -3)[j][strip]
                term = scene * columns.conj() if turned else scene.conj() * columns
                total = term if total is None else total.add_(term)
            if total is not None:
                _take(torch.fft.ifft(total), out[strip], start[0])
    return _rows_of(result, fft[1], shape[1], start[1]).reshape(*leading, *shape)


# --- passes ---------------------------------------------------------------------------------------
def _row_spectra(values: Tensor, columns: int, start: int) -> Tensor:
    """Returns [..., columns // 2 + 1, H], at least three axes: the rows' half spectra, transposed."""
    planes = values.reshape(-1, *values.shape[-2:])
    rows = planes.shape[-2]
    half = _empty_columns(values, len(planes), columns // 2 + 1, rows)
    for plane, out in zip(planes, half, strict=True):
        for block in _strips(rows, columns):
            out[:, block] = torch.fft.rfft(_laid(plane[block], columns, start)).mT
    return half.unflatten(0, values.shape[:-2] or (1,))


def _empty_columns(like: Tensor, planes: int, columns: int, rows: int) -> Tensor:
    """Returns room for transposed planes, whose columns never lie a multiple of 4 KB apart."""
    dtype = torch.complex128 if like.dtype == torch.float64 else torch.complex64
    pad = 8 if rows % 256 == 0 else 0
    return torch.empty(planes, columns, rows + pad, dtype=dtype, device=like.device)[..., :rows]


def _rows_of(half: Tensor, columns: int, width: int, start: int) -> Tensor:
    """Returns [..., H, width], real, of the rows' half spectra [..., columns // 2 + 1, H]."""
    rows = half.shape[-1]
    image = torch.empty(*half.shape[:-2], rows, width, dtype=half.real.dtype, device=half.device)
    for plane, out in zip(half.flatten(0, -3), image.flatten(0, -3), strict=True):
        for block in _strips(rows, columns):
            _take(torch.fft.irfft(plane[:, block].mT, n=columns), out[block], start)
    return image


def _strips(count: int, length: int) -> Iterator[slice]:
    """Yields slices of `count` transforms of `length`, each what the caches hold."""
    step = min(256, max(16, STRIP_ELEMENTS // length))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def _laid(values: Tensor, length: int, start: int) -> Tensor:
    """Returns values [n, m] on `length` points of their last axis, rolled back by `start`, zeros elsewhere."""
    width = values.shape[-1]
    if width == length and start == 0:
        return values
    laid = values.new_zeros(values.shape[0], length)
    laid[:, : width - start] = values[:, start:]
    if start:
        laid[:, length - start :] = values[:, :start]
    return laid


def _take(laid: Tensor, out: Tensor, start: int) -> None:
    """Writes to `out` [n, m] what `_laid` had laid."""
    width = out.shape[-1]
    out[:, start:] = laid[:, : width - start]
    if start:
        out[:, :start] = laid[:, laid.shape[-1] - start :]


def _planes(stored: Tensor, batch: tuple[int, ...]) -> list[int]:
    """Returns which plane of `stored` serves each plane of the broadcast batch."""
    own = stored.shape[:-2]
    return torch.arange(math.prod(own)).reshape(own).expand(batch).flatten().tolist()


def _inside(spectrum: Tensor) -> Tensor:
    """Returns a spectrum as it lies in memory, with at least one leading axis."""
    stored = spectrum.mT.contiguous()
    return stored[None] if stored.ndim == 2 else stored


def _outside(stored: Tensor, like: Tensor) -> Tensor:
    """Returns a stored spectrum in the shape of `torch.fft.rfft2`, with the leading axes of `like`."""
    return (stored[0] if like.ndim == 2 else stored).mT

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
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Shape = tuple[int, int]

STRIP_ELEMENTS = 1 << 17
"""Grid points of one strip: 1 MB of complex numbers, about what the inner caches of one core hold."""


def transform(values: Tensor, fft: Shape, start: Shape = (0, 0)) -> Tensor:
    """Returns the half spectrum [..., ny, nx // 2 + 1] of real planes [..., H, W] laid on a grid of zeros."""
    planes = values.reshape(-1, *values.shape[-2:])
    half = _columns_like(values, fft[1] // 2 + 1, planes.shape[-2])
    spectrum = half.new_empty(len(planes), len(half), fft[0])
    desk = _desk(half, fft[0])
    for plane, out in zip(planes, spectrum, strict=True):
        _to_columns(plane, half, fft[1], start[1])
        for strip in _strips(len(out), fft[0]):
            out[strip] = torch.fft.fft(_laid(half[strip], desk, start[0]))
    return _outside(spectrum, values.shape[:-2])


def inverse(spectrum: Tensor, fft: Shape, shape: Shape, start: Shape = (0, 0)) -> Tensor:
    """Returns the part of `shape` [..., H, W] of the inverse transform of a half spectrum."""
    planes = _inside(spectrum)
    image = planes.new_empty(len(planes), *shape, dtype=planes.real.dtype)
    half = _columns_like(image, planes.shape[-2], shape[0])
    for plane, out in zip(planes, image, strict=True):
        for strip in _strips(len(half), fft[0]):
            _take(torch.fft.ifft(plane[strip]), half[strip], start[0])
        _to_image(half, out, fft[1], start[1])
    return image.reshape(*spectrum.shape[:-2], *shape)


def product(
    values: Tensor | None, spectrum: Tensor | None, kernel: Tensor, fft: Shape, shape: Shape, *, turned: bool, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """Returns the top left `shape` of the inverse of F(values) * kernel, and F(values) where it is to be kept.

    Instead of values [..., H, W] their spectrum may be given. Leading axes broadcast. `turned` takes the
    conjugate of the kernel.
    """
    given = values if values is not None else spectrum
    if given is None:
        raise ValueError("neither values nor their spectrum")
    factor, leading = _inside(kernel), given.shape[:-2]
    batch = torch.broadcast_shapes(leading, kernel.shape[:-2])
    image = factor.new_empty(math.prod(batch), *shape, dtype=factor.real.dtype)
    back = _columns_like(image, factor.shape[-2], shape[0])
    known = _inside(spectrum) if spectrum is not None else None
    if keep and known is None:
        known = factor.new_empty(math.prod(leading), factor.shape[-2], fft[0])
    source = _source(values, known, factor, fft)
    for i, j, out in zip(_planes(leading, batch), _planes(kernel.shape[:-2], batch), image, strict=True):
        for strip, columns in source(i):
            by = factor[j, strip].conj_physical() if turned else factor[j, strip]
            _take(torch.fft.ifft(columns * by if known is not None else columns.mul_(by)), back[strip], 0)
        _to_image(back, out, fft[1], 0)
    return image.reshape(*batch, *shape), None if known is None else _outside(known, leading)


def _source(
    values: Tensor | None, known: Tensor | None, factor: Tensor, fft: Shape
) -> Callable[[int], Iterator[tuple[slice, Tensor]]]:
    """Returns what yields strips of a plane's spectrum: known, or made from its values (and then written to `known`)."""
    strips = list(_strips(factor.shape[-2], fft[0]))
    if values is None:
        if known is None:
            raise ValueError("neither values nor their spectrum")
        return lambda plane: ((strip, known[plane, strip]) for strip in strips)
    planes = values.reshape(-1, *values.shape[-2:])
    half, desk = _columns_like(values, factor.shape[-2], planes.shape[-2]), _desk(factor, fft[0])

    def made(plane: int) -> Iterator[tuple[slice, Tensor]]:
        _to_columns(planes[plane], half, fft[1], 0)
        for strip in strips:
            columns = torch.fft.fft(_laid(half[strip], desk, 0))
            if known is not None:
                known[plane, strip] = columns
            yield strip, columns

    return made


def correlation(
    slope: Tensor, spectrum: Tensor, leading: tuple[int, ...], fft: Shape, shape: Shape, start: Shape, *, turned: bool
) -> Tensor:
    """Returns the gradient to a PSF [*leading, h, w]: conj(spectrum) * F(slope), summed over the batch, and inverted.

    `turned` takes spectrum * conj(F(slope)). The sum comes before the one inverse transform per PSF.
    """
    known, slopes = _inside(spectrum), slope.reshape(-1, *slope.shape[-2:])
    batch = torch.broadcast_shapes(slope.shape[:-2], spectrum.shape[:-2])
    terms: list[list[tuple[int, int]]] = [[] for _ in range(math.prod(leading))]
    index = zip(_planes(slope.shape[:-2], batch), _planes(spectrum.shape[:-2], batch), _planes(leading, batch), strict=True)
    for i, j, p in index:
        terms[p].append((i, j))
    image = slope.new_empty(len(terms), *shape)
    back, desk = _columns_like(slope, known.shape[-2], shape[0]), _desk(known, fft[0])
    half = [_columns_like(slope, known.shape[-2], slopes.shape[-2]) for _ in terms[0]]
    for pairs, out in zip(terms, image, strict=True):
        for (i, _), columns in zip(pairs, half, strict=True):
            _to_columns(slopes[i], columns, fft[1], 0)
        for strip in _strips(len(back), fft[0]):
            total = torch.zeros_like(desk[: strip.stop - strip.start])
            for (_, j), columns in zip(pairs, half, strict=True):
                total.addcmul_(known[j, strip], torch.fft.fft(_laid(columns[strip], desk, 0)).conj_physical_())
            _take(torch.fft.ifft(total if turned else total.conj_physical_()), back[strip], start[0])
        _to_image(back, out, fft[1], start[1])
    return image.reshape(*leading, *shape)


# --- passes ---------------------------------------------------------------------------------------
def _to_columns(plane: Tensor, half: Tensor, columns: int, start: int) -> None:
    """Writes to `half` [columns // 2 + 1, H] the half spectra of a plane's rows, transposed."""
    desk = _desk(plane, columns)
    for block in _strips(plane.shape[0], columns):
        half[:, block] = torch.fft.rfft(_laid(plane[block], desk, start)).mT


def _to_image(half: Tensor, image: Tensor, columns: int, start: int) -> None:
    """Writes to `image` [H, W] the rows whose half spectra lie transposed in `half` [columns // 2 + 1, H]."""
    for block in _strips(image.shape[0], columns):
        _take(torch.fft.irfft(half[:, block].mT, n=columns), image[block], start)


def _columns_like(values: Tensor, columns: int, rows: int) -> Tensor:
    """Returns room for a transposed plane, whose columns never lie a multiple of 2 KB apart."""
    dtype = torch.complex128 if values.dtype == torch.float64 else torch.complex64
    pad = 8 if rows % 256 == 0 else 0
    return torch.empty(columns, rows + pad, dtype=dtype, device=values.device)[:, :rows]


def _step(length: int) -> int:
    return min(256, max(16, STRIP_ELEMENTS // length))


def _strips(count: int, length: int) -> Iterator[slice]:
    """Yields slices of `count` transforms of `length`, each what the caches hold."""
    return (slice(first, min(first + _step(length), count)) for first in range(0, count, _step(length)))


def _desk(like: Tensor, length: int) -> Tensor:
    """Returns zeros for the transforms of one strip."""
    return like.new_zeros(_step(length), length)


def _laid(values: Tensor, desk: Tensor, start: int) -> Tensor:
    """Returns values [n, m] on the desk's points of the last axis, rolled back by `start`, zeros elsewhere.

    A desk serves one width and start, so that its zeros stay.
    """
    width, length = values.shape[-1], desk.shape[-1]
    laid = desk[: values.shape[0]]
    laid[:, : width - start] = values[:, start:]
    if start:
        laid[:, length - start :] = values[:, :start]
    return laid


def _take(laid: Tensor, out: Tensor, start: int) -> None:
    """Writes to `out` [n, m] what `_laid` had laid."""
    out[:, start:] = laid[:, : out.shape[-1] - start]
    if start:
        out[:, :start] = laid[:, laid.shape[-1] - start :]


def _planes(own: tuple[int, ...], batch: tuple[int, ...]) -> list[int]:
    """Returns which of the planes [own] serves each plane of the broadcast batch."""
    return torch.arange(math.prod(own)).reshape(own).expand(batch).flatten().tolist()


def _inside(spectrum: Tensor) -> Tensor:
    """Returns a spectrum as it lies in memory, [planes, nx // 2 + 1, ny]."""
    return spectrum.mT.contiguous().reshape(-1, spectrum.shape[-1], spectrum.shape[-2])


def _outside(stored: Tensor, leading: tuple[int, ...]) -> Tensor:
    """Returns stored planes in the shape of `torch.fft.rfft2`, with these leading axes."""
    return stored.reshape(*leading, *stored.shape[-2:]).mT

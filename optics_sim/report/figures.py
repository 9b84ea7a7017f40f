"""Pictures of a report as PNG bytes or SVG text: the same input gives the same bytes (no dates, no random ids).

Pixel pictures (scenes, codes, masks) are drawn with Pillow at whole multiples, so that a pixel stays a square;
plots are drawn with matplotlib's object interface, never pyplot, whose state is global.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from optics_sim.errors import PrivcamError
from optics_sim.report.metrics import aperture_ratio, pareto_front

Interval = tuple[float, float]
Point = tuple[str, float, Interval | None, float, Interval | None]
INK, PAPER, FAINT = (32, 36, 44), (255, 255, 255), (120, 126, 138)
_STYLE: Any = {"svg.hashsalt": "privcam", "svg.fonttype": "path"}
_COLOURS = ("#1b6ca8", "#c2571a", "#2e7d4f", "#8e3b8a", "#b8860b", "#5b6472", "#c0392b", "#11808a")
_MARKERS = "osD^vPX*"


def image_png(
    array: ArrayLike, *, scale: int | None = None, cmap: str = "gray", low: float | None = 0.0, high: float | None = 1.0
) -> bytes:
    """Returns a PNG of an image [row, column] (or colour [row, column, 3], 0..1), enlarged by whole pixels.

    `low` and `high` are the values drawn black and white; None takes the image's own extreme (say so in the
    caption). `scale` None enlarges to about 256 pixels. `cmap` is a matplotlib colour map.
    """
    return _encode(_tile(array, scale=scale, cmap=cmap, low=low, high=high))


def image_row(
    images: Sequence[ArrayLike], titles: Sequence[str], *, height: int = 192, cmap: str = "gray", low: float | None = 0.0,
    high: float | None = 1.0,
) -> bytes:
    """Returns a PNG of images side by side, a title above each; `height` is about that of an image, in pixels."""
    if not images or len(images) != len(titles):
        raise PrivcamError("images and titles differ in number", got=f"{len(images)} and {len(titles)}",
                           allowed="one title per image, at least one", todo="give every image a title")
    tiles = [_tile(i, scale=max(1, round(height / np.shape(i)[0])), cmap=cmap, low=low, high=high) for i in images]
    font, gap = ImageFont.load_default(13), 10
    wrapped = [_wrap(title, font, max(tile.width, 40)) for title, tile in zip(titles, tiles, strict=True)]
    top = 18 * max(len(lines) for lines in wrapped) + 4
    widths = [max(tile.width, 40) for tile in tiles]
    canvas = Image.new("RGB", (sum(widths) + gap * (len(tiles) - 1), top + max(t.height for t in tiles)), PAPER)
    draw, left = ImageDraw.Draw(canvas), 0
    for tile, lines, width in zip(tiles, wrapped, widths, strict=True):
        for number, line in enumerate(lines):
            draw.text((left, 18 * number), line, fill=INK, font=font)
        canvas.paste(tile, (left, top))
        left += width + gap
    return _encode(canvas)


def mask_png_with_scale(transmission: ArrayLike, cell_m: float, *, scale: int | None = None) -> bytes:
    """Returns a PNG of a mask (white = clear) with a scale bar in mm, its open fraction and an upright "F".

    The mask is drawn as the camera sees the scene (not as film is plotted): the "F" printed beside it shows which
    way up and round. `cell_m` is the side of a cell.
    """
    cells = np.asarray(transmission, dtype=np.float64)
    if cells.ndim != 2 or not cell_m > 0 or cells.min() < 0 or cells.max() > 1:
        raise PrivcamError("a mask is drawn from [row, column] transmission and a cell size", got=(cells.shape, cell_m),
                           allowed="transmission 0..1, cell_m > 0", todo="give the design's pattern and cell_m")
    tile = _tile(cells, scale=scale or max(1, round(384 / max(cells.shape))), cmap="gray", low=0.0, high=1.0)
    length_m = _round_length(0.4 * cells.shape[1] * cell_m)
    bar = round(length_m / cell_m * tile.width / cells.shape[1])
    canvas = Image.new("RGB", (max(tile.width, 340) + 2, tile.height + 74), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, tile.width + 1, tile.height + 1), outline=FAINT)
    canvas.paste(tile, (1, 1))
    below, small = tile.height + 12, ImageFont.load_default(13)
    draw.rectangle((1, below, bar, below + 5), fill=INK)
    draw.text((bar + 8, below - 5), f"{_number(length_m * 1e3)} mm", fill=INK, font=small)
    draw.text((1, below + 14), "F", fill=INK, font=ImageFont.load_default(26))
    draw.text((26, below + 16), f"open {100 * aperture_ratio(cells):.1f} %, {cells.shape[0]} x {cells.shape[1]} cells of "
              f"{_number(cell_m * 1e6)} um", fill=INK, font=small)
    draw.text((26, below + 34), "as the camera sees the scene: F upright", fill=FAINT, font=small)
    return _encode(canvas)


def psf_figure(psf: ArrayLike, code_pitch_m: float) -> bytes:
    """Returns a PNG of a PSF [row, column], linear and in decades below its peak, axes in mm on the sensor."""
    values = np.asarray(psf, dtype=np.float64)
    if values.ndim != 2 or not code_pitch_m > 0 or not np.isfinite(values).all():
        raise PrivcamError("a PSF is drawn from finite [row, column] and a pixel pitch", got=(values.shape, code_pitch_m),
                           allowed="2-D, pitch > 0", todo="draw one plane of it")
    peak = max(float(values.max()), np.finfo(float).tiny)
    half = [0.5e3 * code_pitch_m * n for n in values.shape]
    figure = Figure(figsize=(8.4, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = (left.imshow(values, cmap="gray", vmin=0, extent=(-half[1], half[1], half[0], -half[0])),
             right.imshow(np.log10(np.maximum(values / peak, 1e-4)), cmap="magma", vmin=-4, vmax=0,
                          extent=(-half[1], half[1], half[0], -half[0])))
    left.set_title(f"PSF, sum {values.sum():.4g}")
    right.set_title("log10(PSF / peak)")
    for axes, picture in zip((left, right), shown, strict=True):
        axes.set(xlabel="x on the sensor, mm", ylabel="y, mm")
        figure.colorbar(picture, ax=axes, shrink=0.85)
    return _save(figure, "png")


CROWDED = 12  # points in a plot from which their intervals are drawn faint


def tradeoff_figure(
    points: Sequence[Point], xlabel: str, ylabel: str, *, better: tuple[int, int] = (1, 1), chance: float | None = None
) -> str:
    """Returns an SVG of utility (x) against privacy (y), with intervals and the Pareto front.

    A point is (label, utility, its interval or None, privacy, its interval or None). `better` says for each axis
    whether more (1) or less (-1) is better, e.g. (1, -1) where y is an attacker's AUC; axes are drawn as given.
    `chance` draws a line across at the attack's chance level.
    """
    if not points or set(better) - {1, -1}:
        raise PrivcamError("nothing to draw", got=(len(points), better), allowed="at least one point, better of 1 or -1",
                           todo="drop the figure or give points")
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.subplots()
    values = np.array([(x, y) for _, x, _, y, _ in points], dtype=np.float64)
    front = values[pareto_front(values * better)]
    axes.plot(front[:, 0], front[:, 1], "--", color="#9aa1ad", lw=1.2, zorder=1, label="Pareto front")
    for number, (label, x, x_interval, y, y_interval) in enumerate(points):
        _, caps, bars = axes.errorbar(x, y, xerr=_bars(x, x_interval), yerr=_bars(y, y_interval), label=label, ls="", ms=8, elinewidth=1,
                                      capsize=2, marker=_MARKERS[(number + number // len(_COLOURS)) % len(_MARKERS)],
                                      color=_COLOURS[number % len(_COLOURS)], zorder=2)
        for line in (*caps, *bars):
            line.set_alpha(0.2 if len(points) > CROWDED else 1.0)
    if chance is not None:
        axes.axhline(chance, color="#555b66", lw=1.2, ls=":", label="chance")
        axes.update_datalim([(values[0, 0], chance)])
        axes.autoscale_view()
    words = [f"{name} ({'more' if sign > 0 else 'less'} is better)" for name, sign in
             zip((xlabel, ylabel), better, strict=True)]
    axes.set(xlabel=words[0], ylabel=words[1])
    _grid(axes)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return _save(figure, "svg").decode()


def curve_figure(curves: Mapping[str, ArrayLike], xlabel: str = "step", ylabel: str = "loss", *, log: bool = False) -> str:
    """Returns an SVG of named curves: each [n] against its index, or [n, 2] as (x, y) pairs."""
    if not curves:
        raise PrivcamError("no curve to draw", got=0, allowed="at least one", todo="drop the figure or give curves")
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (name, curve) in enumerate(curves.items()):
        line = np.asarray(curve, dtype=np.float64)
        x, y = line.T if line.ndim == 2 else (np.arange(len(line)), line)
        axes.plot(x, y, label=name, lw=1.5, color=_COLOURS[number % len(_COLOURS)], marker="o" if len(x) == 1 else "")
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    _grid(axes)
    axes.legend(frameon=False, fontsize=9)
    return _save(figure, "svg").decode()


# --- helpers --------------------------------------------------------------------------------------
def _tile(array: ArrayLike, *, scale: int | None, cmap: str, low: float | None, high: float | None) -> Image.Image:
    values = np.asarray(array, dtype=np.float64)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or values.size == 0:
        raise PrivcamError("not a picture", got=values.shape, allowed="[row, column] or [row, column, 3]",
                           todo="take one image of the batch")
    if not np.isfinite(values).all():
        raise PrivcamError("a picture has NaN or infinity in it", got=f"{(~np.isfinite(values)).sum()} values",
                           allowed="finite values", todo="look where they come from")
    black = values.min() if low is None else low
    white = values.max() if high is None else high
    unit = np.clip((values - black) / (white - black if white > black else 1.0), 0, 1)
    colour = unit if values.ndim == 3 or cmap == "gray" else matplotlib.colormaps[cmap](unit)[..., :3]
    times = scale or max(1, round(256 / max(values.shape[:2])))
    big = np.rint(255 * colour).astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
    return Image.fromarray(big)


def _encode(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=False)
    return stream.getvalue()


def _grid(axes: Axes) -> None:
    axes.grid(color="#e6e8ec", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with matplotlib.rc_context(_STYLE):
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def _wrap(text: str, font: Any, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if not lines[-1] or font.getlength(longer) <= width else [*lines, word]
    return lines


def _round_length(longest_m: float) -> float:
    decade = 10.0 ** np.floor(np.log10(longest_m))
    return float(decade * max(step for step in (1, 2, 5) if step * decade <= longest_m * (1 + 1e-9)))


def _number(value: float) -> str:
    return f"{value:.4g}"


def _bars(value: float, interval: Interval | None) -> NDArray[np.float64] | None:
    return None if interval is None else np.maximum(0.0, [[value - interval[0]], [interval[1] - value]])

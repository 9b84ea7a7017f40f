"""Clips that a decoder of coded images learns from: pieces of video, and pictures that move before one another.

Real video of people holds little fast motion, and a decoder that has seen none takes every trace for a still picture. So most
clips are generated: cut from the same videos, a ground and some shapes, each with its own speed, turn and growth.
Deliberately not here: reading videos, and the benchmark (never trained on).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LAYERED_SHARE = 0.65
STILL_SHARE = 0.4
"""Of the layered clips whose ground stands still: most cameras do."""
GROUND_PX, SHAPE_PX = 4.0, 6.0
"""Largest speeds in pixels a slot, down and across."""
MARGIN = 24
"""Pixels by which a picture is larger than the clip it moves in."""
LARGEST_REDUCTION = 2.5
LONGEST_STRIDE = 4
MOST_SHAPES = 4
CUTS = 2


def training_clip(videos: list[Tensor], slots: int, crop: int, generator: torch.Generator) -> Tensor:
    """Returns one clip [slots, crop, crop] in 0 to 1 made of gray videos [T, H, W], mirrored, turned and reversed at random."""
    make = _layered if _uniform(generator) < LAYERED_SHARE else _filmed
    clip = make(videos, slots, crop, generator)
    for axis in (0, 1, 2):
        clip = clip.flip(axis) if below(2, generator) else clip
    return clip.transpose(1, 2) if below(2, generator) else clip


def below(count: int, generator: torch.Generator) -> int:
    """Returns a whole number from 0 to count - 1."""
    return int(torch.randint(count, (), generator=generator))


def _filmed(videos: list[Tensor], slots: int, crop: int, generator: torch.Generator) -> Tensor:
    video = videos[below(len(videos), generator)]
    stride = 1 + below(min(LONGEST_STRIDE, (len(video) - 1) // max(slots - 1, 1)), generator)
    first = below(len(video) - stride * (slots - 1), generator)
    return _toned(_piece(video[first : first + stride * (slots - 1) + 1 : stride], crop, generator), generator)


def _layered(videos: list[Tensor], slots: int, crop: int, generator: torch.Generator) -> Tensor:
    """Returns a ground and up to four shapes before it, each a picture that moves by itself."""
    side = crop + MARGIN
    still = _uniform(generator) < STILL_SHARE
    ground = _picture(videos, side, generator)
    clip = ground[:, MARGIN // 2 : -(MARGIN // 2), MARGIN // 2 : -(MARGIN // 2)].expand(slots, crop, crop)
    if not still:
        clip = _moved(ground, slots, crop, generator, GROUND_PX, turn=0.01, growth=0.01, reach=0.0, padding="reflection")[:, 0]
    for _ in range(below(MOST_SHAPES + 1, generator)):
        shape = torch.cat([_picture(videos, side, generator), _shape(side, generator)])
        texture, cover = _moved(shape, slots, crop, generator, SHAPE_PX, turn=0.05, growth=0.02, reach=crop / 2, padding="zeros").unbind(1)
        clip = clip + cover * (texture - clip)
    return clip


def _picture(videos: list[Tensor], side: int, generator: torch.Generator) -> Tensor:
    video = videos[below(len(videos), generator)]
    number = below(len(video), generator)
    return _toned(_piece(video[number : number + 1], side, generator), generator)


def _piece(frames: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Returns a square of frames [T, H, W], reduced to [T, side, side] at random: what compression left in them is averaged away.

    The liveliest of some random squares is taken, for empty walls teach nothing.
    """
    wanted = round(side * _uniform(generator, 1.0, LARGEST_REDUCTION))
    cuts = [window(frames, min(wanted, *frames.shape[-2:]), generator) for _ in range(CUTS)]
    liveliest = max(cuts, key=lambda cut: float(cut.var()))
    return F.interpolate(liveliest[:, None], (side, side), mode="bilinear", antialias=True)[:, 0]


def window(stack: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Returns a random square [..., side, side] of a stack [..., H, W]."""
    top, left = (below(int(size) - side + 1, generator) for size in stack.shape[-2:])
    return stack[..., top : top + side, left : left + side]


def _toned(picture: Tensor, generator: torch.Generator) -> Tensor:
    """Returns a picture with another gamma and range, one in four a negative: nine rooms have few kinds of light."""
    picture = 1 - picture if _uniform(generator) < 0.25 else picture
    picture = picture ** math.exp(_uniform(generator, -0.6, 0.6))
    low, high = (_uniform(generator, 0.0, 0.3), _uniform(generator, 0.7, 1.0)) if below(2, generator) else (0.0, 1.0)
    return low + (high - low) * picture


def _shape(side: int, generator: torch.Generator) -> Tensor:
    """Returns the cover [1, side, side] of a random blob or turned box, 0 to 1 over one pixel at its rim."""
    across = torch.linspace(-1, 1, side)
    if _uniform(generator) < 0.35:
        angle, half = _uniform(generator, 0, math.pi), (_uniform(generator, 0.1, 0.7), _uniform(generator, 0.1, 0.7))
        along = math.cos(angle) * across[:, None] + math.sin(angle) * across
        beside = math.cos(angle) * across - math.sin(angle) * across[:, None]
        inside = torch.minimum(half[0] - along.abs(), half[1] - beside.abs())[None] * side / 2
    else:
        coarse = torch.rand(1, 1, *(2 * [3 + below(5, generator)]), generator=generator)
        radius = across[:, None].square() + across.square()
        size = _uniform(generator, 0.25, 0.85)
        inside = (F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)[0] - 0.5 + 0.35 * (size - radius)) * side / 2
    return (inside + 0.5).clamp(0, 1)


def _moved(layers: Tensor, slots: int, crop: int, generator: torch.Generator, speed_px: float, *, turn: float, growth: float,
           reach: float, padding: str) -> Tensor:
    """Returns layers [C, side, side] as a window sees them, [slots, C, crop, crop], while they move evenly.

    Slow is likelier than fast: the largest speed is drawn first, then each direction's. `turn` in radians and `growth` as a share are
    a slot's largest; `reach` is how far in pixels the layers' middle may lie from the window's.
    """
    slot = torch.arange(slots) - (slots - 1) / 2
    top = _uniform(generator, 0.0, speed_px)
    middle = [_uniform(generator, -reach, reach) + _uniform(generator, -top, top) * slot for _ in range(2)]
    angle, scale = _uniform(generator, -turn, turn) * slot, torch.exp(_uniform(generator, -growth, growth) * slot)
    pixel = torch.arange(crop) - (crop - 1) / 2
    down, across = pixel[:, None] - middle[0][:, None, None], pixel - middle[1][:, None, None]
    cosine, sine = (scale * angle.cos())[:, None, None], (scale * angle.sin())[:, None, None]
    places = torch.stack([cosine * across + sine * down, cosine * down - sine * across], -1) * 2 / (layers.shape[-1] - 1)
    return F.grid_sample(layers.expand(slots, *layers.shape), places, padding_mode=padding, align_corners=True)


def _uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))

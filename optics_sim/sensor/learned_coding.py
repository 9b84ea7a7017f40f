"""A code that learns: real weights behind, bits of an allowed set in front.

The bits are the member of the allowed set nearest to the weights, the one with the largest inner product, so that what
is trained is what the shutter can do. Deliberately not here: the light (`optics_sim.sensor.coded`), the optimiser.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from optics_sim.coding import RowsColumnsCoding, SingleBumpCoding, TileCoding, as_rows, intervals, tile_bits
from optics_sim.errors import PrivcamError
from optics_sim.sensor.coded import coded_sum, per_open_slot, tiled

Family = Literal["tile", "single_bump", "rows_columns"]
WARM_UP_STEPS = 100
START_SCALE = 0.1
"""Of the weights: what a few optimiser steps can turn."""
_ENUMERATED_ROWS = 10  # 2**10 row signals are tried one by one; longer ones alternate


class LearnableCoding(nn.Module):
    """A tile of bits [slots, rows, columns] whose gradient reaches real weights straight through.

    `forward` returns exactly 0 or 1, of the family's allowed set, and changes no state; its gradient is the identity.
    No pixel is dark in all slots. Reference: Okawara et al., ICCP 2020, and Kumawat et al., TPAMI 45(4) 4109 (2023):
    threshold 0, identity gradient; SnapPix (arXiv 2504.04535): the largest slot forced on. The constrained sets are after
    Yoshida et al., ECCV 2018, with projections of our own.
    """

    def __init__(self, weights: Tensor, family: Family = "tile") -> None:
        """Makes a code of `weights` [slots, rows, columns]; PrivcamError for another number of axes."""
        super().__init__()
        if weights.ndim != 3:
            raise PrivcamError("a code's weights are a tile for each slot", got=tuple(weights.shape), allowed="[slots, rows, columns]")
        self.family: Family = family
        self.weights = nn.Parameter(weights.detach().clone())

    @classmethod
    def drawn(cls, generator: torch.Generator, *, slots: int = 16, tile: tuple[int, int] = (8, 8), family: Family = "tile",
              scale: float = START_SCALE) -> LearnableCoding:
        """Returns a code of weights drawn evenly from -scale to scale."""
        drawn = torch.rand(slots, *tile, generator=generator, device=generator.device)
        return cls(scale * (2 * drawn - 1), family)

    @classmethod
    def from_coding(cls, coding: TileCoding | SingleBumpCoding | RowsColumnsCoding, scale: float = START_SCALE) -> LearnableCoding:
        """Returns a code that starts as given, its weights +scale (open) and -scale (closed)."""
        return cls(scale * (2 * torch.from_numpy(tile_bits(coding)) - 1), coding.kind)

    def forward(self) -> Tensor:
        """Returns the bits [slots, rows, columns], with the identity as gradient."""
        return self.bits() + (self.weights - self.weights.detach())

    def bits(self) -> Tensor:
        """Returns the same bits without a gradient."""
        return project(self.weights.detach(), self.family)

    @torch.no_grad()
    def restart(self) -> None:
        """Puts the weights back to where a code starts as given: the bits stay, and whatever trains them next can turn them."""
        self.weights.copy_(START_SCALE * (2 * self.bits() - 1))

    def warmed(self, step: int, generator: torch.Generator) -> Tensor:
        """Returns `forward`'s bits, or random ones of the family with probability (100 - step) / 100 in the first 100 steps.

        The gradient goes to the weights either way. Reference: Okawara et al., ICCP 2020, whose released code mixes noise
        into the weights instead, in the same falling share.
        """
        noise = torch.randn(self.weights.shape, generator=generator, device=generator.device)
        chance = float(torch.rand((), generator=generator, device=generator.device))
        if step >= WARM_UP_STEPS or chance >= (WARM_UP_STEPS - step) / WARM_UP_STEPS:
            return self()
        return project(noise.to(self.weights.device), self.family) + (self.weights - self.weights.detach())

    def to_coding(self) -> TileCoding | SingleBumpCoding | RowsColumnsCoding:
        """Returns exactly the bits of `forward` as plain data."""
        bits = self.bits().cpu().numpy()
        slots, tile = bits.shape[0], (bits.shape[1], bits.shape[2])
        if self.family == "tile":
            return TileCoding(slots=slots, tile=tile, bits=tuple(as_rows(block) for block in bits))
        if self.family == "single_bump":
            start, length = bits.argmax(0), bits.sum(0).astype(int)
            return SingleBumpCoding(slots=slots, tile=tile, start=tuple(map(tuple, start.tolist())),
                                    length=tuple(map(tuple, length.tolist())))
        return RowsColumnsCoding(slots=slots, tile=tile, rows=as_rows(bits.max(2)), columns=as_rows(bits.max(1)))


# --- projections ----------------------------------------------------------------------------------
def project(weights: Tensor, family: Family) -> Tensor:
    """Returns the allowed bits [slots, rows, columns] with the largest inner product with the weights, no pixel dark.

    `tile`: open above 0, and a pixel's largest slot always. `single_bump`: the best of all intervals, exact.
    `rows_columns`: the best product of a row and a column signal in each slot, exact where the shorter side has up to 10
    signals; where that leaves a pixel dark in all slots, the slot that loses least by it opens whole.
    """
    if family == "tile":
        return threshold(weights)
    if family == "single_bump":
        return best_bumps(weights)
    return _lit(torch.stack([best_rows_columns(slot) for slot in weights]), weights)


def threshold(weights: Tensor) -> Tensor:
    """Returns 1 where a weight [slots, rows, columns] is above 0 or the largest of its pixel's slots, 0 elsewhere."""
    largest = torch.zeros_like(weights).scatter_(0, weights.argmax(0, keepdim=True), 1)
    return torch.maximum((weights > 0).to(weights.dtype), largest)


def best_bumps(weights: Tensor) -> Tensor:
    """Returns for each pixel the interval of slots with the largest sum of weights, as bits [slots, rows, columns]."""
    slots = weights.shape[0]
    start, length = (torch.from_numpy(values).to(weights.device) for values in intervals(slots))
    slot = torch.arange(slots, device=weights.device)
    allowed = ((slot >= start[:, None]) & (slot < (start + length)[:, None])).to(weights.dtype)
    score = torch.einsum("it,trc->irc", allowed, weights)
    return allowed[score.argmax(0)].movedim(-1, 0)


def best_rows_columns(weights: Tensor) -> Tensor:
    """Returns the product r_i c_j [rows, columns] of 0-1 signals with the largest inner product with the weights.

    Exact where the shorter side has up to 10 signals (each of its settings is tried; the other side's best is open where
    its sum is positive), otherwise by `alternated`.
    """
    if weights.shape[1] < weights.shape[0]:
        return best_rows_columns(weights.T).T
    count = weights.shape[0]
    if count > _ENUMERATED_ROWS:
        return alternated(weights)[-1]
    settings = torch.arange(1 << count, device=weights.device)
    rows = ((settings[:, None] >> torch.arange(count, device=weights.device)) & 1).to(weights.dtype)
    sums = rows @ weights
    best = int(sums.clamp_min(0).sum(1).argmax())
    return rows[best][:, None] * (sums[best] > 0).to(weights.dtype)


def alternated(weights: Tensor, rounds: int = 20) -> list[Tensor]:
    """Returns the products r_i c_j of each round of alternate maximisation, the best last: their inner product never falls.

    Starts from each single row, all at once, and keeps the best start.
    """
    rows = torch.eye(weights.shape[0], dtype=weights.dtype, device=weights.device)
    path = []
    for _ in range(rounds):
        columns = (rows @ weights > 0).to(weights.dtype)
        rows = (columns @ weights.T > 0).to(weights.dtype)
        path.append(rows[:, :, None] * columns[:, None, :])
    best = int((path[-1] * weights).sum((1, 2)).argmax())
    return [products[best] for products in path]


def _lit(bits: Tensor, weights: Tensor) -> Tensor:
    """Returns the bits with one slot opened whole where a pixel would be dark in all of them."""
    if bool((bits.amax(0) > 0).all()):
        return bits
    loss = (bits * weights).sum((1, 2)) - weights.sum((1, 2))
    opened = torch.zeros_like(bits)
    opened[int(loss.argmin())] = 1
    return torch.maximum(bits, opened)


# --- learning without a task ----------------------------------------------------------------------
def decorrelation(image: Tensor, tile: tuple[int, int]) -> Tensor:
    """Returns the mean squared off-diagonal Pearson correlation of the pixels of a tile, over images [n, h, w].

    Every tile of every image is one sample of rows * columns variables; it is 0 where no coded pixel of a tile tells
    anything (linearly) about another, and 1 where they all say the same.

    Reference: SnapPix (DAC 2025, arXiv 2504.04535), squared as in its released code. Raises PrivcamError below two samples.
    """
    rows, columns = tile
    height, width = (int(image.shape[-2]) // rows, int(image.shape[-1]) // columns)
    if len(image) * height * width < 2:
        raise PrivcamError("a correlation needs two tiles or more", got=tuple(image.shape), allowed=f"images that hold tiles of {tile}")
    cut = image[..., : height * rows, : width * columns].reshape(-1, height, rows, width, columns)
    samples = cut.movedim(3, 2).reshape(-1, rows * columns)
    centred = samples - samples.mean(0)
    scores = centred / centred.norm(dim=0).clamp_min(1e-12)
    squared = (scores.T @ scores).square()
    return (squared.sum() - squared.diagonal().sum()) / (squared.numel() - len(squared))


def decorrelate(code: LearnableCoding, clips: Tensor, steps: int, generator: torch.Generator, *, learning_rate: float = 1e-2,
                batch: int = 8) -> list[float]:
    """Returns the loss of each step of training a code to decorrelate its tile's pixels, on clips [n, slots, h, w].

    The coded image is noiseless and divided by the number of open slots. Changes the code's weights and nothing else; at the end
    they begin anew at the bits that were found, for hundreds of steps one way would bar the way back.
    """
    optimiser = torch.optim.Adam([code.weights], learning_rate)
    tile = (int(code.weights.shape[1]), int(code.weights.shape[2]))
    losses = []
    for step in range(steps):
        chosen = torch.randint(len(clips), (min(batch, len(clips)),), generator=generator, device=generator.device)
        bits = tiled(code.warmed(step, generator), (int(clips.shape[-2]), int(clips.shape[-1])))
        loss = decorrelation(per_open_slot(coded_sum(clips[chosen], bits), bits), tile)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    code.restart()
    return losses

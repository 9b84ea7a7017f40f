"""A mask that learns: real logits behind, exactly binary and printable in front.

Deliberately not here: the optimiser and the annealing schedule (the trainer sets `temperature`), and the printer's
blur (`printing`).

The mask sits in an opaque frame: beyond its cells everything counts as opaque. So a clear strip along the border
must be as wide as any other clear feature, and an opaque strip along the border, which joins the frame, may be thin.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optics_sim.design import Pattern, RowsPattern
from optics_sim.errors import PrivcamError
from optics_sim.optics.patterns import transmission as pattern_transmission


class LearnableMask(nn.Module):
    """A binary mask [row, column] whose gradient reaches real logits straight through.

    `forward` returns cells that are exactly 0 or 1; its gradient is that of sigmoid(logits / temperature). The
    constraints act inside `forward`: what is trained is what is printed. `forward` changes no state.
    Reference: Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons",
    arXiv 1308.3432 (2013), section 4 (straight-through).
    """

    temperature: Tensor

    def __init__(self, logits: Tensor, *, min_feature_cells: int = 1, open_min: float = 0.0, open_max: float = 1.0,
                 temperature: float = 1.0) -> None:
        """Makes a mask of `logits` [row, column]; `open_min` and `open_max` bound the open fraction (PrivcamError if bad)."""
        super().__init__()
        if logits.ndim != 2 or not 1 <= min_feature_cells <= min(logits.shape):
            raise PrivcamError("a feature must fit on the mask", got=f"logits {tuple(logits.shape)}, {min_feature_cells} cells",
                               allowed="logits [row, column]; 1 to the shorter side", todo="choose smaller features")
        if not 0 <= open_min <= open_max <= 1:
            raise PrivcamError("the open fraction's bounds are not in order", got=(open_min, open_max),
                               allowed="0 <= open_min <= open_max <= 1", todo="mend the bounds")
        self.logits = nn.Parameter(logits.detach().clone())
        self.min_feature_cells, self.open_min, self.open_max = min_feature_cells, open_min, open_max
        self.register_buffer("temperature", torch.tensor(1.0))
        self.set_temperature(temperature)

    @classmethod
    def sparse(cls, cells: tuple[int, int], open_fraction: float, generator: torch.Generator, *, min_feature_cells: int = 1,
               open_min: float = 0.0, open_max: float = 1.0, temperature: float = 1.0) -> LearnableMask:
        """Returns a random mask with exactly round(open_fraction * cells) logits above zero, normally distributed."""
        if not 0 <= open_fraction <= 1:
            raise PrivcamError("the open fraction is a share", got=open_fraction, allowed="0 to 1", todo="try 0.15")
        logits = torch.randn(cells, generator=generator, device=generator.device)
        ordered = torch.cat([logits.flatten(), logits.max()[None] + 1, logits.min()[None] - 1]).sort(descending=True).values
        count = round(open_fraction * logits.numel())
        logits = logits - (ordered[count] + ordered[count + 1]) / 2
        return cls(logits, min_feature_cells=min_feature_cells, open_min=open_min, open_max=open_max, temperature=temperature)

    @classmethod
    def from_pattern(cls, pattern: Pattern, cells: tuple[int, int], cell_m: float, *, strength: float = 1.0,
                     min_feature_cells: int = 1, open_min: float = 0.0, open_max: float = 1.0,
                     temperature: float = 1.0) -> LearnableMask:
        """Returns a mask that starts as a pattern, its logits +strength (clear) and -strength (opaque)."""
        logits = torch.from_numpy(pattern_transmission(pattern, cells, cell_m)) * (2 * strength) - strength
        return cls(logits, min_feature_cells=min_feature_cells, open_min=open_min, open_max=open_max, temperature=temperature)

    def set_temperature(self, temperature: float) -> None:
        """Sets the temperature of the gradient's sigmoid; the trainer's schedule calls this, `forward` never."""
        if not temperature > 0:
            raise PrivcamError("a temperature is above zero", got=temperature, allowed="> 0", todo="end the annealing above 0")
        self.temperature.fill_(temperature)

    def forward(self) -> Tensor:
        """Returns the transmission [row, column] of the mask, exactly 0 or 1, with the gradient of the sigmoid."""
        soft = torch.sigmoid(self.logits / self.temperature)
        return self.binary() + (soft - soft.detach())

    def binary(self) -> Tensor:
        """Returns the same transmission without a gradient: logits above 0, then the constraints.

        The open fraction is kept by moving the threshold: the cells with the largest logits stay clear. With a
        minimum feature size, which adds and removes cells, the threshold is found by bisection so that both hold.
        Raises PrivcamError where `open_min` and `open_max` are too close for any threshold to meet.
        """
        logits = self.logits.detach()
        cells = logits.numel()
        lowest, highest = _ceil(self.open_min * cells), int(self.open_max * cells + 1e-9)
        count = min(max(int((logits > 0).sum()), lowest), highest)
        below, above = -1, cells + 1
        while below < count < above:
            clear = with_min_feature(_largest(logits, count), self.min_feature_cells, logits)
            opened = int(clear.sum())
            if lowest <= opened <= highest:
                return clear.to(logits.dtype)
            below, above = (count, above) if opened < lowest else (below, count)
            count = (below + above) // 2
        raise PrivcamError("no threshold meets the open fraction with this feature size",
                           got=f"open {self.open_min} to {self.open_max}, features of {self.min_feature_cells} cells",
                           allowed="bounds further apart", todo="widen open_min and open_max or allow smaller features")

    def to_pattern(self) -> RowsPattern:
        """Returns exactly what `forward` returned, as a pattern for a design file."""
        return RowsPattern.from_array(self.binary().cpu().numpy())


def with_min_feature(clear: Tensor, cells: int, preference: Tensor) -> Tensor:
    """Returns a Boolean mask near `clear` whose every cell lies in a cells x cells square of its own kind.

    Opening (drops clear features that are too small), then closing (fills opaque ones that are too small). In two
    dimensions closing can leave thin bridges; each is widened to the square of the largest mean `preference` that
    holds it, and closed again, until none is left. That only adds clear cells, so it ends.
    """
    if cells == 1:
        return clear
    result = _closed(_opened(clear, cells), cells)
    finite = torch.nan_to_num(preference.float(), nan=0).clamp(-1e9, 1e9)  # below the padding's -inf no square would win
    squares = F.avg_pool2d(finite[None, None], cells, 1)
    padded = F.pad(squares, [cells - 1] * 4, value=-torch.inf)
    _, best = F.max_pool2d(padded, cells, 1, return_indices=True)  # for every cell, the best square that holds it
    thin = result & ~_opened(result, cells)
    while bool(thin.any()):
        chosen = torch.zeros(padded.shape[-2:], dtype=torch.bool, device=clear.device).flatten()
        chosen[best[0, 0][thin]] = True
        placed = chosen.reshape(padded.shape[-2:])[cells - 1:-(cells - 1), cells - 1:-(cells - 1)]
        result = _closed(result | _dilated(placed, cells), cells)
        thin = result & ~_opened(result, cells)
    return result


def violations(transmission: Tensor, min_feature_cells: int) -> int:
    """Returns the number of cells that lie in no min_feature x min_feature square of their own kind (0: printable)."""
    clear = transmission > 0.5
    thin_clear = clear & ~_opened(clear, min_feature_cells)
    thin_opaque = _closed(clear, min_feature_cells) & ~clear
    return int(thin_clear.sum() + thin_opaque.sum())


def _opened(clear: Tensor, cells: int) -> Tensor:
    # A cell survives where some square of clear cells, wholly on the mask, holds it.
    squares = ~F.max_pool2d((~clear)[None, None].float(), cells, 1).bool()[0, 0]
    return _dilated(squares, cells)


def _closed(clear: Tensor, cells: int) -> Tensor:
    # The opening of what is opaque, the frame around it included.
    pad = cells - 1
    framed = F.pad(clear, [pad] * 4)
    inside = slice(pad, None if pad == 0 else -pad)
    return ~_opened(~framed, cells)[inside, inside]


def _dilated(squares: Tensor, cells: int) -> Tensor:
    # Squares named by their top left cell -> the cells they cover.
    padded = F.pad(squares[None, None].float(), [cells - 1] * 4)
    return F.max_pool2d(padded, cells, 1).bool()[0, 0]


def _largest(logits: Tensor, count: int) -> Tensor:
    chosen = torch.zeros(logits.numel(), dtype=torch.bool, device=logits.device)
    chosen[torch.topk(logits.flatten(), count).indices] = True
    return chosen.reshape(logits.shape)


def _ceil(value: float) -> int:
    return -int(-(value - 1e-9) // 1)

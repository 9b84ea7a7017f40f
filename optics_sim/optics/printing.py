"""What the printer makes of a pattern, on a fine grid and differentiable in the pattern.

Deliberately not here: where the light goes afterwards (`propagation`, `psf`).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from optics_sim.design import Printing
from optics_sim.errors import PrivcamError


def printed(transmission: Tensor, printing: Printing, cell_m: float, oversample: int) -> Tensor:
    """Returns the printed film's transmission [r * oversample, c * oversample], at the samples' centres.

    Every cell is a square of side `cell_m` whose edges a Gaussian of standard deviation `edge_blur_m` softens: the
    convolution of box and Gaussian is exact (error functions), and separable. Film then passes
    `opaque_transmission` where black and `clear_transmission` where clear. An ideal opaque frame surrounds the
    cells: light blurred over it is lost.
    """
    if transmission.ndim != 2 or oversample < 1:
        raise PrivcamError("printing needs one pattern and a sampling", got=f"shape {tuple(transmission.shape)}, {oversample}",
                           allowed="[row, column], oversample at least 1", todo="print one mask at a time")
    blur = printing.edge_blur_m / cell_m
    matrices = [_edge_matrix(n, oversample, blur, transmission.device).to(transmission.dtype) for n in transmission.shape]
    sharp = matrices[0] @ transmission @ matrices[1].T
    return levels(sharp, printing)


def levels(transmission: Tensor, printing: Printing) -> Tensor:
    """Returns film transmission for a pattern in 0..1: neither perfectly black nor perfectly clear."""
    return printing.opaque_transmission + (printing.clear_transmission - printing.opaque_transmission) * transmission


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is cached outlives the caller's mode
def _edge_matrix(cells: int, oversample: int, blur_cells: float, device: torch.device) -> Tensor:
    sample = (torch.arange(cells * oversample, dtype=torch.float64) + 0.5) / oversample
    left = sample[:, None] - torch.arange(cells, dtype=torch.float64)
    if blur_cells == 0:
        matrix = ((left >= 0) & (left < 1)).double()
    else:
        scale = 2**0.5 * blur_cells
        matrix = (torch.erf(left / scale) - torch.erf((left - 1) / scale)) / 2
    return matrix.float().to(device)

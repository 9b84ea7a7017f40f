"""The human-imperceptible losses of the lensless paper, each with its equation and our normalisation.

Reference: Nguyen Canh, Ngo, Nagahara, "Human-Imperceptible Identification With Learnable Lensless Imaging",
IEEE Access 11 (2023), and Nagahara, "Designing a Camera for Privacy Preserving" (the four printed equations).
H is the mask's transmission in [0, 1], I_m the fully open mask, * convolution. The paper's weights are not
published; so that one weight means the same for every mask and scene size, each sum is divided by its number of
elements and, where it is an energy, by the open mask's energy.

The absolute values are written without their kink. H is exactly 0 or 1 while it is trained, and there |H| = H and
|a - b| = a + b - 2ab, whose derivatives are what flipping the cell would change; automatic differentiation gives
|x| no slope at 0, so that closed cells and even areas would never feel the loss.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

EPSILON = 1e-6  # of the RIP denominator; the paper's is not published


def similarity(transmission: Tensor, measured: Tensor, through_open: Tensor, scene: Tensor) -> Tensor:
    """Returns L_sim = sum_i ||H*x_i - I_m*x_i||^2, divided by sum_i ||I_m*x_i||^2.

    `measured` and `through_open` [n, h, w] are noise-free relative irradiances of the same scenes.
    """
    return (measured - through_open).square().sum() / through_open.square().sum()


def total_variation(transmission: Tensor, measured: Tensor, through_open: Tensor, scene: Tensor) -> Tensor:
    """Returns L_tv = -||D_x H||_1 - ||D_y H||_1, each term a mean over its differences (so -2 is the roughest)."""
    across = _unlike(transmission[:, 1:], transmission[:, :-1]).mean()
    down = _unlike(transmission[1:, :], transmission[:-1, :]).mean()
    return -across - down


def _unlike(first: Tensor, second: Tensor) -> Tensor:
    return first + second - 2 * first * second


def invertibility(transmission: Tensor, measured: Tensor, through_open: Tensor, scene: Tensor) -> Tensor:
    """Returns L_inv = -||H||_1 as a mean over cells: minus the aperture ratio."""
    return -transmission.mean()


def restricted_isometry(transmission: Tensor, measured: Tensor, through_open: Tensor, scene: Tensor) -> Tensor:
    """Returns L_rip = -sum_i ||H*x_i||^2 / (||x_i||^2 + eps), divided by the same of the open mask (so -1 is fully open)."""
    energy = scene.square().sum((-2, -1)) + EPSILON
    of_mask = (measured.square().sum((-2, -1)) / energy).sum()
    return -of_mask / (through_open.square().sum((-2, -1)) / energy).sum()


Constraint = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
CONSTRAINTS: dict[str, Constraint] = {
    "sim": similarity, "tv": total_variation, "inv": invertibility, "rip": restricted_isometry,
}

"""BDQ: blur, difference, quantise, with 16 parameters that learn, and the same hard encoder frame by frame.

    b_t = gaussian(sigma) * v_t
    d_t = b_t - b_(t-1)
    code_t = sum over k of sigmoid(hardness * (s(d_t) - s(threshold_k)))   (soft),   the number of thresholds below d_t (hard)

with s the fixed scale of `input_range` to 0..levels - 1. Nothing is measured on the batch: `measure_range` is a step of
its own. Deliberately not here: the fixed-point encoder (`bdq_int`), the
soft arithmetic (`bdq_soft`), training.
Reference: Kumawat and Nagahara, Privacy-Preserving Action Recognition via Motion Difference Quantization, ECCV 2022.
Changed: sigma does learn, order and spacing of the thresholds hold by construction, the range is fixed.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from optics_sim.encoders.bdq_soft import MARGIN, Scale, differences, soft_levels, soft_values
from optics_sim.encoders.gaussian import gaussian_weights, separable_blur
from optics_sim.encoding import MIN_GAP_CODES, BdqEncoder, even_thresholds
from optics_sim.errors import PrivcamError

RANGE_SHARES = (0.005, 0.995)
"""The quantiles of the training values between which `measure_range` lays the range."""
SMALLEST_EXCESS = 1e-4  # levels by which a learnable gap starts above the least one: at none its slope would be none


class Bdq(nn.Module):
    """The BDQ encoder of a `BdqEncoder`: one sigma and levels - 1 thresholds, all learnable where they are used.

    sigma = softplus(raw) stays positive. Thresholds are a first one and gaps of the least gap plus softplus(raw), on the
    scale 0..levels - 1, so that no step of an optimiser puts them out of order or closer than two input steps (up to
    1e-4 of a level). `forward` changes no state.
    """

    input_range: Tensor
    start: Tensor

    def __init__(self, spec: BdqEncoder) -> None:
        super().__init__()
        self.spec = spec
        self.raw_sigma = nn.Parameter(_inverse_softplus(torch.tensor(spec.sigma_px)), requires_grad=spec.blur)
        self.register_buffer("input_range", torch.tensor(spec.input_range, dtype=torch.float64))
        self.first = nn.Parameter(torch.zeros(()), requires_grad=spec.quantise)
        self.raw_gaps = nn.Parameter(torch.zeros(spec.levels - 2), requires_grad=spec.quantise)
        self.register_buffer("start", torch.zeros(spec.levels - 1, dtype=torch.float64))
        self._place(spec.thresholds)

    @classmethod
    def from_spec(cls, spec: BdqEncoder) -> Bdq:
        """Returns the encoder of a design's `encoder` table."""
        return cls(spec)

    def to_spec(self) -> BdqEncoder:
        """Returns the encoder as plain data: the very spec it was made of when nothing was learned or measured since."""
        if _same_state(self, Bdq(self.spec)):
            return self.spec
        thresholds = self.thresholds().detach().tolist()
        for index, (below, above) in enumerate(pairwise(tuple(thresholds))):
            thresholds[index + 1] = max(above, below + MIN_GAP_CODES, thresholds[index] + MIN_GAP_CODES)
        low, high = self.input_range.tolist()
        learned = {"sigma_px": float(self.sigma_px().detach()), "input_range": (low, high), "thresholds": tuple(thresholds)}
        return BdqEncoder.model_validate({**self.spec.model_dump(), **learned})

    def sigma_px(self) -> Tensor:
        """Returns the Gaussian's sigma in code pixels, above 0."""
        return F.softplus(self.raw_sigma)

    def thresholds(self) -> Tensor:
        """Returns the ascending thresholds [levels - 1] in code levels, in double precision: a threshold of 0 is 0."""
        low, step = self.input_range[0], self._step()
        gaps = MIN_GAP_CODES / step + F.softplus(self.raw_gaps.double())
        first = self.first.double()[None]
        return self.start + low + step * torch.cat([first, first + gaps.cumsum(0)])

    @torch.no_grad()
    def measure_range(self, codes: Tensor) -> None:
        """Sets the range to the 0.5 to 99.5 % span of what training clips [..., T, h, w] bring before the quantiser.

        The span is widened about its middle to two input steps a level, and the thresholds are spaced evenly over it.
        """
        values = self.before_quantiser(codes).flatten().double()
        ranks = [min(max(round(share * values.numel()), 1), values.numel()) for share in RANGE_SHARES]
        low, high = (float(values.kthvalue(rank).values) for rank in ranks)
        middle, half = (low + high) / 2, max(high - low, MIN_GAP_CODES * self.spec.levels) / 2
        self.input_range.copy_(torch.tensor([middle - half, middle + half]))
        self._place(even_thresholds((middle - half, middle + half), self.spec.levels))

    def before_quantiser(self, codes: Tensor, *, time_axis: int = -3) -> Tensor:
        """Returns what the quantiser sees, in code levels: [..., T - 1, h, w] with the difference, else [..., T, h, w]."""
        _check_clip(codes, time_axis, 2 if self.spec.difference else 1)
        return differences(self._blurred(codes), time_axis if self.spec.difference else None)

    def forward(self, codes: Tensor, *, generator: torch.Generator | None = None, hard: bool = True,
                time_axis: int = -3) -> Tensor:
        """Returns codes [..., T - 1, h, w] of 0..levels - 1 of readout codes [..., T, h, w]; `generator` is not used.

        Hard codes are whole and have no gradient; soft ones have one to sigma, thresholds and input. Colour clips
        [..., T, 3, h, w] are given with `time_axis=-4`. Without the quantiser the result is in code levels. Raises
        PrivcamError for a clip without a frame to compare.
        """
        if hard or not (self.spec.blur and self.spec.quantise):
            return self._quantised(self.before_quantiser(codes, time_axis=time_axis), hard)
        _check_clip(codes, time_axis, 2 if self.spec.difference else 1)
        axis = time_axis if self.spec.difference else None
        return self._quantised(soft_values(codes, self.sigma_px().to(codes.dtype), self.spec.kernel_px, axis), hard)

    def step(self, frame: Tensor, state: Tensor | None = None, *, hard: bool = True) -> tuple[Tensor | None, Tensor]:
        """Returns the code of one frame [..., h, w] (None for the first of a difference) and the state for the next one.

        The state is the blurred frame, None before the first. Hard codes are bit for bit those of `forward`.
        """
        blurred = self._blurred(frame)
        if not self.spec.difference:
            return self._quantised(blurred, hard), blurred
        return (None if state is None else self._quantised(blurred - state, hard)), blurred

    def _blurred(self, frames: Tensor) -> Tensor:
        if not self.spec.blur:
            return frames
        return separable_blur(frames, gaussian_weights(self.sigma_px(), self.spec.kernel_px).to(frames.dtype))

    def _quantised(self, values: Tensor, hard: bool) -> Tensor:
        if not self.spec.quantise:
            return values
        if hard:
            edges = self.thresholds().detach().to(values.dtype)
            return torch.searchsorted(edges, values.detach().contiguous()).to(values.dtype)
        return soft_levels(values, self._scale(values.dtype))

    def _scale(self, dtype: torch.dtype) -> Scale:
        slope = (self.spec.hardness / self._step()).to(dtype)
        reach = self.spec.hardness * (self.spec.levels - 1) / 2 + MARGIN
        return Scale(self.thresholds().to(dtype), self.input_range.mean().to(dtype), slope, reach)

    def _step(self) -> Tensor:
        return (self.input_range[1] - self.input_range[0]) / (self.spec.levels - 1)

    @torch.no_grad()
    def _place(self, thresholds: tuple[float, ...]) -> None:
        # `start` takes up what the parameters lose to rounding: a static pixel's difference of 0 must stay on its side.
        wanted = torch.tensor(thresholds, dtype=torch.float64, device=self.input_range.device)
        scaled = (wanted - self.input_range[0]) / self._step()
        self.first.copy_(scaled[0])
        self.raw_gaps.copy_(_inverse_softplus((scaled.diff() - MIN_GAP_CODES / self._step()).clamp_min(SMALLEST_EXCESS)))
        self.start.zero_()
        self.start.copy_(wanted - self.thresholds())


def _inverse_softplus(value: Tensor) -> Tensor:
    return value + torch.log(-torch.expm1(-value))


def _same_state(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(value.to("cpu"), theirs[name]) for name, value in mine.items())


def _check_clip(codes: Tensor, time_axis: int, frames: int) -> None:
    if codes.ndim < -time_axis or codes.shape[time_axis] < frames:
        raise PrivcamError("the clip is too short for this encoder", got=tuple(codes.shape), allowed=f"at least {frames} frames",
                           todo="give [..., T, h, w], or [..., T, 3, h, w] with time_axis=-4")

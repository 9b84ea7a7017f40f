"""Training with rounding: a float network that computes with the values its integers will have, and whose weights can be trained.

    network = RoundedNetwork(traced(module, example), ranges)     # ranges: firmware_export.ranges.observed, or a report's
    ... a few epochs of any loss on network(frames), by Adam over network.parameter_groups(3e-5) ...
    quantised(network.to_network(), frames, ranges=network.ranges())

What it computes is near the integer graph, not equal to it: integers are rounded twice, and a step of difference grows.
Rounding is straight through: forward it rounds, backward it is not there. Ranges are trained along with the weights: the step of
a value has the gradient of what it rounds and of what it clips. A loss against the float network's own scores needs no labels.
Reference: Jacob et al., CVPR 2018, section 3 (training with simulated quantisation); Esser et al., Learned Step Size
Quantization, ICLR 2020, equations 1-3 and section 2.2 for steps. Changed: a step and a zero point follow from two trained ends,
weights keep the step of their largest, as in the exported graph.
Deliberately not here: norms (they are folded: train to the end first), choosing the first ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from optics_sim.errors import PrivcamError
from optics_sim.learning.network_run import KERNELS, computed
from optics_sim.network import WEIGHTED, FloatNetwork, FloatOperator, channel_axis
from optics_sim.network_scales import Range, Step, shared

LEVELS = 255
SMALLEST = 1e-12


class RoundedNetwork(nn.Module):
    """A float network with trainable weights and ranges that rounds as its integer graph will."""

    def __init__(self, network: FloatNetwork, ranges: Mapping[str, Range]) -> None:
        """Raises PrivcamError for operators that folding should have removed, or that are not known."""
        super().__init__()
        if unknown := sorted({operator.kind for operator in network.operators} - set(KERNELS)):
            raise PrivcamError("this network cannot be trained with rounding", got=unknown, allowed=sorted(KERNELS),
                               todo="see what `quantised` says of it")
        self.network = network
        self.constants = nn.ParameterDict({name: nn.Parameter(torch.tensor(data)) for name, data in network.constants.items()})
        self.fixed: dict[str, Step] = {}
        self.group: dict[str, str] = {}
        self.span: dict[str, float] = {}
        ends = {}
        for members, step in shared(network):
            self.group |= dict.fromkeys(members, members[0])
            if step is None:
                low, high = min(0.0, *(ranges[name][0] for name in members)), max(0.0, *(ranges[name][1] for name in members))
                self.span[members[0]] = (high - low) or 1.0
                ends[members[0]] = nn.Parameter(torch.tensor([low, high], dtype=torch.float64) / self.span[members[0]])
            else:
                self.fixed[members[0]] = step
        self.ends = nn.ParameterDict(ends)

    def forward(self, *frames: Tensor) -> Any:
        """Returns the outputs (one, or a tuple) for codes [n, h, w] or [n, h, w, c] of every input, then of every state.

        What replaces the states follows the outputs.
        """
        names = (*self.network.inputs, *(before for before, _ in self.network.states))
        found = {name: codes[..., None] if codes.ndim == 3 else codes for name, codes in zip(names, frames, strict=True)}
        for operator in self.network.operators:
            read = self._weighted(operator, found) if operator.kind in WEIGHTED else [found[name] for name in operator.inputs]
            found[operator.output] = self._rounded(operator.output, computed(operator, read, self.network.shapes[operator.output]))
        wanted = (*self.network.outputs, *(after for _, after in self.network.states))
        return found[wanted[0]] if len(wanted) == 1 else tuple(found[name] for name in wanted)

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """Returns what an optimiser takes: weights at `rate`, ranges, which are relative to the first ones, at 30 times that."""
        return [{"params": list(self.constants.values()), "lr": rate}, {"params": list(self.ends.values()), "lr": 30 * rate}]

    def to_network(self) -> FloatNetwork:
        """Returns the network with its constants as trained, not rounded."""
        return replace(self.network, constants={name: value.detach().cpu().numpy().copy() for name, value in self.constants.items()})

    def ranges(self) -> dict[str, Range]:
        """Returns the trained (least, greatest) of every value; of those whose step is fixed, what int8 holds at it."""
        return {name: self._range(group) for name, group in self.group.items()}

    def _range(self, group: str) -> Range:
        if (step := self.fixed.get(group)) is not None:
            return step.scale * (-128 - step.zero_point) + step.offset, step.scale * (127 - step.zero_point) + step.offset
        low, high = (self.ends[group].detach() * self.span[group]).tolist()
        return min(low, 0.0), max(high, 0.0)

    def _weighted(self, operator: FloatOperator, found: Mapping[str, Tensor]) -> list[Tensor]:
        """The value, rounded weights, and the bias with what the exported one holds of the value's offset."""
        name = operator.inputs[0]
        weights, bias = (self.constants[constant] for constant in operator.inputs[1:])
        others = [axis for axis in range(weights.ndim) if axis != channel_axis(operator.kind)]
        scale = (weights.detach().abs().amax(others, keepdim=True) / 127).clamp(min=SMALLEST)
        whole = scale * _straight(weights / scale)
        fixed = self.fixed.get(self.group[name])
        return [found[name], whole, bias + (fixed.offset if fixed else 0.0) * (weights - whole).sum(others)]

    def _rounded(self, name: str, value: Tensor) -> Tensor:
        scale, zero, offset = self._step(name, value[0].numel())
        return scale * (_straight(((value - offset) / scale + zero).clamp(-128, 127)) - zero) + offset

    def _step(self, name: str, count: int) -> tuple[Any, Any, float]:
        """(step, zero point, offset) of a value; the gradient of the step is made as small as `count` values make it large."""
        group = self.group[name]
        if (fixed := self.fixed.get(group)) is not None:
            return fixed.scale, fixed.zero_point, fixed.offset
        calm = 1 / (count * LEVELS) ** 0.5
        given = self.ends[group] * self.span[group]
        ends = given * calm + (given * (1 - calm)).detach()
        low, high = ends[0].clamp(max=0), ends[1].clamp(min=0)
        scale = ((high - low) / LEVELS).clamp(min=SMALLEST)
        zero = (-128 - low / scale).round().clamp(-128, 127).detach()
        return scale.float(), zero.float(), 0.0


def _straight(value: Tensor) -> Tensor:
    """Returns whole numbers with the gradient of what they were."""
    return value + (value.round() - value).detach()

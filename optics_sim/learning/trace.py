"""A torch network as a `FloatNetwork`: what it computes in eval mode, with torch's names, axes turned to NHWC.

Tensors of [n, c, h, w] become [1, h, w, c], planes [n, h, w] become [1, h, w, 1], features [n, c] become [1, c]. Flattening a
frame orders its features otherwise than torch does; the weights of the next dense layer are reordered to match.
An operator without a meaning here is written down under a name of its own, so that a check can name all of them at once.
The network is followed with one example by torch.fx: a choice that depends on values cannot be, one that depends on sizes is
made for the example's size.
Deliberately not here: what each operator becomes (`trace_operators`), folding (`optics_sim.network_folding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from optics_sim.errors import PrivcamError
from optics_sim.learning.trace_draft import Call, Draft, Live
from optics_sim.learning.trace_operators import as_function, operator_of
from optics_sim.network import FloatNetwork
from optics_sim.network_folding import folded

Examples = Tensor | Sequence[Tensor]


def traced(module: nn.Module, example: Examples, *, name: str = "", states: Sequence[str] = (), warmup: int = 0,
           fold: bool = True) -> FloatNetwork:
    """Returns what `module` computes in eval mode for frames of the size of `example` [n, h, w] or [n, c, h, w].

    Several inputs take several examples. `states` names arguments of `forward` that are what the last outputs were a frame
    ago: as many of them, in this order. With `fold=False` batch norms stay factors and shifts of their own.
    Raises PrivcamError where torch.fx cannot follow the module.
    """
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        found = _recorded(module, [example] if isinstance(example, Tensor) else list(example))
    finally:
        for part, flag in training.items():
            part.training = flag
    network = _with_states(found.network(name or type(module).__name__.lower()), tuple(states), warmup)
    return folded(network) if fold else network


def _recorded(module: nn.Module, examples: list[Tensor]) -> Draft:
    layer = type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)
    try:
        graph = fx.symbolic_trace(nn.Sequential(module) if layer else module)  # a layer of torch is called, not looked into
    except (fx.proxy.TraceError, TypeError) as error:
        raise PrivcamError("this network cannot be traced", got=str(error),
                           todo="keep choices that depend on values out of forward, or trace the part without them") from error
    recorder = _Recorder(graph)
    with torch.no_grad():
        recorder.run(*(example[:1].detach() for example in examples))
    return recorder.draft


class _Recorder(fx.Interpreter):
    """Runs the traced module once and writes down every operator that depends on an input."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.draft = Draft()
        self.live: dict[fx.Node, Live] = {}

    def run_node(self, node: fx.Node) -> Any:
        """Returns the node's value, having recorded what it computes."""
        result = super().run_node(node)
        if node.op == "placeholder" and isinstance(result, Tensor):
            self.live[node] = self.draft.input(str(node.target), result)
        elif node.op == "output":
            self._finish(node.args[0])
        elif any(source in self.live for source in node.all_input_nodes) and (shown := _first_tensor(result)) is not None:
            self.live[node] = operator_of(self._call(node, shown))
        return result

    def _call(self, node: fx.Node, result: Tensor) -> Call:
        args: Any = fx.map_arg(node.args, self._value)
        kwargs: Any = fx.map_arg(node.kwargs, self._value)
        if node.op == "call_module":
            function, kwargs = as_function(self.fetch_attr(str(node.target)))
        else:
            function = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        return Call(self.draft, function, node.name, tuple(args), dict(kwargs), tuple(result.shape))

    def _value(self, node: fx.Node) -> Any:
        return self.live[node] if node in self.live else self.env[node]

    def _finish(self, returned: Any) -> None:
        nodes: list[fx.Node] = []
        fx.map_arg(returned, nodes.append)
        for node in nodes:
            if node not in self.live:
                raise PrivcamError("an output does not depend on the frame", got=node.name, todo="return what the network computes")
            self.draft.output(self.live[node])


def _first_tensor(result: Any) -> Tensor | None:
    if isinstance(result, Tensor):
        return result
    parts = result if isinstance(result, tuple | list) else ()
    return next((part for part in parts if isinstance(part, Tensor)), None)


def _with_states(network: FloatNetwork, states: tuple[str, ...], warmup: int) -> FloatNetwork:
    if unknown := [name for name in states if name not in network.inputs]:
        raise PrivcamError("a state is no argument of the network", got=unknown, allowed=network.inputs)
    if states and len(states) >= len(network.outputs):
        raise PrivcamError("every output would be a state", got=network.outputs, todo="return the code first, then each state")
    kept = len(network.outputs) - len(states)
    return replace(network, inputs=tuple(name for name in network.inputs if name not in states), outputs=network.outputs[:kept],
                   states=tuple(zip(states, network.outputs[kept:], strict=True)), warmup=warmup)


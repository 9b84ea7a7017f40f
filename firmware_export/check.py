"""Whether a graph can run on a device: every problem at once, each with its operator, why, and what to use instead.

What is checked: names, order, types, shapes and scales; that no 32-bit accumulator can overflow whatever the frame; that
every state comes back at the scale it left with.
Deliberately not here: sizes of memory (`arena`), the error against floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from firmware_export.graph import KINDS, Graph, Operator, Tensor
from firmware_export.operator_rules import rule_problems
from optics_sim.errors import PrivcamError

NAME = re.compile(r"[a-z][a-z0-9_]*")
INSTEAD = {
    "LEAKY_RELU": "relu, or TABLE with the function's 256 values", "ABS": "TABLE", "ELU": "relu6, or TABLE", "GELU": "relu6, or TABLE",
    "HARD_SWISH": "TABLE", "PRELU": "relu", "SOFTMAX": "the scores themselves: their order is the same",
    "DIV": "MUL by a constant, or TABLE", "ROUND": "nothing: values are whole already", "FLOOR": "TABLE", "MINIMUM": "relu6, or TABLE",
    "TRANSPOSE_CONV": "RESIZE_NEAREST_NEIGHBOR and CONV_2D", "BATCH_NORM": "fold it into the convolution before it",
    "GROUPED_CONV_2D": "one group, or one for each channel", "ADAPTIVE_AVERAGE_POOL": "a size that the windows divide, or AVERAGE_POOL_2D",
    "UNEVEN_AVERAGE_POOL": "AVERAGE_POOL_2D with whole windows", "DILATED_MAX_POOL": "MAX_POOL_2D without dilation",
    "RESIZE": "nearest, or bilinear with corners not aligned, to a whole size", "BORDER": "zero, reflect or replicate padding",
    "ORDER": "flatten before a dense layer, and no other order of axes", "TRANSPOSE": "a dense layer after flattening, or the frame itself",
    "REDUCE": "the mean over height and width", "SLICE": "a CONV_2D for each part", "JOIN": "CONCATENATION of channels",
    "BROADCAST": "equal shapes, or a second value of one pixel", "DENSE_ALONG_A_ROW": "CONV_2D of one pixel, or flatten first",
    "CLAMP": "relu, or relu6", "SILU": "relu6, or TABLE", "UNFOLD": "CONV_2D", "PIXEL_UNSHUFFLE": "CONV_2D with a stride",
    "PIXEL_SHUFFLE": "RESIZE_NEAREST_NEIGHBOR and CONV_2D", "LAYER_NORM": "a batch norm", "GROUP_NORM": "a batch norm",
    "INSTANCE_NORM2D": "a batch norm",
    "L2_NORMALIZATION": "normalise on the host", "LSTM": "a state and CONV_2D", "ATTENTION": "CONV_2D with a larger window",
}


@dataclass(frozen=True)
class Problem:
    """One reason why a graph cannot be exported."""

    operator: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.operator}: {self.why} (use {self.instead})"


def check(graph: Graph) -> list[Problem]:
    """Returns every reason why the graph cannot run bit for bit on a device; none where it can."""
    problems = [*_name_problems(graph), *_order_problems(graph)]
    if problems:
        return problems  # what follows looks tensors up
    for operator in graph.operators:
        tensors = [graph[name] for name in operator.inputs]
        problems += [_problem(operator, why, instead) for why, instead in rule_problems(operator, tensors, graph[operator.output])]
    return [*problems, *_edge_problems(graph), *_state_problems(graph), *_difference_problems(graph)]


def require(graph: Graph) -> None:
    """Raises PrivcamError with every problem of the graph; does nothing where there is none."""
    if problems := check(graph):
        raise PrivcamError("this network cannot be exported", got="; ".join(map(str, problems)), allowed=", ".join(KINDS),
                           todo="change what is named, then export again")


def _problem(operator: Operator, why: str, instead: str) -> Problem:
    return Problem(f"{operator.kind} {operator.output}", why, instead)


def _name_problems(graph: Graph) -> Iterator[Problem]:
    names = [tensor.name for tensor in graph.tensors]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(name, "two tensors have this name", "a name for each")
    for name in (graph.name, *names):
        if not NAME.fullmatch(name):
            yield Problem(name, "is not a name that C code can have", "lower-case letters, digits and _")
    for operator in graph.operators:
        if operator.kind not in KINDS:
            yield _problem(operator, "no integer kernel", INSTEAD.get(operator.kind, "one of the allowed operators"))


def _order_problems(graph: Graph) -> Iterator[Problem]:
    known = {tensor.name for tensor in graph.tensors}
    ready = {tensor.name for tensor in graph.tensors if tensor.data is not None} | set(graph.inputs)
    ready |= {state.before for state in graph.states}
    for operator in graph.operators:
        for name in operator.inputs:
            if name not in ready or name not in known:
                yield _problem(operator, f"reads {name} before it is there", "operators in the order in which they run")
        if operator.output in ready or operator.output not in known:
            yield _problem(operator, f"{operator.output} is not a tensor to be written, or is written twice", "a tensor of its own")
        ready.add(operator.output)
    for name in (*graph.inputs, *graph.outputs, *(state.after for state in graph.states), *(state.before for state in graph.states)):
        if name not in known or name not in ready:
            yield Problem(name, "an input, output or state that no operator gives", "names of tensors of the graph")


def _edge_problems(graph: Graph) -> Iterator[Problem]:
    read = {name for operator in graph.operators for name in operator.inputs}
    for name in (*graph.inputs, *graph.outputs):
        if graph[name].dtype != "int8":
            yield Problem(name, f"is {graph[name].dtype}", "int8 frames in and int8 codes out")
    for name in (*graph.inputs, *(state.before for state in graph.states)):
        if name not in read:
            yield Problem(name, "nothing reads it", "only what the network needs")
    produced = {operator.output for operator in graph.operators}
    for name in graph.outputs:
        if name not in produced:
            yield Problem(name, "the code would be the frame itself", "an operator between input and output")
    if not graph.outputs:
        yield Problem(graph.name, "it has no output", "one output at least")
    if graph.warmup < 0 or (graph.warmup and not graph.states):
        yield Problem(graph.name, f"a warm-up of {graph.warmup} frames without a state", "a warm-up of 0")


def _state_problems(graph: Graph) -> Iterator[Problem]:
    for state in graph.states:
        before, after = graph[state.before], graph[state.after]
        if state.after not in {operator.output for operator in graph.operators}:
            yield Problem(state.after, "is a state that no operator writes", "an operator's output")
        if _meaning(before) != _meaning(after):
            yield Problem(state.before, f"comes back as {_meaning(after)} after leaving as {_meaning(before)}: the loop would drift",
                          "one type, shape and scale for both")
    used: Sequence[str] = [state.before for state in graph.states]
    if len(set(used)) < len(used):
        yield Problem(graph.name, "two states have one name", "a name for each")


def _difference_problems(graph: Graph) -> Iterator[Problem]:
    smooth = {operator.output for operator in graph.operators if operator.kind == "SMOOTH"}
    smooth |= {state.before for state in graph.states if state.after in smooth}
    for operator in graph.operators:
        for name in operator.inputs[:-1] if operator.kind == "LEVELS" else ():
            if name not in smooth:
                yield _problem(operator, f"reads {name}, which may be any 16-bit number", "what SMOOTH writes, or its state")


def _meaning(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape, tensor.quantisation

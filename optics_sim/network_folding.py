"""A float network with fewer operators that computes the same: factors and shifts go into weights, relu into what it follows.

    AFFINE after a convolution or dense layer   into its weights and bias (a batch norm in eval)
    AFFINE before one                           likewise, also through a border; PAD then writes the code that means 0
    AFFINE after AFFINE                         one
    any other AFFINE                            a DEPTHWISE_CONV_2D of one pixel
    RELU, RELU6 after FUSING                    an option of it

A PAD with another value than 0 comes from the last but one alone: a network that standardises its frames pads them with the
mean, not with the code 0. Only a border of a frame itself becomes that: its zero point is free to be the mean.
Deliberately not here: whatever changes a number beyond float rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optics_sim.network import FUSING, WEIGHTED, FloatNetwork, FloatOperator, channel_axis, without_unread

Floats = NDArray[np.float32]
Rule = Callable[[FloatNetwork, FloatOperator], "FloatNetwork | None"]
_ACTIVATIONS = {"RELU": "relu", "RELU6": "relu6"}


def folded(network: FloatNetwork) -> FloatNetwork:
    """Returns the network with everything folded that can be."""
    for rule in (_merge, _into_the_one_before, _into_those_after, _as_convolution, _fuse):
        while (found := _once(network, rule)) is not None:
            network = found
    return network


def _once(network: FloatNetwork, rule: Rule) -> FloatNetwork | None:
    return next((found for operator in network.operators if (found := rule(network, operator)) is not None), None)


def _merge(network: FloatNetwork, operator: FloatOperator) -> FloatNetwork | None:
    before = _sole_writer(network, operator)
    if operator.kind != "AFFINE" or before is None or before.kind != "AFFINE":
        return None
    (factor, shift), (last_factor, last_shift) = _terms(network, before), _terms(network, operator)
    terms = {f"{operator.output}_factor": factor * last_factor, f"{operator.output}_shift": shift * last_factor + last_shift}
    return _joined(network, before, operator, replace(operator, inputs=(before.inputs[0], *terms)), terms)


def _into_the_one_before(network: FloatNetwork, operator: FloatOperator) -> FloatNetwork | None:
    before = _sole_writer(network, operator)
    if operator.kind != "AFFINE" or before is None or before.kind not in WEIGHTED or _activation(before) != "none":
        return None
    factor, shift = _terms(network, operator)
    weights, bias = (network.constants[name] for name in before.inputs[1:])
    shape = [1] * weights.ndim
    shape[channel_axis(before.kind)] = -1
    terms = {f"{operator.output}_weights": weights * factor.reshape(shape), f"{operator.output}_bias": bias * factor + shift}
    return _joined(network, before, operator, replace(before, inputs=(before.inputs[0], *terms), output=operator.output), terms)


def _as_convolution(network: FloatNetwork, operator: FloatOperator) -> FloatNetwork | None:
    if operator.kind != "AFFINE":
        return None
    factor, shift = _terms(network, operator)
    terms = {f"{operator.output}_weights": factor.reshape(1, 1, 1, -1), f"{operator.output}_bias": shift}
    options = {"stride": (1, 1), "dilation": (1, 1)}
    one = FloatOperator("DEPTHWISE_CONV_2D", (operator.inputs[0], *terms), operator.output, options)
    steps, shapes = [one], dict(network.shapes)
    if len(network.shapes[operator.output]) == 2:
        wide, done = f"{operator.output}_wide", f"{operator.output}_scaled"
        shapes |= {name: (1, 1, 1, len(factor)) for name in (wide, done)}
        steps = [FloatOperator("RESHAPE", operator.inputs[:1], wide), replace(one, inputs=(wide, *terms), output=done),
                 FloatOperator("RESHAPE", (done,), operator.output)]
    operators = tuple(step for other in network.operators for step in (steps if other is operator else [other]))
    return _rebuilt(replace(network, shapes=shapes), operators, {**network.constants, **terms})


def _fuse(network: FloatNetwork, operator: FloatOperator) -> FloatNetwork | None:
    before = _sole_writer(network, operator)
    if operator.kind not in _ACTIVATIONS or before is None or before.kind not in FUSING or _activation(before) != "none":
        return None
    options = {**before.options, "activation": _ACTIVATIONS[operator.kind]}
    return _joined(network, before, operator, replace(before, options=options, output=operator.output), {})


def _into_those_after(network: FloatNetwork, operator: FloatOperator) -> FloatNetwork | None:
    if operator.kind != "AFFINE" or network.is_kept(operator.output) or not _all_take(network, operator):
        return None
    constants, changed = dict(network.constants), {}
    for reader in network.readers(operator.output):
        if reader.kind in WEIGHTED:
            changed[reader.output] = _before_weights(network, operator, reader, constants)
            continue
        changed[reader.output] = _bordered(network, operator, reader)
        for after in network.readers(reader.output):
            changed[after.output] = _before_weights(network, operator, after, constants, reads=reader.output)
    operators = tuple(changed.get(other.output, other) for other in network.operators if other is not operator)
    return _rebuilt(network, operators, constants)


def _all_take(network: FloatNetwork, operator: FloatOperator) -> bool:
    return all(reader.kind in WEIGHTED or _takes(network, operator, reader) for reader in network.readers(operator.output))


def _takes(network: FloatNetwork, operator: FloatOperator, border: FloatOperator) -> bool:
    """Whether a factor and shift may pass a border: it must be the same before and after."""
    if border.kind not in ("PAD", "MIRROR_PAD", "EDGE_PAD") or network.is_kept(border.output):
        return False
    if not all(after.kind in WEIGHTED for after in network.readers(border.output)):
        return False
    factor, shift = _terms(network, operator)
    of_a_frame = operator.inputs[0] in network.inputs and np.ptp(factor) == np.ptp(shift) == 0 and factor[0] != 0
    return border.kind != "PAD" or not shift.any() or (of_a_frame and border.options.get("value", 0.0) == 0)


def _bordered(network: FloatNetwork, operator: FloatOperator, border: FloatOperator) -> FloatOperator:
    factor, shift = _terms(network, operator)
    value = {"value": float(-shift[0] / factor[0])} if border.kind == "PAD" and shift.any() else {}
    return replace(border, inputs=operator.inputs[:1], options={**border.options, **value})


def _before_weights(network: FloatNetwork, operator: FloatOperator, reader: FloatOperator, constants: dict[str, Floats],
                    reads: str = "") -> FloatOperator:
    factor, shift = _terms(network, operator)
    weights, bias = (network.constants[name] for name in reader.inputs[1:])
    inside = weights.shape[{"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 1}[reader.kind]]
    spread = np.repeat if reader.kind == "DEPTHWISE_CONV_2D" else np.tile
    factor, shift = (spread(term, inside // len(term)) for term in (factor, shift))
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis(reader.kind))
    names = (f"{reader.output}_weights_of_{operator.inputs[0]}", f"{reader.output}_bias_of_{operator.inputs[0]}")
    constants[names[0]] = (weights * factor).astype(np.float32)
    constants[names[1]] = (bias + (weights.astype(np.float64) * shift).sum(axis=others)).astype(np.float32)
    return replace(reader, inputs=(reads or operator.inputs[0], *names))


def _terms(network: FloatNetwork, operator: FloatOperator) -> tuple[Floats, Floats]:
    factor, shift = (network.constants[name] for name in operator.inputs[1:])
    return factor, shift


def _activation(operator: FloatOperator) -> Any:
    return operator.options.get("activation", "none")


def _sole_writer(network: FloatNetwork, operator: FloatOperator) -> FloatOperator | None:
    """The operator whose value this one alone reads, as its first input."""
    name = operator.inputs[0]
    alone = not network.is_kept(name) and len(network.readers(name)) == 1
    return network.writer(name) if alone else None


def _joined(network: FloatNetwork, before: FloatOperator, after: FloatOperator, one: FloatOperator,
            terms: dict[str, Floats]) -> FloatNetwork:
    operators = tuple(_placed(network, before, after, one))
    return _rebuilt(network, operators, {**network.constants, **{name: term.astype(np.float32) for name, term in terms.items()}})


def _placed(network: FloatNetwork, before: FloatOperator, after: FloatOperator, one: FloatOperator) -> Iterator[FloatOperator]:
    for operator in network.operators:
        if operator is before:
            continue
        yield one if operator is after else operator


def _rebuilt(network: FloatNetwork, operators: tuple[FloatOperator, ...], constants: dict[str, Floats]) -> FloatNetwork:
    given = {*network.inputs, *(before for before, _ in network.states), *(operator.output for operator in operators)}
    shapes = {name: shape for name, shape in network.shapes.items() if name in given}
    return replace(network, operators=operators, constants=without_unread(constants, operators), shapes=shapes)

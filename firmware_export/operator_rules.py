"""What each operator asks of its tensors: how many, which types, shapes and scales; and that its sums fit 32 bits.

Deliberately not here: names and order (`check`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from firmware_export.graph import DTYPES, Operator, Tensor
from firmware_export.scaling import accumulator_factors, mean_factor, product_factor, sum_factors
from firmware_export.shapes import output_shape
from optics_sim.network import WEIGHTED

Rule = Iterator[tuple[str, str]]
COUNTS = {"CONV_2D": (3, 3), "DEPTHWISE_CONV_2D": (3, 3), "FULLY_CONNECTED": (3, 3), "ADD": (2, 2), "SUB": (2, 2), "MUL": (2, 2),
          "CONCATENATION": (2, 16), "TABLE": (2, 2), "SMOOTH": (2, 2), "LEVELS": (2, 3)}
ONE_SCALE = {"PAD", "MIRROR_PAD", "EDGE_PAD", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "AVERAGE_POOL_2D", "MAX_POOL_2D",
             "CONCATENATION", "RESHAPE"}
FIXED_RANGE = {"LOGISTIC": ((1 / 256,), -128), "TANH": ((1 / 128,), 0)}
SMOOTH_SUM = 1 << 14
LEAST_GAP = 1 << 7
LARGEST_WINDOW = 31
LARGEST_RESIZE = 1024  # beyond, rounding the step to 1024ths may leave the frame


def rule_problems(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> list[tuple[str, str]]:
    """Returns (why, what to use instead) for everything about one operator that no device could run, or not bit for bit."""
    low, high = COUNTS.get(operator.kind, (1, 1))
    if not low <= len(tensors) <= high:
        return [(f"{len(tensors)} inputs", f"{low} to {high}")]
    rank = 4 if operator.kind not in ("FULLY_CONNECTED", "RESHAPE") else 2
    if len(tensors[0].shape) < rank or tensors[0].shape[0] != 1:
        return [(f"a shape of {tensors[0].shape}", "[1, h, w, channels]")]
    problems = [*_shape_rule(operator, tensors, output), *_type_rule(operator, tensors, output), *_scale_rule(operator, tensors, output)]
    if problems:
        return problems
    if operator.kind in WEIGHTED:
        return list(_weight_rule(operator, tensors, output))
    return list(_OWN_RULES.get(operator.kind, _no_rule)(operator, tensors, output))


def _no_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    yield from ()


def _shape_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    if (found := output_shape(operator, tensors)) is not None and found != output.shape:
        yield f"writes {found}, not {output.shape}", "the shape that follows"
    if min(output.shape) < 1:
        yield f"nothing is left of the frame: {output.shape}", "a smaller window, or SAME"
    if operator.kind == "RESHAPE" and np.prod(tensors[0].shape) != np.prod(output.shape):
        yield f"{tensors[0].shape} has not as many values as {output.shape}", "as many"
    if operator.kind.startswith("RESIZE") and tensors[0].shape[3] != output.shape[3]:
        yield "a resize keeps the channels", "as many channels"
    if operator.kind in ("ADD", "SUB", "MUL") and tensors[1].shape not in (tensors[0].shape, (1, 1, 1, tensors[0].shape[3])):
        yield f"shapes {tensors[0].shape} and {tensors[1].shape}", "equal shapes, or a second input of one value a channel"
    if operator.kind.startswith("RESIZE") and max(output.shape[1:3]) > LARGEST_RESIZE:
        yield f"a resize to {output.shape[1:3]}", f"at most {LARGEST_RESIZE} pixels a side"
    if operator.kind == "CONCATENATION" and len({tensor.shape[:-1] for tensor in tensors}) > 1:
        yield "frames of several sizes", "one height and width"
    if operator.kind == "MIRROR_PAD" and max(map(max, operator.pads)) >= min(tensors[0].shape[1:3]):
        yield "the padding is as wide as the frame", "less padding"


def _type_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    wanted = {"SMOOTH": ("int8", "int16"), "LEVELS": ("int16",) * len(tensors), "FULLY_CONNECTED": ("int8", "int8", "int32"),
              "CONV_2D": ("int8", "int8", "int32"), "DEPTHWISE_CONV_2D": ("int8", "int8", "int32")}
    found = tuple(tensor.dtype for tensor in tensors)
    if found != wanted.get(operator.kind, ("int8",) * len(tensors)):
        yield f"inputs of {found}", f"{wanted.get(operator.kind, 'int8')}"
    if output.dtype != ("int16" if operator.kind == "SMOOTH" else "int8"):
        yield f"an output of {output.dtype}", "int8 (int16 for SMOOTH)"
    for tensor in (*tensors, output):
        limits = np.iinfo(DTYPES[tensor.dtype])
        if not limits.min <= tensor.zero_point <= limits.max or (tensor.dtype != "int8" and tensor.zero_point):
            yield f"zero point {tensor.zero_point} of {tensor.name}", "one that int8 holds, 0 for wider types"
        if not all(scale > 0 and scale == float(np.float32(scale)) for scale in tensor.scale):
            yield f"scale of {tensor.name} is not a positive 32-bit float", "numpy.float32"


def _scale_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    sources = tensors if operator.kind == "CONCATENATION" else tensors[:1]
    if operator.kind in ONE_SCALE and any(tensor.quantisation != output.quantisation for tensor in sources):
        yield "moves values between scales", "one scale and zero point for what it reads and writes"
    if (fixed := FIXED_RANGE.get(operator.kind)) and output.quantisation != fixed:
        yield f"its output has {output.quantisation}", f"scale {fixed[0][0]} and zero point {fixed[1]}"
    if operator.activation not in ("none", "relu", "relu6") or operator.padding not in ("SAME", "VALID"):
        yield f"{operator.activation}, {operator.padding}", "none, relu or relu6; SAME or VALID"
    if operator.mode not in ("reflect", "symmetric"):
        yield f"a border of {operator.mode}", "reflect or symmetric"


def _weight_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    source, weights, bias = tensors
    axis = 3 if operator.kind == "DEPTHWISE_CONV_2D" else 0
    if weights.data is None or bias.data is None:
        yield "weights that are computed", "constants"
        return
    if bias.shape != (weights.shape[axis],) or len(weights.scale) not in (1, weights.shape[axis]) or weights.zero_point:
        yield "a bias or scales that are not one for each output channel", "one for each, zero point 0"
        return
    if _inputs_wanted(operator.kind, source, weights) is False:
        yield f"weights {weights.shape} on an input {source.shape}", "weights for as many channels"
        return
    others = tuple(place for place in range(weights.data.ndim) if place != axis)
    reach = np.abs(weights.data.astype(np.int64)).sum(axis=others) * (128 + abs(source.zero_point)) + np.abs(bias.data.astype(np.int64))
    shifts = np.array([max(shift, 0) for _, shift in accumulator_factors(tensors, output)])
    if np.any(reach << np.minimum(shifts, 31) >= 2**31):
        yield "a sum may pass 32 bits", "fewer or smaller weights, or a coarser output scale"


def _inputs_wanted(kind: str, source: Tensor, weights: Tensor) -> bool:
    if kind == "FULLY_CONNECTED":
        return int(np.prod(source.shape)) == weights.shape[1]
    if kind == "CONV_2D":
        return source.shape[3] == weights.shape[3]
    return weights.shape[0] == 1 and weights.shape[3] % source.shape[3] == 0


def _sum_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    if sum_factors(tensors, output).total[1] > 0:
        yield "the output's step is far finer than the inputs'", "an output scale of the inputs' size"


def _product_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    if product_factor(tensors, output)[1] > 14:
        yield "a product may pass 32 bits", "a coarser output scale"


def _mean_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    count, (_, shift) = tensors[0].shape[1] * tensors[0].shape[2], mean_factor(tensors[0], output)
    if 255 * count << min(max(shift, 0), 31) >= 2**31:
        yield "a sum may pass 32 bits", "a coarser output scale"


def _table_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    if tensors[1].data is None or tensors[1].shape != (256,):
        yield "its table is not 256 constants", "one entry for each of -128..127"


def _smooth_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    weights = tensors[1].data
    if weights is None or weights.ndim != 1 or len(weights) % 2 == 0 or len(weights) > LARGEST_WINDOW:
        yield "its window is not a line of constants", f"an odd number of weights, at most {LARGEST_WINDOW}"
    elif int(weights.sum()) != SMOOTH_SUM or weights.min() < 0 or (weights != weights[::-1]).any():
        yield "its weights do not keep the light", f"symmetric weights of at least 0 that sum to {SMOOTH_SUM}"
    if tensors[0].zero_point:
        yield f"its frames have zero point {tensors[0].zero_point}", "zero point 0: the readout's codes"


def _levels_rule(operator: Operator, tensors: Sequence[Tensor], output: Tensor) -> Rule:
    edges = tensors[-1].data
    if edges is None or edges.ndim != 1 or not 1 <= len(edges) <= 127 or (np.diff(edges.astype(np.int64)) < LEAST_GAP).any():
        yield "its thresholds are too close or not in order", f"1 to 127 constants, ascending by at least {LEAST_GAP}"
    if len({(tensor.shape, tensor.scale) for tensor in tensors[:-1]}) > 1:
        yield "a difference of unlike values", "one shape and scale"


_OWN_RULES = {"MEAN": _mean_rule, "ADD": _sum_rule, "SUB": _sum_rule, "MUL": _product_rule, "TABLE": _table_rule, "SMOOTH": _smooth_rule,
              "LEVELS": _levels_rule}

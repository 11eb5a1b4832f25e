"""Element-wise work of a .tflite in addition to MACs: the cost of links, scales, gates, shifts, activations and pooling.

The usual counting rule omits it, and in a binary network it is a large part of the real-valued work. It is counted for one input,
by operator, in four kinds: multiplications (including divisions), additions (including subtractions), comparisons (including those
of a clip, sign or maximum) and functions (exponential, square root, logistic ...). `values` are those an operator writes; operators
that only move values have no other work. Convolutions and dense layers are omitted, with their biases and fused activations; of an
LceBconv2d the output is counted: it scales and shifts each sum or, if it outputs bits, compares it with a threshold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from el_larq.tflite.operators import BINARY, restores_constant
from el_larq.tflite.reader import Operator, TfliteGraph


@dataclass(frozen=True)
class Work:
    """The work in addition to MACs of all operators of one name, for one input. counted: False if their work is unknown."""

    operator: str
    count: int
    values: int
    multiplications: int = 0
    additions: int = 0
    comparisons: int = 0
    functions: int = 0
    counted: bool = True

    @property
    def operations(self) -> int:
        return self.multiplications + self.additions + self.comparisons + self.functions


# Multiplications, additions, comparisons and functions per value written.
_EACH = {
    "ADD": (0, 1, 0, 0),
    "SUB": (0, 1, 0, 0),
    "MUL": (1, 0, 0, 0),
    "DIV": (1, 0, 0, 0),
    "SQUARE": (1, 0, 0, 0),
    "SQUARED_DIFFERENCE": (1, 1, 0, 0),
    "PRELU": (1, 0, 1, 0),
    "LEAKY_RELU": (1, 0, 1, 0),
    "HARD_SWISH": (2, 1, 2, 0),
    **dict.fromkeys(
        ("RELU", "MINIMUM", "MAXIMUM", "ABS", "SIGN", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL"),
        (0, 0, 1, 0),
    ),
    **dict.fromkeys(("SELECT", "SELECT_V2"), (0, 0, 1, 0)),
    **dict.fromkeys(("RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"), (0, 0, 2, 0)),
    **dict.fromkeys(("LOGISTIC", "TANH", "EXP", "LOG", "SQRT", "RSQRT", "POW", "SIN", "COS", "ELU", "GELU"), (0, 0, 0, 1)),
    # The exponential of each value, their sum, and the division by the sum.
    "SOFTMAX": (1, 1, 0, 1),
    # Conversions of the number type: a scale and an offset.
    "QUANTIZE": (1, 1, 0, 0),
    "DEQUANTIZE": (1, 1, 0, 0),
}

_MOVES = {
    *("CONCATENATION", "SPLIT", "SPLIT_V", "TILE", "PAD", "PADV2", "MIRROR_PAD", "GATHER", "GATHER_ND", "SLICE", "STRIDED_SLICE"),
    *("TRANSPOSE", "PACK", "UNPACK", "CAST", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "REVERSE_V2", "RESIZE_NEAREST_NEIGHBOR"),
    *("BROADCAST_TO", "NEG", "LceDequantize", "LceBMaxPool2d"),
}

# Operators with MACs, or that only change the shape.
_NOTHING = {
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL"),
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE", "BITCAST"),
}


def work(graph: TfliteGraph) -> tuple[Work, ...]:
    """The work of a graph by operator, most operations first."""
    found: dict[str, Work] = {}
    for operator in graph.operators:
        if operator.name in _NOTHING or not operator.outputs or restores_constant(operator):
            continue
        new, known = _of(operator), found.get(operator.name)
        if known is not None:
            new = Work(
                operator.name,
                known.count + 1,
                known.values + new.values,
                known.multiplications + new.multiplications,
                known.additions + new.additions,
                known.comparisons + new.comparisons,
                known.functions + new.functions,
                new.counted,
            )
        found[operator.name] = new
    return tuple(sorted(found.values(), key=lambda one: (-one.operations, -one.values, one.operator)))


def _of(operator: Operator) -> Work:
    values = sum(tensor.elements for tensor in operator.outputs)
    if operator.name in _EACH:
        multiplications, additions, comparisons, functions = (values * each for each in _EACH[operator.name])
        return Work(operator.name, 1, values, multiplications, additions, comparisons, functions)
    if operator.name in _OTHERS:
        return _OTHERS[operator.name](operator, values)
    return Work(operator.name, 1, values, counted=operator.name in _MOVES)


def _binary_convolution(operator: Operator, values: int) -> Work:
    """One threshold comparison per bit if the output is packed; its number of channels is that of the kernel."""
    kernel = operator.inputs[1]
    if operator.outputs[0].type == "int32" and kernel is not None:
        bits = prod(operator.outputs[0].shape[:-1]) * kernel.shape[0]
        return Work(operator.name, 1, bits, comparisons=bits)
    return Work(operator.name, 1, values, multiplications=values, additions=values)


def _packing(operator: Operator, _values: int) -> Work:
    source = operator.inputs[0]
    values = 0 if source is None else source.elements
    return Work(operator.name, 1, values, comparisons=values)


def _sum_of_inputs(operator: Operator, values: int) -> Work:
    return Work(operator.name, 1, values, additions=values * (len(operator.inputs) - 1))


def _reduction(operator: Operator, values: int) -> Work:
    source = operator.inputs[0]
    joined = max(0, source.elements - values) if source is not None else 0
    if operator.name in ("SUM", "MEAN"):
        return Work(operator.name, 1, values, multiplications=values if operator.name == "MEAN" else 0, additions=joined)
    return Work(operator.name, 1, values, comparisons=joined)


def _pool(operator: Operator, values: int) -> Work:
    """Every window is counted as full, although windows at the edges have fewer values."""
    joined = values * max(0, prod(operator.options.get("window", (1, 1))) - 1)
    if operator.name == "AVERAGE_POOL_2D":
        return Work(operator.name, 1, values, multiplications=values, additions=joined)
    return Work(operator.name, 1, values, comparisons=joined)


_OTHERS: dict[str, Callable[[Operator, int], Work]] = {
    BINARY: _binary_convolution,
    "LceQuantize": _packing,
    "ADD_N": _sum_of_inputs,
    **dict.fromkeys(("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN"), _reduction),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
}

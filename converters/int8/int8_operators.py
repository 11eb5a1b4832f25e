"""Which operators of a float .tflite compute with int8, which tensors share a scale, and what can only be float.

Source of the fixed and the shared scales: TensorFlow Lite 8-bit quantization specification, and the kernels' checks.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph

KERNEL_AXES = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
"""Operators with an int8 kernel and an int32 bias; the axis of the kernel's output channels."""

NONE, RELU, RELU_1, RELU6 = range(4)
"""TensorFlow Lite's numbers of fused activations; RELU_1 clips to -1 and 1."""

OWN_SCALE = {*KERNEL_AXES, BINARY, "ADD", "SUB", "MUL", "PRELU", "LEAKY_RELU", "RELU", "RELU6", "MEAN", "HARD_SWISH"}
"""Operators whose output has a scale of its own."""

VIEWS = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"}
"""Operators whose output has exactly the values of their input."""

SELECTIONS = {"TILE", "SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V", "UNPACK", "GATHER", "REVERSE_V2", "BROADCAST_TO", "MAX_POOL_2D"}
"""Operators whose output has no other values than those of their input."""

SHARED_SCALE = VIEWS | SELECTIONS | {"AVERAGE_POOL_2D", "CONCATENATION", "PACK", "PAD", "PADV2", "MAXIMUM", "MINIMUM"}
"""Operators whose inputs and outputs have one scale and zero point together."""

CLIPS = {"MAXIMUM", "MINIMUM"}
"""Operators whose constants are bounds. One outside of all values of inputs and output saturates, which changes none of them."""

FIXED_SCALE = {
    "LOGISTIC": Affine(1 / 256, -128),
    "SOFTMAX": Affine(1 / 256, -128),
    "TANH": Affine(1 / 128, 0),
    "L2_NORMALIZATION": Affine(1 / 128, 0),
    "LceDequantize": Affine(1 / 127, 0),
}
"""Operators whose output has a scale that the kernel requires; LceDequantize's makes -1 and +1 exact."""

DIFFERENT_SCALES = "its inputs must have one scale, but operators in front of it require different ones"

FAR_CONSTANT = "a constant of it more than doubles the range of the values that it is joined with"

KEPT = "it is kept float on request"

BEHIND_FAR_CONSTANT = "it reads values with a constant that more than doubles their range"

INT8 = OWN_SCALE | SHARED_SCALE | set(FIXED_SCALE)


def is_global_pool(operator: Operator) -> bool:
    """Whether an operator is the average of a whole map. As MEAN, it has a scale of its own: means have a smaller range."""
    source, options = operator.inputs[0] if operator.inputs else None, operator.options
    if operator.name != "AVERAGE_POOL_2D" or source is None or len(source.shape) != 4:
        return False
    return options["window"] == source.shape[1:3] and options["padding"] == "valid" and not options["activation"]


def shares_scale(operator: Operator) -> bool:
    return operator.name in SHARED_SCALE and not is_global_pool(operator)


def values_read(operator: Operator) -> list[Tensor]:
    """The computed tensors of float32 or int8 that an operator reads."""
    return [t for t in operator.inputs if t is not None and not t.constant and t.stored is None and t.type in ("float32", "int8")]


def feeds_sign(graph: TfliteGraph) -> set[int]:
    """The tensors that a sign is taken of, and those that they are views of."""
    found = {tensor.index for o in graph.operators if o.name == "LceQuantize" for tensor in o.inputs if tensor is not None}
    for operator in reversed(graph.operators):
        if operator.name in VIEWS and operator.outputs[0].index in found and operator.inputs[0] is not None:
            found.add(operator.inputs[0].index)
    return found


def constants_read(operator: Operator) -> list[Tensor]:
    """The constants of real numbers that an operator reads."""
    return [t for t in operator.inputs if t is not None and t.constant and t.type == "float32"]


def reason_float(operator: Operator) -> str | None:
    """Why an operator that computes with real numbers cannot do so with int8; None if it can, or has no such numbers."""
    if operator.name == "LceQuantize" or not any(tensor.type == "float32" for tensor in operator.outputs):
        return None
    if operator.name not in INT8:
        return "TensorFlow Lite or LCE has no int8 form of it that convert uses"
    if any(tensor.dynamic for tensor in (*values_read(operator), *operator.outputs)):
        return "a size of its tensors is known only at run time"
    options = operator.options
    if operator.name == BINARY and options.get("padding") == 0 and options.get("pad_values") == 0:
        return "LCE pads with zeros only where the output is float; use pad_values=1.0"
    if operator.name in KERNEL_AXES and not (operator.inputs[1] is not None and operator.inputs[1].constant):
        return "its kernel is computed"
    if not all(np.isfinite(tensor.array()).all() for tensor in constants_read(operator)):
        return "a constant of it is NaN or infinite"
    return None


@dataclass(frozen=True)
class Scales:
    """Where int8 is in a graph.

    operators: the numbers of those that compute with int8. shares: for each int8 tensor the first of those with which it shares
    its scale, by index. fixed: the scale that one of these requires, by the first. left: operators that stay float, and why.
    int4: those of the operators whose kernel has 4 bits.
    """

    operators: frozenset[int]
    shares: dict[int, int]
    fixed: dict[int, Affine]
    left: tuple[tuple[Operator, str], ...]
    int4: frozenset[int] = frozenset()

    def members(self, first: int) -> set[int]:
        return {tensor for tensor, group in self.shares.items() if group == first}


def joined_constants(graph: TfliteGraph, scales: Scales) -> Iterator[tuple[Operator, int, np.ndarray]]:
    """Constants that become values of tensors with a shared scale: their int8 operator, the scale's first tensor, the values."""
    for operator in graph.operators:
        if operator.index in scales.operators and shares_scale(operator) and operator.name not in CLIPS:
            for constant in constants_read(operator):
                yield operator, scales.shares[operator.outputs[0].index], constant.array()


def find_scales(graph: TfliteGraph, far: Set[int] = frozenset(), kept: Set[int] = frozenset()) -> Scales:
    """What computes with int8 in a float graph. An operator that would join tensors with different required scales stays float.

    far: the numbers of operators with a constant far outside of the range of their values. These and the readers of their values
    stay float. kept: the numbers of operators that are to stay float.
    """
    operators: set[int] = set()
    left: list[tuple[Operator, str]] = []
    parent: dict[int, int] = {}
    fixed: dict[int, Affine] = {}
    far_tensors: set[int] = set()

    def find(index: int) -> int:
        while parent.setdefault(index, index) != index:
            index = parent[index]
        return index

    for operator in graph.operators:
        tensors, reason = values_read(operator), reason_float(operator)
        shared = shares_scale(operator)
        # A constant can be in any range but a fixed one, as the outputs of operators with a scale of their own.
        required = {fixed.get(find(tensor.index)) for tensor in tensors} | ({None} if constants_read(operator) else set())
        if reason is None and shared and len(required) > 1:
            reason = DIFFERENT_SCALES
        if operator.index in kept:
            reason = KEPT
        elif operator.index in far:
            reason = FAR_CONSTANT
        elif reason is None and operator.name in INT8 and any(tensor.index in far_tensors for tensor in tensors):
            reason = BEHIND_FAR_CONSTANT
        if reason in (FAR_CONSTANT, BEHIND_FAR_CONSTANT) and shared and operator.name not in CLIPS | {"MAX_POOL_2D"}:
            far_tensors |= {tensor.index for tensor in operator.outputs}
        if reason is not None:
            left.append((operator, reason))
        if reason is not None or operator.name not in INT8 or operator.outputs[0].type != "float32":
            continue
        operators.add(operator.index)
        for tensor in (*tensors, *operator.outputs):
            find(tensor.index)
        if shared:
            first, *others = sorted({find(tensor.index) for tensor in (*tensors, *operator.outputs)})
            parent.update(dict.fromkeys(others, first))
            if (scale := next(iter(required), None)) is not None:
                fixed[first] = scale
        elif operator.name in FIXED_SCALE:
            fixed[find(operator.outputs[0].index)] = FIXED_SCALE[operator.name]
    shares = {index: find(index) for index in parent}
    return Scales(
        frozenset(operators), shares, {first: scale for first, scale in fixed.items() if shares[first] == first}, tuple(left)
    )

"""Multiply-accumulates of an operator, and the bits of their operands.

Usual counting rule: convolutions and matrix products count; normalization, biases, activations and pooling do not. The bits of a
multiply-accumulate are those of its wider operand, as in Larq.
"""

from math import prod

from el_larq.tflite.operators import (
    BINARY,
    KERNELS,
    TRANSPOSED,
    damaged,
    input_bits,
    kernel_bits,
    kernel_shape,
    output_shape,
    source_of,
)
from el_larq.tflite.reader import Operator


def count_macs(operator: Operator) -> int:
    """Multiply-accumulates for one element of the batch; 0 for an operator without a kernel."""
    if operator.name not in KERNELS:
        return 0
    shape, output = kernel_shape(operator), output_shape(operator)
    if operator.name == BINARY:
        return prod(shape[1:]) * prod(output[1:])
    if operator.name in TRANSPOSED:
        source = source_of(operator)
        if source is None:
            raise damaged(operator, "has no input")
        return prod(shape) * prod(source.shape[1:-1])
    if operator.name == "DEPTHWISE_CONV_2D":
        return prod(shape[1:3]) * prod(output[1:])
    if operator.name == "FULLY_CONNECTED":
        return shape[-1] * prod(output[1:] if len(output) > 1 else output)
    if operator.name == "CONV_3D":
        return prod(shape[:-1]) * prod(output[1:])
    return prod(shape[1:]) * prod(output[1:])


def mac_bits(operator: Operator) -> int:
    """Bits of the wider of the two operands."""
    return max(input_bits(operator), kernel_bits(operator))

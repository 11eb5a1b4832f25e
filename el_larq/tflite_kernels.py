"""Operators of a .tflite that have a kernel: its shape, and their multiply-accumulates."""

from math import prod

from el_larq.tflite import Operator

BINARY = "LceBconv2d"
KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", BINARY)
"""Operators with a kernel whose multiply-accumulates are counted."""

TRANSPOSED = ("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE")
"""Those that take the size of their output first and their input third."""


def binary_kernel_shape(operator: Operator) -> tuple[int, int, int, int]:
    """(C_out, kh, kw, C_in / groups) of an LceBconv2d, whose kernel holds 32 channels a word."""
    kernel = operator.inputs[1]
    assert kernel is not None
    channels = int(operator.options["channels_in"])
    groups = max(1, -(-channels // 32) // kernel.shape[3])
    return kernel.shape[0], kernel.shape[1], kernel.shape[2], channels // groups


def count_macs(operator: Operator, output: tuple[int, ...]) -> int:
    """Multiply-accumulates for one input, where ``output`` is the shape of the result, in channels and not words."""
    if operator.name not in KERNELS:
        return 0
    kernel = operator.inputs[1]
    assert kernel is not None
    if operator.name == BINARY:
        return prod(binary_kernel_shape(operator)[1:]) * prod(output[1:])
    if operator.name in TRANSPOSED:
        source = operator.inputs[2]
        assert source is not None
        return prod(kernel.shape) * prod(source.shape[1:-1])
    if operator.name == "DEPTHWISE_CONV_2D":
        return prod(kernel.shape[1:3]) * prod(output[1:])
    if operator.name == "FULLY_CONNECTED":
        return kernel.shape[-1] * prod(output[1:] if len(output) > 1 else output)
    if operator.name == "CONV_3D":
        return prod(kernel.shape[:-1]) * prod(output[1:])
    return prod(kernel.shape[1:]) * prod(output[1:])

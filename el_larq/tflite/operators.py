"""Operators of a .tflite: which are binary, which have a kernel, its shape and its bits.

`LceBconv2d` packs 32 channels into a word: its kernel is int32 (C_out, kh, kw, words), and the last dimension of a packed input or
output is words instead of channels. The functions of this file convert between the two.
"""

import numpy as np

from el_larq.errors import ElLarqError
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph
from el_larq.tflite.types import BITS

BINARY = "LceBconv2d"
WORD = 32
"""Channels per word."""

REAL_KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE")
KERNELS = (*REAL_KERNELS, BINARY)
"""Operators with a kernel, whose multiply-accumulates are counted."""

TRANSPOSED = ("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE")
"""Operators whose first input is the size of the output, and whose third is the tensor they compute on."""


def binary_operators(graph: TfliteGraph) -> list[Operator]:
    return [operator for operator in graph.operators if operator.name == BINARY]


def damaged(operator: Operator, what: str) -> ElLarqError:
    return ElLarqError(f"operator {operator.index} ({operator.name}) {what}; the file is damaged, convert the model again")


def kernel_of(operator: Operator) -> Tensor:
    """The kernel of one of `KERNELS`; raises ElLarqError if it is missing or has a size of 0, as in a damaged file."""
    kernel = operator.inputs[1] if len(operator.inputs) > 1 else None
    if kernel is None or not kernel.shape or 0 in kernel.shape:
        raise damaged(operator, "has no kernel")
    return kernel


def source_of(operator: Operator) -> Tensor | None:
    """The tensor that an operator computes on; None if it has none."""
    position = 2 if operator.name in TRANSPOSED else 0
    return operator.inputs[position] if len(operator.inputs) > position else None


def input_channels(operator: Operator) -> int:
    """The number of channels of a binary convolution's input."""
    channels = operator.options.get("channels_in")
    if not isinstance(channels, int) or channels < 1:
        raise damaged(operator, "does not state its number of input channels")
    return channels


def words(channels: int) -> int:
    """The number of words for a number of channels."""
    return -(-channels // WORD)


def binary_groups(operator: Operator) -> int:
    """The number of groups of a binary convolution."""
    return max(1, words(input_channels(operator)) // kernel_of(operator).shape[-1])


def kernel_shape(operator: Operator) -> tuple[int, ...]:
    """The shape of an operator's kernel, in channels; (C_out, kh, kw, C_in / groups) for a binary convolution."""
    shape = kernel_of(operator).shape
    if operator.name == BINARY:
        return (*shape[:-1], input_channels(operator) // binary_groups(operator))
    return shape


def output_shape(operator: Operator) -> tuple[int, ...]:
    """The shape of an operator's first output, in channels; () if it has none."""
    if not operator.outputs:
        return ()
    shape = operator.outputs[0].shape
    if operator.name == BINARY:
        return (*shape[:-1], kernel_of(operator).shape[0])
    if operator.name == "LceQuantize" and operator.inputs[0] is not None:
        return operator.inputs[0].shape
    return shape


def kernel_bits(operator: Operator) -> int:
    """Bits per kernel value as stored; 32 if that is unknown."""
    kernel = kernel_of(operator)
    return 1 if operator.name == BINARY else BITS.get((kernel.stored or kernel).type, 32)


def restores_constant(operator: Operator) -> bool:
    """Whether an operator is the DEQUANTIZE of a constant, which TFLite runs once, not for each inference."""
    return operator.name == "DEQUANTIZE" and any(tensor.stored is not None for tensor in operator.outputs)


def input_bits(operator: Operator) -> int:
    """Bits per value of an operator's input; 32 if that is unknown."""
    source = source_of(operator)
    return 1 if operator.name == BINARY else BITS.get(source.type, 32) if source is not None else 32


def unpack_signs(packed: np.ndarray, channels: int) -> np.ndarray:
    """int32 (..., ceil(C / 32)) to bool (..., C), True for -1: channel 32 * w + b is bit b of word w."""
    if packed.dtype != np.int32:
        raise TypeError(f"packed signs are int32; got {packed.dtype}")
    octets = np.ascontiguousarray(packed.astype("<i4")).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=channels, bitorder="little").astype(bool)


def kernel_signs(operator: Operator) -> np.ndarray:
    """The kernel of a binary convolution as bool (C_out, kh, kw, C_in / groups), True for -1."""
    return unpack_signs(kernel_of(operator).array(), kernel_shape(operator)[-1])

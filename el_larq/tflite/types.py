"""Bits and bytes of tensors by type."""

from el_larq.tflite.reader import Tensor

BITS = {
    "float32": 32,
    "float16": 16,
    "int32": 32,
    "uint8": 8,
    "int64": 64,
    "bool": 8,
    "int16": 16,
    "complex64": 64,
    "int8": 8,
    "float64": 64,
    "complex128": 128,
    "uint64": 64,
    "uint32": 32,
    "uint16": 16,
    "int4": 4,
}


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of the values; 0 for strings and resources, whose size is not in the file."""
    # An unknown size is written as -1.
    return max(0, -(-tensor.elements * BITS.get(tensor.type, 0) // 8))

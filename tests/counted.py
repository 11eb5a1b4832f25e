"""Sums over the kernels of a counted model."""

from el_larq.counting.counts import Counts


def binary_products(counts: Counts) -> int:
    """The number of convolutions of two 1-bit operands."""
    return sum(layer.products for layer in counts.layers if layer.binary)


def binary_weights(counts: Counts) -> int:
    return sum(layer.weights for layer in counts.layers if layer.kernel_bits == 1)


def real_weights(counts: Counts) -> int:
    return sum(layer.weights for layer in counts.layers if layer.kernel_bits != 1)

"""Parameters and multiply-accumulates of a Keras model, binary and real-valued apart.

Counting rule of the field: convolutions and dense layers count, batch normalization, biases, activations, pooling and links do
not. BOPs are multiply-accumulates of two 1-bit operands, FLOPs all others, OPs = FLOPs + BOPs / 64.
"""

from dataclasses import dataclass
from math import prod

import tf_keras as keras


@dataclass(frozen=True)
class LayerCount:
    """One layer with a kernel: its multiply-accumulates and its kernel's size, with the bits of both operands."""

    name: str
    kernel_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel_bits: int
    input_bits: int
    macs: int

    @property
    def weights(self) -> int:
        return prod(self.kernel_shape)

    @property
    def binary(self) -> bool:
        return self.kernel_bits == self.input_bits == 1


@dataclass(frozen=True)
class Counts:
    layers: tuple[LayerCount, ...]

    @property
    def bops(self) -> int:
        return sum(layer.macs for layer in self.layers if layer.binary)

    @property
    def flops(self) -> int:
        return sum(layer.macs for layer in self.layers if not layer.binary)

    @property
    def ops(self) -> float:
        return self.flops + self.bops / 64

    @property
    def binary_weights(self) -> int:
        return sum(layer.weights for layer in self.layers if layer.kernel_bits == 1)

    @property
    def real_weights(self) -> int:
        return sum(layer.weights for layer in self.layers if layer.kernel_bits != 1)


def leaf_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer of a model, those of nested models in their place, each once."""
    return [layer for layer in model._flatten_layers(include_self=False) if not isinstance(layer, keras.Model)]


def kernel_bits(layer: keras.layers.Layer) -> int:
    return _precision(getattr(layer, "depthwise_quantizer", None) or getattr(layer, "kernel_quantizer", None))


def input_bits(layer: keras.layers.Layer) -> int:
    return _precision(getattr(layer, "input_quantizer", None))


def _precision(quantizer: object) -> int:
    return 32 if quantizer is None else int(getattr(quantizer, "precision", 32))


def count(model: keras.Model) -> Counts:
    """Counts of a built model; layers whose output size is not static raise ValueError."""
    return Counts(tuple(entry for layer in leaf_layers(model) if (entry := _count_layer(layer)) is not None))


def _count_layer(layer: keras.layers.Layer) -> LayerCount | None:
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    if depthwise:
        kernel = layer.depthwise_kernel
    elif isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        kernel = layer.kernel
    else:
        return None
    shape = tuple(kernel.shape)
    output = tuple(layer.output_shape)
    if None in output[1:]:
        raise ValueError(f"{layer.name}: the output shape {output} is not static, so its operations cannot be counted")
    # Each output element takes one multiply-accumulate for every kernel weight that leads to its channel.
    per_output = prod(shape[:2]) if depthwise else prod(shape[:-1])
    return LayerCount(layer.name, shape, output[1:], kernel_bits(layer), input_bits(layer), per_output * prod(output[1:]))

"""Parameters and multiply-accumulates of a Keras model, counted separately for binary and real-valued layers.

Usual counting rule: convolutions and dense layers count; batch normalization, biases, activations, pooling and links do not.
BOPs are multiply-accumulates of two 1-bit operands, FLOPs all others, OPs = FLOPs + BOPs / 64.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import tf_keras as keras

from el_larq.counting.layer_macs import call_macs
from el_larq.keras_internals import layer_calls


@dataclass(frozen=True)
class LayerCount:
    """A kernel of a layer: its multiply-accumulates and its size, with the bits of both operands.

    products: number of convolutions it computes in all calls. kernels: number of kernels made of the same weights.
    variable: the kernel's weights.
    """

    name: str
    kernel_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kernel_bits: int
    input_bits: int
    macs: int
    products: int = 1
    kernels: int = 1
    variable: Any = field(default=None, compare=False, repr=False)

    @property
    def weights(self) -> int:
        return prod(self.kernel_shape) * self.kernels

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


def kernel_bits(layer: keras.layers.Layer, part: str = "") -> int:
    """The bits that the quantizer of a layer's kernel declares, of kernel ``part`` if the layer has two; 32 if there is none."""
    if part == "pointwise_kernel":
        return _precision(getattr(layer, "pointwise_quantizer", None))
    return _precision(getattr(layer, "depthwise_quantizer", None) or getattr(layer, "kernel_quantizer", None))


def input_bits(layer: keras.layers.Layer, part: str = "") -> int:
    """The bits that the quantizer of its input declares; 32 for a separable convolution's pointwise part (real-valued)."""
    if part == "pointwise_kernel":
        return 32
    return _precision(getattr(layer, "input_quantizer", None))


def _precision(quantizer: object) -> int:
    return 32 if quantizer is None else int(getattr(quantizer, "precision", 32))


def count(model: keras.Model) -> Counts:
    """Counts of a built functional model. A layer that is called several times computes each time and is stored once.

    Raises:
        ValueError: the output size of a layer is not static.
    """
    entries: dict[tuple[int, int], LayerCount] = {}
    for layer, input_shape, output_shape in calls(model):
        for number, entry in enumerate(count_call(layer, input_shape, output_shape) or ()):
            known = entries.get((id(layer), number))
            if known is not None:
                entry = replace(known, macs=known.macs + entry.macs, products=known.products + entry.products)
            entries[id(layer), number] = entry
    return Counts(tuple(entries.values()))


def calls(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, Any, Any]]:
    """Each call of a layer, with its input and output shapes; nested models are expanded in place."""
    for call in layer_calls(model):
        if isinstance(call.layer, keras.Model):
            yield from calls(call.layer)
        else:
            yield call.layer, call.input_shapes, call.output_shapes


def count_call(layer: keras.layers.Layer, input_shape: Any, output_shape: Any) -> tuple[LayerCount, ...] | None:
    """The kernels in a call; empty for a layer without kernels, None if this project cannot count its multiply-accumulates.

    Raises:
        ValueError: a size is not static.
    """
    kernels = call_macs(layer, input_shape, output_shape)
    if not kernels:
        return None if kernels is None else ()
    # A layer may make several kernels of its weights and compute several convolutions in one call.
    products, made = (getattr(layer, name, 1) for name in ("products", "kernels"))
    holder = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
    return tuple(
        LayerCount(
            layer.name if len(kernels) == 1 else f"{layer.name}/{one.part}",
            tuple(one.kernel.shape),
            tuple(output_shape)[1:],
            kernel_bits(holder, one.part),
            input_bits(holder, one.part),
            one.macs * products,
            products,
            made,
            one.kernel,
        )
        for one in kernels
    )

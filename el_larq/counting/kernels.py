"""The quantized kernels of a Keras model, with the bits that their quantizers declare."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.keras_internals import leaf_layers

_TRANSPOSED = (keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose, keras.layers.Conv1DTranspose)

_QUANTIZERS = {
    "kernel_quantizer": "kernel",
    "depthwise_quantizer": "depthwise_kernel",
    "pointwise_quantizer": "pointwise_kernel",
}
"""Attributes of Larq's layers that contain a quantizer, and the attribute that contains its kernel."""


@dataclass(frozen=True)
class QuantizedKernel:
    """A kernel and its quantizer.

    part: the layer's attribute that contains the real-valued kernel: "kernel", "depthwise_kernel" or "pointwise_kernel".
    bits, input_bits: the bits that the quantizers of kernel and input declare; None if there is no quantizer or it declares none.
    """

    layer: keras.layers.Layer
    part: str
    quantizer: Any
    input_quantizer: Any

    @property
    def latent(self) -> tf.Variable:
        """The real-valued kernel."""
        return getattr(self.layer, self.part)

    @property
    def bits(self) -> int | None:
        return declared_bits(self.quantizer)

    @property
    def input_bits(self) -> int | None:
        return declared_bits(self.input_quantizer)

    def values(self) -> list[np.ndarray]:
        """The quantized kernel; several kernels if a layer computes with several bases."""
        if hasattr(self.layer, "binary_kernels"):
            layer: Any = self.layer
            return [np.asarray(kernel) for kernel in layer.binary_kernels()]
        return [np.asarray(self.quantizer(tf.constant(self.latent.numpy())))]

    def filters(self) -> list[np.ndarray]:
        """As `values`, each kernel as (C_out, ..., C_in), a filter per output channel."""
        return [as_filters(self.layer, self.part, kernel) for kernel in self.values()]


def as_filters(layer: keras.layers.Layer, part: str, kernel: np.ndarray) -> np.ndarray:
    """A layer's kernel as (C_out, ..., C_in), a filter per output channel; ``part`` as in `QuantizedKernel`."""
    if part == "depthwise_kernel":
        return np.moveaxis(kernel.reshape(*kernel.shape[:-2], 1, -1), -1, 0)
    if isinstance(layer, keras.layers.Dense):
        return kernel.T[:, None, None, :]
    return np.moveaxis(kernel, -2 if isinstance(layer, _TRANSPOSED) else -1, 0)


def quantized_kernels(layer: keras.layers.Layer) -> list[QuantizedKernel]:
    """The kernels of a layer that have quantizers, in the order of use. Empty before the layer is built."""
    found = []
    for attribute, part in _QUANTIZERS.items():
        quantizer = getattr(layer, attribute, None)
        if part == "kernel" and not hasattr(layer, part):
            part = "depthwise_kernel"  # a depthwise layer whose quantizer is named as in other layers
        if quantizer is None or not layer.built or not hasattr(layer, part):
            continue
        input_quantizer = None if part == "pointwise_kernel" else getattr(layer, "input_quantizer", None)
        found.append(QuantizedKernel(layer, part, quantizer, input_quantizer))
    return found


def one_bit_kernels(model: keras.Model) -> list[QuantizedKernel]:
    """All kernels of a model whose quantizers declare one bit."""
    return [kernel for layer in leaf_layers(model) for kernel in quantized_kernels(layer) if kernel.bits == 1]


def declared_bits(quantizer: object) -> int | None:
    bits = getattr(quantizer, "precision", None)
    return None if bits is None else int(bits)

"""The binary kernels of a Keras model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.models.counts import input_bits, kernel_bits, leaf_layers
from el_larq.models.load import load_model

Fields = tuple[str, np.ndarray, np.ndarray, np.ndarray]


def from_keras(path: Path, trust: bool = False) -> Iterator[Fields]:
    """Name, signs int8 (C_out, kh, kw, C_in), scale and shift float32 (C_out,) of each binary convolution."""
    for layer in leaf_layers(load_model(path, trust=trust)):
        if not isinstance(layer, keras.layers.Conv2D) or not kernel_bits(layer) == input_bits(layer) == 1:
            continue
        if isinstance(layer, (keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)):
            continue  # LCE has no binary kernel for them
        shift = np.asarray(layer.bias) if layer.use_bias else np.zeros(layer.kernel.shape[-1], np.float32)
        kernels = _quantized(layer)
        for number, quantized in enumerate(kernels):
            kernel = np.transpose(np.asarray(quantized), (3, 0, 1, 2))
            scale = np.abs(kernel).mean(axis=(1, 2, 3)).astype(np.float32)
            name = layer.name if len(kernels) == 1 else f"{layer.name}_base{number + 1}"
            yield name, np.where(kernel < 0, -1, 1).astype(np.int8), scale, shift


def _quantized(layer: Any) -> list[tf.Tensor]:
    """The binary kernels of a layer's weights: one, or several bases."""
    if hasattr(layer, "binary_kernels"):
        return layer.binary_kernels()
    assert layer.kernel_quantizer is not None
    return [layer.kernel_quantizer(tf.constant(layer.kernel.numpy()))]

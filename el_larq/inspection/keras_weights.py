"""Extracts the binary kernels of a Keras model."""

from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.counting.kernels import QuantizedKernel, as_filters, quantized_kernels
from el_larq.inspection.binary_layer import BinaryLayer, Kernels, LeftOut, one_magnitude, two_signs
from el_larq.keras_internals import CONVOLUTION, leaf_layers
from el_larq.loading.load import check_has_layers, load_model


def from_keras(path: Path, trust: bool = False) -> Kernels:
    """The kernels with a 1-bit quantizer, or one that declares no bits, and binary kernels without a quantizer."""
    found = Kernels()
    model = load_model(path, trust=trust)
    check_has_layers(model, str(path))
    for layer in leaf_layers(model):
        quantized = quantized_kernels(layer)
        for kernel in quantized:
            _add(found, kernel)
        if not quantized and isinstance(layer, (CONVOLUTION, keras.layers.Dense)):
            _add_plain(found, layer)
    return found


def _add(found: Kernels, kernel: QuantizedKernel) -> None:
    layer: Any = kernel.layer
    separable = "Separable" in type(layer).__name__
    name = f"{layer.name}_{kernel.part.removesuffix('_kernel')}" if separable else layer.name
    quantizer = getattr(kernel.quantizer, "__name__", type(kernel.quantizer).__name__)
    if kernel.bits not in (None, 1):
        found.left_out.append(LeftOut(name, f"its kernel has {kernel.bits} bits ({quantizer})"))
        return
    if not isinstance(layer, (CONVOLUTION, keras.layers.Dense)):
        found.left_out.append(LeftOut(name, f"{type(layer).__name__} has no kernel of filters"))
        return
    kernels = kernel.filters()
    if not all(map(one_magnitude, kernels)):
        found.left_out.append(LeftOut(name, f"its filters contain more than two values ({quantizer})"))
        return
    bias = None if kernel.part == "depthwise_kernel" and separable else _bias(layer)
    for number, filters in enumerate(kernels):
        numbered = name if len(kernels) == 1 else f"{name}_base{number + 1}"
        found.layers.append(BinaryLayer.of(numbered, filters, bias, type(layer).__name__))


def _add_plain(found: Kernels, layer: Any) -> None:
    part = next((part for part in ("kernel", "depthwise_kernel") if hasattr(layer, part)), None)
    filters = None if part is None else as_filters(layer, part, np.asarray(getattr(layer, part)))
    if filters is not None and two_signs(filters):
        found.layers.append(BinaryLayer.of(layer.name, filters, _bias(layer), type(layer).__name__))


def _bias(layer: Any) -> np.ndarray | None:
    return None if layer.bias is None else np.asarray(layer.bias)

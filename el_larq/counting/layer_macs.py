"""Multiply-accumulates of one call of a Keras layer, per kernel."""

from dataclasses import dataclass
from math import prod
from typing import Any

import tf_keras as keras

from el_larq.keras_internals import CONVOLUTION
from el_larq.layers import InteractedBitcount, LearnedScale

_layers = keras.layers
_TRANSPOSED = (_layers.Conv1DTranspose, _layers.Conv2DTranspose, _layers.Conv3DTranspose)
_SEPARABLE = (_layers.SeparableConv1D, _layers.SeparableConv2D)
_LOCAL = (_layers.LocallyConnected1D, _layers.LocallyConnected2D)

# Their weights scale or shift single values, are looked up, or belong to a search: by the counting rule,
# these are not multiply-accumulates.
_WITHOUT_MACS = (
    _layers.BatchNormalization,
    _layers.LayerNormalization,
    _layers.GroupNormalization,
    _layers.Normalization,
    _layers.PReLU,
    _layers.Embedding,
    LearnedScale,
    InteractedBitcount,
)


@dataclass(frozen=True)
class KernelMacs:
    """A kernel, the name of the layer's attribute that contains it, and its multiply-accumulates in one call."""

    part: str
    kernel: Any
    macs: int


def call_macs(layer: keras.layers.Layer, input_shape: Any, output_shape: Any) -> tuple[KernelMacs, ...] | None:
    """Every kernel of a layer, in order of use; empty if it has none, None if this project cannot count its multiply-accumulates.

    Arguments:
        input_shape, output_shape: the shapes in the call, including the batch; a list if there are several.

    Raises:
        ValueError: a size is not static.
    """
    if isinstance(layer, _layers.TimeDistributed):
        steps = _static(layer, input_shape[1:2])[0]
        inner = call_macs(layer.layer, (input_shape[0], *input_shape[2:]), (output_shape[0], *output_shape[2:]))
        return inner and tuple(KernelMacs(one.part, one.kernel, steps * one.macs) for one in inner)
    if isinstance(layer, _layers.Bidirectional):
        both = [call_macs(one, input_shape, output_shape) for one in (layer.forward_layer, layer.backward_layer)]
        return None if None in both else tuple(one for kernels in both if kernels for one in kernels)
    if isinstance(layer, _layers.RNN):
        return _recurrent(layer, input_shape)
    found = _kernels(layer, input_shape, output_shape)
    return found if found or not _has_matrices(layer) else None


def _kernels(layer: Any, input_shape: Any, output_shape: Any) -> tuple[KernelMacs, ...]:
    if not isinstance(layer, (CONVOLUTION, _layers.Dense, _layers.EinsumDense, *_LOCAL)):
        return ()
    values = prod(_static(layer, output_shape[1:], "output shape"))
    if isinstance(layer, _SEPARABLE):
        both = [(part, getattr(layer, part)) for part in ("depthwise_kernel", "pointwise_kernel")]
        positions = values // both[1][1].shape[-1]
        return tuple(KernelMacs(part, kernel, prod(kernel.shape) * positions) for part, kernel in both)
    if hasattr(layer, "depthwise_kernel"):
        kernel = layer.depthwise_kernel
        return (KernelMacs("depthwise_kernel", kernel, prod(kernel.shape[:-2]) * values),)
    shape = tuple(layer.kernel.shape)
    if isinstance(layer, _TRANSPOSED):
        # Each input position is multiplied by the whole kernel.
        macs = prod(shape) * prod(_static(layer, input_shape[1:])) // shape[-1]
    elif isinstance(layer, _LOCAL):
        channels = input_shape[1 if layer.data_format == "channels_first" else -1]
        macs = prod(layer.kernel_size) * channels * values
    elif isinstance(layer, _layers.EinsumDense):
        kernel_axes, output_axes = layer.equation.split("->")[0].split(",")[1].strip(), layer.equation.split("->")[1]
        macs = values * prod(size for axis, size in zip(kernel_axes, shape, strict=False) if axis not in output_axes)
    else:
        macs = prod(shape[:-1]) * values
    return (KernelMacs("kernel", layer.kernel, macs),)


def _recurrent(layer: Any, input_shape: Any) -> tuple[KernelMacs, ...] | None:
    """The kernels of a recurrent layer: each step multiplies its input by one and its state by the other."""
    if isinstance(input_shape, list):
        input_shape = input_shape[0]  # the others are initial states
    cells = getattr(layer.cell, "cells", [layer.cell])
    known = (_layers.LSTMCell, _layers.GRUCell, _layers.SimpleRNNCell)
    if not all(isinstance(cell, known) for cell in cells):
        return None
    steps = _static(layer, input_shape[1:2])[0]
    kernels = [(part, getattr(cell, part)) for cell in cells for part in ("kernel", "recurrent_kernel")]
    return tuple(KernelMacs(part, kernel, steps * prod(kernel.shape)) for part, kernel in kernels)


def _has_matrices(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, _WITHOUT_MACS):
        return False
    return any(sum(size > 1 for size in variable.shape) > 1 for variable in layer.weights)


def _static(layer: keras.layers.Layer, sizes: Any, what: str = "input shape") -> tuple[int, ...]:
    if None in tuple(sizes):
        raise ValueError(f"{layer.name}: the {what} {tuple(sizes)} is not static, so its operations cannot be counted")
    return tuple(sizes)

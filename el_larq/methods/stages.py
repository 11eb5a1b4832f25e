"""The stages that most methods share, as Keras layers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import larq
import tf_keras as keras

if TYPE_CHECKING:
    import tensorflow as tf

    from el_larq.methods.method import Conv, Method


def convolve(method: "Method", x: "tf.Tensor", conv: "Conv") -> "tf.Tensor":
    """The convolution, without bias: a norm follows. 3x3 pads with +1, which stays a binary value and lets LCE fuse."""
    shape: dict[str, Any] = {
        "filters": conv.filters,
        "kernel_size": conv.kernel_size,
        "strides": conv.strides,
        "padding": conv.padding,
        "use_bias": False,
        "name": f"{conv.name}_conv",
    }
    if not method.binary:
        return keras.layers.Conv2D(**shape, kernel_initializer="he_normal")(x)
    return larq.layers.QuantConv2D(
        **shape,
        pad_values=1.0 if conv.padding == "same" else 0.0,
        input_quantizer=_make(method.input_quantizer),
        kernel_quantizer=_make(method.kernel_quantizer),
        kernel_constraint=_make(method.kernel_constraint),
        kernel_initializer="glorot_normal",
    )(x)


def normalize(x: "tf.Tensor", name: str, momentum: float) -> "tf.Tensor":
    return keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-5, name=f"{name}_norm")(x)


def add(shortcut: "tf.Tensor", y: "tf.Tensor", name: str) -> "tf.Tensor":
    return keras.layers.Add(name=f"{name}_shortcut")([shortcut, y])


def activate(x: "tf.Tensor", activation: str | None, name: str) -> "tf.Tensor":
    return keras.layers.Activation(activation, name=f"{name}_activation")(x) if activation else x


def _make(spec: str | Callable[[], Any] | None) -> Any:
    return spec() if callable(spec) else spec

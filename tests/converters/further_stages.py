"""Further stages of random networks, for those whose numbers came later: the first ones stay what they are."""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

from typing import Any

import larq
import random_stages as stages
import tensorflow as tf
import tf_keras as keras
from drawing import Drawing, Stage

L = keras.layers
Q: Any = larq.layers


@keras.utils.register_keras_serializable("el_larq_tests")
def own_sign(x: Any) -> Any:
    """A quantizer that is a function."""
    return tf.where(x >= 0, tf.ones_like(x), -tf.ones_like(x))


def _function_quantizers(draw: Drawing, x: Any, name: str) -> Any:
    quantizers = {"input_quantizer": draw.of(own_sign, "ste_sign"), "kernel_quantizer": own_sign}
    return Q.QuantConv2D(32, 3, padding="same", pad_values=draw.of(0.0, 1.0), use_bias=draw.maybe(), **quantizers, name=name)(x)


def _binary_separable(draw: Drawing, x: Any, name: str) -> Any:
    """It runs real-valued, with a warning."""
    quantizers = {
        "depthwise_quantizer": "ste_sign",
        "pointwise_quantizer": "ste_sign",
        "input_quantizer": draw.of("ste_sign", None),
    }
    return stages.norm(draw, Q.QuantSeparableConv2D(8, draw.of(1, 3), padding="same", **quantizers, name=name)(x), f"{name}_norm")


def _binary_separable_row(draw: Drawing, x: Any, name: str) -> Any:
    quantizers = {"depthwise_quantizer": "ste_sign", "pointwise_quantizer": "ste_sign", "input_quantizer": "ste_sign"}
    return stages.rows(draw, x, name, lambda _, y, name: Q.QuantSeparableConv1D(8, 3, padding="same", **quantizers, name=name)(y))


def _any_axis_norm(draw: Drawing, x: Any, name: str) -> Any:
    y = stages.binary_unit(draw, x, f"{name}_unit")
    return L.BatchNormalization(axis=draw.of(1, 2, 3, [1, 3], [2, 3], [1, 2], [1, 2, 3]), name=name)(y)


def _pooled_signs(draw: Drawing, x: Any, name: str) -> Any:
    y = L.Activation(draw.of(larq.quantizers.SteSign(), own_sign), name=f"{name}_sign")(x)
    window = {"pool_size": stages.pair(draw, 2, 3), "strides": stages.pair(draw, 1, 2), "padding": "same"}
    y = L.MaxPool2D(**window, name=f"{name}_pool")(y)
    return stages.norm(draw, Q.QuantConv2D(32, 1, kernel_quantizer=draw.of(*stages.KERNELS), name=name)(y), f"{name}_norm")


def _upsampled(draw: Drawing, x: Any, name: str) -> Any:
    """A larger map by transposed convolution, and cropped again."""
    y = L.Conv2DTranspose(8, 3, strides=2, padding=draw.of("same", "valid"), name=f"{name}_up")(x)
    return L.CenterCrop(*x.shape[1:3], name=name)(y)


FURTHER: tuple[Stage, ...] = (
    _function_quantizers,
    _binary_separable,
    _binary_separable_row,
    _any_axis_norm,
    _pooled_signs,
    _upsampled,
)

"""Stems: the real-valued layers between an image and the first block."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.errors import UsageError, unknown_name
from el_larq.layers import normalize

# From this input size, a stem that reduces by four in each direction leaves a large enough feature map for four stages.
IMAGENET_FROM = 64


def imagenet(x: tf.Tensor, filters: int, momentum: float, activation: str | None) -> tf.Tensor:
    """7x7 convolution with stride 2, batch normalization, 3x3 max pooling with stride 2: (N, H/4, W/4, filters)."""
    x = convolve(x, filters, 7, 2, "stem_conv", momentum, activation)
    return keras.layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)


def small(x: tf.Tensor, filters: int, momentum: float, activation: str | None) -> tf.Tensor:
    """3x3 with stride 2 to filters / 8 (at least 8), depthwise 3x3 with stride 2, 1x1: (N, H/4, W/4, filters).

    At 224 pixels and 64 filters it takes 5 million multiply-accumulates instead of the 118 million of the 7x7 convolution.
    """
    x = convolve(x, max(8, filters // 8), 3, 2, "stem_conv", momentum, "relu")
    x = keras.layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name="stem_depthwise")(x)
    x = normalize(x, "stem_depthwise_norm", momentum)
    return convolve(x, filters, 1, 1, "stem_pointwise", momentum, activation)


def mobile(x: tf.Tensor, filters: int, momentum: float, activation: str | None) -> tf.Tensor:
    """3x3 convolution with stride 2: (N, H/2, W/2, filters)."""
    return convolve(x, filters, 3, 2, "stem_conv", momentum, activation)


def cifar(x: tf.Tensor, filters: int, momentum: float, activation: str | None) -> tf.Tensor:
    """3x3 convolution with stride 1: (N, H, W, filters)."""
    return convolve(x, filters, 3, 1, "stem_conv", momentum, activation)


STEMS: dict[str, Callable[[tf.Tensor, int, float, str | None], tf.Tensor]] = {
    "imagenet": imagenet,
    "small": small,
    "mobile": mobile,
    "cifar": cifar,
}


# The factor by which each stem reduces height and width.
REDUCTIONS = {"imagenet": 4, "small": 4, "mobile": 2, "cifar": 1}


def apply_stem(
    name: str | None, x: tf.Tensor, filters: int, momentum: float, activation: str | None, default: str = "imagenet"
) -> tf.Tensor:
    """Apply the stem of that name; None is the default one for inputs of at least 64 pixels and `cifar` for smaller ones.

    Raises:
        UsageError: an unknown stem, or an input that is too small for it.
    """
    shape: Any = x.shape
    size = min(shape[1], shape[2])
    if name is None:
        name = default if size >= IMAGENET_FROM else "cifar"
    if name not in STEMS:
        raise unknown_name("stem", name, STEMS)
    if size < REDUCTIONS[name]:
        raise UsageError(f"stem {name!r} reduces by {REDUCTIONS[name]}, too much for an input of {size} pixels; use --stem cifar")
    return STEMS[name](x, filters, momentum, activation)


def reduced_size(model: keras.Model) -> tuple[int, int] | None:
    """Height and width of the feature map after the model's stem; None for a network that has none by that name."""
    layers = [layer for layer in model.layers if layer.name.startswith("stem_")]
    if not layers:
        return None
    _, height, width, _ = layers[-1].output_shape
    return height, width


def convolve(
    x: tf.Tensor, filters: int, kernel_size: int, strides: int, name: str, momentum: float, activation: str | None
) -> tf.Tensor:
    x = keras.layers.Conv2D(filters, kernel_size, strides, "same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
    x = normalize(x, f"{name}_norm", momentum)
    return keras.layers.Activation(activation, name=f"{name}_activation")(x) if activation else x

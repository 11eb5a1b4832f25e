"""Layers that several networks of Larq Zoo share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras

from el_larq import layers

Norm = Callable[[tf.Tensor, str], tf.Tensor]


@dataclass(frozen=True)
class BinaryLayers:
    """Binary convolutions without bias. Each gets its own quantizers, as Larq recommends.

    clip: the limit of the gradient window of both signs and of the latent kernels.
    input_quantizer, kernel_quantizer: Larq's name, or a function that makes one, in place of signs with that window.
    initializer, regularizer: of the latent kernels; None is no regularizer.
    """

    clip: float = 1.0
    input_quantizer: str | Callable[[], Any] | None = None
    kernel_quantizer: str | Callable[[], Any] | None = None
    initializer: str = "glorot_uniform"
    regularizer: Any = None

    def conv(self, filters: int, size: int, name: str, *, real_input: bool = False, **arguments: Any) -> Any:
        """A layer with padding "same" by zeros, unless ``arguments``, those of `larq.layers.QuantConv2D`, say otherwise."""
        return larq.layers.QuantConv2D(
            **{"filters": filters, "kernel_size": size, "padding": "same", "use_bias": False, "name": name} | arguments,
            input_quantizer=None if real_input else self._quantizer(self.input_quantizer),
            kernel_quantizer=self._quantizer(self.kernel_quantizer),
            kernel_constraint=larq.constraints.WeightClip(self.clip),
            kernel_initializer=self.initializer,
            kernel_regularizer=self.regularizer,
        )

    def _quantizer(self, wanted: str | Callable[[], Any] | None) -> Any:
        if wanted is None:
            return larq.quantizers.SteSign(clip_value=self.clip)
        return wanted() if callable(wanted) else wanted


def normalize(x: tf.Tensor, name: str, momentum: float = 0.99, epsilon: float = 1e-3, **options: Any) -> tf.Tensor:
    """Batch normalization of the channels of x (N, ..., C), by default with Keras' momentum and epsilon."""
    return layers.normalize(x, name, momentum, epsilon, **options)


def classify(x: tf.Tensor, num_classes: int, initializer: str = "glorot_uniform") -> tf.Tensor:
    """Global average pooling and a dense layer: (N, H, W, C) to logits (N, num_classes)."""
    return keras.layers.Dense(num_classes, kernel_initializer=initializer, name="logits")(average(x, "pool"))


def average(x: tf.Tensor, name: str) -> tf.Tensor:
    """The mean of each channel, (N, H, W, C) to (N, C).

    Larq Zoo computes it by average pooling. A global average differs in its rounding, which changes the signs of later layers.
    """
    shape: Any = x.shape
    x = keras.layers.AveragePooling2D(tuple(shape[1:3]), name=name)(x)
    return keras.layers.Flatten(name=f"{name}_flatten")(x)


def add(y: tf.Tensor, shortcut: tf.Tensor, name: str) -> tf.Tensor:
    return keras.layers.Add(name=f"{name}_shortcut")([y, shortcut])


def fit_shortcut(x: tf.Tensor, filters: int, name: str, norm: Norm, padding: str = "same") -> tf.Tensor:
    """The shortcut of a unit of ResNet18: x, or, if ``filters`` differs from its channels, x halved and with that many channels."""
    shape: Any = x.shape
    if shape[-1] == filters:
        return x
    x = keras.layers.AveragePooling2D(2, 2, padding, name=f"{name}_downsample_pool")(x)
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="glorot_normal", name=f"{name}_downsample_conv")(x)
    return norm(x, f"{name}_downsample_norm")


def large_stem(x: tf.Tensor, filters: int, initializer: str) -> tf.Tensor:
    """7x7 convolution with stride 2, without bias."""
    return keras.layers.Conv2D(filters, 7, 2, "same", use_bias=False, kernel_initializer=initializer, name="stem_conv")(x)


def stem_pool(x: tf.Tensor) -> tf.Tensor:
    """3x3 max pooling with stride 2."""
    return keras.layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)


SMALL = 50
"""Images of a height below this get the stem of CIFAR-10 in networks that have one."""


def is_small(x: tf.Tensor) -> bool:
    shape: Any = x.shape
    return shape[1] < SMALL


def small_stem(x: tf.Tensor, filters: int) -> tf.Tensor:
    """3x3 convolution, without bias."""
    return keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name="stem_conv")(x)

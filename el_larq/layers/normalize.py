"""Batch normalization as every network and method of this project uses it."""

from typing import TYPE_CHECKING, Any

import tf_keras as keras

if TYPE_CHECKING:
    import tensorflow as tf

EPSILON = 1e-5
"""PyTorch's; Keras' own is 1e-3."""


def normalize(x: "tf.Tensor", name: str, momentum: float, **options: Any) -> "tf.Tensor":
    """Batch normalization of the channels of x (N, ..., C); ``name`` is the layer's. ``options`` are Keras' arguments."""
    return keras.layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, name=name, **options)(x)

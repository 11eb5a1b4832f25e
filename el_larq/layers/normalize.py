"""Batch normalization as used by every network and method of this project."""

from typing import TYPE_CHECKING, Any

import tf_keras as keras

if TYPE_CHECKING:
    import tensorflow as tf

EPSILON = 1e-5
"""PyTorch's default; Keras' default is 1e-3."""


def normalize(x: "tf.Tensor", name: str, momentum: float, epsilon: float = EPSILON, **options: Any) -> "tf.Tensor":
    """Batch normalization of the channels of x (N, ..., C). ``name`` is the layer's, ``options`` are Keras' further arguments."""
    return keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name, **options)(x)

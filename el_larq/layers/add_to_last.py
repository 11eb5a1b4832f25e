"""Addition to some of the channels."""

from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class AddToLast(keras.layers.Layer):
    """Called on [x, y], x (N, H, W, C) and y (N, H, W, K) with K <= C: adds y to the last K channels of x, (N, H, W, C).

        z_c = x_c                    for c < C - K
        z_c = x_c + y_(c - C + K)    for the others

    Gradient: dL/dx = dL/dz, and dL/dy is the part of dL/dz that belongs to the last K channels.

    Reference: the improvement block of Bethge, Bartz, Yang, Chen, Meinel: MeliusNet, arXiv 2001.05936.
    """

    def call(self, inputs: Any) -> tf.Tensor:
        x, y = inputs
        kept = x.shape[-1] - y.shape[-1]
        return x + tf.pad(y, [[0, 0], [0, 0], [0, 0], [kept, 0]])

"""The pooling of QuickNet's transitions: maximum, then a fixed low-pass filter."""

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras


def blur_pool(x: tf.Tensor, name: str) -> tf.Tensor:
    """(N, H, W, C) to (N, H // 2, W // 2, C), H and W at least 2: the maximum of 2x2 at every position, then the filter at every
    second one, which reduces the dependence on grid alignment. ``name`` is the prefix of the layers' names.

    The filter is a depthwise 3x3 convolution with a binomial kernel of sum 1.

    Reference: Zhang: Making Convolutional Networks Shift-Invariant Again, ICML 2019.
    """
    shape: Any = x.shape
    row = np.array([0.25, 0.5, 0.25])
    kernel = np.tile(np.outer(row, row)[:, :, None, None], (1, 1, shape[-1], 1))
    # As a list it is part of the saved configuration, so loading does not need a class of this module.
    initializer: Any = keras.initializers.Constant(kernel.tolist())  # pyright: ignore[reportArgumentType]
    x = keras.layers.MaxPooling2D(2, 1, name=f"{name}_pool")(x)
    return keras.layers.DepthwiseConv2D(
        3, 2, "same", use_bias=False, depthwise_initializer=initializer, trainable=False, name=f"{name}_blur"
    )(x)

"""TBN's kernel quantizer."""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class StraightScaledSign(larq.quantizers.Quantizer):
    """q(W) = alpha * sign(W) with alpha = mean|W| per filter (over all axes except the last), and sign(0) = +1.

    Gradient: dL/dW = dL/dq, unscaled and unclipped, as if q were the identity.

    Reference: Wan, Shen, Liu, Zhu, Qin, Shao, Shen, "TBN", ECCV 2018.
    """

    precision = 1

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return _forward(inputs)


@tf.custom_gradient
def _forward(kernel: Any) -> Any:
    alpha = tf.reduce_mean(tf.abs(kernel), list(range(len(kernel.shape) - 1)))
    return alpha * larq.math.sign(kernel), lambda g: g

"""A learned shift per channel."""

from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class ChannelShift(keras.layers.Layer):
    """y = x + b, with one learned b per channel, initially zero. Before a sign it is ReActNet's RSign, with the threshold -b.

    x and y are (N, ..., C). Gradients: dL/dx = dL/dy; dL/db = the sum of dL/dy over all axes but the last. b takes no weight
    decay.

    Reference: Liu, Shen, Savvides, Cheng, "ReActNet", ECCV 2020, arXiv 2003.03488.
    """

    def build(self, input_shape: Any) -> None:
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs + self.shift

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

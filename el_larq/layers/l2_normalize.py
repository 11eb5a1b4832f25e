"""Features scaled to a trained length per channel, as SSD does with those of conv4_3."""

from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class L2Normalize(keras.layers.Layer):
    """y = scale * x / sqrt(max(sum of x^2 over the channels, 1e-12)) with a trained scale per channel.

    (N, H, W, C) to the same shape. TFLite computes the quotient as L2_NORMALIZATION.

    Source: Liu, Rabinovich, Berg: ParseNet, arXiv 1506.04579; SSD (ECCV 2016) takes 20 as the initial scale.

    Arguments:
        start: the initial scale.
    """

    def __init__(self, start: float = 20.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape: Any) -> None:
        start: Any = keras.initializers.Constant(self.start)  # pyright: ignore[reportArgumentType]
        self.scale = self.add_weight("scale", (input_shape[-1],), initializer=start)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.math.l2_normalize(inputs, axis=-1) * self.scale

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"start": self.start}

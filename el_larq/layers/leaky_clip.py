"""A clip with a small slope outside its range."""

from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class LeakyClip(keras.layers.Layer):
    """y = slope * x + (1 - slope) * clip(x, -1, 1), for each element: the identity on [-1, 1], a line of that slope outside.

    Gradient: dL/dx = dL/dy on [-1, 1], slope * dL/dy outside. Source: Bi-Real Net's repository, which uses a slope of 0.1
    before a real-valued convolution, where a binary one has its sign.
    """

    def __init__(self, slope: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.slope * inputs + (1 - self.slope) * tf.clip_by_value(inputs, -1.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"slope": self.slope}

"""Splitting channels into groups."""

from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class SplitChannels(keras.layers.Layer):
    """(..., C) to ``groups`` tensors (..., C / groups) of consecutive channels. The gradient concatenates theirs.

    Raises:
        ValueError: C is not a multiple of groups.
    """

    def __init__(self, groups: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(inputs, self.groups, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"groups": self.groups}

"""Corrections between the bit counts of channels, for the method `cibcnn`."""

import math
from typing import Any

import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class InteractedBitcount(keras.layers.Layer):
    r"""Corrects some channels of a binary convolution's output by a small integer computed from other channels.

    z of shape (N, H, W, C) contains sums of ``fan_in`` products of signs: integers between -fan_in and fan_in. Channel c has at
    most one incoming edge, from channel source[c], of strength s_c in {-1, 0, 1}; 0 means no edge. At each position

        y_c = z_c + s_c * step * U(z_source[c])

        U(v) = 1 where v > T,  -1 where v < -T,  0 between

        t = floor(threshold * sqrt(fan_in)),  T = t + 1/2,  step = max(1, floor(T / 2 + 1/2))

    y is again an integer. T lies halfway between integers, and U is computed as clip(v, -t - 1, t + 1) - clip(v, -t, t), which
    is the same on integers and continuous, so rounding errors do not flip it.

    Gradient: dL/dz = dL/dy, with the correction as a constant; none for sources and strengths. Those are found by
    `el_larq.training.search_interactions`, whose policy is stored here too: ``target_logits`` (C,), ``source_logits`` (C,) and
    ``strength_logits`` (C, 3), for the strengths -1, 0, 1. All are non-trainable variables; without edges y = z.

    Arguments:
        fan_in: number of products in each sum: k * k * C_in of the convolution, divided by its number of groups.
        threshold: in units of sqrt(fan_in), the standard deviation of a sum of random signs.
        max_edges: maximum number of edges in this layer at once.
        proposals: number of proposals that one call of the search tries in the whole model (the largest of all layers counts).

    Raises:
        ValueError: the input is not (N, H, W, C) with known C.
    """

    def __init__(self, fan_in: int, threshold: float = 1.0, max_edges: int = 100, proposals: int = 16, **kwargs: Any):
        super().__init__(**kwargs)
        self.fan_in, self.threshold, self.max_edges, self.proposals = fan_in, threshold, max_edges, proposals
        self.limit = math.floor(threshold * math.sqrt(fan_in))
        self.step = max(1, math.floor((self.limit + 0.5) / 2 + 0.5))

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(f"{self.name}: the input must be (N, H, W, C) with known channels; got {tuple(input_shape)}")
        self.channels = int(input_shape[-1])

        def add(name: str, *shape: int, dtype: Any = None, initializer: Any = "zeros") -> tf.Variable:
            return self.add_weight(name=name, shape=shape, dtype=dtype, initializer=initializer, trainable=False)

        self.source = add("source", self.channels, dtype=tf.int32, initializer=_count_up)
        self.strength = add("strength", self.channels)
        self.target_logits = add("target_logits", self.channels)
        self.source_logits = add("source_logits", self.channels)
        self.strength_logits = add("strength_logits", self.channels, 3)
        super().build(input_shape)

    def call(self, z: tf.Tensor) -> tf.Tensor:
        counts = tf.gather(tf.stop_gradient(z), self.source, axis=3)
        low, high = float(self.limit), float(self.limit + 1)
        beyond = tf.clip_by_value(counts, -high, high) - tf.clip_by_value(counts, -low, low)
        correction = tf.cast(self.strength, z.dtype) * float(self.step) * beyond
        return z + tf.stop_gradient(correction)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "fan_in": self.fan_in,
            "threshold": self.threshold,
            "max_edges": self.max_edges,
            "proposals": self.proposals,
        }


def _count_up(shape: Any, dtype: Any = None) -> tf.Tensor:
    return tf.range(shape[0], dtype=dtype)

"""The kernel quantizer of the method `genetic`."""

from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras


@keras.utils.register_keras_serializable("el_larq")
class GeneticSign(larq.quantizers.Quantizer):
    """B = sign(W - t_f) with one threshold per filter f, sign(0) = +1; W is (..., C_out), t is (C_out,).

    Gradient: straight through, dL/dW = dL/dB * 1[|W| <= 1]. The window is that of the weights' constraint and does not move with
    t, so no weight gets stuck on one side of it. t has no gradient: it is a non-trainable variable, initially zero, which
    `el_larq.training.search_genetic` changes between epochs.

    Arguments:
        population: number of threshold vectors that compete in one call of the search.
        generations: rounds of crossover, mutation and selection in one call.
        balance: weight of the balance term that selection adds to the loss: the mean over filters of (mean of the signs)^2.
    """

    precision = 1

    def __init__(self, population: int = 6, generations: int = 2, balance: float = 0.05, **kwargs: Any):
        super().__init__(**kwargs)
        self.population, self.generations, self.balance = population, generations, balance

    def build(self, input_shape: Any) -> None:
        self.filter_threshold = self.add_weight(
            name="filter_threshold", shape=(int(input_shape[-1]),), initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        threshold = tf.cast(self.filter_threshold, inputs.dtype)

        @tf.custom_gradient
        def binarize(kernel: tf.Tensor) -> Any:
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return tf.where(tf.abs(kernel) <= 1, upstream, tf.zeros_like(upstream))

            return larq.math.sign(kernel - threshold), gradient

        return binarize(inputs)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "population": self.population,
            "generations": self.generations,
            "balance": self.balance,
        }

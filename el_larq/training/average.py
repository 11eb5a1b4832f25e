"""An exponential moving average of a model's trainable weights (Polyak and Juditsky, SIAM J. Control Optim. 30(4), 1992).

After step t = 0, 1, ..., with weights w: a <- d a + (1 - d) w, where d = min(decay, t / (t + 9)): the first step sets a = w, and
early weights are forgotten quickly. Signs are those of the averaged latent weights. The moving statistics of batch normalization
belong to the weights with which they were collected, so with the averaged weights they are collected again, on training batches.

With quantization simulated, learned steps are trained variables, and their logarithms are averaged like weights. Averaged ranges
are calibrated anew with the averaged weights. Statistics that are frozen are those that the weights are trained with, and stay. If
this begins at step t0, weights of earlier steps are a share of (t0 / T)^9 of the average after many steps T, or less: 3 % for two
thirds.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.training.distribution import Distribution, ReplicaVariables

BATCHES = 64
"""The number of training batches for the statistics: with a momentum of 0.9, the old ones then have a weight of 0.1 %."""


class WeightAverage:
    """The average of a model's trainable weights. ``variables`` contains it, in the order of the weights."""

    def __init__(self, model: keras.Model, decay: float, distribution: Distribution):
        self._model, self._decay = model, decay
        self._weights: list[tf.Variable] = list(model.trainable_variables)
        self.variables = [tf.Variable(weight, trainable=False) for weight in self._weights]

        def update(decay: tf.Tensor) -> None:
            for average, weight in zip(self.variables, self._weights, strict=True):
                average.assign_sub((1 - tf.cast(decay, weight.dtype)) * (average - weight))

        def forward(images: tf.Tensor) -> None:
            distribution.run(lambda images: model(images, training=True), images)

        self._update: Any = tf.function(update)
        self._forward: Any = tf.function(forward)

    def update(self, step: int) -> None:
        """Take in the weights after ``step``, counted from 0."""
        self._update(tf.constant(min(self._decay, step / (step + 9)), tf.float32))

    @contextlib.contextmanager
    def applied(self, batches: Iterable[tuple[Any, ...]], state: ReplicaVariables) -> Iterator[None]:
        """The model with the averaged weights, and with statistics of these batches; afterwards it is as before.

        Arguments:
            batches: none of them for statistics that are frozen.
            state: all variables that may change meanwhile: the model's, random generators, ranges and steps.
        """
        before = state.read()
        try:
            for weight, average in zip(self._weights, self.variables, strict=True):
                weight.assign(average)
            for images, *_ in batches:
                self._forward(images)
            yield
        finally:
            state.write(before)

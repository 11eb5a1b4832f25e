"""Evaluation between the steps of a training: one pass over a split, which a stop request ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.training.distribution import Distribution, ReplicaVariables
from el_larq.training.features import logits_of
from el_larq.training.stopping import Stop


@dataclass(frozen=True)
class SplitResult:
    """The result of one pass over a split.

    figures: loss and metrics by name.
    confusion: int64 (num_classes, num_classes): entry (i, j) is the number of images of class i that the model takes for class j;
        None if it was not asked for.
    """

    figures: dict[str, float]
    confusion: np.ndarray | None = None


class Evaluator:
    """Evaluates a compiled model as `Model.evaluate` does, and counts confusions in the same pass. Replicas share each batch."""

    def __init__(self, model: keras.Model, num_classes: int, stop: Stop, distribution: Distribution):
        self._model, self._num_classes, self._stop, self._distribution = model, num_classes, stop, distribution
        # Tracing the network a second time takes longer than counting what nobody asked for, unless replicas must sum the counts.
        self._counts_always = distribution.replicas == 1
        self._metrics = ReplicaVariables([variable for metric in model.metrics for variable in metric.variables], distribution)

        def step(images: tf.Tensor, labels: tf.Tensor, confusions: bool) -> tuple[Any, Any]:
            logits = logits_of(model, images)
            model.compute_loss(images, labels, logits)  # updates the mean loss
            figures: Any = model.compute_metrics(images, labels, logits, None)
            if not confusions:
                return figures, ()
            true, predicted = tf.reshape(labels, [-1]), tf.argmax(logits, axis=-1)
            return figures, tf.math.confusion_matrix(true, predicted, num_classes, dtype=tf.int64)

        def steps(images: Any, labels: Any, confusions: bool) -> tuple[Any, Any]:
            figures, counts = distribution.run(step, images, labels, confusions)
            return distribution.first(figures), distribution.sum(counts) if confusions else ()

        compiled: Any = model  # attributes of a compiled model
        self._step: Any = (
            steps
            if compiled.run_eagerly
            else tf.function(steps, reduce_retracing=True, jit_compile=True if compiled.jit_compile else None)
        )

    def evaluate(self, batches: Iterable[tuple[Any, Any]], confusions: bool = False) -> SplitResult | None:
        """Loss and metrics on a split; None if a stop was requested meanwhile.

        The metrics' variables are restored to the epoch's, as a state saved here must have them.
        """
        before = self._metrics.read()
        try:
            return self._evaluate(batches, confusions)
        finally:
            self._metrics.write(before)

    def _evaluate(self, batches: Iterable[tuple[Any, Any]], confusions: bool) -> SplitResult | None:
        self._model.reset_metrics()
        figures: dict[str, Any] = {}
        total = np.zeros((self._num_classes, self._num_classes), np.int64) if confusions else None
        for images, labels in self._distribution.joined(batches):
            figures, counts = self._step(*self._distribution.split(images, labels), confusions or self._counts_always)
            if total is not None:
                total += counts.numpy()
            if self._stop.asked:
                return None
        return SplitResult({name: float(value) for name, value in figures.items()}, total)

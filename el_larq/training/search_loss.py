"""What a search between epochs minimizes: a model's loss on a few training batches, with its variables at the time of each call."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.keras_internals import leaf_layers


@contextmanager
def training_loss(model: keras.Model, batches: Iterable[Any], count: int) -> Iterator[Callable[[], float]]:
    """Yield a function that returns the mean loss over the first ``count`` batches of (images, labels) for the current variables.

    Batch normalization uses each batch's own statistics, as the following training steps do: moving averages would belong to the
    model before a change. Dropout is off, so that two calls compare the same model. At the end, dropout rates and moving averages
    have their old values again. The loss is the compiled one, or cross-entropy of logits with integer labels if there is none.
    """
    data = [(batch[0], batch[1]) for batch in islice(batches, count)]
    compute = _trace(model)

    def evaluate() -> float:
        return float(np.mean([float(compute(images, labels)) for images, labels in data])) if data else float("nan")

    dropouts = {layer: layer.rate for layer in leaf_layers(model) if isinstance(layer, keras.layers.Dropout)}
    moved = [
        variable
        for layer in leaf_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.non_trainable_variables
    ]
    before = [variable.numpy() for variable in moved]
    try:
        for layer in dropouts:
            layer.rate = 0.0
        yield evaluate
    finally:
        for layer, rate in dropouts.items():
            layer.rate = rate
        for variable, value in zip(moved, before, strict=True):
            variable.assign(value)


# The training step and the traced loss that goes with it, by model. Tracing takes longer than the search in a small network.
_TRACES: WeakKeyDictionary[keras.Model, tuple[Any, Any]] = WeakKeyDictionary()


def _trace(model: keras.Model) -> Any:
    """The loss as a graph, kept as long as Keras keeps the graph of the training step: both are of the model as it was compiled."""
    step = getattr(model, "train_function", None)
    if model in _TRACES and _TRACES[model][0] is step:
        return _TRACES[model][1]
    loss, weak = _resolve_loss(model), ref(model)

    @tf.function
    def compute(images: tf.Tensor, labels: tf.Tensor) -> Any:
        traced: Any = weak()
        return tf.reduce_mean(loss(labels, traced(images, training=True)))

    _TRACES[model] = (step, compute)
    return compute


def _resolve_loss(model: keras.Model) -> Callable[[Any, Any], Any]:
    loss: Any = getattr(model, "loss", None)
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    return loss if callable(loss) else keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """The random generator of one search: a function of the run's seed, the epoch and the kind of search (``purpose``)."""
    return np.random.default_rng([seed % 2**32, epoch, purpose])

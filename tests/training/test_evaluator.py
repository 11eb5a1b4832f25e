"""Evaluation between steps: Keras' figures, confusions in the same pass, and metrics as before."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.training.distribution import Distribution
from el_larq.training.evaluator import Evaluator
from el_larq.training.stopping import Stop

PREDICTED, TRUE = [2, 0, 1, 1, 0], [2, 1, 1, 1, 0]


def _model(**arguments: Any) -> keras.Model:
    logits = keras.Input((3,))
    x = keras.layers.Activation("linear", activity_regularizer=keras.regularizers.L2(0.1))(logits)
    model = keras.Model(logits, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    top2 = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
    model.compile("sgd", loss, metrics=["accuracy", top2], **arguments)  # pyright: ignore[reportArgumentType]
    return model


def _batches() -> Any:
    return tf.data.Dataset.from_tensor_slices((tf.one_hot(PREDICTED, 3), tf.constant(TRUE, tf.int64))).batch(2)


@pytest.mark.parametrize("arguments", [{}, {"run_eagerly": True}], ids=str)
def test_figures_are_those_of_keras_and_confusions_come_in_the_same_pass(arguments: dict[str, Any]) -> None:
    model = _model(**arguments)
    wanted: Any = model.evaluate(_batches(), verbose=0, return_dict=True)  # pyright: ignore[reportArgumentType]
    found = Evaluator(model, 3, Stop(), Distribution()).evaluate(_batches(), confusions=True)
    assert found is not None
    assert found.figures == pytest.approx(wanted, rel=1e-6)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 1]]


def test_metrics_are_afterwards_as_they_were() -> None:
    model = _model()
    model.evaluate(_batches().take(1), verbose=0)  # pyright: ignore[reportArgumentType]
    before = [variable.numpy() for metric in model.metrics for variable in metric.variables]
    found = Evaluator(model, 3, Stop(), Distribution()).evaluate(_batches())
    assert found is not None
    assert found.confusion is None
    after = [variable.numpy() for metric in model.metrics for variable in metric.variables]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_stop_ends_it_after_the_batch_that_is_being_read() -> None:
    stop, read = Stop(), []

    def batches() -> Any:
        for images, labels in _batches():
            read.append(len(labels))
            stop.asked = len(read) == 2
            yield images, labels

    assert Evaluator(_model(), 3, stop, Distribution()).evaluate(batches()) is None
    assert read == [2, 2]

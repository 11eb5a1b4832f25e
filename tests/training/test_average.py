"""The moving average of weights: its mathematics, its statistics, exact resume."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from conftest import BATCH
from watched import kill_at

from el_larq.card import read
from el_larq.data.in_memory import InMemory
from el_larq.errors import UsageError
from el_larq.training.average import WeightAverage
from el_larq.training.distribution import Distribution, ReplicaVariables
from el_larq.training.recipe import Recipe
from el_larq.training.train import resume

RECIPE = Recipe("averaged", "", epochs=2, batch_size=BATCH, learning_rate=1e-2, average=0.9)


def test_it_is_the_average_of_the_formula_and_leaves_the_model_as_it_was() -> None:
    image = keras.Input((1,))
    normed = keras.layers.BatchNormalization(momentum=0.5, scale=False, center=False)(keras.layers.Dense(1, use_bias=False)(image))
    model = keras.Model(image, normed)
    (weight,), average = model.trainable_weights, WeightAverage(model, 0.5, Distribution())
    expected = 0.0
    for step, value in enumerate([1.0, 2.0, -3.0, 0.5] * 5):
        weight.assign([[value]])
        average.update(step)
        decay = min(0.5, step / (step + 9))
        expected = decay * expected + (1 - decay) * value
        assert float(average.variables[0][0, 0]) == pytest.approx(expected, abs=1e-5)
    before = [variable.numpy() for variable in model.variables]
    batches = [(tf.constant([[1.0], [3.0]]), None)] * 30
    with average.applied(batches, ReplicaVariables(model.variables, Distribution())):
        assert float(weight[0, 0]) == pytest.approx(expected, abs=1e-5)
        mean, variance = model.layers[-1].moving_mean, model.layers[-1].moving_variance
        assert float(mean[0]) == pytest.approx(2 * expected, abs=1e-5)  # of these batches, with the averaged weight
        assert float(variance[0]) == pytest.approx(expected**2, abs=1e-5)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.slow
def test_a_run_saves_the_average_and_resumes_exactly(start: Any, digits: InMemory, tmp_path: Path, assert_same: Any) -> None:
    whole = start(tmp_path / "whole", recipe=RECIPE)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", recipe=RECIPE, checkpoint_steps=2, dataset=kill_at(digits, 7))
    assert_same(whole, resume(tmp_path / "run", dataset=digits))
    plain = start(tmp_path / "plain", recipe=replace(RECIPE, average=0.0))
    losses = [
        [json.loads(line)["loss"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()] for run in (whole, plain)
    ]
    assert losses[0] == losses[1]  # it does not change the training
    assert any(np.any(a != b) for a, b in zip(whole.model.get_weights(), plain.model.get_weights(), strict=True))
    card = read(whole.h5)
    assert card is not None
    assert card["trained_with"]["average"] == 0.9


def test_a_decay_out_of_range_is_named() -> None:
    with pytest.raises(UsageError, match="average must be a decay from 0 to below 1; got 1"):
        RECIPE.with_changes(average=1.0)

from typing import Any

import numpy as np
import pytest
import tf_keras as keras

from el_larq.training.search_loss import training_loss


def make() -> Any:
    keras.utils.set_random_seed(0)
    image = keras.Input((3,))
    x = keras.layers.BatchNormalization(name="norm")(image)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(image, keras.layers.Dense(4, name="logits")(x))


def batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(2, 3, (8, 3)).astype(np.float32), random.integers(0, 4, 8)


def cross_entropy(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """By hand: normalized with the batch's own statistics, nothing dropped."""
    normalized = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + model.get_layer("norm").epsilon)
    kernel, bias = model.get_layer("logits").get_weights()
    logits = normalized.astype(np.float64) @ kernel + bias
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]))


def test_the_mean_over_the_first_batches_with_their_own_statistics():
    model, batches = make(), [batch(1), batch(2), batch(3)]
    expected = np.mean([cross_entropy(model, *pair) for pair in batches[:2]])
    with training_loss(model, iter(batches), 2) as loss:
        assert loss() == pytest.approx(expected, rel=1e-5)
        model.get_layer("logits").kernel.assign_add(np.ones((3, 4)) * [1, 0, 0, 0])
        changed = np.mean([cross_entropy(model, *pair) for pair in batches[:2]])
        assert changed != pytest.approx(expected, rel=1e-2)
        assert loss() == pytest.approx(changed, rel=1e-5)


def test_it_leaves_no_trace():
    model = make()
    before = [v.numpy() for v in model.variables]
    for broken in (False, True):
        try:
            with training_loss(model, [batch(1)], 1) as loss:
                loss()
                assert not np.array_equal(model.get_layer("norm").moving_mean, before[2])
                if broken:
                    raise KeyError
        except KeyError:
            pass
        for variable, value in zip(model.variables, before, strict=True):
            np.testing.assert_array_equal(variable, value)
        assert model.get_layer("dropout").rate == 0.5


def test_the_loss_is_the_compiled_one():
    model, (x, y) = make(), batch(1)
    with training_loss(model, [(x, y)], 1) as loss:
        plain = loss()
    model.compile("sgd", lambda labels, logits: 3 * keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    model.fit(x, y, epochs=1, verbose=0)
    model.get_layer("logits").set_weights(make().get_layer("logits").get_weights())
    model.get_layer("norm").set_weights(make().get_layer("norm").get_weights())
    with training_loss(model, [(x, y)], 1) as loss:
        assert loss() == pytest.approx(3 * plain, rel=1e-5)

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.keras_internals import leaf_layers
from el_larq.layers import ElasticLink
from el_larq.models.build import build
from el_larq.training.optimizer import decayed_kernels, make_loss, make_optimizer
from el_larq.training.recipe import Recipe

RECIPE = Recipe("test", "", epochs=1, batch_size=4, learning_rate=0.01, warmup=0.0, weight_decay=0.1)


@pytest.fixture(scope="module", params=["el", "bireal", "float"])
def model(request: pytest.FixtureRequest) -> Any:
    return build("resnet26", request.param, input_shape=(16, 16, 1), num_classes=4, width=0.125, stem="small")


def real_kernels(model: Any) -> set[str]:
    """By name, from the layers' kinds: convolutions without quantizers, and the classifier."""
    names = set()
    for layer in leaf_layers(model):
        if type(layer) in (keras.layers.Conv2D, keras.layers.Dense):
            names.add(layer.kernel.name)
        elif type(layer) is keras.layers.DepthwiseConv2D:
            names.add(layer.depthwise_kernel.name)
    return names


def fill_with_ones(model: Any) -> dict[str, np.ndarray]:
    for variable in model.trainable_variables:
        variable.assign(tf.ones_like(variable))
    return {variable.name: variable.numpy() for variable in model.trainable_variables}


def test_weight_decay_moves_real_kernels_and_nothing_else(model: Any):
    before = fill_with_ones(model)
    optimizer: Any = make_optimizer(RECIPE, model, steps=10)
    variables = model.trainable_variables
    optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in variables])
    moved = {variable.name for variable in variables if not np.array_equal(variable.numpy(), before[variable.name])}
    assert moved == real_kernels(model)
    assert "logits/kernel:0" in moved
    assert "stem_depthwise/depthwise_kernel:0" in moved
    for variable in variables:
        if variable.name in moved:  # decoupled: by the learning rate times the decay
            np.testing.assert_allclose(variable, 1 - 0.01 * 0.1, rtol=1e-5)


def test_decayed_kernels_are_the_real_valued_ones(model: Any):
    kernels = decayed_kernels(model)
    assert {kernel.name for kernel in kernels} == real_kernels(model)
    assert len({id(kernel) for kernel in kernels}) == len(kernels)


def test_gamma_norms_and_biases_take_no_decay_but_are_trained():
    model: Any = build("resnet26", "el", input_shape=(16, 16, 1), num_classes=4, width=0.125)
    links = [layer for layer in leaf_layers(model) if isinstance(layer, ElasticLink)]
    trained = {id(variable) for variable in model.trainable_variables}
    assert all(id(link.gamma) in trained for link in links)
    assert not {id(link.gamma) for link in links} & {id(kernel) for kernel in decayed_kernels(model)}


def test_without_weight_decay_nothing_moves_on_its_own(model: Any):
    before = fill_with_ones(model)
    optimizer: Any = make_optimizer(replace(RECIPE, weight_decay=0.0), model, steps=10)
    optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in model.trainable_variables])
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(variable, before[variable.name])


# --- The schedule ---------------------------------------------------------------------------------------------------------


def rates(recipe: Recipe, steps: int) -> np.ndarray:
    image = keras.Input((2,))
    optimizer: Any = make_optimizer(recipe, keras.Model(image, keras.layers.Dense(1)(image)), steps)
    return np.array([float(optimizer._learning_rate(step)) for step in range(steps + 1)])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("warmup", [0.1, 0.5])
def test_the_learning_rate_warms_up_to_its_peak_and_ends_at_zero(warmup: float, weight_decay: float):
    rate = rates(replace(RECIPE, warmup=warmup, weight_decay=weight_decay), 100)
    peak = round(100 * warmup)
    np.testing.assert_allclose(rate[: peak + 1], 0.01 * np.arange(peak + 1) / peak, rtol=1e-4, atol=1e-8)
    after = np.arange(100 - peak + 1) / (100 - peak)
    np.testing.assert_allclose(rate[peak:], 0.01 * (1 + np.cos(np.pi * after)) / 2, rtol=1e-3, atol=1e-7)


def test_without_warm_up_it_starts_at_the_peak():
    rate = rates(RECIPE, 20)
    assert rate[0] == pytest.approx(0.01)
    assert rate[-1] == pytest.approx(0, abs=1e-7)
    assert np.all(np.diff(rate) < 0)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
def test_the_shortest_trainings_have_a_schedule(steps: int, warmup: float):
    rate = rates(replace(RECIPE, warmup=warmup), steps)
    assert np.all(np.isfinite(rate))
    assert rate.max() <= 0.01 * (1 + 1e-6)


def test_a_linear_schedule_rises_to_its_peak_and_falls_to_zero():
    found = rates(replace(RECIPE, schedule="linear", warmup=0.2), 10)
    assert found == pytest.approx([0, 0.005, 0.01, *(0.01 * (10 - step) / 8 for step in range(3, len(found)))])


@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_step_and_constant_schedules_hold_the_rate_between_drops(warmup: float):
    constant = rates(replace(RECIPE, schedule="constant", warmup=warmup), 100)
    steps = rates(replace(RECIPE, schedule="step", drop_at=(0.4, 0.8), drop=0.5, warmup=warmup), 100)
    peak = round(100 * warmup)
    expected = 0.01 * np.minimum(1, np.arange(101) / max(peak, 1e-9)) if peak else np.full(101, 0.01)
    np.testing.assert_allclose(constant, expected, rtol=1e-6)
    factors = np.repeat([1, 0.5, 0.25], [40, 40, 21])
    np.testing.assert_allclose(steps, expected * factors, rtol=1e-6)


# --- The optimizers -------------------------------------------------------------------------------------------------------


def updates(recipe: Recipe, gradients: list[float]) -> list[float]:
    """The value of a weight that starts at 1 after each step; a constant rate of 0.1."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
    recipe = replace(recipe, learning_rate=0.1, schedule="constant", warmup=0.0)
    optimizer: Any = make_optimizer(recipe, model, len(gradients))
    found = []
    for gradient in gradients:
        optimizer.apply_gradients([(tf.constant([[gradient]]), model.trainable_variables[0])])
        found.append(float(model.trainable_variables[0][0, 0]))
    return found


def test_sgd_has_nesterov_momentum_and_decoupled_weight_decay():
    momentum, decay, rate, weight, velocity, expected = 0.8, 0.5, 0.1, 1.0, 0.0, []
    gradients = [1.0, -2.0, 0.5]
    for gradient in gradients:
        weight -= rate * decay * weight
        velocity = momentum * velocity - rate * gradient
        weight += momentum * velocity - rate * gradient
        expected.append(weight)
    recipe = replace(RECIPE, optimizer="sgd", momentum=momentum, weight_decay=decay)
    np.testing.assert_allclose(updates(recipe, gradients), expected, rtol=1e-5)
    plain = updates(replace(recipe, momentum=0.0, weight_decay=0.0), [1.0, 1.0])
    np.testing.assert_allclose(plain, [0.9, 0.8], rtol=1e-6)


def test_adam_is_adamw_without_decay():
    adam = updates(replace(RECIPE, optimizer="adam", weight_decay=0.0), [1.0, 0.3])
    assert adam == updates(replace(RECIPE, weight_decay=0.0), [1.0, 0.3])
    assert adam[0] == pytest.approx(0.9, abs=1e-5)  # the first step of Adam is the rate
    assert updates(replace(RECIPE, weight_decay=0.1), [1.0])[0] == pytest.approx(1 - 0.1 * 0.1 - 0.1, abs=1e-5)


def test_gradients_are_clipped_by_their_global_norm():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs))
    recipe = replace(RECIPE, optimizer="sgd", momentum=0.0, weight_decay=0.0, schedule="constant", learning_rate=1.0, clip_norm=0.5)
    optimizer: Any = make_optimizer(recipe, model, 2)
    kernel, bias = model.trainable_variables
    optimizer.apply_gradients([(tf.constant([[3.0]]), kernel), (tf.constant([4.0]), bias)])
    np.testing.assert_allclose([kernel[0, 0], bias[0]], [-0.3, -0.4], rtol=1e-6)
    optimizer.apply_gradients([(tf.constant([[0.3]]), kernel), (tf.constant([0.0]), bias)])
    np.testing.assert_allclose([kernel[0, 0], bias[0]], [-0.6, -0.4], rtol=1e-6)


# --- The loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_loss_is_smoothed_cross_entropy(smoothing: float, shape: tuple[int, ...]):
    random = np.random.default_rng(0)
    logits = random.normal(scale=4, size=(6, 5)).astype(np.float32)
    labels = random.integers(0, 5, 6)
    loss = make_loss(replace(RECIPE, label_smoothing=smoothing), 5)(tf.constant(labels.reshape(shape)), tf.constant(logits))

    wide = logits.astype(np.float64)
    log_p = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    targets = np.full((6, 5), smoothing / 5)
    targets[np.arange(6), labels] += 1 - smoothing
    np.testing.assert_allclose(loss, -(targets * log_p).sum(axis=1), rtol=1e-5)

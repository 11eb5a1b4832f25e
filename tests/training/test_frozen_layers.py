"""Which layers `freeze` leaves as they are, and the slower learning rate of a backbone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.errors import UsageError
from el_larq.models.build import build
from el_larq.training.frozen_layers import find_head, freeze_layers, frozen_layers, restore_trainable
from el_larq.training.optimizer import make_optimizer
from el_larq.training.recipe import Recipe

RECIPE = Recipe("test", "", epochs=1, batch_size=4, learning_rate=0.01, warmup=0.0, schedule="constant")


@pytest.fixture(scope="module")
def model() -> Any:
    return build("mobilenet", "el", input_shape=(16, 16, 1), num_classes=4, width=0.125)


def test_the_head_is_the_last_layer_with_weights(model: Any):
    head = find_head(model)
    assert [layer.name for layer in head.layers] == ["logits"]
    assert head.features.shape[1:] == (model.get_layer("logits").kernel.shape[0],)


def test_layers_without_weights_after_it_belong_to_the_head():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(5, 1, name="features")(image)
    x = keras.layers.Conv2D(4, 1, name="classifier")(x)
    model = keras.Model(image, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(x)))
    head = find_head(model)
    assert [type(layer).__name__ for layer in head.layers] == ["Conv2D", "GlobalAveragePooling2D", "Softmax"]
    assert head.features.shape[1:] == (8, 8, 5)
    assert [layer.name for layer in frozen_layers(model, replace(RECIPE, freeze="backbone"))] == ["features"]


def test_a_network_without_a_single_last_layer_has_no_known_head():
    image = keras.Input((8,))
    both = keras.layers.Add()([keras.layers.Dense(3)(image), keras.layers.Dense(3)(image)])
    with pytest.raises(UsageError, match="does not end in a chain of single layers"):
        frozen_layers(keras.Model(image, both), replace(RECIPE, freeze="backbone"))


def test_backbone_and_patterns(model: Any):
    with_weights = [layer.name for layer in model.layers if layer.weights]
    names = lambda freeze: [layer.name for layer in frozen_layers(model, replace(RECIPE, freeze=freeze))]  # noqa: E731
    assert names("none") == []
    assert names("backbone") == [name for name in with_weights if name != "logits"]
    stem = names("stem_*")
    assert stem == [name for name in with_weights if name.startswith("stem_")]
    assert names(" stem_*, logits") == [*stem, "logits"]


def test_frozen_normalizations_keep_weights_and_statistics(model: Any):
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    recipe = replace(RECIPE, batch_norm="frozen")
    assert frozen_layers(model, recipe) == norms
    before_freezing = freeze_layers(model, recipe)
    before = [array for layer in norms for array in layer.get_weights()]
    model(np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype(np.float32), training=True)
    for array, old in zip([array for layer in norms for array in layer.get_weights()], before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert not {id(w) for layer in norms for w in layer.weights} & {id(w) for w in model.trainable_weights}
    restore_trainable(before_freezing)
    assert {id(w) for layer in norms for w in layer.trainable_weights} <= {id(w) for w in model.trainable_weights}


def test_a_normalization_of_the_logits_belongs_to_the_head():
    image = keras.Input((6,))
    x = keras.layers.Dense(5, name="below")(image)
    x = keras.layers.Dense(4, name="classifier")(x)
    model = keras.Model(image, keras.layers.Softmax()(keras.layers.BatchNormalization()(x)))
    assert [layer.name for layer in frozen_layers(model, replace(RECIPE, freeze="backbone"))] == ["below"]
    assert frozen_layers(model, replace(RECIPE, batch_norm="frozen")) == []


def test_layers_without_trained_weights_are_not_frozen(model: Any):
    stem = next(layer.name for layer in model.layers if layer.weights and layer.name.startswith("stem_"))
    with pytest.raises(UsageError, match=f"^{stem} would be frozen with random weights"):
        freeze_layers(model, replace(RECIPE, freeze="stem_*"), fresh=[stem, "logits"])
    assert all(layer.trainable for layer in model.layers)


def test_parts_of_the_head_are_trained_and_what_was_frozen_before_stays_so():
    image = keras.Input((3, 6))
    below = keras.layers.Dense(5, name="below")(image)
    fixed = keras.layers.Dense(5, trainable=False, name="fixed")(below)
    logits = keras.layers.GlobalAveragePooling1D()(keras.layers.TimeDistributed(keras.layers.Dense(4), name="head")(fixed))
    model = keras.Model(image, logits)
    before = freeze_layers(model, replace(RECIPE, freeze="backbone"))
    assert [weight.shape[-1] for weight in model.trainable_weights] == [4, 4]
    restore_trainable(before)
    assert [layer.name for layer in model.layers if layer.weights and layer.trainable] == ["below", "head"]


def test_a_head_whose_layer_is_called_twice_is_not_known():
    image = keras.Input((4,))
    tied = keras.layers.Dense(4)
    model = keras.Model(image, tied(keras.layers.ReLU()(tied(image))))
    with pytest.raises(UsageError, match="its head is not known"):
        frozen_layers(model, replace(RECIPE, freeze="backbone"))


def test_a_compiled_model_is_not_changed():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="one"), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(UsageError, match="is compiled, so its layers cannot be frozen"):
        freeze_layers(model, replace(RECIPE, freeze="one"))


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("stage9_*", r"--freeze stage9_\*: no layer with weights has such a name; there are stem_"),
        ("stem_*,nothing", "--freeze nothing: no layer with weights has such a name"),
        ("*", r"freeze \* freezes all layers"),
    ],
)
def test_patterns_that_make_no_sense_are_refused(model: Any, freeze: str, message: str):
    with pytest.raises(UsageError, match=message):
        freeze_layers(model, replace(RECIPE, freeze=freeze))


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01}, {"optimizer": "adamw", "weight_decay": 0.01}],
)
def test_the_backbone_rate_is_a_learning_rate_for_all_layers_but_the_head(changes: dict[str, Any]):
    """Compared with two whole trainings: one at the common rate, for the head, and one at the lower rate, for the backbone.

    The loss is linear in all weights, so that gradients do not depend on them.
    """

    def trained(rate: float, backbone_rate: float) -> dict[str, np.ndarray]:
        keras.utils.set_random_seed(3)
        image = keras.Input((6,))
        x = keras.layers.Dense(5, name="below")(image)
        model = keras.Model(image, keras.layers.Dense(2, name="head")(x))
        recipe = replace(RECIPE, learning_rate=rate, backbone_rate=backbone_rate, **changes)
        optimizer: Any = make_optimizer(recipe, model, steps=8)

        @tf.function
        def step() -> None:
            gradients = [tf.ones_like(variable) * 0.3 for variable in model.trainable_variables]
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        optimizer.build(model.trainable_variables)
        for _ in range(5):
            step()
        return {f"{layer.name}/{w.name}": w.numpy() for layer in model.layers for w in layer.weights}

    found, fast, slow = trained(0.01, 0.1), trained(0.01, 1.0), trained(0.001, 1.0)
    for name, value in found.items():
        np.testing.assert_allclose(value, fast[name] if name.startswith("head") else slow[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone_rate": 0.0}, "backbone rate must be a factor above 0, at most 1; got 0"),
        ({"batch_norm": "off"}, "unknown batch_norm 'off'"),
        ({"freeze": " "}, "freeze must be none, backbone or patterns"),
        ({"backbone_rate": 0.5, "optimizer": "bop", "weight_decay": 0.0}, "bop has one learning rate for all layers"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        RECIPE.with_changes(**changes)

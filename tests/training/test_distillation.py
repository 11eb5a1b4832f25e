"""Losses with a teacher against their formulas in NumPy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.data.in_memory import InMemory
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import UsageError
from el_larq.training.determinism import set_deterministic
from el_larq.training.distillation import attention_loss, distilled, distributional_loss, logits_loss
from el_larq.training.models import bare
from el_larq.training.optimizer import make_loss
from el_larq.training.recipe import Recipe
from el_larq.training.teacher import Teacher, load_teacher

RECIPE = Recipe("x", "", epochs=1, batch_size=4, learning_rate=0.1, optimizer="sgd", momentum=0.0, weight_decay=0.0)
RANDOM = np.random.RandomState(0)
Z, T = RANDOM.randn(4, 5).astype(np.float32), RANDOM.randn(4, 5).astype(np.float32)
OWN = Preprocessing(8, 8, 3, mean=0.0, std=255.0)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _gradient(function: Any, z: np.ndarray) -> np.ndarray:
    variable: Any = tf.Variable(tf.constant(z))
    with tf.GradientTape() as tape:
        loss = function(variable)
    gradient: Any = tape.gradient(loss, variable)
    return gradient.numpy()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergence_of_logits_and_its_gradient(temperature: float):
    p, q = softmax(T / temperature), softmax(Z / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=-1).mean()
    assert float(logits_loss(T, Z, temperature)) == pytest.approx(expected, rel=1e-4)
    found = _gradient(lambda z: logits_loss(T, z, temperature), Z)
    np.testing.assert_allclose(found, temperature * (q - p) / len(Z), rtol=1e-3, atol=1e-6)
    assert float(logits_loss(Z, Z, temperature)) == pytest.approx(0, abs=1e-6)


def test_distributional_loss_and_its_gradient():
    p, q = softmax(T), softmax(Z)
    assert float(distributional_loss(T, Z)) == pytest.approx(-(p * np.log(q)).sum(axis=-1).mean(), rel=1e-4)
    np.testing.assert_allclose(_gradient(lambda z: distributional_loss(T, z), Z), (q - p) / len(Z), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("norm", ["l2", "max"])
def test_attention_maps_of_any_number_of_channels(norm: str):
    a, b = RANDOM.randn(2, 3, 5, 4).astype(np.float32), RANDOM.randn(2, 3, 5, 7).astype(np.float32)
    maps = []
    for output in (a, b):
        energy = np.square(output).sum(axis=-1).reshape(2, 15)
        size = np.sqrt(np.square(energy).sum(axis=1)) if norm == "l2" else energy.max(axis=1)
        maps.append(energy / size[:, None])
    squared = np.square(maps[0] - maps[1])
    expected = squared.sum(axis=1).mean() if norm == "l2" else squared.mean()
    assert float(attention_loss(a, b, norm)) == pytest.approx(expected, rel=1e-4)
    assert float(attention_loss(a, 3 * a, norm)) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(float(attention_loss(0 * a, b, norm)))


def _network(channels: int, size: int = 1) -> Any:
    keras.utils.set_random_seed(channels)
    x = keras.Input((8, 8, 3))
    y: Any = x
    for block in (1, 2):
        y = keras.layers.Conv2D(channels, 3, size, "same", name=f"block{block}_conv")(y)
        y = keras.layers.ReLU(name=f"block{block}_relu")(y)
    return keras.Model(x, keras.layers.Dense(5, name="logits")(keras.layers.GlobalAveragePooling2D(name="pool")(y)))


def _teacher(model: Any, scaling: Preprocessing | None = None, probabilities: bool = False) -> Teacher:
    return Teacher(Path("teacher"), model, OWN, scaling, probabilities)


def test_a_step_minimizes_the_weighted_sum_of_all_terms_and_reports_it():
    set_deterministic(True)
    student, teacher = _network(4), _network(6)
    terms = {"cross_entropy": 0.5, "logits": 2.0, "temperature": 3.0, "distributional": 0.25, "attention": 7.0}
    recipe = replace(RECIPE, label_smoothing=0.0, **terms)
    model: Any = distilled(student, recipe, _teacher(teacher))
    assert [variable.name for variable in model.variables] == [variable.name for variable in student.variables]
    x, y = RANDOM.rand(4, 8, 8, 3).astype(np.float32), np.array([0, 1, 2, 4])

    def outputs(network: Any) -> list[Any]:
        return keras.Model(network.inputs, [network.outputs[0], *(network.get_layer(f"block{n}_relu").output for n in (1, 2))])(x)

    with tf.GradientTape() as tape:
        (z, *maps), (t, *others) = outputs(student), outputs(teacher)
        expected: Any = (
            0.5 * tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, z, from_logits=True))
            + 2.0 * logits_loss(t, z, 3.0)
            + 0.25 * distributional_loss(t, z)
            + 7.0 / 2 * (attention_loss(maps[0], others[0], "l2") + attention_loss(maps[1], others[1], "l2"))
        )
    gradients = tape.gradient(expected, student.trainable_variables)
    moved = [variable - 0.1 * gradient for variable, gradient in zip(student.trainable_variables, gradients, strict=True)]
    model.compile(keras.optimizers.SGD(0.1), make_loss(recipe, 5), metrics=["accuracy"])
    step: Any = model.make_train_function()
    found = step(iter(tf.data.Dataset.from_tensors((x, y))))
    assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-4)
    for variable, value in zip(student.trainable_variables, moved, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5)
    traced = step.get_concrete_function(iter(tf.data.Dataset.from_tensors((x, y)))).graph.as_graph_def()
    nodes = [*traced.node, *(node for function in traced.library.function for node in function.node_def)]
    assert [node.name for node in nodes if node.op == "AddN" and len(node.input) > 2] == []

    # In an evaluation there is no teacher: the loss is the cross-entropy, whatever its weight.
    z = student(x)
    plain_loss = float(tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, z, from_logits=True)))
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(plain_loss, rel=1e-4)
    assert type(bare(model)) is not type(model)


def test_cross_entropy_alone_needs_no_other_step():
    student = _network(4)
    assert distilled(student, RECIPE, None) is student
    assert distilled(student, replace(RECIPE, cross_entropy=2.0), None) is not student


def test_maps_of_other_sizes_and_layers_that_are_not_there_are_named():
    recipe = replace(RECIPE, attention=1.0)
    with pytest.raises(UsageError, match="attention on block1: the network's map is 8x8, that of teacher is 4x4"):
        distilled(_network(4), recipe, _teacher(_network(4, size=2)))
    with pytest.raises(UsageError, match="attention on block3: the network has no layer of that name"):
        distilled(_network(4), replace(recipe, attention_on=("block3",)), _teacher(_network(4)))
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(image)))
    with pytest.raises(UsageError, match="have no blocks of the same names"):
        distilled(_network(4), recipe, _teacher(other))


def test_a_teacher_gets_inputs_scaled_as_its_own_and_gives_logits():
    how = Preprocessing(8, 8, 3, mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0), channel_order="bgr")
    pixels = RANDOM.randint(0, 256, (2, 8, 8, 3)).astype(np.float32)
    found = _teacher(_network(4), how).inputs(pixels / 255.0)
    np.testing.assert_allclose(found, (pixels[..., ::-1] - [10, 20, 30]) / [1, 2, 4], rtol=1e-3, atol=1e-2)
    scores = _teacher(_network(4), probabilities=True).logits(softmax(T))
    np.testing.assert_allclose(softmax(scores.numpy()), softmax(T), rtol=1e-4)


def test_a_teacher_from_a_file_is_checked(digits: InMemory, tmp_path: Path):
    shape = digits.preprocessing.input_shape

    def saved(name: str, input_shape: tuple[int, ...], last: str | None) -> Path:
        image = keras.Input(input_shape)
        path = tmp_path / name
        keras.Model(image, keras.layers.Dense(10, last)(keras.layers.GlobalAveragePooling2D()(image))).save(path)
        return path

    assert load_teacher(saved("a.keras", shape, "softmax"), digits).probabilities
    assert not load_teacher(saved("b.keras", shape, None), digits).probabilities
    with pytest.raises(UsageError, match=r"takes inputs \[\(5, 5, 1\)\], the training has \(16, 16, 1\); train a"):
        load_teacher(saved("c.keras", (5, 5, 1), None), digits)

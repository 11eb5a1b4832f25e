"""Large constants are kept outside the frozen graph, and stay the model's own through every edit."""

import gc
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.normalized import normalized


def network(kind: str) -> keras.Model:
    image = keras.Input((8, 8, 4))
    x = keras.layers.Flatten()(image)
    if kind == "twice":
        shared = keras.layers.Dense(256, name="large")
        x = shared(shared(x))
    elif kind == "constant":
        large = tf.constant(np.random.default_rng(0).standard_normal((256, 100)), tf.float32)
        x = keras.layers.Lambda(lambda x: tf.matmul(x, large), name="large")(x)
    else:
        x = keras.layers.Dense(100, name="large", dtype="mixed_float16" if kind == "half" else None)(x)
    return keras.Model(image, keras.layers.Dense(3, dtype="float32")(x))


@pytest.mark.parametrize("kind", ["plain", "twice", "constant", "half"])
def test_large_constants_are_outside_the_graph(kind, tmp_path):
    keras.utils.set_random_seed(0)
    model = network(kind)
    images = np.random.default_rng(1).standard_normal((3, 8, 8, 4)).astype(np.float32)
    wanted = np.asarray(model(images))
    frozen = FrozenModel(model)
    tolerance = 2e-3 if kind == "half" else 1e-6  # normalized, it computes more precisely than the model
    for one in (frozen, normalized(frozen), frozen.edited(lambda graph: None)):
        assert one._graph.as_graph_def().ByteSize() < 2**14
        assert one.weight_bytes >= 256 * 100 * (2 if kind == "half" else 4)
        np.testing.assert_allclose(one.fetch(one.outputs)(images)[0], wanted, atol=tolerance * np.abs(wanted).max())
    normalized(frozen).save(str(tmp_path))
    serve = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    one, *_ = serve(**{next(iter(serve.structured_input_signature[1])): tf.constant(images[:1])}).values()
    np.testing.assert_allclose(one, wanted[:1], atol=tolerance * np.abs(wanted).max())


def test_a_frozen_model_keeps_its_weights_when_the_model_changes():
    model = network("plain")
    layer: Any = model.get_layer("large")
    kernel, frozen = layer.kernel, FrozenModel(model)
    before = kernel.numpy()
    (product,) = [o for o in frozen.operations if o.type == "MatMul" and o.inputs[1].shape == kernel.shape]
    (value,) = frozen.constants([product.inputs[1]])
    kernel.assign(tf.zeros_like(kernel))
    assert value is not None
    np.testing.assert_array_equal(value, before)
    assert not value.flags.writeable
    assert np.any(frozen.fetch(frozen.outputs)(np.ones((1, 8, 8, 4), np.float32))[0])


def test_functions_of_a_loop_are_deleted_once(monkeypatch: pytest.MonkeyPatch):
    """Freezing replaces the functions of the traced model, which TensorFlow deletes by name with the model."""
    errors = []
    monkeypatch.setattr("sys.unraisablehook", lambda error: errors.append(error.exc_value))
    image = keras.Input((4, 3))
    model = keras.Model(image, keras.layers.LSTM(2)(image))
    frozen = FrozenModel(model)
    assert any(operation.type in ("While", "StatelessWhile") for operation in frozen.operations)
    edited = frozen.edited(lambda graph: None)
    x = np.ones((1, 4, 3), np.float32)
    wanted = np.asarray(model(x))
    del model, frozen
    keras.backend.clear_session()
    gc.collect()
    np.testing.assert_allclose(edited.fetch(edited.outputs)(x)[0], wanted, atol=1e-6)
    del edited
    gc.collect()
    assert errors == []


def test_operations_that_must_be_where_the_input_is_are_computed() -> None:
    # Resizes in a branch of a tf.cond, whose operations are colocated with those outside.
    model = keras.Sequential([keras.layers.Input((4, 4, 3), name="image"), keras.layers.RandomCrop(2, 2), keras.layers.Flatten()])
    frozen, images = FrozenModel(model), np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    (found,) = normalized(frozen).fetch(frozen.outputs)(images)
    np.testing.assert_allclose(found, model(images, training=False), rtol=1e-6)

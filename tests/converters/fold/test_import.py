"""What fold reads of a graph is proved against the graph; what it cannot read, it leaves alone and says so."""

from typing import Any

import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from random_networks import randomize

from el_larq.converters.fold import proof, step
from el_larq.converters.fold.ir import AFFINE, FoldGraph, constant
from el_larq.converters.fold.normal_form import import_graph
from el_larq.converters.fold.proof import IMPORT_TOLERANCE, compare_import
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job, Options

SIZE = CHANNELS = 8
layers = keras.layers


def _constant(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(3).uniform(0.5, 2, shape).astype(np.float32))


def _call(function: Any) -> keras.layers.Layer:
    return layers.Lambda(function)


def _square(layer: Any) -> FrozenModel:
    """A layer behind a convolution whose result has as many rows and columns as channels."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layer(layers.Conv2D(CHANNELS, 3, padding="same", name="stem")(image))
    return FrozenModel(randomize(keras.Model(image, x, name="square"), 1))


LAYERS: dict[str, Any] = {
    "normalization of rows": lambda: layers.BatchNormalization(axis=1),
    "normalization of columns": lambda: layers.BatchNormalization(axis=2),
    "normalization of channels": lambda: layers.BatchNormalization(),
    "bias by row": lambda: _call(lambda x: tf.nn.bias_add(x, _constant(SIZE), data_format="NC...")),
    "factor by column": lambda: _call(lambda x: x * _constant(SIZE, 1)),
    "summand by row": lambda: _call(lambda x: x + _constant(SIZE, 1, 1)),
    "factor by position": lambda: _call(lambda x: x * _constant(SIZE, SIZE, CHANNELS)),
    "constant minus": lambda: _call(lambda x: _constant(1, CHANNELS) - x),
    "constant divided": lambda: _call(lambda x: _constant(CHANNELS) / (tf.abs(x) + 1)),
    "PReLU by position": lambda: layers.PReLU(alpha_initializer="normal"),
    "PReLU by row": lambda: layers.PReLU(alpha_initializer="normal", shared_axes=[2, 3]),
    "PReLU by channel": lambda: layers.PReLU(alpha_initializer="normal", shared_axes=[1, 2]),
    "copies of rows": lambda: _call(lambda x: tf.tile(x, [1, 2, 1, 1])),
    "sum of groups of rows": lambda: _call(lambda x: tf.add_n(tf.split(x, 4, 1))),
    "sum of groups, one twice": lambda: _call(lambda x: tf.add_n([*tf.split(x, 2, 3), tf.split(x, 2, 3)[0]])),
    "softmax of rows": lambda: layers.Softmax(axis=1),
    "permutation, normalization": lambda: lambda x: layers.BatchNormalization(axis=1)(layers.Permute((3, 1, 2))(x)),
    "even kernel and stride": lambda: layers.Conv2D(4, 4, 3, padding="same"),
    "dilation": lambda: layers.Conv2D(4, 3, dilation_rate=2, padding="same"),
    "depthwise with multiplier": lambda: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2),
    "sign with another zero": lambda: _call(lambda x: tf.sign(tf.sign(tf.round(x)) - 0.1)),
    "no sign at all": lambda: _call(lambda x: tf.sign(tf.sign(x) + 5.0)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_on_a_square_map_is_read_as_it_is(name: str) -> None:
    model = _square(LAYERS[name]())
    difference, where = compare_import(model, import_graph(model))
    assert difference <= IMPORT_TOLERANCE, where


def test_a_normalization_along_rows_is_folded_rightly() -> None:
    model = _square(layers.BatchNormalization(axis=1))
    folded = step.fold_model(model)
    assert folded.left_out == ""
    images = np.random.default_rng(1).standard_normal((2, SIZE, SIZE, 3)).astype(np.float32)
    wanted, got = (m.fetch(m.outputs)(images)[0] for m in (model, folded.model))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_wrong_import_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A normalization between two signs one percent off: no sign need flip for that."""

    def wrong(model: FrozenModel) -> FoldGraph:
        graph = import_graph(model)
        node = [node for node in graph.nodes() if node.op == AFFINE][-2]
        scale = np.array(node.inputs[1].value)
        scale *= 1.01
        node.inputs[1] = constant(scale)
        return graph

    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(CHANNELS, 3, name="stem")(image))
    for name in "ab":
        signs: dict[str, Any] = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "use_bias": False}
        x = layers.BatchNormalization()(larq.layers.QuantConv2D(CHANNELS, 1, name=name, **signs)(x))
    model = randomize(keras.Model(image, x, name="chain"), 0)
    assert step.fold_model(FrozenModel(model)).left_out == ""
    monkeypatch.setattr(proof, "read_graph", wrong)
    folded = step.fold_model(FrozenModel(model))
    assert "differs from the original by" in folded.left_out
    assert "please report it" in folded.left_out
    assert not any(notes.applied for notes in folded.notes.values())


def test_a_model_that_cannot_be_read_is_left_as_it_is() -> None:
    image = keras.Input((SIZE, SIZE), name="image")
    frozen = FrozenModel(keras.Model(image, layers.Dense(3)(layers.LSTM(4)(image)), name="recurrent"))
    job = step.fold(Job(None, Options(), original=frozen, model=frozen))
    assert job.summary.startswith("left out: the model contains operations that the rewrites cannot read (")
    assert "\n" not in job.summary
    assert job.model is frozen


def test_a_condition_on_the_image_is_left_as_it_is() -> None:
    """Its functions compute in single precision, so that no rewrite can be checked in double precision."""

    def branch(x: Any) -> Any:
        cond: Any = tf.cond
        return cond(tf.reduce_mean(x) > 0, lambda: tf.abs(x), lambda: -x)

    folded = step.fold_model(_square(_call(branch)))
    assert "contains StatelessIf" in folded.left_out

"""Layers that draw random numbers: constants where the seed is one, refused by their cause elsewhere."""

import el_larq  # isort: skip  (first: it selects Keras 2)

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter

L = keras.layers


class Noise(L.Layer):
    """Noise, drawn from a state of the layer: a generator, or a seed that each call increments."""

    def __init__(self, kind: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.kind = kind

    def build(self, input_shape: Any) -> None:
        self.generator = tf.random.Generator.from_seed(1)
        self.seed = self.add_weight(name="seed", shape=(2,), dtype="int32", trainable=False)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        if self.kind == "generator":
            return inputs + self.generator.normal(inputs.shape[1:])
        noise = tf.random.stateless_normal(inputs.shape[1:], tf.identity(self.seed))
        self.seed.assign_add([0, 1])
        return inputs + noise


def _model(noise: Any) -> keras.Model:
    image = keras.Input((4, 4, 3))
    return keras.Model(image, L.Conv2D(4, 3)(noise(L.ReLU()(image))))


CONSTANT = {
    "uniform": lambda x: x + tf.random.stateless_uniform(x.shape[1:], (1, 2)),
    "shape computed by the graph": lambda x: x + tf.random.stateless_truncated_normal(tf.shape(x)[1:], (1, 2)),
}


@pytest.mark.parametrize("kind", CONSTANT)
def test_numbers_of_a_constant_seed_are_constants(kind: str) -> None:
    model = _model(L.Lambda(CONSTANT[kind]))
    images = np.random.default_rng(0).standard_normal((2, 4, 4, 3), np.float32)
    [got] = Interpreter(el_larq.convert(model).need_tflite()).run([images])
    np.testing.assert_allclose(got, model(images), rtol=1e-4, atol=1e-5)


REFUSED = {
    "batch": (
        L.Lambda(lambda x: x + tf.random.stateless_normal(tf.shape(x), (1, 2)), name="noise"),
        "layer noise.* draws random numbers for a whole batch, so the result of an image depends on its place in the batch",
    ),
    "seed of the input": (
        L.Lambda(lambda x: x + tf.random.stateless_uniform((4, 4, 3), tf.cast(x[0, 0, 0, :2], tf.int32)), name="noise"),
        "layer noise.* draws random numbers from a seed that depends on the input, for which LCE's runtime has no operator",
    ),
    "generator": (Noise("generator", name="noise"), "layer noise draws random numbers at inference .* differs from call to call"),
    "seed": (Noise("seed", name="noise"), "layer noise draws random numbers at inference .* differs from call to call"),
    "stateful": (
        L.Lambda(lambda x: x + tf.random.truncated_normal((4, 4, 3)), name="noise"),
        "layer noise draws random numbers at inference .* differs from call to call",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_random_numbers_are_refused_by_their_cause(kind: str) -> None:
    noise, message = REFUSED[kind]
    with pytest.raises(ElLarqError, match=message):
        el_larq.convert(_model(noise))

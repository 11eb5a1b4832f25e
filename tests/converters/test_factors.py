"""Factors and summands that are not by channel behind a binary convolution: they stay operators of their own."""

from typing import Any

import binary_models as models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq.converters.job import Options
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

L = keras.layers
CHANNELS = 8


class Factor(L.Layer):
    """Multiplies by a random constant, and adds another."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def call(self, x: tf.Tensor) -> tf.Tensor:
        random = np.random.default_rng(0)
        return x * random.uniform(0.5, 2, self.shape).astype("f") + random.standard_normal(self.shape).astype("f")


def _norm(axis: int) -> L.Layer:
    def random(low: float, high: float, seed: int) -> Any:
        return keras.initializers.RandomUniform(low, high, seed)

    return L.BatchNormalization(
        axis=axis,
        name=f"norm_{axis}",
        beta_initializer=random(-0.5, 0.5, 1),
        gamma_initializer=random(0.5, 1.5, 2),
        moving_mean_initializer=random(-5, 5, 3),
        moving_variance_initializer=random(100, 500, 4),
    )


LAYERS: dict[str, Any] = {
    "normalization of rows": lambda: [_norm(1)],
    "normalization of columns": lambda: [_norm(2)],
    "normalization of channels and rows": lambda: [models.norm("n"), _norm(1)],
    "normalization of columns after ReLU": lambda: [L.ReLU(), _norm(2)],
    "by position": lambda: [Factor(8, 8, 1)],
    "by row and channel": lambda: [Factor(8, 1, 8)],
    "by column and channel": lambda: [Factor(1, 1, 8, 8)],
    "by channel, four dimensions": lambda: [Factor(1, 1, 1, 8)],
}
FAST = ("normalization of columns", "normalization of channels and rows")
CASES = [
    *(pytest.param(name, (8, 8), marks=[] if name in FAST else [pytest.mark.slow]) for name in LAYERS),
    *(pytest.param(f"normalization of {axis}", (8, 12), marks=[pytest.mark.slow]) for axis in ("rows", "columns")),
]


@pytest.mark.parametrize(("name", "size"), CASES)
def test_factors_behind_a_binary_convolution(name: str, size: tuple[int, int]) -> None:
    """With a second binary convolution behind it, whose signs are compared, and with as many rows as channels."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*size, 3))
    x = models.binary(CHANNELS, "conv")(L.Conv2D(CHANNELS, 3, padding="same")(image))
    for layer in LAYERS[name]():
        x = layer(x)
    model = keras.Model(image, L.Dense(4)(L.Flatten()(models.binary(CHANNELS, "next")(x))))
    job = el_larq.convert(model, options=Options(verify_images=8))
    details = {entry.step: entry.details for entry in job.report}
    assert not details["fold"]["left_out"]
    assert [layer["flipped"] for layer in details["verify"]["layers"]] == [0, 0]
    operators = [operator.name for operator in parse(job.need_tflite()).operators]
    assert operators.count("LceBconv2d") == 2
    assert "TRANSPOSE" not in operators
    images = models.images(2, channels=3) if size == (8, 8) else np.random.default_rng(0).standard_normal((2, *size, 3)).astype("f")
    np.testing.assert_allclose(Interpreter(job.need_tflite()).run(images)[0], model(images).numpy(), rtol=1e-4, atol=1e-4)

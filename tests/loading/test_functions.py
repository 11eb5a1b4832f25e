"""Functions that a model file names: quantizers, initializers and activations."""

from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.loading.load import load_model

# Keras warns about .h5, and about functions as initializers.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@keras.utils.register_keras_serializable("test_functions")
def doubled_sign(x: Any) -> Any:
    return larq.math.sign(2 * x)


@keras.utils.register_keras_serializable("test_functions")
def alternating(shape: Any, dtype: Any = None) -> Any:
    return tf.constant(np.arange(np.prod(shape)).reshape(shape) % 2 - 0.5, dtype or tf.float32)


@pytest.mark.parametrize("form", ["h5", "keras", "folder"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"input_quantizer": doubled_sign, "kernel_quantizer": doubled_sign},
        {"input_quantizer": "ste_sign", "kernel_initializer": alternating},
        {"input_quantizer": "ste_sign", "activation": "hard_tanh"},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_a_registered_function_is_found_in_every_format(arguments: dict[str, Any], form: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6, 6, 2)), larq.layers.QuantConv2D(4, 3, **arguments), keras.layers.Flatten()])
    path = tmp_path / {"h5": "model.h5", "keras": "model.keras", "folder": "model"}[form]
    model.save(path)
    before = path.read_bytes() if path.is_file() else b""
    loaded = load_model(path)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), model(x))
    assert not path.is_file() or path.read_bytes() == before

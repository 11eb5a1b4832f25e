"""Writes one of the archives in this folder with an older TensorFlow: VERSION.tar.xz, a model in each format, and its outputs.

    python3.11 -m venv k212 && k212/bin/pip install tensorflow-cpu==2.12.1 "numpy<1.24" larq && k212/bin/python save.py

and the same with 2.13.1, 2.14.1 and 2.15.1 without the limit on NumPy.
"""

import tarfile
import tempfile
from pathlib import Path
from typing import Any

import larq
import numpy as np
import tensorflow as tf

layers: Any = tf.keras.layers


def _binary(filters: int) -> Any:
    return larq.layers.QuantConv2D(
        filters, 3, padding="same", pad_values=1.0, input_quantizer="ste_sign", kernel_quantizer="ste_sign", use_bias=False
    )


def _model() -> Any:
    """Layers of one class several times, with and without variables, a nested model that is called twice, and a recurrent layer."""
    image = layers.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, 2, "same")(layers.Rescaling(2.0)(image)))
    unit = tf.keras.Sequential([layers.Input((4, 4, 4)), _binary(4), layers.BatchNormalization(), layers.ReLU()])
    x = layers.Add()([unit(x), x])
    x = layers.Add()([unit(x), x])
    x = layers.BatchNormalization()(_binary(6)(x))
    rows = layers.Reshape((4, 24))(x)
    rows = layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True, unroll=True))(rows)
    x = layers.Concatenate()([layers.Flatten()(x), layers.Flatten()(rows)])
    return tf.keras.Model(image, layers.Dense(4, activation="softmax")(x))


def main() -> None:
    tf.keras.utils.set_random_seed(0)
    model, values = _model(), np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:  # biases and normalizations, whose initial values are equal
            weight.assign(values.uniform(0.5, 1.5, weight.shape))
    images = values.standard_normal((2, 8, 8, 3)).astype(np.float32)
    major, minor = tf.__version__.split(".")[:2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "outputs.npz", images=images, outputs=model(images, training=False).numpy())
        archive = {"save_format": "keras_v3"} if minor == "12" else {}  # by default, 2.12 writes HDF5 with this suffix
        model.save(folder / "model.keras", **archive)
        if minor in ("12", "15"):
            model.save(folder / "model.h5")
            model.save(folder / "saved_model")
        with tarfile.open(Path(__file__).with_name(f"{major}.{minor}.tar.xz"), "w:xz") as together:
            together.add(folder, ".")


main()

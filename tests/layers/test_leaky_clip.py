from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq.layers import LeakyClip

X = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0], np.float32)


def test_forward_and_gradient():
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = LeakyClip()(x)
    np.testing.assert_allclose(y, [-1.2, -1, -0.5, 0, 0.5, 1, 1.2], rtol=1e-6)
    gradient = np.asarray(tape.gradient(y, x))
    np.testing.assert_allclose(gradient[[0, 2, 3, 4, 6]], [0.1, 1, 1, 1, 0.1], rtol=1e-6)


def test_saved_and_loaded(tmp_path: Path):
    image = keras.Input((7,))
    keras.Model(image, LeakyClip(slope=0.25)(image)).save(tmp_path / "model.keras")
    np.testing.assert_allclose(el_larq.load_model(tmp_path / "model.keras")(X[None])[0, -1], 1.5)

from pathlib import Path
from typing import Any

import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.loading.load import load_model
from el_larq.native_output import without_warnings
from el_larq.quantizers import PerChannel


def test_each_channel_has_its_own_scale():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 5, 1)).astype(np.float32)
    expected = np.where(kernel >= 0, 1, -1) * np.abs(kernel).mean(axis=(0, 1, 3), keepdims=True)
    quantizer = PerChannel("magnitude_aware_sign")
    np.testing.assert_allclose(quantizer(tf.constant(kernel)), expected, rtol=1e-6)


def test_the_gradient_is_the_quantizers():
    kernel = tf.constant(np.linspace(-2, 2, 18).reshape(3, 3, 2, 1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        total = tf.reduce_sum(PerChannel("ste_sign")(kernel) * tf.reshape(tf.range(18.0), (3, 3, 2, 1)))
    expected = np.where(np.abs(kernel) <= 1, np.arange(18.0).reshape(3, 3, 2, 1), 0)
    gradient: Any = tape.gradient(total, kernel)
    np.testing.assert_array_equal(gradient, expected)


def test_it_is_saved_and_loaded():
    quantizer = PerChannel(larq.quantizers.SteSign(clip_value=1.3))
    copy: Any = PerChannel.from_config(quantizer.get_config())
    assert copy.quantizer.clip_value == 1.3


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_model_with_it_is_saved_and_loaded(tmp_path: Path, suffix: str):
    layer = larq.layers.QuantDepthwiseConv2D(3, input_quantizer="ste_sign", depthwise_quantizer=PerChannel("magnitude_aware_sign"))
    image: Any = keras.Input((5, 5, 2))
    model: Any = keras.Model(image, layer(image))
    path = tmp_path / f"model{suffix}"
    with without_warnings():
        model.save(path)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype(np.float32)
    np.testing.assert_array_equal(load_model(path)(x), model(x))

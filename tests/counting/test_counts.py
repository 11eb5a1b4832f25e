from typing import Any

import larq
import pytest
import tf_keras as keras
from counted import real_weights

from el_larq.counting.counts import count


def test_depthwise_layers_are_counted():
    image = keras.Input((6, 6, 3))
    x = keras.layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2, use_bias=False)(image)
    x = larq.layers.QuantDepthwiseConv2D(3, padding="same", input_quantizer="ste_sign", depthwise_quantizer="ste_sign")(x)
    counts = count(keras.Model(image, x))
    assert [layer.macs for layer in counts.layers] == [9 * 6 * 3 * 3, 9 * 6 * 3 * 3]
    assert [layer.weights for layer in counts.layers] == [54, 54]
    assert [layer.binary for layer in counts.layers] == [False, True]
    assert counts.layers[0].output_shape == (3, 3, 6)


def test_grouped_and_dense_layers_are_counted():
    image = keras.Input((4, 4, 8))
    x = keras.layers.Conv2D(6, 3, groups=2)(image)
    x = keras.layers.Dense(5)(keras.layers.Flatten()(x))
    assert [layer.macs for layer in count(keras.Model(image, x)).layers] == [9 * 4 * 6 * 4, 24 * 5]


def test_transposed_convolutions_are_counted():
    """Every input element meets every kernel weight of its channel."""
    image = keras.Input((4, 4, 8))
    counts = count(keras.Model(image, keras.layers.Conv2DTranspose(6, 3, 2, "same")(image)))
    assert counts.flops == 4 * 4 * 8 * 9 * 6


def test_nested_models_are_counted_in_their_place():
    inner_image = keras.Input((4, 4, 2))
    inner = keras.Model(inner_image, keras.layers.Conv2D(3, 1, name="inner")(inner_image))
    sequential = keras.Sequential([keras.layers.Conv2D(2, 3, name="first", input_shape=(6, 6, 1)), inner])
    image = keras.Input((6, 6, 1))
    model: Any = keras.Model(image, keras.layers.Dense(4, name="last")(keras.layers.Flatten()(sequential(image))))
    counts = count(model)
    assert [layer.name for layer in counts.layers] == ["first", "inner", "last"]
    assert counts.flops == 9 * 2 * 16 + 2 * 3 * 16 + 48 * 4


def test_a_shared_layer_computes_twice_and_is_stored_once():
    image = keras.Input((4, 4, 2))
    shared = keras.layers.Conv2D(2, 1, use_bias=False)
    counts = count(keras.Model(image, shared(shared(image))))
    assert real_weights(counts) == 4
    assert counts.flops == 2 * 4 * 16


def test_sizes_that_are_not_static_cannot_be_counted():
    image = keras.Input((None, None, 2))
    model = keras.Model(image, keras.layers.Conv2D(3, 1, name="conv")(image))
    with pytest.raises(ValueError, match=r"conv: the output shape .* is not static"):
        count(model)

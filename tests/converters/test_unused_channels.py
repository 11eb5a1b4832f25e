"""Channels that are always 0 are left out of models of others, too."""

from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.converters.unused_channels import without_unused_channels


def _model(first: Any) -> keras.Model:
    """A layer, a convolution of 6 channels, two of them always 0, and another convolution."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(6, 1, activation="relu", name="producer")(first(image))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, name="consumer")(x))
    producer: Any = model.get_layer("producer")
    kernel, bias = producer.get_weights()
    kernel[..., [1, 4]] = 0
    producer.set_weights([kernel, bias])
    return model


def test_an_adapted_normalization_keeps_what_it_is_adapted_to() -> None:
    images = np.random.default_rng(0).normal(3, 5, (16, 6, 6, 3)).astype(np.float32)
    scaling = keras.layers.Normalization()
    scaling.adapt(images)
    model = _model(scaling)
    smaller, line = without_unused_channels(model)
    assert line.startswith("2 channels left out")
    np.testing.assert_allclose(smaller(images), model(images), rtol=1e-4, atol=1e-5)


class _Fixed(keras.layers.Layer):
    """A layer that Keras cannot make again."""

    def call(self, inputs: Any) -> Any:
        return inputs * 2

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("it has no configuration")


def test_a_model_that_cannot_be_made_again_keeps_its_channels() -> None:
    model = _model(_Fixed())
    same, line = without_unused_channels(model)
    assert same is model
    assert line.startswith("2 channels that are always 0 remain, since the model cannot be made again without them: ")

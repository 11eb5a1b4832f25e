from typing import Any

import binary_models as models
import larq
import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import Convolution, find_convolutions


def _by_layer(model: keras.Model) -> dict[str, Convolution]:
    found = find_convolutions(FrozenModel(model))
    by_layer = {convolution.layer: convolution for convolution in found}
    assert len(by_layer) == len(found)
    return by_layer


def _signs(model: keras.Model, layer: str, x: np.ndarray) -> np.ndarray:
    frozen = FrozenModel(model)
    signs = next(c.signs for c in find_convolutions(frozen) if c.layer == layer)
    assert signs is not None
    return frozen.fetch([signs])(x)[0]


def _value(model: keras.Model, layer: str, x: np.ndarray) -> np.ndarray:
    return np.asarray(keras.Model(model.inputs, models.layer(model, layer).output)(x, training=False))


def test_convolutions_of_a_functional_model() -> None:
    model = models.network(models.binary(48, "conv"), models.norm("norm"))
    found = _by_layer(model)
    assert set(found) == {"stem", "conv", "logits"}
    assert {name: c.kind for name, c in found.items()} == {"stem": "Conv2D", "conv": "Conv2D", "logits": "MatMul"}
    assert {name for name, c in found.items() if c.meant_binary} == {"conv"}
    assert {name for name, c in found.items() if c.signs is not None} == {"conv"}
    np.testing.assert_array_equal(found["stem"].kernel, models.layer(model, "stem").kernel)
    np.testing.assert_array_equal(found["conv"].kernel, np.where(models.layer(model, "conv").kernel.numpy() < 0, -1.0, 1.0))
    x = models.images(3)
    np.testing.assert_allclose(_signs(model, "conv", x), _value(model, "stem_norm", x), rtol=1e-4, atol=1e-4)


def test_outputs_are_those_of_the_model() -> None:
    model = models.network(models.binary(48, "conv"), models.norm("norm"))
    frozen, x = FrozenModel(model), models.images(3)
    np.testing.assert_allclose(frozen.fetch(frozen.outputs)(x)[0], model(x), rtol=1e-4, atol=1e-4)


def test_a_nested_model_has_its_name_before_its_layers() -> None:
    inner_image = keras.Input((8, 8, 32))
    inner = keras.Model(inner_image, models.norm("norm")(models.binary(32, "conv")(inner_image)), name="inner")
    found = _by_layer(models.network(inner))
    assert set(found) == {"stem", "inner/conv", "logits"}
    assert found["inner/conv"].meant_binary
    assert found["inner/conv"].signs is not None


def test_a_wrapped_model_keeps_its_convolutions() -> None:
    """What loading a model of open size makes of it."""
    from el_larq.loading.load import with_static_input

    image = keras.Input((None, None, 1), name="image")
    x = models.binary(32, "conv")(keras.layers.Conv2D(32, 3, name="stem")(image))
    fixed = with_static_input(keras.Model(image, x, name="open"), 8)
    found = find_convolutions(FrozenModel(fixed))
    assert [c.layer.split("/")[-1] for c in found] == ["stem", "conv"]
    assert found[1].signs is not None


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.stem = keras.layers.Conv2D(32, 3, name="stem")
        self.conv = models.binary(32, "conv")

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return self.conv(self.stem(inputs))


def test_a_subclassed_model_inside_a_functional_one() -> None:
    image = keras.Input((8, 8, 1), name="image")
    found = _by_layer(keras.Model(image, Subclassed()(image), name="outer"))
    assert set(found) == {"subclassed/stem", "subclassed/conv"}
    assert found["subclassed/conv"].meant_binary
    assert found["subclassed/conv"].signs is not None


def test_a_sign_as_a_layer_of_its_own() -> None:
    sign = larq.quantizers.SteSign(name="sign")
    model = models.network(sign, models.binary(32, "conv", input_quantizer=None), models.norm("norm"))
    x = models.images(3)
    np.testing.assert_allclose(_signs(model, "conv", x), _value(model, "stem_norm", x), rtol=1e-4, atol=1e-4)


def test_every_sign_of_larq_is_known() -> None:
    for name in ("ste_sign", "approx_sign", "swish_sign"):
        convolution = _by_layer(models.network(models.binary(32, "conv", input_quantizer=name)))["conv"]
        assert convolution.signs is not None, name
        assert convolution.meant_binary


def test_a_kernel_of_one_magnitude_a_filter_is_binary() -> None:
    model = models.network(models.binary(32, "conv", kernel_quantizer=larq.quantizers.MagnitudeAwareSign()))
    convolution = _by_layer(model)["conv"]
    assert convolution.quantized
    assert convolution.binary_kernel
    magnitudes = np.abs(convolution.kernel).reshape(-1, 32)
    np.testing.assert_allclose(magnitudes, np.broadcast_to(magnitudes[:1], magnitudes.shape), rtol=1e-5)


def test_a_ternary_or_real_kernel_is_not_binary() -> None:
    ternary = _by_layer(models.network(models.binary(32, "conv", kernel_quantizer="ste_tern")))["conv"]
    assert not ternary.binary_kernel
    dorefa = larq.quantizers.DoReFa(2, mode="weights")
    real = _by_layer(models.network(models.binary(32, "conv", kernel_quantizer=dorefa)))["conv"]
    assert not real.quantized
    assert not real.binary_kernel


def test_a_product_of_two_activations_is_not_a_convolution() -> None:
    def attention(x: Any) -> Any:
        x = keras.layers.Reshape((64, 32))(x)
        x = keras.layers.Attention(name="attention")([x, x])
        return keras.layers.Reshape((8, 8, 32))(x)

    assert set(_by_layer(models.network(attention))) == {"stem", "logits"}


def test_groups_of_channels_are_found() -> None:
    """Keras compiles them as a function of their own."""
    model = models.network(models.binary(64, "conv", groups=2), models.norm("norm"), channels=64)
    convolution = _by_layer(model)["conv"]
    assert convolution.meant_binary
    assert convolution.signs is not None


def test_dense_and_depthwise_layers_are_found() -> None:
    depthwise = larq.layers.QuantDepthwiseConv2D(
        3, input_quantizer="ste_sign", depthwise_quantizer="ste_sign", depthwise_constraint="weight_clip", name="depthwise"
    )
    found = _by_layer(models.network(depthwise))
    assert found["depthwise"].kind == "DepthwiseConv2dNative"
    assert found["depthwise"].meant_binary
    assert found["depthwise"].signs is not None
    assert found["logits"].kernel.shape == (32, 10)


def test_fetch_takes_any_number_of_images() -> None:
    frozen = FrozenModel(models.network())
    fetch = frozen.fetch(frozen.outputs)
    assert [fetch(models.images(n))[0].shape for n in (1, 5)] == [(1, 10), (5, 10)]
    assert isinstance(frozen.outputs[0], tf.Tensor)

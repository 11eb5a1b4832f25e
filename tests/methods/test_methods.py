from dataclasses import replace
from typing import Any

import larq  # noqa: F401  (registers the quantizers' names)
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import ElLarqError, UsageError
from el_larq.layers import ElasticLink
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import PLACEMENTS, Method
from el_larq.methods.method_registry import METHODS, get_method

BINARY = [name for name, method in METHODS.items() if method.binary]


# --- The registry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is_and_where_it_comes_from(name: str):
    method = METHODS[name]
    assert method.name == name
    assert method.summary
    assert method.reference
    assert method.year is not None
    assert str(method.year) in method.reference
    assert method.link in LINKS.values()


def test_bits_of_weights_and_activations():
    expected = {"float": "32/32", "tbn": "1/1.58"}
    found = {name: method.bits for name, method in METHODS.items() if method.bits != "1/1"}
    assert found == expected, "list the methods with other bits than 1/1 here"


def test_an_unknown_method_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown method 'bi-real'; did you mean bireal"):
        get_method("bi-real")
    with pytest.raises(UsageError, match="known: " + ", ".join(sorted(METHODS))):
        get_method("qqqqqqqq")


def test_an_unknown_link_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown link 'elastik'; did you mean elastic"):
        get_method("el", "elastik")


# --- Links and placements -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", BINARY)
def test_a_binary_method_takes_any_link_and_stays_what_it_is(name: str, link: str):
    method = get_method(name, link)
    assert method.link is LINKS[link]
    assert replace(method, link=METHODS[name].link) == METHODS[name]


@pytest.mark.parametrize("link", [name for name in LINKS if name != "none"])
def test_a_method_that_does_not_binarize_refuses_a_link(link: str):
    with pytest.raises(UsageError, match=f"'float' does not binarize.*{link}"):
        get_method("float", link)
    assert get_method("float", "none").link.name == "none"


def test_placements_order_link_and_norm():
    el = METHODS["el"]
    assert el.with_placement("after_norm").order == ("conv", "norm", "link", "shortcut", "activation")
    assert el.with_placement("before_norm").order == ("conv", "link", "norm", "shortcut", "activation")
    for placement in PLACEMENTS:
        assert el.with_placement("before_norm").with_placement(placement) == el.with_placement(placement)


def test_the_links_place_is_after_the_norm_unless_asked_otherwise():
    assert METHODS["el"].with_placement("after_norm") == METHODS["el"]


def test_a_placement_without_a_place_is_refused():
    with pytest.raises(UsageError, match="did you mean after_norm"):
        METHODS["el"].with_placement("after-norm")
    bare = replace(METHODS["el"], order=("conv", "link"))
    with pytest.raises(UsageError, match="no normalization"):
        bare.with_placement("after_norm")


def test_a_stage_without_a_function_is_an_error():
    method = replace(METHODS["el"], order=("conv", "rescale"))
    image: Any = keras.Input((4, 4, 2))
    with pytest.raises(ValueError, match="'el' orders a stage 'rescale'"):
        method.unit(image, Conv("c", 2, 1))


def test_a_method_supplies_stages_of_its_own():
    def double(x: Any, y: Any, conv: Conv) -> Any:
        assert conv.name == "c"
        return keras.layers.Rescaling(2.0)(y)

    method = replace(METHODS["binary"], order=("double", "conv"), stages={"double": double})
    image: Any = keras.Input((4, 4, 2))
    model: Any = keras.Model(image, method.unit(image, Conv("c", 3, 1)))
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Rescaling", "QuantConv2D"]


COMBINATIONS = [(4, 4, 3, 1), (4, 4, 3, 2), (8, 4, 1, 1), (4, 8, 1, 1), (7, 3, 3, 2), (3, 7, 1, 2)]


@pytest.mark.parametrize(("c_in", "c_out", "kernel_size", "strides"), COMBINATIONS)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", BINARY)
def test_any_method_with_any_link_makes_a_unit(name: str, link: str, c_in: int, c_out: int, kernel_size: int, strides: int):
    model = make_unit(get_method(name, link), (7, 6, c_in), Conv("c", c_out, kernel_size, strides))
    assert model.output_shape == (None, -(-7 // strides), -(-6 // strides), c_out)
    kinds = {type(layer) for layer in model.layers}
    same = c_in == c_out and strides == 1
    assert (ElasticLink in kinds) == (link == "elastic"), "only the elastic link uses ElasticLink"
    assert (keras.layers.Add in kinds) == (link == "identity" and same), "say here when the link uses Keras' Add"


# --- The forward pass against NumPy ---------------------------------------------------------------------------------------


def make_unit(method: Method, shape: tuple[int, ...], conv: Conv) -> Any:
    image: Any = keras.Input(shape)
    return keras.Model(image, method.unit(image, conv))


def randomize(model: Any, seed: int = 0) -> None:
    """Random weights and batch normalization statistics, with a few kernel weights at zero exactly."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = random.normal(scale=0.7, size=layer.kernel.shape)
            kernel.flat[:: max(3, kernel.size // 5)] = 0.0
            layer.set_weights([kernel])
        elif isinstance(layer, keras.layers.BatchNormalization):
            channels = layer.gamma.shape[0]
            scale, shift, mean = random.normal(size=(3, channels))
            layer.set_weights([scale, shift, mean, random.uniform(0.5, 3, size=channels)])
        elif isinstance(layer, ElasticLink):
            layer.set_weights([np.float32(0.37)])


def random_images(*shape: int, seed: int = 1) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    x.flat[::7] = 0.0
    return x


def sign(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1.0, -1.0)


def convolve(x: np.ndarray, kernel: np.ndarray, strides: int, pad_value: float) -> np.ndarray:
    size = kernel.shape[0]
    n, height, width, _ = x.shape
    out_h, out_w = -(-height // strides), -(-width // strides)
    missing_h = max((out_h - 1) * strides + size - height, 0)
    missing_w = max((out_w - 1) * strides + size - width, 0)
    above, left = missing_h // 2, missing_w // 2
    y = np.zeros((n, out_h, out_w, kernel.shape[3]))
    for i in range(out_h):
        for j in range(out_w):
            for a in range(size):
                for b in range(size):
                    row, column = i * strides + a - above, j * strides + b - left
                    inside = 0 <= row < height and 0 <= column < width
                    cell = x[:, row, column, :] if inside else np.full((n, x.shape[3]), pad_value)
                    y[:, i, j, :] += cell @ kernel[a, b]
    return y


def normalize(z: np.ndarray, layer: Any) -> np.ndarray:
    gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    return gamma * (z - mean) / np.sqrt(variance + 1e-5) + beta


def elastic(x: np.ndarray, channels: int, strides: int) -> np.ndarray:
    """The Elastic-Link's align where the strides divide the sizes, and one channel count the other."""
    n, height, width, c_in = x.shape
    x = x.reshape(n, height // strides, strides, width // strides, strides, c_in).mean(axis=(2, 4))
    if c_in >= channels:
        return sum(x[..., start : start + channels] for start in range(0, c_in, channels))  # type: ignore[return-value]
    return np.concatenate([x] * (channels // c_in), axis=-1)


def reference_unit(name: str, placement: str, model: Any, x: np.ndarray, conv: Conv) -> np.ndarray:
    layers = {layer.name: layer for layer in model.layers}
    kernel = np.asarray(layers["c_conv"].get_weights()[0], np.float64)
    x = x.astype(np.float64)
    weights = sign(kernel)
    if name == "bireal":
        for c in range(kernel.shape[3]):
            weights[..., c] *= np.abs(kernel[..., c]).mean()
    z = convolve(sign(x), weights, conv.strides, pad_value=1.0)
    if name == "el":
        linked = np.float64(np.float32(0.37)) * elastic(x, conv.filters, conv.strides)
        if placement == "before_norm":
            return normalize(z + linked, layers["c_norm"])
        return normalize(z, layers["c_norm"]) + linked
    y = normalize(z, layers["c_norm"])
    return y + x if name == "bireal" and x.shape == y.shape else y


@pytest.mark.parametrize("conv", [Conv("c", 4, 3), Conv("c", 4, 3, 2), Conv("c", 2, 1), Conv("c", 8, 1), Conv("c", 8, 1, 2)])
@pytest.mark.parametrize(
    ("name", "placement"),
    [("binary", "after_norm"), ("el", "after_norm"), ("el", "before_norm"), ("bireal", "after_norm")],
)
def test_a_unit_computes_what_its_method_says(name: str, placement: str, conv: Conv):
    model = make_unit(METHODS[name].with_placement(placement), (6, 8, 4), conv)
    randomize(model)
    x = random_images(2, 6, 8, 4)
    expected = reference_unit(name, placement, model, x, conv)
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-4, atol=1e-4)


def test_three_by_three_pads_with_a_binary_value_and_one_by_one_does_not_pad():
    wide, narrow = (make_unit(METHODS["binary"], (4, 4, 2), Conv("c", 2, size)).get_layer("c_conv") for size in (3, 1))
    assert (wide.padding, wide.pad_values) == ("same", 1.0)
    assert (narrow.padding, narrow.pad_values) == ("valid", 0.0)


def test_a_shortcut_joins_after_norm_and_link():
    image: Any = keras.Input((4, 4, 2))
    shortcut: Any = keras.Input((4, 4, 2))
    with_shortcut: Any = keras.Model([image, shortcut], METHODS["el"].unit(image, Conv("c", 2, 1), shortcut=shortcut))
    randomize(with_shortcut)
    without = make_unit(METHODS["el"], (4, 4, 2), Conv("c", 2, 1))
    randomize(without)
    x, s = random_images(2, 4, 4, 2), random_images(2, 4, 4, 2, seed=2)
    np.testing.assert_allclose(with_shortcut([x, s]), without(x) + s, rtol=1e-6, atol=1e-6)


def test_the_float_unit_is_convolution_norm_relu():
    model = make_unit(METHODS["float"], (6, 6, 4), Conv("c", 3, 3, 2))
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Conv2D", "BatchNormalization", "Activation"]
    randomize(model)
    x = random_images(2, 6, 6, 4)
    kernel = np.asarray(model.get_layer("c_conv").get_weights()[0], np.float64)
    z = normalize(convolve(x.astype(np.float64), kernel, 2, pad_value=0.0), model.get_layer("c_norm"))
    np.testing.assert_allclose(model(x, training=False), np.maximum(z, 0), rtol=1e-4, atol=1e-4)


def test_batch_normalization_follows_short_runs():
    norm = make_unit(METHODS["el"], (4, 4, 2), Conv("c", 2, 1)).get_layer("c_norm")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


# --- Gradients against NumPy ----------------------------------------------------------------------------------------------

# How steep each sign is taken to be.
SLOPES = {
    "ste": lambda x: (np.abs(x) <= 1).astype(np.float64),
    "approx": lambda x: np.where(np.abs(x) < 1, 2 - 2 * np.abs(x), 0.0),
}


@pytest.mark.parametrize(("name", "slope"), [("binary", "ste"), ("el", "ste"), ("bireal", "approx")])
def test_gradients_of_both_signs(name: str, slope: str):
    """A 1x1 convolution alone: z = sign(x) @ alpha sign(W), so dx and dW are two matrix products and a slope each."""
    model = make_unit(replace(METHODS[name], order=("conv",)), (3, 3, 5), Conv("c", 4, 1))
    randomize(model, seed=3)
    layer = model.get_layer("c_conv")
    layer.set_weights([layer.get_weights()[0] * 2])  # some beyond one
    x = tf.constant(random_images(2, 3, 3, 5) * 1.5)
    upstream: Any = random_images(2, 3, 3, 4, seed=8)
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = model(x)
    gradients: Any = tape.gradient(z, [x, layer.kernel], output_gradients=upstream)
    dx, dkernel = gradients

    images, g = x.numpy().reshape(-1, 5).astype(np.float64), upstream.reshape(-1, 4).astype(np.float64)
    kernel = layer.kernel.numpy()[0, 0].astype(np.float64)
    assert np.abs(images).max() > 1
    assert np.abs(kernel).max() > 1
    alpha = np.abs(kernel).mean(axis=0) if name == "bireal" else np.ones(4)
    expected_dx = SLOPES[slope](images) * (g @ (alpha * sign(kernel)).T)
    expected_dkernel = SLOPES["ste"](kernel) * alpha * (sign(images).T @ g)
    np.testing.assert_allclose(np.reshape(dx, (-1, 5)), expected_dx, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dkernel[0, 0], expected_dkernel, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "slope"), [("binary", "ste"), ("el", "ste"), ("bireal", "approx")])
def test_the_input_sign_at_its_edges(name: str, slope: str):
    quantizer = make_unit(METHODS[name], (3, 3, 2), Conv("c", 2, 1)).get_layer("c_conv").input_quantizer
    x = tf.constant([-1.5, -1.0, -0.75, -1e-6, 0.0, 0.25, 1.0, 1.5])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = quantizer(x)
    np.testing.assert_array_equal(y, [-1, -1, -1, -1, 1, 1, 1, 1])
    gradient: Any = tape.gradient(y, x)
    np.testing.assert_allclose(gradient, SLOPES[slope](x.numpy()), atol=1e-6)


def test_the_elastic_link_carries_gradient_that_the_sign_blocks():
    model = make_unit(METHODS["el"], (4, 4, 4), Conv("c", 2, 1))
    randomize(model)
    x = tf.fill((1, 4, 4, 4), 5.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
    np.testing.assert_allclose(tape.gradient(y, x), np.full((1, 4, 4, 4), 0.37), rtol=1e-6)


@pytest.mark.parametrize("name", BINARY)
def test_latent_kernels_stay_where_their_signs_have_a_gradient(name: str):
    constraint = make_unit(METHODS[name], (3, 3, 2), Conv("c", 2, 1)).get_layer("c_conv").kernel_constraint
    bound = METHODS[name].options.get("clip", 1.0)
    reason = 'latent kernels are clipped to [-1, 1], or to the option `clip`: kernel_constraint="weight_clip"'
    clipped = [-bound, -0.5, bound]
    np.testing.assert_allclose(constraint(tf.constant([-3.0, -0.5, 2.0])), clipped, rtol=1e-6, err_msg=reason)


def test_errors_are_of_the_kind_the_command_line_prints():
    assert issubclass(UsageError, ElLarqError)

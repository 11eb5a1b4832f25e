from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import tensorflow as tf

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.layers import ActivationScale
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.quantizers import ScaledSign


def box(magnitudes: np.ndarray, size: int, strides: int) -> np.ndarray:
    kernel = np.full((size, size, magnitudes.shape[-1], 1), 1 / size**2)
    return reference.convolve(magnitudes, kernel, strides, depthwise=True, pad=0.0)


CONVOLUTIONS = [
    Conv("c", 6, 3),
    Conv("c", 9, 3, strides=2),
    Conv("c", 3, 1),
    Conv("c", 6, 3, depthwise=True),
    Conv("c", 6, 3, strides=2, depthwise=True),
]


@pytest.mark.parametrize("k", ["off", "1x1", "3x3", "all"])
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_unit_computes_what_its_formulas_say(conv: Conv, k: str):
    model = reference.make_unit(get_method("xnor", chosen={"k": k}), (7, 6, 6), conv)
    reference.randomize(model)
    x = reference.values(2, 7, 6, 6, seed=1).astype(np.float64)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    v = scale * x + shift
    (kernel,) = reference.weights(model, "c_conv")
    binary = reference.mean_magnitude(kernel, conv.depthwise) * reference.sign(kernel)
    expected = reference.convolve(reference.sign(v), binary, conv.strides, conv.depthwise)
    if k == "all" or k == f"{conv.kernel_size}x{conv.kernel_size}":
        a = np.abs(v) if conv.depthwise else np.abs(v).mean(axis=-1, keepdims=True)
        expected = expected * box(a, conv.kernel_size, conv.strides)
    np.testing.assert_allclose(model(x.astype(np.float32), training=False), expected, rtol=1e-4, atol=1e-4)


def test_groups_have_a_scale_each():
    layer = ActivationScale(1, groups=2)
    x, z = reference.values(1, 3, 3, 4, seed=1), reference.values(1, 3, 3, 6, seed=2)
    halves = [np.abs(x[..., :2]).mean(-1, keepdims=True), np.abs(x[..., 2:]).mean(-1, keepdims=True)]
    expected = np.concatenate([z[..., :3] * halves[0], z[..., 3:] * halves[1]], axis=-1)
    np.testing.assert_allclose(layer([tf.constant(x), tf.constant(z)]), expected, rtol=1e-6)
    grouped = Conv("c", 6, 3, groups=2)
    model = reference.make_unit(get_method("xnor", chosen={"k": "all"}), (3, 3, 4), grouped)
    assert model.get_layer("c_k").groups == 2


def test_a_real_convolution_has_no_scale():
    model = reference.make_unit(get_method("xnor", chosen={"k": "all"}), (4, 4, 3), Conv("c", 3, 3, real=True))
    assert not any(isinstance(layer, ActivationScale) for layer in model.layers)


@pytest.mark.parametrize("form", ["derived", "released", "detached"])
@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (3, 3, 1, 5)])
def test_the_gradients_of_a_kernel(form: str, shape: tuple[int, ...]):
    random = np.random.default_rng(0)
    kernel, g = random.normal(size=shape), random.normal(size=shape)
    kernel[0, 0, 0, 0] = 0.0
    weights = tf.constant(kernel, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        quantized = ScaledSign(form)(weights)
    upstream: Any = tf.constant(g, tf.float32)
    found: Any = tape.gradient(quantized, weights, output_gradients=upstream)

    expected = np.zeros(shape)
    size = kernel[..., 0].size
    for f in range(shape[-1]):
        w, g_f = kernel[..., f], g[..., f]
        alpha = np.abs(w).sum() / size
        np.testing.assert_allclose(quantized[..., f], alpha * reference.sign(w), rtol=1e-6)
        for i in np.ndindex(w.shape):
            inside = 1.0 if abs(w[i]) <= 1 else 0.0
            if form == "released":
                factor = 1 - 1 / shape[2] if shape[2] > 1 else 1.0
                expected[(*i, f)] = (alpha * inside + 1 / size) * factor * g_f[i]
            else:
                whole = (g_f * reference.sign(w)).sum() / size * np.sign(w[i]) if form == "derived" else 0.0
                expected[(*i, f)] = whole + alpha * inside * g_f[i]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_clipped_kernel_is_that_of_the_clipped_weights():
    """Larq Zoo's XNOR-Net: what is beyond the limit counts as the limit, and has no gradient."""
    random = np.random.default_rng(0)
    kernel, g = (tf.constant(random.normal(size=(3, 3, 4, 5)), tf.float32) for _ in range(2))
    clipped = tf.clip_by_value(kernel, -0.8, 0.8)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([kernel, clipped])
        quantized = ScaledSign.from_config(ScaledSign("derived", clip_value=0.8).get_config())(kernel)
        expected = ScaledSign("derived")(clipped)
    np.testing.assert_array_equal(quantized, expected)
    within = np.abs(kernel.numpy()) <= 0.8
    assert 0 < within.sum() < within.size
    upstream: Any = g
    of_clipped: Any = tape.gradient(expected, clipped, output_gradients=upstream)
    found: Any = tape.gradient(quantized, kernel, output_gradients=upstream)
    np.testing.assert_array_equal(found, of_clipped * within)


@pytest.mark.parametrize("k", ["off", "all"])
def test_the_gradient_of_the_input_of_a_1x1_unit(k: str):
    model = reference.make_unit(get_method("xnor", chosen={"k": k}), (3, 4, 5), Conv("c", 6, 1))
    reference.randomize(model, seed=4)
    x, g = reference.values(2, 3, 4, 5, seed=1).astype(np.float64), reference.values(2, 3, 4, 6, seed=5).astype(np.float64)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    v = scale * x + shift
    kernel = reference.weights(model, "c_conv")[0][0, 0]
    binary = np.abs(kernel).mean(axis=0) * reference.sign(kernel)
    mean = np.abs(v).mean(axis=-1, keepdims=True) if k == "all" else 1.0
    g_v = (g * mean) @ binary.T * (np.abs(v) <= 1)
    if k == "all":
        z = reference.sign(v) @ binary
        g_v = g_v + (g * z).sum(axis=-1, keepdims=True) * np.sign(v) / 5
    found = reference.gradients(model, x, g)
    np.testing.assert_allclose(found["x"], g_v * scale, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_the_scale_goes_through_the_box():
    """Adjoint: the box filter's transpose, found by filtering each unit image."""
    layer = ActivationScale(3, strides=2)
    x = reference.values(1, 5, 4, 3, seed=1).astype(np.float64)
    z, g = (reference.values(1, 3, 2, 2, seed=seed).astype(np.float64) for seed in (2, 3))
    source = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(source)
        y: Any = layer([source, tf.constant(z, tf.float32)])
    g_y: Any = tf.constant(g, tf.float32)
    found: Any = tape.gradient(y, source, output_gradients=g_y)
    upstream = (g * z).sum(axis=-1, keepdims=True)
    expected = np.zeros(x.shape)
    for i, j in np.ndindex(5, 4):
        unit = np.zeros((1, 5, 4, 1))
        unit[0, i, j] = 1
        expected[0, i, j] = (upstream * box(unit, 3, 2)).sum() / 3 * np.sign(x[0, i, j])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_wrong_options_are_one_line():
    with pytest.raises(UsageError, match="option k takes off, 1x1, 3x3 or all; got 'some'"):
        get_method("xnor", chosen={"k": "some"})
    with pytest.raises(UsageError, match="option gradient takes derived, released or detached"):
        get_method("xnor", chosen={"gradient": "exact"})
    assert get_method("xnor", chosen={"k": "all"}).options == {"k": "all", "gradient": "derived"}


def test_a_scale_needs_static_sizes():
    with pytest.raises(ValueError, match="sizes must be static"):
        reference.make_unit(get_method("xnor", chosen={"k": "all"}), (None, None, 3), Conv("c", 3, 1))


def test_converted_with_and_without_the_scale(tmp_path: Path):
    everywhere = get_method("xnor", chosen={"k": "all", "gradient": "released"})
    units = [(METHODS["xnor"], Conv("a", 32, 3)), (everywhere, Conv("b", 64, 3, 2)), (everywhere, Conv("c", 32, 1))]
    operators = reference.convert_units(tmp_path, units)
    assert operators["LceBconv2d"] == 3
    assert operators["ABS"] == operators["MEAN"] == 2
    assert "DEPTHWISE_CONV_2D" not in operators  # the box is a pooling, not a convolution

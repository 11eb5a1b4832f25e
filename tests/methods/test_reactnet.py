from pathlib import Path

import numpy as np
import pytest
import reference

from el_larq.conv import Conv
from el_larq.layers import ChannelShift, RPReLU
from el_larq.methods.method_registry import METHODS

REACTNET = METHODS["reactnet"]

CONVOLUTIONS = [
    Conv("c", 6, 3),
    Conv("c", 6, 3, strides=2),
    Conv("c", 9, 3, strides=2),
    Conv("c", 3, 1),
    Conv("c", 6, 3, depthwise=True),
    Conv("c", 6, 3, strides=2, depthwise=True),
]


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_unit_computes_what_its_formulas_say(conv: Conv):
    model = reference.make_unit(REACTNET, (7, 6, 6), conv)
    reference.randomize(model)
    x = reference.values(2, 7, 6, 6, seed=1).astype(np.float64)
    (threshold,), (kernel,) = reference.weights(model, "c_shift"), reference.weights(model, "c_conv")
    binary = reference.mean_magnitude(kernel, conv.depthwise) * reference.sign(kernel)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    u = scale * reference.convolve(reference.sign(x + threshold), binary, conv.strides, conv.depthwise) + shift
    if u.shape == x.shape:
        u = u + x
    before, slope, after = reference.weights(model, "c_rprelu")
    t = u + before
    expected = np.where(t > 0, t, slope * t) + after
    np.testing.assert_allclose(model(x.astype(np.float32), training=False), expected, rtol=1e-4, atol=1e-4)


def test_gradients_of_every_variable_and_of_the_input():
    """A 1x1 unit, whose convolution is a product of matrices."""
    model = reference.make_unit(REACTNET, (3, 4, 5), Conv("c", 5, 1))
    reference.randomize(model, seed=2)
    x, g = reference.values(2, 3, 4, 5, seed=1).astype(np.float64), reference.values(2, 3, 4, 5, seed=5).astype(np.float64)
    (threshold,), (kernel,) = reference.weights(model, "c_shift"), reference.weights(model, "c_conv")
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    before, slope, _ = reference.weights(model, "c_rprelu")
    alpha = np.abs(kernel[0, 0]).mean(axis=0)
    v = x + threshold
    z = reference.sign(v) @ (alpha * reference.sign(kernel[0, 0]))
    t = scale * z + shift + x + before

    over = (0, 1, 2)
    g_u = g * np.where(t > 0, 1.0, slope)
    g_z = g_u * scale
    g_v = (g_z @ (alpha * reference.sign(kernel[0, 0])).T) * np.where(np.abs(v) < 1, 2 - 2 * np.abs(v), 0.0)
    g_kernel = reference.sign(v).reshape(-1, 5).T @ g_z.reshape(-1, 5) * alpha * (np.abs(kernel[0, 0]) <= 1)
    assert np.abs(v).max() > 1
    assert np.abs(kernel).max() > 1

    found = reference.gradients(model, x, g)
    expected = {
        "x": g_v + g_u,
        "c_shift/shift": g_v.sum(axis=over),
        "c_conv/kernel": g_kernel[None, None],
        "c_rprelu/shift_in": g_u.sum(axis=over),
        "c_rprelu/slope": (g * np.minimum(t, 0)).sum(axis=over),
        "c_rprelu/shift_out": g.sum(axis=over),
    }
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-4, err_msg=name)


def test_where_it_starts():
    model = reference.make_unit(REACTNET, (4, 4, 3), Conv("c", 3, 1))
    np.testing.assert_array_equal(model.get_layer("c_shift").get_weights(), np.zeros((1, 3)))
    np.testing.assert_array_equal(model.get_layer("c_rprelu").get_weights(), [[0] * 3, [0.25] * 3, [0] * 3])


def test_a_real_convolution_has_no_sign_to_shift():
    layers = reference.make_unit(REACTNET, (4, 4, 3), Conv("c", 3, 1, real=True)).layers
    assert not any(isinstance(layer, ChannelShift) for layer in layers)
    assert any(isinstance(layer, RPReLU) for layer in layers)


def test_converted_one_addition_is_left_before_each_sign(tmp_path: Path):
    convolutions = [Conv("a", 32, 3), Conv("b", 32, 1), Conv("c", 64, 3, 2), Conv("d", 64, 1)]
    operators = reference.convert_units(tmp_path, [(REACTNET, conv) for conv in convolutions])
    assert (operators["LceBconv2d"], operators["LceQuantize"], operators["PRELU"]) == (4, 4, 4)
    # Three links, four thresholds of which the stem's convolution takes one unless its output is linked too; the last shift
    # goes through the pooling into the classifier.
    assert operators["ADD"] <= 3 + 4
    assert "MUL" not in operators


def test_depthwise_and_real_units_convert_where_binary_depthwise_is_allowed(tmp_path: Path):
    convolutions = [Conv("a", 32, 3, depthwise=True), Conv("b", 64, 1), Conv("c", 64, 3, 2, depthwise=True, real=True)]
    method = REACTNET.with_link(METHODS["el"].link)
    operators = reference.convert_units(tmp_path, [(method, conv) for conv in convolutions], allow=("binary-depthwise",))
    assert operators["LceBconv2d"] == 1

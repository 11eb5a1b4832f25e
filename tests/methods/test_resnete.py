from pathlib import Path

import numpy as np
import pytest
import reference
import tensorflow as tf

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.methods.method_registry import METHODS, get_method

CONVOLUTIONS = [
    Conv("c", 6, 3),
    Conv("c", 9, 3, strides=2),
    Conv("c", 3, 1),
    Conv("c", 6, 3, depthwise=True),
    Conv("c", 6, 3, strides=2, depthwise=True),
]


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_unit_computes_what_its_formulas_say(conv: Conv):
    model = reference.make_unit(METHODS["resnete"], (7, 6, 6), conv)
    reference.randomize(model)
    x = reference.values(2, 7, 6, 6, seed=1).astype(np.float64)
    (kernel,) = reference.weights(model, "c_conv")
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    expected = reference.convolve(reference.sign(x), reference.sign(kernel), conv.strides, conv.depthwise) * scale + shift
    if expected.shape == x.shape:
        expected = expected + x
    np.testing.assert_allclose(model(x.astype(np.float32), training=False), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("clip", [1.3, 0.5])
def test_both_signs_are_clipped_at_the_same_value(clip: float):
    model = reference.make_unit(get_method("resnete", chosen={"clip": clip}), (3, 4, 5), Conv("c", 5, 1))
    reference.randomize(model, seed=2)
    x, g = reference.values(2, 3, 4, 5, seed=1).astype(np.float64), reference.values(2, 3, 4, 5, seed=5).astype(np.float64)
    kernel = reference.weights(model, "c_conv")[0][0, 0]
    scale, _ = reference.norm_scale_and_shift(model, "c_norm")
    for values in (x, kernel):
        assert np.abs(values).max() > clip
        assert ((np.abs(values) > min(1, clip)) & (np.abs(values) <= max(1, clip))).any()
    found = reference.gradients(model, x, g)
    g_x = (g * scale) @ reference.sign(kernel).T * (np.abs(x) <= clip) + g
    g_kernel = reference.sign(x).reshape(-1, 5).T @ (g * scale).reshape(-1, 5) * (np.abs(kernel) <= clip)
    np.testing.assert_allclose(found["x"], g_x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["c_conv/kernel"][0, 0], g_kernel, rtol=1e-4, atol=1e-4)


def test_latent_kernels_are_clipped_there_too():
    constraint = reference.make_unit(METHODS["resnete"], (3, 3, 2), Conv("c", 2, 1)).get_layer("c_conv").kernel_constraint
    np.testing.assert_allclose(constraint(tf.constant([-3.0, -0.5, 2.0])), [-1.3, -0.5, 1.3], rtol=1e-6)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("inf"), float("nan")])
def test_wrong_options_are_one_line(clip: float):
    with pytest.raises(UsageError, match="option clip must be positive"):
        get_method("resnete", chosen={"clip": clip})


def test_converted_only_the_links_are_left(tmp_path: Path):
    convolutions = [Conv("a", 32, 3), Conv("b", 64, 3, 2), Conv("c", 64, 1)]
    operators = reference.convert_units(tmp_path, [(METHODS["resnete"], conv) for conv in convolutions])
    assert (operators["LceBconv2d"], operators["ADD"]) == (3, 2)
    assert "MUL" not in operators

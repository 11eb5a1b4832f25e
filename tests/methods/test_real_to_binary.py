from pathlib import Path

import numpy as np
import pytest
import reference
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.counting import counts
from el_larq.errors import UsageError
from el_larq.methods.method_registry import METHODS, get_method

R2B = METHODS["real_to_binary"]

CONVOLUTIONS = [
    Conv("c", 16, 3),
    Conv("c", 9, 3, strides=2),
    Conv("c", 3, 1),
    Conv("c", 16, 3, depthwise=True),
    Conv("c", 16, 3, strides=2, depthwise=True),
]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_unit_computes_what_its_formulas_say(conv: Conv, alpha: bool):
    model = reference.make_unit(get_method("real_to_binary", chosen={"alpha": alpha}), (7, 6, 16), conv)
    reference.randomize(model)
    x = reference.values(2, 7, 6, 16, seed=1).astype(np.float64)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    v = scale * x + shift
    (kernel,), (a,), (b,) = (reference.weights(model, f"c_{name}") for name in ("conv", "scale_reduce", "scale_expand"))
    assert a.shape == (16, 2)
    r = sigmoid(np.maximum(v.mean(axis=(1, 2)) @ a, 0) @ b)
    kernel = reference.sign(kernel) * (reference.mean_magnitude(kernel, conv.depthwise) if alpha else 1.0)
    z = reference.convolve(reference.sign(v), kernel, conv.strides, conv.depthwise) * r[:, None, None]
    (slope,) = reference.weights(model, "c_prelu")
    expected = np.where(z > 0, z, slope[0, 0] * z)
    if expected.shape == x.shape:
        expected = expected + x
    np.testing.assert_allclose(model(x.astype(np.float32), training=False), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("size", "scaled"), [(8, False), (9, True)])
def test_gradients_of_every_kernel_and_of_the_input(size: int, scaled: bool):
    """A 1x1 unit of 8 channels, of whose reduction to one channel both images are on the positive side.

    With alpha, products that cancel are 0 up to rounding, and PReLU's gradient jumps there; an odd number of signs never cancels.
    """
    model = reference.make_unit(get_method("real_to_binary", chosen={"alpha": scaled}), (3, 4, size), Conv("c", size, 1))
    reference.randomize(model, seed=2)
    reduce = model.get_layer("c_scale_reduce")
    x, g = reference.values(2, 3, 4, size, seed=1).astype(np.float64), reference.values(2, 3, 4, size, seed=5).astype(np.float64)
    scale, shift = reference.norm_scale_and_shift(model, "c_norm")
    v = scale * x + shift
    m = v.mean(axis=(1, 2))
    reduce.set_weights([m.mean(axis=0)[:, None]])
    (kernel,), (a,), (b,) = (reference.weights(model, f"c_{name}") for name in ("conv", "scale_reduce", "scale_expand"))
    kernel = kernel[0, 0]
    hidden = np.maximum(m @ a, 0)
    assert (hidden > 0).all()
    r = sigmoid(hidden @ b)[:, None, None]
    (slope,) = reference.weights(model, "c_prelu")
    alpha = np.abs(kernel).mean(axis=0) if scaled else np.ones(size)  # one per filter
    z = reference.sign(v) @ (alpha * reference.sign(kernel))

    assert (z == 0).any() == (not scaled)
    g_scaled = g * np.where(z > 0, 1.0, np.where(z < 0, slope[0, 0], 0.0))
    g_z = g_scaled * r
    g_logits = (g_scaled * z).sum(axis=(1, 2)) * (r * (1 - r))[:, 0, 0]
    g_m = g_logits @ b.T @ a.T
    g_v = g_z @ (alpha * reference.sign(kernel)).T * (np.abs(v) <= 1) + g_m[:, None, None] / 12
    expected = {
        "x": g_v * scale + g,
        "c_conv/kernel": (reference.sign(v).reshape(-1, size).T @ g_z.reshape(-1, size) * alpha * (np.abs(kernel) <= 1))[
            None, None
        ],
        "c_scale_expand/kernel": hidden.T @ g_logits,
        "c_scale_reduce/kernel": m.T @ (g_logits @ b.T),
        "c_prelu/alpha": (g * np.minimum(z * r, 0)).sum(axis=(0, 1, 2))[None, None],
    }
    found = reference.gradients(model, x, g)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_real_convolution_is_not_scaled_but_activated():
    layers = reference.make_unit(R2B, (4, 4, 16), Conv("c", 3, 1, real=True)).layers
    assert not any(isinstance(layer, keras.layers.Dense) for layer in layers)
    assert any(isinstance(layer, keras.layers.PReLU) for layer in layers)


def test_the_dense_layers_are_counted():
    binary = reference.make_unit(R2B, (4, 4, 32), Conv("c", 64, 1))
    assert counts.count(binary).flops == 32 * 4 + 4 * 64
    assert reference.make_unit(R2B, (4, 4, 3), Conv("c", 2, 1)).get_layer("c_scale_reduce").units == 1
    wider = get_method("real_to_binary", chosen={"reduction": 2})
    assert reference.make_unit(wider, (4, 4, 32), Conv("c", 2, 1)).get_layer("c_scale_reduce").units == 16


def test_the_first_outputs_are_of_the_size_of_the_inputs():
    x = reference.values(4, 8, 8, 256, seed=1).astype(np.float32)
    large, small = (
        float(
            np.std(reference.make_unit(get_method("real_to_binary", "none", {"alpha": alpha}), (8, 8, 256), Conv("c", 256, 3))(x))
        )
        for alpha in (False, True)
    )
    assert 0.1 < small < 1 < 10 < large


def test_wrong_options_are_one_line():
    with pytest.raises(UsageError, match="option reduction must be at least 1; got 0"):
        get_method("real_to_binary", chosen={"reduction": 0})


def test_converted_each_unit_keeps_its_scale(tmp_path: Path):
    convolutions = [Conv("a", 32, 3), Conv("b", 64, 3, 2), Conv("c", 32, 1)]
    operators = reference.convert_units(tmp_path, [(R2B, conv) for conv in convolutions])
    assert (operators["LceBconv2d"], operators["LOGISTIC"], operators["PRELU"]) == (3, 3, 3)
    assert operators["FULLY_CONNECTED"] == 2 * 3 + 1
    assert operators["AVERAGE_POOL_2D"] == 3 + 1

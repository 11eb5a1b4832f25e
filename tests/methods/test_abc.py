"""ABC-Net against its formulas, and its M x N convolutions in a .tflite."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from counted import binary_products, binary_weights
from reference import check_saving, convolve, convolve_depthwise, make_unit, sign, units_network, values

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.counting import counts
from el_larq.errors import UsageError
from el_larq.inspection.keras_layers import inspect_model
from el_larq.inspection.keras_weights import from_keras
from el_larq.layers.multi_base_conv import MultiBaseConv2D
from el_larq.methods.method_registry import get_method
from el_larq.tflite.reader import parse


def bases(w: np.ndarray, count: int) -> np.ndarray:
    """alpha_m * B_m, (M, *w.shape)."""
    w = w.astype(np.float64)
    signs = np.stack([sign(w - w.mean() + u * w.std()) for u in np.linspace(-1, 1, count)] if count > 1 else [sign(w)])
    alpha = np.linalg.lstsq(signs.reshape(count, -1).T, w.ravel(), rcond=None)[0]
    return alpha.reshape(-1, *[1] * w.ndim) * signs


@pytest.mark.parametrize("conv", [Conv("c", 4, 3), Conv("c", 6, 3, 2), Conv("c", 4, 3, 2, depthwise=True), Conv("c", 2, 1)])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 2)])
def test_a_convolution_computes_the_formulas(conv: Conv, m: int, n: int):
    method = get_method("abc", chosen={"bases": m, "shifts": n})
    model = make_unit(method, (4, 6, 4), conv)
    layer = model.get_layer("c_conv")
    v, beta = values(n, seed=4, scale=0.3) + 0.5, values(n, seed=5)
    w = values(*layer.get_weights()[0].shape, seed=1, scale=0.6)
    by_name = {"shift": v, "beta": beta}
    layer.set_weights([by_name.get(weight.name.split("/")[-1].split(":")[0], w) for weight in layer.weights])
    x = tf.constant(values(2, 4, 6, 4, seed=2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = layer(x)
    upstream = values(*z.shape, seed=3)
    dx, dv, dbeta = tape.gradient(z, [x, layer.shift, layer.beta], output_gradients=tf.constant(upstream))  # pyright: ignore

    total = bases(w, m).sum(axis=0)  # the sum over m of products with the same signs

    def product(signs: np.ndarray) -> np.ndarray:
        convolved = convolve_depthwise if conv.depthwise else convolve
        return convolved(signs, total, conv.strides)

    def derivative(signs: np.ndarray) -> np.ndarray:
        """Of (product * upstream).sum(), which is affine in the signs: by changing one after the other."""
        at_rest, result = (product(signs) * upstream).sum(), np.zeros(signs.shape)
        for index in np.ndindex(*signs.shape):
            changed = signs.copy()
            changed[index] += 1
            result[index] = (product(changed) * upstream).sum() - at_rest
        return result

    shifted = [x.numpy().astype(np.float64) + float(shift) for shift in v]
    signs = [np.where(np.clip(s, 0, 1) >= 0.5, 1.0, -1.0) for s in shifted]
    products = [product(a) for a in signs]
    through = [b * derivative(a) * ((s >= 0) & (s <= 1)) for b, a, s in zip(beta, signs, shifted, strict=True)]
    np.testing.assert_allclose(z, sum(b * p for b, p in zip(beta, products, strict=True)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dx, sum(through), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(dv, [t.sum() for t in through], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(dbeta, [(upstream * p).sum() for p in products], rtol=1e-3, atol=1e-3)


def test_thresholds_start_evenly_and_outputs_as_a_mean():
    layer = make_unit(get_method("abc", chosen={"shifts": 3}), (4, 4, 2), Conv("c", 2, 1)).get_layer("c_conv")
    np.testing.assert_allclose(0.5 - layer.shift, [-0.5, 0.0, 0.5], atol=1e-6)
    np.testing.assert_allclose(layer.beta, np.full(3, 1 / 3), rtol=1e-6)


def test_products_count_as_often_as_they_are_computed():
    model = make_unit(get_method("abc", chosen={"bases": 3, "shifts": 2}), (4, 6, 32), Conv("c", 16, 3))
    counted = counts.count(model)
    assert binary_products(counted) == 6
    assert counted.bops == 6 * 24 * 9 * 32 * 16
    assert binary_weights(counted) == 3 * 9 * 32 * 16
    assert inspect_model(model, "model").predicted["binary kernels"] == 3 * 9 * 32 * 16 / 8


def test_options():
    assert get_method("abc").extra_cost == "one addition before the sign"
    assert get_method("abc", chosen={"bases": 3, "shifts": 2}).extra_cost.startswith("6 binary convolutions instead of one")
    for wrong in (0, 9):
        with pytest.raises(UsageError, match="option bases must be from 1 to 8"):
            get_method("abc", chosen={"bases": wrong})
        with pytest.raises(UsageError, match="option shifts must be from 1 to 8"):
            get_method("abc", chosen={"shifts": wrong})


@pytest.mark.slow
def test_it_converts_to_as_many_convolutions(tmp_path: Path):
    method = get_method("abc", "elastic", {"bases": 3, "shifts": 2})
    model = units_network(method, Conv("a", 64, 3, 2), Conv("b", 64, 1, groups=2))
    for number, name in enumerate(("a_conv", "b_group1_conv", "b_group2_conv")):
        model.get_layer(name).beta.assign([0.7, -0.2 * (number + 1)])  # of either sign
    model(values(8, 6, 6, 1), training=True)
    path = check_saving(model, tmp_path, values(3, 6, 6, 1, seed=1))
    job = el_larq.convert(path, tmp_path / "model.tflite", options=Options(verify_images=16))
    details = {entry.step: entry.details for entry in job.report}
    assert details["audit"]["binary"] == details["audit"]["meant_binary"] == binary_products(counts.count(model)) == 18
    assert sum(row["macs"] for row in details["audit"]["convolutions"] if row["kernel_bits"] == 1) == counts.count(model).bops
    assert details["verify"]["failures"] == ()
    # A base is stored once, however often it is used.
    binary = [op for op in parse((tmp_path / "model.tflite").read_bytes()).operators if op.name == "LceBconv2d"]
    assert len({kernel.index for op in binary if (kernel := op.inputs[1]) is not None}) == 9

    exported = {layer.name: (layer.signs, layer.scale) for layer in from_keras(path).layers}
    assert list(exported)[:3] == ["a_conv_base1", "a_conv_base2", "a_conv_base3"]
    expected = bases(model.get_layer("a_conv").get_weights()[0], 3)[1].transpose(3, 0, 1, 2)
    signs, scale = exported["a_conv_base2"]
    np.testing.assert_allclose(signs * scale[:, None, None, None], expected, rtol=1e-4)


@pytest.mark.parametrize("strides", [1, 2])
def test_sizes_that_are_known_only_when_the_graph_runs(strides: int):
    layer = MultiBaseConv2D(4, 3, strides, padding="same", use_bias=False, bases=2, pad_values=1.0)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layer(image))
    for size in ((7, 8), (2, 5)):
        x = tf.constant(values(1, *size, 3))
        np.testing.assert_allclose(model.predict(x), layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("depthwise", [False, True])
def test_dilation_is_that_of_a_kernel_with_zeros_between(depthwise: bool):
    from el_larq.layers import MultiBaseConv2D, MultiBaseDepthwiseConv2D

    x = np.random.default_rng(0).normal(size=(2, 11, 9, 3)).astype(np.float32)
    layer: Any = (
        MultiBaseDepthwiseConv2D(3, padding="same", dilation_rate=2, use_bias=False, bases=2, shifts=2, pad_values=1.0)
        if depthwise
        else MultiBaseConv2D(4, 3, padding="same", dilation_rate=2, use_bias=False, bases=2, shifts=2, pad_values=1.0)
    )
    with tf.GradientTape() as tape:
        y = layer(x)
    assert all(gradient is not None for gradient in tape.gradient(y, layer.trainable_weights))
    expected = np.zeros(y.shape)
    for shift, beta in zip(layer.shift.numpy(), layer.beta.numpy(), strict=True):
        signs = np.pad(np.where(x + shift >= 0.5, 1.0, -1.0), [(0, 0), (2, 2), (2, 2), (0, 0)], constant_values=1.0)
        for kernel in layer.binary_kernels():
            for row in range(3):
                for column in range(3):
                    part, weights = signs[:, 2 * row : 2 * row + 11, 2 * column : 2 * column + 9], kernel[row, column].numpy()
                    expected += beta * (part * weights[:, 0] if depthwise else part @ weights)
    np.testing.assert_allclose(y, expected, atol=1e-5)

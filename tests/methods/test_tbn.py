"""TBN against its formulas, and its two convolutions in a .tflite."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from counted import binary_products, binary_weights
from reference import check_saving, convolve, convolve_depthwise, make_unit, normalize, randomize_norm, sign, units_network, values

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.counting import counts
from el_larq.errors import UsageError
from el_larq.layers import TernarySplit
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.quantizers import PerChannel, StraightScaledSign
from el_larq.tflite.reader import parse


def ternary(x: np.ndarray, threshold: float) -> np.ndarray:
    return np.where(x >= threshold, 1.0, np.where(x < -threshold, -1.0, 0.0))


def scaled(kernel: np.ndarray) -> np.ndarray:
    return np.stack([np.abs(f).mean() * sign(f) for f in np.moveaxis(kernel.astype(np.float64), -1, 0)], axis=-1)


def test_the_mean_of_the_two_signs_is_ternary():
    x = tf.constant(values(2, 3, 3, 4))
    layer = TernarySplit(0.5)
    layer(x)
    layer.moving_magnitude.assign(1.0)
    lower, upper = layer(x)
    got = (sign(np.asarray(lower)) + sign(np.asarray(upper))) / 2
    np.testing.assert_array_equal(got, ternary(x.numpy(), 0.5))
    assert set(np.unique(got)) == {-1, 0, 1}
    edges = layer(tf.constant([-0.5, 0.5, 0.0]))
    np.testing.assert_array_equal((sign(np.asarray(edges[0])) + sign(np.asarray(edges[1]))) / 2, [0, 1, 0])


def test_the_threshold_is_the_batchs_in_training_and_a_moving_average_else():
    layer = TernarySplit(0.4, momentum=0.9)
    x = tf.constant(values(4, 5, 5, 3, scale=2.0))
    start = np.sqrt(2 / np.pi)
    lower, upper = layer(x, training=True)
    magnitude = np.abs(x.numpy().astype(np.float64)).mean()
    np.testing.assert_allclose(upper - lower, np.full((4, 5, 5, 3), 2 * 0.4 * magnitude), rtol=1e-5)
    moved = 0.9 * start + 0.1 * magnitude
    np.testing.assert_allclose(layer.moving_magnitude, moved, rtol=1e-6)
    lower, upper = layer(x)
    np.testing.assert_allclose(upper - lower, np.full((4, 5, 5, 3), 2 * 0.4 * moved), rtol=1e-5)
    assert layer.trainable_weights == []


def test_the_kernels_sign_passes_its_gradient_whole():
    kernel, upstream = tf.constant(values(3, 3, 4, 5, scale=2.0)), values(3, 3, 4, 5, seed=1)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = StraightScaledSign()(kernel)
    np.testing.assert_allclose(y, scaled(kernel.numpy()), rtol=1e-5)
    np.testing.assert_array_equal(tape.gradient(y, kernel, output_gradients=tf.constant(upstream)), upstream)  # pyright: ignore


def test_a_kernel_may_have_one_scale_for_all_filters():
    """DoReFa-Net's kernels; the gradient is the same."""
    kernel, upstream = tf.constant(values(3, 3, 4, 5, scale=2.0)), values(3, 3, 4, 5, seed=1)
    quantizer = StraightScaledSign.from_config(StraightScaledSign("tensor").get_config())
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = quantizer(kernel)
    np.testing.assert_allclose(y, np.abs(kernel.numpy()).mean() * sign(kernel.numpy()), rtol=1e-5)
    np.testing.assert_array_equal(tape.gradient(y, kernel, output_gradients=tf.constant(upstream)), upstream)  # pyright: ignore
    with pytest.raises(ValueError, match="per must be one of filter, tensor; got 'layer'"):
        StraightScaledSign("layer")


@pytest.mark.parametrize("conv", [Conv("c", 4, 3), Conv("c", 6, 3, 2), Conv("c", 4, 3, 2, depthwise=True), Conv("c", 2, 1)])
def test_a_unit_computes_the_formula_and_its_gradient(conv: Conv):
    model = make_unit(METHODS["tbn"], (4, 6, 4), conv)
    layer, norm = model.get_layer("c_conv"), model.get_layer("c_norm")
    kernel = values(*layer.get_weights()[0].shape, seed=1)
    layer.set_weights([kernel])
    randomize_norm(norm)
    model.get_layer("c_ternary").moving_magnitude.assign(0.8)
    x = tf.constant(values(2, 4, 6, 4, seed=2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
        upstream = values(*y.shape, seed=3)
    got: Any = tape.gradient(y, x, output_gradients=tf.constant(upstream))  # pyright: ignore

    def product(t: np.ndarray) -> np.ndarray:
        """With the binary kernel; T is padded with +1."""
        if conv.depthwise:
            return convolve_depthwise(t, scaled(kernel[..., 0])[..., None], conv.strides)
        return convolve(t, scaled(kernel), conv.strides)

    normed = normalize(x.numpy().astype(np.float64), norm)
    t = ternary(normed, 0.5 * 0.8)
    np.testing.assert_allclose(y, product(t), rtol=1e-4, atol=1e-4)
    # The product is affine in T: its derivative is taken by changing one value after the other.
    through = np.zeros(t.shape)
    at_rest = (product(t) * upstream).sum()
    for index in np.ndindex(*t.shape):
        changed = t.copy()
        changed[index] += 1
        through[index] = (product(changed) * upstream).sum() - at_rest
    gamma, _, _, variance = norm.get_weights()
    np.testing.assert_allclose(got, through * (np.abs(normed) <= 1) * gamma / np.sqrt(variance + 1e-5), rtol=1e-3, atol=1e-4)


def test_the_two_products_share_one_kernel():
    model = make_unit(METHODS["tbn"], (4, 6, 32), Conv("c", 16, 3))
    assert [tuple(w.shape) for w in model.trainable_weights] == [(32,), (32,), (3, 3, 32, 16)]
    counted = counts.count(model)
    assert binary_products(counted) == 2
    assert binary_weights(counted) == 9 * 32 * 16
    assert counted.bops == 2 * 24 * 9 * 32 * 16
    depthwise = make_unit(METHODS["tbn"], (4, 6, 32), Conv("c", 32, 3, depthwise=True)).get_layer("c_conv")
    assert isinstance(depthwise.depthwise_quantizer, PerChannel)


def test_options_and_bits():
    assert METHODS["tbn"].bits == "1/1.58"
    model = make_unit(get_method("tbn", chosen={"delta": 0.4}), (4, 4, 2), Conv("c", 2, 1))
    assert model.get_layer("c_ternary").delta == 0.4
    for wrong in (0.0, -1.0, float("inf")):
        with pytest.raises(UsageError, match="option delta must be a positive share"):
            get_method("tbn", chosen={"delta": wrong})


def test_it_converts_to_two_convolutions_that_share_their_bits(tmp_path: Path):
    method = get_method("tbn", "elastic")
    model = units_network(method, Conv("a", 64, 3, 2), Conv("b", 64, 1, groups=2))
    model(values(8, 6, 6, 1), training=True)  # moves thresholds and normalizations
    path = check_saving(model, tmp_path, values(3, 6, 6, 1, seed=1))
    job = el_larq.convert(path, tmp_path / "model.tflite", options=Options(verify_images=16))
    details = {entry.step: entry.details for entry in job.report}
    assert details["audit"]["binary"] == details["audit"]["meant_binary"] == binary_products(counts.count(model)) == 6
    assert sum(row["macs"] for row in details["audit"]["convolutions"] if row["kernel_bits"] == 1) == counts.count(model).bops
    assert details["verify"]["failures"] == ()
    binary = [op for op in parse((tmp_path / "model.tflite").read_bytes()).operators if op.name == "LceBconv2d"]
    assert len({kernel.index for op in binary if (kernel := op.inputs[1]) is not None}) == 3

"""MoBiNet against its formulas, in its block, and in a .tflite."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from counted import binary_products
from reference import check_saving, convolve, convolve_depthwise, make_unit, normalize, randomize_norm, sign, values

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.counting import counts
from el_larq.errors import UsageError
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.tflite.reader import parse

SLOPES = np.array([0.25, -0.5, 0.1, 1.5])


def prelu(z: np.ndarray) -> np.ndarray:
    return np.where(z > 0, z, SLOPES[: z.shape[-1]] * z)


def unit(conv: Conv, norm: str, channels: int = 4) -> Any:
    model = make_unit(get_method("mobinet", chosen={"norm": norm}), (4, 6, channels), conv)
    layer = model.get_layer("c_conv")
    layer.set_weights([values(*layer.get_weights()[0].shape, seed=1, scale=0.8)])
    model.get_layer("c_prelu").set_weights([SLOPES[None, None, : conv.filters]])
    randomize_norm(model.get_layer("c_norm"))
    return model


@pytest.mark.parametrize("norm", ["last", "first"])
@pytest.mark.parametrize("conv", [Conv("c", 4, 3), Conv("c", 4, 3, 2), Conv("c", 4, 3, depthwise=True), Conv("c", 2, 1)])
def test_a_unit_computes_the_formula(conv: Conv, norm: str):
    model = unit(conv, norm)
    kernel, layer = sign(model.get_layer("c_conv").get_weights()[0]), model.get_layer("c_norm")
    x = values(2, 4, 6, 4, seed=2)
    z = (convolve_depthwise if conv.depthwise else convolve)(sign(x), kernel, conv.strides)
    expected = normalize(prelu(z), layer) if norm == "last" else prelu(normalize(z, layer))
    if expected.shape == x.shape:
        expected += x
    np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-4, atol=1e-4)


def test_gradients_of_inputs_kernels_and_slopes():
    """A 1x1 convolution of an odd number of channels, so that no sum of signs is zero, where PReLU has no derivative."""
    model = unit(Conv("c", 4, 1), "last", channels=5)
    layer, activation, norm = (model.get_layer(f"c_{name}") for name in ("conv", "prelu", "norm"))
    layer.set_weights([layer.get_weights()[0] * 1.5])
    x, upstream = tf.constant(values(2, 4, 6, 5, seed=2, scale=1.5)), values(2, 4, 6, 4, seed=3)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
    got: Any = tape.gradient(y, [x, layer.kernel, activation.alpha], output_gradients=tf.constant(upstream))  # pyright: ignore
    kernel, images = layer.get_weights()[0][0, 0].astype(np.float64), x.numpy().astype(np.float64)
    assert np.abs(kernel).max() > 1
    gamma, _, _, variance = (np.asarray(weight, np.float64) for weight in norm.get_weights())
    z = sign(images) @ sign(kernel)
    behind = upstream * gamma / np.sqrt(variance + 1e-5)
    dz = behind * np.where(z > 0, 1.0, SLOPES)
    np.testing.assert_allclose(got[0], (np.abs(images) <= 1) * (dz @ sign(kernel).T), rtol=1e-4, atol=1e-4)
    dkernel = (np.abs(kernel) <= 1) * np.einsum("nijc,nijd->cd", sign(images), dz)
    np.testing.assert_allclose(got[1][0, 0], dkernel, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(got[2][0, 0], (behind * np.minimum(z, 0)).sum(axis=(0, 1, 2)), rtol=1e-4, atol=1e-4)


def test_it_takes_its_block_and_refuses_networks_without():
    model = el_larq.build("mobilenet", "mobinet", input_shape=(16, 16, 1), num_classes=10, width=0.125)
    names = [layer.name for layer in model.layers]
    assert "block1_conv3_prelu" in names
    assert not any("depthwise" in name for name in names)
    with pytest.raises(UsageError, match="'resnet18' has no block variant 'mid', which method 'mobinet' needs"):
        el_larq.build("resnet18", "mobinet", input_shape=(16, 16, 1), num_classes=10)


def test_options():
    assert METHODS["mobinet"].options == {"norm": "last", "slope": 0.25}
    model = make_unit(get_method("mobinet", chosen={"slope": 0.0}), (4, 4, 2), Conv("c", 2, 1))
    np.testing.assert_array_equal(model.get_layer("c_prelu").alpha, np.zeros((1, 1, 2)))
    with pytest.raises(UsageError, match="option slope must be a finite number"):
        get_method("mobinet", chosen={"slope": float("nan")})
    with pytest.raises(UsageError, match="option norm takes last or first"):
        get_method("mobinet", chosen={"norm": "middle"})


@pytest.mark.parametrize(
    ("norm", "skip", "left"),
    [("last", ("fold",), {"MUL": 2, "ADD": 4}), ("last", (), {"ADD": 4}), ("first", (), {"ADD": 2})],
    ids=["last unfolded", "last", "first"],
)
def test_what_is_left_of_the_normalization(tmp_path: Path, norm: str, skip: tuple[str, ...], left: dict[str, int]):
    keras.utils.set_random_seed(0)
    method = get_method("mobinet", chosen={"norm": norm})
    image = keras.Input((6, 6, 1), name="image")
    x: Any = keras.layers.Conv2D(32, 3, padding="same", name="stem")(image)
    x = method.unit(x, Conv("a", 32, 3))
    x = method.unit(x, Conv("b", 32, 1))
    # Neither shifts nor scales pass this activation.
    x = keras.layers.Activation("tanh", name="behind")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model: Any = keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="tested")
    model(values(8, 6, 6, 1), training=True)
    path = check_saving(model, tmp_path, values(3, 6, 6, 1, seed=1))
    job = el_larq.convert(path, tmp_path / "model.tflite", options=Options(verify_images=16), skip=skip)
    operators = Counter(operator.name for operator in parse((tmp_path / "model.tflite").read_bytes()).operators)
    assert operators["LceBconv2d"] == operators["PRELU"] == binary_products(counts.count(model)) == 2
    assert {name: operators[name] for name in ("MUL", "ADD") if operators[name]} == left
    assert next(entry for entry in job.report if entry.step == "verify").details["failures"] == ()

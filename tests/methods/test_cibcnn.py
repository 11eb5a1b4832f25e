"""CI-BCNN's unit against its formulas, and its corrections in a .tflite."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from reference import check_saving, convolve, make_unit, normalize, randomize_norm, sign, units_network, values

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.errors import UsageError
from el_larq.layers import InteractedBitcount
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.tflite.reader import parse


def set_edges(model: Any, seed: int = 0) -> list[Any]:
    layers, random = [layer for layer in model.layers if isinstance(layer, InteractedBitcount)], np.random.default_rng(seed)
    for layer in layers:
        layer.source.assign(random.permutation(layer.channels))
        layer.strength.assign(random.permutation(np.resize([1.0, -1.0, 0.0], layer.channels)))
    return layers


def corrected(z: np.ndarray, layer: Any, fan_in: int) -> np.ndarray:
    threshold = int(fan_in**0.5) + 0.5
    step = max(1, int(threshold / 2 + 0.5))
    y = z.copy()
    for c, (source, strength) in enumerate(zip(layer.source.numpy(), layer.strength.numpy(), strict=True)):
        y[..., c] += strength * step * (np.float64(z[..., source] > threshold) - (z[..., source] < -threshold))
    return y


CONVOLUTIONS = [Conv("c", 8, 3), Conv("c", 8, 3, 2), Conv("c", 4, 1), Conv("c", 12, 1, 2)]


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_unit_computes_the_formula(conv: Conv):
    model = make_unit(METHODS["cibcnn"], (4, 6, 8), conv)
    kernel, x = values(conv.kernel_size, conv.kernel_size, 8, conv.filters, seed=1), values(2, 4, 6, 8, seed=2)
    model.get_layer("c_conv").set_weights([kernel])
    randomize_norm(model.get_layer("c_norm"))
    (layer,) = set_edges(model)
    z = convolve(sign(x), sign(kernel), conv.strides)
    y = corrected(z, layer, 8 * conv.kernel_size**2)
    assert (y != z).any()
    np.testing.assert_allclose(model(x, training=False), normalize(y, model.get_layer("c_norm")), rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_plain_binary_convolution():
    conv = Conv("c", 4, 1)
    model, plain = (make_unit(METHODS[name], (3, 3, 8), conv) for name in ("cibcnn", "binary"))
    corrected_output = keras.Model(model.input, model.get_layer("c_interact").output)
    plain_output = keras.Model(plain.input, plain.get_layer("c_conv").output)
    kernel, x, upstream = (
        values(1, 1, 8, 4, seed=1),
        tf.constant(values(2, 3, 3, 8, seed=2)),
        tf.constant(values(2, 3, 3, 4, seed=3)),
    )
    found = []
    for whole, output in ((model, corrected_output), (plain, plain_output)):
        whole.get_layer("c_conv").set_weights([kernel])
        set_edges(whole)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y: Any = output(x)
        found.append((y, *tape.gradient(y, [x, whole.get_layer("c_conv").kernel], output_gradients=upstream)))  # pyright: ignore
    assert np.any(found[0][0] != found[1][0])
    dx = (np.abs(x) <= 1) * (upstream.numpy().astype(np.float64) @ sign(kernel[0, 0]).T)
    dkernel = (np.abs(kernel[0, 0]) <= 1) * (sign(x.numpy()).reshape(-1, 8).T @ upstream.numpy().reshape(-1, 4).astype(np.float64))
    for _, input_gradient, kernel_gradient in found:
        np.testing.assert_allclose(input_gradient, dx, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(kernel_gradient[0, 0], dkernel, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("conv", "fan_in"),
    [(Conv("c", 4, 3), 72), (Conv("c", 4, 1), 8), (Conv("c", 4, 3, groups=2), 36)],
)
def test_the_threshold_goes_by_the_number_of_products(conv: Conv, fan_in: int):
    layer = make_unit(METHODS["cibcnn"], (4, 4, 8), conv).get_layer("c_interact")
    assert layer.fan_in == fan_in
    assert layer.limit == int(fan_in**0.5)


@pytest.mark.parametrize("conv", [Conv("c", 8, 3, depthwise=True), Conv("c", 8, 3, real=True)])
def test_depthwise_and_real_valued_convolutions_are_not_corrected(conv: Conv):
    model = make_unit(METHODS["cibcnn"], (4, 4, 8), conv)
    assert not any(isinstance(layer, InteractedBitcount) for layer in model.layers)


def test_options():
    method = get_method("cibcnn", chosen={"threshold": 1.5, "edges": 7, "proposals": 3})
    layer = make_unit(method, (4, 4, 16), Conv("c", 8, 3)).get_layer("c_interact")
    assert (layer.limit, layer.max_edges, layer.proposals) == (18, 7, 3)
    assert method.options == {"threshold": 1.5, "edges": 7, "proposals": 3}
    for name, value in (("threshold", 0.0), ("threshold", float("inf")), ("edges", 0), ("proposals", 0)):
        with pytest.raises(UsageError, match=f"{name} must be"):
            get_method("cibcnn", chosen={name: value})


@pytest.mark.parametrize(("placement", "skip"), [("after_norm", ()), ("before_norm", ()), ("after_norm", ("fold",))])
def test_corrections_survive_the_conversion(tmp_path: Path, placement: str, skip: tuple[str, ...]):
    method = get_method("cibcnn", "elastic").with_placement(placement)
    model = units_network(method, Conv("a", 32, 3), Conv("b", 64, 1), Conv("c", 32, 3, 2))
    for number, name in enumerate("abc"):
        layer = model.get_layer(f"{name}_norm")
        randomize_norm(layer, seed=number)
        layer.moving_variance.assign(layer.moving_variance * 100)
    pictures = values(3, 6, 6, 1)
    without = model(pictures)
    assert len(set_edges(model)) == 3
    assert not np.allclose(model(pictures), without, atol=1e-2)
    path = check_saving(model, tmp_path, pictures)
    job = el_larq.convert(path, tmp_path / "model.tflite", options=Options(verify_images=32), skip=skip)
    operators = [operator.name for operator in parse((tmp_path / "model.tflite").read_bytes()).operators]
    assert operators.count("LceBconv2d") == 3
    assert operators.count("GATHER") == 3
    details = {entry.step: entry.details for entry in job.report}
    assert details["verify"]["failures"] == ()
    assert details["audit"]["binary"] == details["audit"]["meant_binary"] == 3


def test_a_layer_without_edges_costs_nothing(tmp_path: Path):
    model = units_network(METHODS["cibcnn"], *(Conv(name, 32, 3) for name in "abc"))
    for number, name in enumerate("abc"):
        randomize_norm(model.get_layer(f"{name}_norm"), seed=number)
    model.get_layer("b_interact").strength.assign(np.resize([1.0, 0.0, 0.0, 0.0], 32))
    model.get_layer("b_interact").source.assign(np.roll(np.arange(32), 1))
    model.save(tmp_path / "model.keras")
    job = el_larq.convert(tmp_path / "model.keras", tmp_path / "model.tflite", options=Options(verify_images=32))
    operators = [operator.name for operator in parse((tmp_path / "model.tflite").read_bytes()).operators]
    assert operators.count("LceBconv2d") == 3
    assert operators.count("GATHER") == operators.count("SUB") == 1
    assert operators.count("MUL") <= 2  # the edges' strengths, and b's normalization: the others are in their convolutions
    assert next(entry for entry in job.report if entry.step == "verify").details["failures"] == ()

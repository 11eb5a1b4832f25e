"""The unit of the genetic search: thresholds a filter, which disappear into the packed kernel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from reference import check_saving, convolve, convolve_depthwise, make_unit, normalize, randomize_norm, sign, units_network, values

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.errors import UsageError
from el_larq.methods.method_registry import METHODS, get_method
from el_larq.tflite.reader import parse
from el_larq.training.search_genetic import find_genes


def set_thresholds(model: Any) -> list[np.ndarray]:
    """Between the quartiles of the start's weights, so that every filter keeps both signs."""
    found = []
    for number, gene in enumerate(find_genes(model)):
        thresholds = np.random.default_rng(number).uniform(-0.5, 0.5, gene.weights.shape[1]).astype(np.float32) * gene.deviation
        gene.quantizer.filter_threshold.assign(thresholds)
        found.append(thresholds)
    return found


CONVOLUTIONS = [Conv("c", 8, 3), Conv("c", 8, 3, 2), Conv("c", 4, 1), Conv("c", 12, 1, 2), Conv("c", 8, 3, 2, depthwise=True)]


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_a_unit_computes_the_formula(conv: Conv):
    model = make_unit(METHODS["genetic"], (4, 6, 8), conv)
    randomize_norm(model.get_layer("c_norm"))
    (thresholds,) = set_thresholds(model)
    layer, x = model.get_layer("c_conv"), values(2, 4, 6, 8, seed=2)
    if conv.depthwise:
        signs = sign(layer.depthwise_kernel.numpy() - thresholds[:, None])
        plain, z = sign(layer.depthwise_kernel.numpy()), convolve_depthwise(sign(x), signs, conv.strides)
    else:
        signs = sign(layer.kernel.numpy() - thresholds)
        plain, z = sign(layer.kernel.numpy()), convolve(sign(x), signs, conv.strides)
    assert (signs != plain).any()
    np.testing.assert_allclose(model(x, training=False), normalize(z, model.get_layer("c_norm")), rtol=1e-4, atol=1e-4)


def test_gradients_pass_both_signs():
    model = make_unit(METHODS["genetic"], (3, 3, 8), Conv("c", 4, 1))
    layer, x, upstream = model.get_layer("c_conv"), tf.constant(values(2, 3, 3, 8, seed=2)), values(2, 3, 3, 4, seed=3)
    layer.kernel.assign(values(1, 1, 8, 4, seed=1))
    (thresholds,) = set_thresholds(model)
    kernel = layer.kernel.numpy()[0, 0]
    with tf.GradientTape() as tape:
        tape.watch(x)
        z: Any = keras.Model(model.input, layer.output)(x)
    dx, dkernel = tape.gradient(z, [x, layer.kernel], output_gradients=tf.constant(upstream))  # pyright: ignore
    np.testing.assert_allclose(dx, (np.abs(x) <= 1) * (upstream @ sign(kernel - thresholds).T), rtol=1e-4, atol=1e-4)
    expected = (np.abs(kernel) <= 1) * (sign(x.numpy()).reshape(-1, 8).T @ upstream.reshape(-1, 4))
    np.testing.assert_allclose(dkernel[0, 0], expected, rtol=1e-4, atol=1e-4)
    assert len(model.trainable_variables) == 3  # the kernel, and scale and shift of the norm


def test_each_layer_has_thresholds_of_its_own():
    method = METHODS["genetic"]
    image: Any = keras.Input((4, 4, 8))
    model: Any = keras.Model(image, method.unit(method.unit(image, Conv("a", 8, 3)), Conv("b", 8, 3, groups=2)))
    quantizers = [gene.quantizer for gene in find_genes(model)]
    assert len({id(quantizer) for quantizer in quantizers}) == len(quantizers) == 3


def test_options():
    method = get_method("genetic", chosen={"population": 9, "generations": 4, "balance": 0})
    quantizer = make_unit(method, (4, 4, 8), Conv("c", 8, 3)).get_layer("c_conv").kernel_quantizer
    assert (quantizer.population, quantizer.generations, quantizer.balance) == (9, 4, 0)
    for name, value in (("population", 1), ("generations", 0), ("balance", -0.1), ("balance", float("nan"))):
        with pytest.raises(UsageError, match=f"{name} must"):
            get_method("genetic", chosen={name: value})


@pytest.mark.parametrize("skip", [(), ("fold",)])
def test_thresholds_become_bits(tmp_path: Path, skip: tuple[str, ...]):
    method = get_method("genetic", "elastic")
    convs = (Conv("a", 32, 3), Conv("b", 64, 1), Conv("c", 32, 3, 2), Conv("d", 32, 3, depthwise=True))
    model = units_network(method, *convs)
    for number, name in enumerate("abcd"):
        layer = model.get_layer(f"{name}_norm")
        randomize_norm(layer, seed=number)
        layer.moving_variance.assign(layer.moving_variance * 100)
    pictures = values(3, 6, 6, 1)
    without = model(pictures)
    assert len(set_thresholds(model)) == 4
    assert not np.allclose(model(pictures), without, atol=1e-2)
    path = check_saving(model, tmp_path, pictures)
    options = Options(verify_images=32, allow=("binary-depthwise",))
    job = el_larq.convert(path, tmp_path / "model.tflite", options=options, skip=skip)
    operators = [operator.name for operator in parse((tmp_path / "model.tflite").read_bytes()).operators]
    assert operators.count("LceBconv2d") == 3  # a depthwise one is never binary in LCE
    details = {entry.step: entry.details for entry in job.report}
    assert details["verify"]["failures"] == ()
    assert details["audit"]["binary"] == 3

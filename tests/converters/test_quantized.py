"""Fake quantization: LCE's converter computes with int8 between the quantized tensors, and verification allows for its steps."""

from typing import Any

import binary_models as models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq.converters.job import Job, Options
from el_larq.converters.verify import OUTPUT_TOLERANCE, QUANTIZED_TOLERANCE, verify_model
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

L = keras.layers


def _quantized(x: Any) -> Any:
    return L.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -3.0, 3.0))(x)


@pytest.fixture(scope="module")
def converted() -> Job:
    """A stem and a residual block of a binary convolution, all of it quantized."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(32, 3, padding="same", use_bias=False, name="stem")(_quantized(image))
    x = _quantized(L.ReLU()(models.norm("stem_norm")(x)))
    for name in "ab":
        y = models.norm(f"{name}_norm", fan_in=288)(models.binary(32, name)(x))
        x = _quantized(L.Add()([x, _quantized(y)]))
    x = _quantized(L.GlobalAveragePooling2D(name="pool")(x))
    model = keras.Model(image, _quantized(L.Dense(10, name="logits")(x)), name="int8")
    return el_larq.convert(model, options=Options(verify_images=32))


def test_a_network_with_fake_quantization_computes_with_int8_and_is_verified(converted: Job) -> None:
    graph = parse(converted.need_tflite())
    types = {operator.name: operator.outputs[0].type for operator in graph.operators}
    assert types["LceBconv2d"] == types["ADD"] == types["CONV_2D"] == "int8"
    verified = converted.report[-2].details
    assert OUTPUT_TOLERANCE < verified["max_difference"] <= QUANTIZED_TOLERANCE  # one step of 256
    assert {tensor.step for tensor in graph.tensors if tensor.type == "int8" and not tensor.constant} == {np.float32(6 / 255)}


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_wrong_factor_in_an_int8_network_fails(converted: Job, factor: float) -> None:
    graph = parse(converted.need_tflite())
    multiplier = next(operator for operator in graph.operators if operator.name == "LceBconv2d").inputs[2]
    assert multiplier is not None
    wrong = models.change_constant(converted.need_tflite(), multiplier.index, np.float32, lambda values: values * factor)
    assert verify_model(converted.need_original(), wrong, models.images(32, 8, 3)).failures


def test_means_of_quantized_maps_keep_their_precision() -> None:
    """AVERAGE_POOL_2D rounds to the steps of its input; the model does not."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = _quantized(models.norm("norm")(models.binary(32, "conv")(L.Conv2D(32, 3, name="stem")(image))))
    model = keras.Model(image, L.Dense(10)(L.GlobalAveragePooling2D()(x)))
    job = el_larq.convert(model, options=Options(verify_images=4))
    images = models.images(8, 8, 3)
    np.testing.assert_allclose(Interpreter(job.need_tflite()).run(images)[0], model(images).numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("second", [3.6, 3.0])
def test_the_range_of_a_second_fake_quantizer_in_a_row_is_not_lost(second: float) -> None:
    """LCE's converter keeps the first: a wider range behind it changes roundings only, a smaller one clips."""
    image = keras.Input((4, 4, 3))
    x = _quantized(image) if second > 3 else L.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -3.9, 3.9))(image)
    y = L.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -second, second), name="second")(x)
    model = keras.Model(image, y)
    if second > 3:
        el_larq.convert(model, options=Options(verify_images=4))
        return
    with pytest.raises(
        ElLarqError, match=r"layer second quantizes to the range from -3 to 3 .* from -3.9 to 3.9, and LCE.*; keep one"
    ):
        el_larq.convert(model, options=Options(verify_images=4))

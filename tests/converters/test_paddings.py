"""Padding that LCE's converter or kernels get wrong is spelled so that the .tflite is right."""

from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from hypothesis import given
from hypothesis import strategies as st

import el_larq
from el_larq.converters.dilations import with_dilations
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Options
from el_larq.converters.lower import lower_model
from el_larq.converters.paddings import kept_padding
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

L = keras.layers


def _agrees(model: keras.Model) -> list[str]:
    """Convert, compare the outputs with Keras' own, return the operators."""
    frozen = with_dilations(FrozenModel(model))
    content = lower_model(frozen)
    images = np.random.default_rng(0).standard_normal((2, *model.input_shape[1:]), np.float32)
    wanted = model(images, training=False).numpy()
    np.testing.assert_allclose(Interpreter(content).run(images)[0].reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)
    return [operator.name for operator in parse(content).operators]


def _model(size: int | tuple[int, int], channels: int, *layers: L.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    height, width = (size, size) if isinstance(size, int) else size
    return keras.Sequential([keras.Input((height, width, channels)), *layers])


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize(("pad", "kernel", "stride"), [(1, 3, 2), (2, 5, 2), (3, 7, 2), (1, 3, 3), (1, 2, 2), (2, 3, 1)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_explicit_padding_before_a_real_convolution(pad: int, kernel: int, stride: int, size: int, depthwise: bool) -> None:
    convolution = L.DepthwiseConv2D(kernel, stride) if depthwise else L.Conv2D(4, kernel, stride)
    _agrees(_model(size, 3, L.ZeroPadding2D(pad), convolution))


def test_padding_that_several_convolutions_read() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3))
    padded = L.ZeroPadding2D(3)(image)
    _agrees(keras.Model(image, L.Add()([L.Conv2D(4, 7, 2)(padded), L.Conv2D(4, 7, 2)(padded)])))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "operators"),
    [
        ((8, 8), (2, 2), 3, ["CONV_2D"]),
        ((10, 11), (2, 2), 3, ["CONV_2D"]),  # one axis as SAME pads it, one that the windows do not cover
        ((8, 8), (3, 1), 2, ["SLICE", "CONV_2D"]),
        ((10, 9), (1, 3), 4, ["SLICE", "CONV_2D"]),
        ((8, 8), (2, 2), 2, ["CONV_2D"]),
        ((8, 8), (1, 1), 2, ["CONV_2D"]),
    ],
)
def test_same_padding_with_a_stride_over_the_kernel(size: Any, kernel: Any, stride: int, operators: list[str]) -> None:
    assert _agrees(_model(size, 3, L.Conv2D(4, kernel, stride, padding="same"))) == operators


def test_a_depthwise_convolution_with_a_stride_over_the_kernel() -> None:
    _agrees(_model((8, 10), 3, L.DepthwiseConv2D(2, 4, padding="same")))
    _agrees(_model(8, 3, L.DepthwiseConv2D((3, 1), 2, padding="same")))


def test_explicit_padding_that_is_that_of_same_with_a_stride_over_the_kernel() -> None:
    """LCE's converter makes SAME of it."""
    _agrees(_model((9, 8), 3, L.ZeroPadding2D((1, 0)), L.Conv2D(4, (3, 1), 2)))


def test_padding_that_is_right_stays_as_it_is() -> None:
    model = FrozenModel(_model(13, 3, L.ZeroPadding2D(3), L.Conv2D(4, 7, 2)))
    assert [o.name for o in parse(lower_model(model)).operators] == ["CONV_2D"]  # SAME pads by 3 and 3


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_kept_padding_computes_the_same_and_is_never_taken_for_another(size: int, reach: int, stride: int, p: int, q: int) -> None:
    if size + p + q < reach:
        return
    before, after = kept_padding(size, reach, stride, p, q)
    positions = (size + p + q - reach) // stride + 1
    assert before == p
    assert after >= 0
    assert (size + before + after - reach) // stride + 1 == positions
    # Rows of padding that were taken away were read by no position.
    assert size + before + min(after, q) >= (positions - 1) * stride + reach
    same = max(0, (-(-size // stride) - 1) * stride + reach - size)
    if positions == -(-size // stride) and before == (before + after) // 2:
        assert before + after == same


def _sign_then(padding: L.Layer, stride: int) -> tuple[L.Layer, ...]:
    convolution = larq.layers.QuantConv2D(
        8, 3, stride, kernel_quantizer="ste_sign", kernel_constraint="weight_clip", use_bias=False, padding="valid"
    )
    return L.Activation(larq.quantizers.SteSign()), padding, convolution


class PadWith(L.Layer):
    def __init__(self, amount: int, value: float) -> None:
        super().__init__()
        self.amount, self.value = amount, value

    def call(self, x: tf.Tensor) -> tf.Tensor:
        amounts = [(0, 0), (self.amount, self.amount), (self.amount, self.amount), (0, 0)]
        return tf.pad(x, amounts, constant_values=self.value)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.0])
@pytest.mark.parametrize(("amount", "stride"), [(1, 2), (1, 1), (2, 1), (2, 2)])
def test_padding_with_signs_behind_the_quantizer(amount: int, stride: int, value: float) -> None:
    operators = _agrees(_model(8, 32, *_sign_then(PadWith(amount, value), stride)))
    assert "LceBconv2d" in operators
    assert "CONV_2D" not in operators


def test_signs_are_compared_where_the_padding_moved_before_them() -> None:
    model = _model(8, 3, L.Conv2D(32, 3, padding="same"), *_sign_then(PadWith(1, 1.0), 2), L.Flatten(), L.Dense(4))
    job = el_larq.convert(model)
    (layer,) = job.report[-2].details["layers"]
    assert layer["compared"] == 256 * 8 * 8 * 32
    assert not layer["flipped"]


@pytest.mark.parametrize(
    ("size", "kernel", "rate", "stride"),
    [
        (1, 3, 1, 1),
        (2, 3, 1, 1),
        (3, 3, 1, 1),
        ((1, 3), 3, 1, 1),
        ((5, 2), 3, 1, 1),
        (1, 3, 1, 2),
        (2, 3, 1, 2),
        (3, 3, 1, 2),
        (4, 5, 1, 1),
        (5, 5, 1, 1),
        (4, 3, 2, 1),
        (5, 3, 2, 1),
        (8, 3, 4, 1),
        ((8, 12), 3, 4, 1),
        (9, 3, 4, 1),
    ],
)
def test_zero_padding_of_a_binary_convolution(size: int | tuple[int, int], kernel: int, rate: int, stride: int) -> None:
    convolution = models.binary(8, "b", kernel, pad_values=0.0, dilation_rate=rate, strides=stride)
    assert "LceBconv2d" in _agrees(_model(size, 32, convolution, models.norm("n")))


@pytest.mark.parametrize("pad_values", [0.0, 1.0, -1.0])
def test_dilations_of_a_kernel_of_one_pixel_have_no_effect(pad_values: float) -> None:
    convolution = models.binary(8, "b", 1, padding="same", pad_values=pad_values, dilation_rate=3)
    assert _agrees(_model(8, 32, convolution)) == ["LceQuantize", "LceBconv2d"]


@pytest.mark.parametrize("rate", [2, 3, (2, 1)])
def test_a_dilated_depthwise_convolution_becomes_one_operation(rate: int | tuple[int, int]) -> None:
    convolution = L.DepthwiseConv2D(3, padding="same", dilation_rate=rate)
    job = el_larq.convert(_model(8, 4, L.ReLU(), convolution), options=Options(verify_images=4))
    assert [operator.name for operator in parse(job.need_tflite()).operators] == ["RELU", "DEPTHWISE_CONV_2D"]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [9, 10])
def test_a_dilated_convolution_becomes_one_operation(size: int, padding: str) -> None:
    model = FrozenModel(_model(size, 3, L.Conv2D(4, 3, padding=padding, dilation_rate=2)))
    assert any(o.type == "SpaceToBatchND" for o in model.operations)
    dilated = with_dilations(model)
    (convolution,) = [o for o in dilated.operations if o.type == "Conv2D"]
    assert list(convolution.get_attr("dilations")) == [1, 2, 2, 1]
    images = models.images(2, size, 3)
    wanted, got = (m.fetch(m.outputs)(images)[0] for m in (model, dilated))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)

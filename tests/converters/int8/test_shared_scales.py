"""Operators whose inputs and outputs share a scale: with operators that require one, and with constants."""

from collections.abc import Callable
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.int8.int8_comparison import compare_int8
from el_larq.converters.int8.quantized_file import Quantized, quantize_file
from el_larq.converters.lower import lower_model
from el_larq.converters.rules.rule_registry import check_graph
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

L = keras.layers


def _conv(x: Any, activation: str | None = None) -> Any:
    return L.Conv2D(8, 3, padding="same", activation=activation)(x)


def _largest_error(join: Callable[[Any], Any]) -> tuple[float, Quantized]:
    """The largest difference of the output, as a share of its largest value, and the int8 file, which is verified."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    content = lower_model(FrozenModel(keras.Model(image, join(image))))
    made = quantize_file(content, models.images(16, 8, 3), "mse")
    compare_int8(made, content, [models.images(4, 8, 3)])
    got, wanted = (Interpreter(file).run(models.images(8, 8, 3))[0] for file in (made.content, content))
    return float(np.abs(got - wanted).max() / np.abs(wanted).max()), made


@pytest.mark.parametrize(
    "join",
    [
        lambda x: L.Concatenate()([_conv(x, "sigmoid"), _conv(x, "tanh")]),
        lambda x: L.Concatenate()([_conv(x, "sigmoid"), 5 * _conv(x, "relu")]),
        lambda x: L.Maximum()([_conv(x, "sigmoid"), 5 * _conv(x)]),
        lambda x: L.Minimum()([_conv(x, "tanh"), 5 * _conv(x)]),
        lambda x: tf.stack([_conv(x, "sigmoid"), 5 * _conv(x)], axis=1),
    ],
    ids=["sigmoid-tanh", "sigmoid-relu", "maximum", "minimum", "pack"],
)
def test_an_operator_that_would_clip_to_a_required_scale_stays_float(join: Callable[[Any], Any]) -> None:
    error, made = _largest_error(join)
    assert error < 0.05
    assert [reason.split(",")[0] for _, reason in made.scales.left] == ["its inputs must have one scale"]
    findings = [finding for finding in check_graph(parse(made.content)) if finding.rule.endswith("float")]
    assert [finding.rule for finding in findings] == ["only-float"]


def test_tensors_with_the_same_required_scale_are_joined_in_int8() -> None:
    error, made = _largest_error(lambda x: L.Concatenate()([_conv(x, "sigmoid"), _conv(x, "sigmoid")]))
    assert error < 0.02
    assert made.scales.left == ()


def _embedded(x: Any) -> Any:
    """A row of a constant table for each image, by an index that is computed (of float values: rounding cannot change it)."""
    table = tf.constant(np.random.default_rng(0).normal(size=(3, 8)), tf.float32)
    return _conv(x) + tf.reshape(tf.gather(table, tf.argmax(x[:, 0, 0], -1)), (-1, 1, 1, 8))


@pytest.mark.parametrize(
    "join",
    [
        lambda x: tf.maximum(_conv(x), 10.0),
        lambda x: tf.minimum(_conv(x), tf.constant([-9.0] * 4 + [9.0] * 4)),
        lambda x: tf.pad(_conv(x), [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=3.0),
        _embedded,
    ],
    ids=["maximum", "minimum", "padding", "table"],
)
def test_constants_are_in_the_range_that_they_share(join: Callable[[Any], Any]) -> None:
    error, made = _largest_error(join)
    assert error < 0.03
    assert [operator.name for operator, _ in made.scales.left] in ([], ["ARG_MAX"])


_BORDER = [[0, 0], [1, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    "join",
    [
        lambda x: _conv(tf.minimum(_conv(x), 1e4)),
        lambda x: _conv(tf.maximum(_conv(x), -1e4)),
        lambda x: _conv(tf.clip_by_value(_conv(x), -1e3, 1e3)),
        lambda x: _conv(L.ReLU(max_value=100)(_conv(x))),
        lambda x: tf.minimum(_conv(x), tf.constant([0.5] * 4 + [1e4] * 4)),
    ],
    ids=["minimum", "maximum", "clip", "relu", "per channel"],
)
def test_bounds_that_no_value_reaches_cost_no_steps(join: Callable[[Any], Any]) -> None:
    error, made = _largest_error(join)
    assert error < 0.03
    assert made.scales.left == ()


@pytest.mark.parametrize(
    ("join", "left"),
    [
        (lambda x: _conv(L.MaxPooling2D(3)(tf.pad(_conv(x), _BORDER, constant_values=-1e9))), ["PADV2", "MAX_POOL_2D"]),
        (lambda x: _conv(x) + tf.pad(_conv(x), _BORDER, constant_values=1e9)[:, 1:-1, 1:-1], ["PADV2", "STRIDED_SLICE", "ADD"]),
        (
            lambda x: tf.split(tf.concat([_conv(x), tf.fill((1, 8, 8, 4), 1e4)], -1), [8, 4], axis=-1)[0],
            ["CONCATENATION", "SPLIT_V"],
        ),
    ],
    ids=["pooling", "slice", "concatenation"],
)
def test_values_that_are_joined_with_far_constants_stay_float(join: Callable[[Any], Any], left: list[str]) -> None:
    error, made = _largest_error(join)
    assert error < 0.03
    assert [operator.name for operator, _ in made.scales.left] == left
    assert all("more than doubles" in reason for _, reason in made.scales.left)


def test_each_tensor_that_is_no_view_is_reported() -> None:
    _, made = _largest_error(lambda x: L.Concatenate()([L.Reshape((64, 8))(_conv(x)), L.Reshape((64, 8))(_conv(x))]))
    names = [operator.name for operator in parse(made.content).operators]
    assert names.count("RESHAPE") == 2
    assert len(made.reports) == 4  # the image, two convolutions, and the concatenation

"""Predicted instructions: shapes counted by hand, what has no prediction, and networks against counts under qemu-aarch64."""

from math import prod
from typing import Any

import pytest
import tf_keras as keras

from el_larq.errors import UsageError
from el_larq.inspection.keras_layers import inspect_model
from el_larq.models.build import build
from el_larq.tflite.instruction_constants import CORES, IN_PLACE, OPERATOR
from el_larq.tflite.instructions import predict_cost, predict_operator
from el_larq.tflite.reader import Operator, Tensor

CORE = "cortex-a72"


def tensor(kind: str, *shape: int, constant: bool = False) -> Tensor:
    return Tensor(0, "t", kind, shape, b"\0" if constant else b"")


def operator(name: str, inputs: list[Tensor], *outputs: Tensor, **options: Any) -> Operator:
    return Operator(0, name, tuple(inputs), outputs, options)


def predicted(one: Operator, core: str = CORE) -> float:
    """Without the constant for calling an operator."""
    found = predict_operator(one, core)
    assert found is not None
    return found - OPERATOR.instructions


def binary(filters: int, channels: int, kind: str = "float32", size: int = 1) -> Operator:
    words = -(-channels // 32)
    source, kernel = tensor("int32", 1, 8, 8, words), tensor("int32", filters, size, size, words, constant=True)
    output = tensor(kind, 1, 8, 8, filters // 32 if kind == "int32" else filters)
    return operator("LceBconv2d", [source, kernel], output, channels_in=channels, stride_height=1, stride_width=1)


def test_a_binary_convolution_is_its_tiles() -> None:
    """64 pixels in fours and 64 filters in eights: 128 tiles, and 16 times the packing of 4 pixels."""
    assert predicted(binary(64, 128)) == 128 * (105 + 102.5) + 16 * 16
    assert predicted(binary(64, 256)) - predicted(binary(64, 128)) == 128 * 105 + 16 * 16
    # The kernel pads depth to 128 bits: 64 channels take the same steps as 128.
    assert predicted(binary(64, 64)) == 128 * (105 + 102.5) + 16 * 120
    assert predicted(binary(64, 128, "int32")) == predicted(binary(64, 128)) - 128 * (102.5 - 76)
    assert predicted(binary(64, 128, size=3)) > 9 * 128 * 105


def test_a_float_convolution_is_its_tiles_on_every_core() -> None:
    kernel = tensor("float32", 16, 1, 1, 8, constant=True)
    one = operator("CONV_2D", [tensor("float32", 1, 6, 1, 8), kernel], tensor("float32", 1, 6, 1, 16), strides=(1, 1))
    assert predicted(one) == 2 * (2 * 59 + 75)
    assert predicted(one, "cortex-a53") == 2 * (2 * 93 + 75)
    # 3 channels: two together and one alone.
    kernel = tensor("float32", 8, 3, 3, 3, constant=True)
    one = operator("CONV_2D", [tensor("float32", 1, 6, 1, 3), kernel], tensor("float32", 1, 6, 1, 8), strides=(1, 1))
    assert predicted(one) == 9 * (32 + 19 + 31) + 75


def test_dot_products_shorten_int8_and_nothing_else() -> None:
    kernel = tensor("int8", 64, 1, 1, 64, constant=True)
    one = operator("CONV_2D", [tensor("int8", 1, 8, 8, 64), kernel], tensor("int8", 1, 8, 8, 64), strides=(1, 1))
    assert predicted(one, "cortex-a76") < 0.6 * predicted(one, "cortex-a72") == 0.6 * predicted(one, "cortex-a53")
    assert predict_operator(binary(64, 64), "cortex-a76") == predict_operator(binary(64, 64), "cortex-a72")


@pytest.mark.parametrize(
    ("first", "second", "rows"),
    [
        ((1, 8, 8, 32), (1, 8, 8, 32), 1),
        ((1, 8, 8, 32), (32,), 64),  # a constant per channel: a call for each pixel
        ((1, 8, 8, 32), (1, 1, 8, 32), 8),
        ((1, 64, 4, 32), (1, 64, 1, 32), 256),
        ((1, 8, 8, 32), (), 1),
    ],
)
def test_broadcasting_calls_the_kernel_for_each_row(first: tuple[int, ...], second: tuple[int, ...], rows: int) -> None:
    one = operator("ADD", [tensor("float32", *first), tensor("float32", *second)], tensor("float32", *first))
    assert predicted(one) == prod(first) * 10 / 8 + rows * 40


def test_views_are_free_unless_xnnpack_copies_them() -> None:
    shapes = ((1, 8, 8, 32), (1, 64, 1, 32))
    view = operator("RESHAPE", [tensor("int32", *shapes[0])], tensor("int32", *shapes[1]))
    bits = operator("BITCAST", [tensor("float32", *shapes[0])], tensor("int32", *shapes[0]))
    assert predict_operator(view, CORE) == predict_operator(bits, CORE) == IN_PLACE.instructions
    assert predicted(operator("RESHAPE", [tensor("float32", *shapes[0])], tensor("float32", *shapes[1]))) == round(4 * 2048 * 0.14)


@pytest.mark.parametrize(
    "one",
    [
        operator("ERFC", [tensor("float32", 1, 8)], tensor("float32", 1, 8)),
        operator("ADD", [tensor("int16", 1, 8), tensor("int16", 1, 8)], tensor("int16", 1, 8)),
        operator("RELU", [tensor("float32", -1, 8)], tensor("float32", -1, 8)),
        operator("RELU", []),
        binary(64, 64, "uint8"),
    ],
    ids=["operator", "type", "size", "none", "output"],
)
def test_what_has_no_constants_is_named(one: Operator) -> None:
    assert predict_operator(one, CORE) is None
    cost = predict_cost([one, binary(64, 64)], CORE)
    assert one.name in cost.uncounted
    assert cost.instructions == predict_operator(binary(64, 64), CORE)


def test_an_unknown_core_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown core 'cortex-a710'.*cortex-a72"):
        predict_cost([], "cortex-a710")


@pytest.mark.parametrize(("network", "method", "millions"), [("quicknet", "bireal", 76.2), ("mobilenet", "el", 54.8)])
def test_the_prediction_for_a_network_is_near_its_count(network: str, method: str, millions: float) -> None:
    """The counts are those of docs/cost.md; the prediction for the Keras model lacks some of what conversion removes."""
    keras.backend.clear_session()
    inspection = inspect_model(build(network, method), network, core=CORE)
    assert inspection.cost is not None
    assert inspection.cost.instructions / 1e6 == pytest.approx(millions, rel=0.07)
    assert not inspection.cost.uncounted
    content = inspection.to_dict()
    assert content["cost"]["instructions"] == inspection.cost.instructions
    # Every operator belongs to one layer.
    assert sum(layer.instructions or 0 for layer in inspection.layers) == inspection.cost.instructions


def test_every_core_has_its_constants() -> None:
    for core in CORES:
        assert predicted(binary(64, 64), core) > 0

from typing import Any

import binary_models as models
import numpy as np
import pytest
import tf_keras as keras
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_convolutions
from el_larq.converters.lower import lower_model
from el_larq.converters.match import Match, match
from el_larq.tflite.operators import kernel_signs, unpack_signs
from el_larq.tflite.reader import TfliteGraph, parse


@settings(deadline=None)
@given(
    arrays.arrays(np.int32, arrays.array_shapes(min_dims=1, max_dims=4, max_side=3)),
    st.integers(0, 31),
)
def test_unpacked_bits_are_those_of_a_plain_loop(packed: np.ndarray, unused: int) -> None:
    channels = 32 * packed.shape[-1] - unused
    got = unpack_signs(packed, channels)
    assert got.shape == (*packed.shape[:-1], channels)
    assert got.dtype == bool
    for index in np.ndindex(got.shape):
        word = int(packed[(*index[:-1], index[-1] // 32)]) & 0xFFFFFFFF
        assert got[index] == bool(word >> (index[-1] % 32) & 1)


def test_packed_bits_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        unpack_signs(np.zeros((1, 1), np.float32), 3)


def _matches(model: keras.Model) -> tuple[list[Match], TfliteGraph]:
    graph = parse(lower_model(FrozenModel(model)))
    return match(find_convolutions(FrozenModel(model)), graph), graph


@pytest.mark.parametrize("channels", [3, 8, 32, 48, 96])
def test_kernel_signs_are_the_signs_of_the_kernel(channels: int) -> None:
    model = models.network(models.binary(40, "conv"), models.norm("norm"), channels=channels)
    matches, graph = _matches(model)
    (operator,) = [operator for operator in graph.operators if operator.name == "LceBconv2d"]
    wanted = np.transpose(models.layer(model, "conv").kernel.numpy() < 0, (3, 0, 1, 2))
    np.testing.assert_array_equal(kernel_signs(operator), wanted)
    assert [(m.convolution.layer, m.operator.index, m.differing) for m in matches] == [("conv", operator.index, 0)]


def test_groups_of_channels_are_matched() -> None:
    """LCE takes groups whose channels are a multiple of 32."""
    matches, _ = _matches(models.network(models.binary(64, "conv", groups=2), models.norm("norm"), channels=64))
    assert [(m.convolution.layer, m.differing) for m in matches] == [("conv", 0)]


def test_layers_of_one_shape_are_distinguished_when_they_run_in_another_order_than_they_were_made() -> None:
    made = {name: models.binary(32, name) for name in ("made_first", "made_second", "made_third")}
    order = ("made_third", "made_first", "made_second")
    middle = [layer for name in order for layer in (made[name], models.norm(f"{name}_norm"))]
    matches, _ = _matches(models.network(*middle))
    assert [m.convolution.layer for m in matches] == list(order)
    assert all(m.differing == 0 for m in matches)


def test_parallel_branches_of_one_shape_are_distinguished() -> None:
    def branches(x: Any) -> Any:
        last, first = models.binary(32, "last"), models.binary(32, "first")
        return keras.layers.Add()([models.norm("n1")(first(x)), models.norm("n2")(last(x))])

    matches, _ = _matches(models.network(branches))
    assert {m.convolution.layer for m in matches} == {"first", "last"}
    assert all(m.differing == 0 for m in matches)


def test_a_chain_that_stays_packed_is_matched() -> None:
    middle = [layer for i in range(3) for layer in (models.binary(48, f"conv{i}"), models.norm(f"norm{i}", seed=10 * i))]
    matches, graph = _matches(models.network(*middle, channels=48))
    assert [m.convolution.layer for m in matches] == ["conv0", "conv1", "conv2"]
    assert [m.differing for m in matches] == [0, 0, 0]
    assert [m.operator.outputs[0].type for m in matches] == ["int32", "int32", "float32"]
    assert sum(operator.name == "LceQuantize" for operator in graph.operators) == 1


def test_filters_that_lce_inverts_still_match() -> None:
    """A negative scale before a packed result turns the filter round."""
    minus: Any = keras.initializers.Constant(-1)
    negative = keras.layers.BatchNormalization(name="negative", gamma_initializer=minus)
    matches, _ = _matches(models.network(models.binary(32, "a"), negative, models.binary(32, "b"), models.norm("n")))
    assert [(m.convolution.layer, m.differing) for m in matches] == [("a", 0), ("b", 0)]


def test_a_layer_that_is_called_twice_is_matched_twice() -> None:
    shared = models.binary(32, "shared")
    matches, _ = _matches(models.network(shared, models.norm("n1"), shared, models.norm("n2")))
    assert len(matches) == 2
    assert len({id(m.convolution) for m in matches}) == 2


def test_one_flipped_kernel_bit_is_counted() -> None:
    model = models.network(models.binary(32, "a"), models.norm("n1"), models.binary(32, "b"), models.norm("n2"))
    content = lower_model(FrozenModel(model))
    target = next(m for m in match(find_convolutions(FrozenModel(model)), parse(content)) if m.convolution.layer == "b")
    kernel = target.operator.inputs[1]
    assert kernel is not None

    def flip(words: np.ndarray) -> np.ndarray:
        words[7] ^= 1 << 5
        return words

    damaged = models.change_constant(content, kernel.index, np.int32, flip)
    assert {m.convolution.layer: m.differing for m in match(find_convolutions(FrozenModel(model)), parse(damaged))} == {
        "a": 0,
        "b": 1,
    }


def test_a_model_without_binary_convolutions_has_no_match() -> None:
    matches, _ = _matches(models.network())
    assert matches == []

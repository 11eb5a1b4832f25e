"""Edits of layers in a float .tflite: what is paired, and that the file computes the same."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import tf_keras as keras
import uneven

import el_larq
from el_larq.compression.equalization import channel_maxima
from el_larq.converters.guideline.layer_pairs import equalized, find_pairs, with_absorbed_biases, without_relu6
from el_larq.converters.int8.int8_operators import KERNEL_AXES
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse


@cache
def _float(kind: str) -> bytes:
    model = {"even": uneven.classifier, "uneven": uneven.uneven, "relu6": lambda: uneven.classifier(6.0)}[kind]()
    return el_larq.convert(model, skip=("audit", "verify")).need_tflite()


def _names(content: bytes) -> list[tuple[str, str]]:
    return [(pair.first.name, pair.second.name) for pair in find_pairs(parse(content))]


def test_pairs_are_those_with_nothing_else_between_them() -> None:
    expand, depthwise = ("CONV_2D", "DEPTHWISE_CONV_2D"), ("DEPTHWISE_CONV_2D", "CONV_2D")
    # The stem and the projections feed an addition or two layers.
    assert _names(_float("even")) == [expand, depthwise] * 2


def test_a_tensor_with_factors_for_all_channels_passes_means_and_reshapes() -> None:
    image = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(image))
    content = el_larq.convert(keras.Model(image, keras.layers.Dense(2)(x)), skip=("audit", "verify")).need_tflite()
    assert [pair.adjacent for pair in find_pairs(parse(content))] == [False]


def test_an_equalized_file_computes_the_same() -> None:
    before = _float("uneven")
    after, count = equalized(before)
    assert count == 4
    x = uneven.images(16)
    (wanted,), (got,) = Interpreter(before).run(x), Interpreter(after).run(x)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    for pair in find_pairs(parse(after)):
        first, second = pair.first.inputs[1], pair.second.inputs[1]
        assert first is not None
        assert second is not None
        ranges = [channel_maxima(first.array(), KERNEL_AXES[pair.first.name]), channel_maxima(second.array(), -1)]
        np.testing.assert_allclose(*ranges, rtol=1e-2)
    assert len(after) < 1.1 * len(before)  # the old kernels are gone


def test_relu6_is_replaced_only_where_it_prevents_equalization() -> None:
    content = _float("relu6")
    assert equalized(content) == (content, 0)
    after, count = without_relu6(content)
    assert count == 4
    activations = [o.options.get("activation") for o in parse(after).operators if o.name in KERNEL_AXES]
    assert activations == [3, 1, 1, 0, 1, 1, 0, 0]  # that of the stem stays
    assert equalized(after)[1] == 4


def test_absorbed_biases_change_nothing_on_the_images() -> None:
    model, x = uneven.classifier(), uneven.images(16)
    norm: Any = model.get_layer("one_depthwise_norm")
    gamma, beta, *moments = norm.get_weights()
    beta[:6] += 40  # always above 0
    norm.set_weights([gamma, beta, *moments])
    before = el_larq.convert(model, skip=("audit", "verify")).need_tflite()
    after, count = with_absorbed_biases(before, x[:2], x)
    assert count >= 6
    (wanted,), (got,) = Interpreter(before).run(x), Interpreter(after).run(x)
    np.testing.assert_allclose(got, wanted, atol=1e-4)
    biases = [next(o.inputs[2] for o in parse(c).operators if o.name == "DEPTHWISE_CONV_2D") for c in (before, after)]
    low = [b.array()[:6].min() for b in biases if b is not None]
    assert low[1] < low[0] / 2


@pytest.mark.parametrize("edit", [equalized, without_relu6])
def test_a_file_without_pairs_stays_as_it_is(edit: object) -> None:
    image = keras.Input((8, 8, 3))
    content = el_larq.convert(keras.Model(image, keras.layers.Conv2D(4, 3)(image)), skip=("audit", "verify")).need_tflite()
    assert edit(content)[1] == 0  # pyright: ignore[reportCallIssue]

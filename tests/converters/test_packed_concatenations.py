"""Signs of concatenations are packed once, with the same bits, and only where that is cheaper."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tf_keras as keras
from random_networks import randomize

from el_larq.converters.arrange import arrange_model
from el_larq.converters.fold.step import fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.lower import lower_model
from el_larq.converters.pipeline import convert
from el_larq.converters.verify import verify_model
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, TfliteGraph, parse


def _dense(*growth: int) -> Callable[[Any], Any]:
    """Convolutions whose results are concatenated with their inputs."""

    def block(x: Any) -> Any:
        for index, filters in enumerate(growth):
            y = models.norm(f"n{index}")(models.binary(filters, f"c{index}")(x))
            x = keras.layers.Concatenate(name=f"join{index}")([x, y])
        return models.norm("last_norm")(models.binary(32, "last", 1)(x))

    return block


def _lowered(block: Any, channels: int = 32) -> bytes:
    model = randomize(models.network(block, channels=channels), 0)
    return lower_model(fold_model(FrozenModel(model)).model)


def _joins(graph: TfliteGraph, kind: str) -> list[Operator]:
    return [o for o in graph.operators if o.name == "CONCATENATION" and o.outputs[0].type == kind]


def _same(before: bytes, after: bytes) -> None:
    x = models.images(3)
    for a, b in zip(Interpreter(before).run(x), Interpreter(after).run(x), strict=True):
        np.testing.assert_array_equal(a, b)


def _cost(content: bytes) -> float:
    cost = inspect_graph(parse(content), "x", "cortex-a72").cost
    assert cost is not None
    return cost.instructions


def test_signs_are_packed_once_and_concatenations_that_only_they_read_disappear() -> None:
    before = _lowered(_dense(32, 64, 32))
    after, details = arrange_model(before)
    graph = parse(after)
    assert details["packed"] == 3
    assert not _joins(graph, "float32")
    assert [len(o.inputs) for o in _joins(graph, "int32")] == [2, 2, 2]
    # The image's features and the three results, 32, 32, 64 and 32 channels.
    assert sorted(o.outputs[0].shape[-1] for o in graph.operators if o.name == "LceQuantize") == [1, 1, 1, 2]
    assert _cost(after) < _cost(before)
    _same(before, after)
    assert arrange_model(after)[0] == after


def test_a_concatenation_that_another_one_reads_becomes_part_of_it() -> None:
    def transition(x: Any) -> Any:
        """The last concatenation is read by a real-valued convolution too."""
        for index in range(3):
            y = models.norm(f"t{index}")(models.binary(32, f"d{index}")(x))
            x = keras.layers.Concatenate()([x, y])
        return keras.layers.Conv2D(32, 1, name="transition")(keras.layers.ReLU()(x))

    before = _lowered(lambda x: _dense(32, 32)(transition(x)))
    after, details = arrange_model(before)
    (join,) = _joins(parse(after), "float32")
    assert details["packed"] == 4  # the signs of the last of the transition's concatenations are not read
    assert len(join.inputs) == 4
    _same(before, after)


def test_signs_of_a_concatenation_that_is_read_and_has_no_packed_part_stay() -> None:
    def block(x: Any) -> Any:
        left, right = (keras.layers.ReLU()(keras.layers.Conv2D(32, 1, name=n)(x)) for n in ("left", "right"))
        x = keras.layers.Concatenate()([left, right])
        y = models.norm("n")(models.binary(64, "c")(x))
        return keras.layers.Add()([x, y])

    before = _lowered(block)
    assert arrange_model(before)[1]["packed"] == 0
    assert len(_joins(parse(before), "float32")) == 1


@pytest.mark.parametrize("growth", [(16, 16), (48, 32)])
def test_parts_of_broken_words_stay(growth: tuple[int, ...]) -> None:
    assert arrange_model(_lowered(_dense(*growth)))[1]["packed"] == 0


def test_other_axes_activations_types_and_open_sizes_stay() -> None:
    before = _lowered(_dense(32, 32))
    assert arrange_model(before)[1]["packed"] == 2

    def joins(model: Any) -> list[Any]:
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        return [o for o in model.subgraphs[0].operators if codes[o.opcodeIndex] == 2]

    def axis(model: Any) -> None:
        for operator in joins(model):
            operator.builtinOptions.axis = 1

    def activation(model: Any) -> None:
        for operator in joins(model):
            operator.builtinOptions.fusedActivationFunction = 1

    def open_size(model: Any) -> None:
        for operator in joins(model):
            tensor = model.subgraphs[0].tensors[operator.outputs[0]]
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)

    def integers(model: Any) -> None:
        for operator in joins(model):
            for index in operator.inputs:
                model.subgraphs[0].tensors[index].type = 2

    for change in (axis, activation, open_size, integers):
        assert arrange_model(models.edit(before, change))[1]["packed"] == 0, change.__name__


def test_an_output_that_is_a_concatenation_stays() -> None:
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(32, 3, padding="same")(image)
    y = keras.layers.Concatenate(name="join")([x, models.norm("n")(models.binary(32, "c")(x))])
    z = models.norm("m")(models.binary(32, "d")(y))
    model = randomize(keras.Model(image, [y, z], name="net"), 0)
    before = lower_model(fold_model(FrozenModel(model)).model)
    after, _ = arrange_model(before)
    assert len(_joins(parse(after), "float32")) == 1
    _same(before, after)


def test_verification_compares_signs_of_packed_concatenations() -> None:
    model = randomize(models.network(_dense(32, 32)), 0)
    job = convert(model)
    report = {entry.step: entry for entry in job.report}
    assert report["arrange"].details["packed"] == 2
    assert "2 packed concatenations" in report["arrange"].summary
    layers = {record["layer"]: record for record in report["verify"].details["layers"]}
    assert set(layers) == {"c0", "c1", "last"}
    assert all(record["compared"] for record in layers.values())
    assert Counter(o.name for o in parse(job.need_tflite()).operators)["LceBconv2d"] == 3


def test_verification_notices_packed_parts_in_another_order() -> None:
    model = randomize(models.network(_dense(32, 32)), 0)
    frozen = FrozenModel(model)
    content = arrange_model(lower_model(fold_model(frozen).model))[0]
    images = [models.images(8)]
    assert not verify_model(frozen, content, images, "noise").failures

    def swapped(edited: Any) -> None:
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in edited.operatorCodes]
        joins = [o for o in edited.subgraphs[0].operators if codes[o.opcodeIndex] == 2]
        joins[-1].inputs = joins[-1].inputs[::-1].copy()

    assert verify_model(frozen, models.edit(content, swapped), images, "noise").failures

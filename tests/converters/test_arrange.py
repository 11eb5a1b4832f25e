"""The step `arrange` changes no bit of any result, and only what it should."""

from collections import Counter
from typing import Any

import binary_models as models
import numpy as np
import pytest
import tf_keras as keras
from random_networks import Shift, randomize

from el_larq.converters.arrange import arrange_model
from el_larq.converters.bitcasts import MIN_BYTES
from el_larq.converters.fold.step import fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Options
from el_larq.converters.lower import lower_model
from el_larq.converters.pipeline import convert
from el_larq.converters.row_constants import MAX_GROWTH
from el_larq.converters.rules.rule_registry import check_graph
from el_larq.errors import UsageError
from el_larq.layers import ElasticLink
from el_larq.tflite.arena import plan_arena
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import TfliteGraph, parse


def _lowered(*middle: Any, size: int, channels: int = 32) -> bytes:
    model = randomize(models.network(*middle, channels=channels, size=size), 0)
    return lower_model(fold_model(FrozenModel(model)).model)


def _linked(x: Any) -> Any:
    """Two links, narrow and wide."""
    narrow = ElasticLink(name="squeeze")([x, models.norm("n1")(models.binary(8, "narrow", 1)(x))])
    return ElasticLink(name="expand")([narrow, models.norm("n2")(models.binary(32, "wide", 1)(narrow))])


def _shifted(x: Any) -> Any:
    """The shift stays an addition, since the sum is read by the link too."""
    return ElasticLink(name="link")([x, models.norm("n")(models.binary(x.shape[-1], "conv")(Shift(name="shift")(x)))])


def _same(before: bytes, after: bytes, size: int) -> None:
    x = models.images(3, size)
    np.testing.assert_array_equal(Interpreter(before).run(x)[0], Interpreter(after).run(x)[0])


def _views(graph: TfliteGraph, kind: str) -> list[int]:
    """Bytes of the results of RESHAPE of a type."""
    return [4 * o.outputs[0].elements for o in graph.operators if o.name == "RESHAPE" and o.outputs[0].type == kind]


def test_views_of_links_are_in_place_and_change_no_bit() -> None:
    before = _lowered(_linked, size=24)
    after, details = arrange_model(before)
    graph = parse(after)
    counts = Counter(o.name for o in graph.operators)
    assert details["bitcasts"] == len(_views(graph, "int32")) >= 2
    # One to integers for each tensor of which there are views, one back for each view.
    viewed = {o.inputs[0].index for o in graph.operators if o.name == "RESHAPE" and o.inputs[0] and o.inputs[0].type == "int32"}
    assert counts["BITCAST"] == details["bitcasts"] + len(viewed)
    assert all(size < MIN_BYTES for size in _views(graph, "float32"))
    _same(before, after, 24)
    # In place, so the arena does not grow.
    assert plan_arena(graph).size == plan_arena(parse(before)).size
    assert arrange_model(after)[0] == after


def test_views_stay_as_they_are_on_request_and_on_small_maps() -> None:
    before = _lowered(_linked, size=24)
    assert arrange_model(before, "reshape")[0] == before
    small = _lowered(_linked, size=6)
    assert _views(parse(small), "float32")
    assert arrange_model(small)[0] == small


def test_views_of_other_types_and_of_open_sizes_stay() -> None:
    before = _lowered(_linked, size=24)

    def open_size(model: Any) -> None:
        for operator in model.subgraphs[0].operators:
            tensor = model.subgraphs[0].tensors[operator.outputs[0]]
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)

    def integers(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.type = 2 if tensor.type == 0 else tensor.type

    for change in (open_size, integers):
        edited = models.edit(before, change)
        assert arrange_model(edited)[1]["bitcasts"] == 0


def _constants(graph: TfliteGraph) -> list[tuple[int, ...]]:
    return [t.shape for o in graph.operators if o.name == "ADD" for t in o.inputs if t is not None and t.constant]


def test_constants_of_additions_are_stored_by_rows_and_change_no_bit() -> None:
    small = _lowered(_shifted, size=12)
    assert arrange_model(small)[1]["rows"] == 0  # a row is too large a part of this file
    large = models.edit(small, _with_ballast)
    assert _constants(parse(large)) == [(32,)]
    after, details = arrange_model(large)
    assert details["rows"] == 1
    assert _constants(parse(after)) == [(1, 1, 12, 32)]
    assert len(after) <= len(large) * (1 + MAX_GROWTH) + 512
    _same(large, after, 12)


def _with_ballast(model: Any) -> None:
    extra = type(model.buffers[0])()
    extra.data = np.zeros(200_000, np.uint8)
    model.buffers.append(extra)


def test_constants_of_many_channels_stay() -> None:
    large = models.edit(_lowered(_shifted, size=4, channels=320), _with_ballast)
    assert _constants(parse(large)) == [(320,)]
    assert arrange_model(large)[1]["rows"] == 0


def test_a_normalization_is_still_reported_if_its_shift_is_stored_by_rows() -> None:
    model = randomize(models.network(keras.layers.ReLU(), models.norm("late"), keras.layers.Activation("tanh"), size=12), 0)
    large = models.edit(lower_model(FrozenModel(model)), _with_ballast)
    found = [[f.rule for f in check_graph(parse(content))] for content in (large, arrange_model(large)[0])]
    assert arrange_model(large)[1]["rows"] == 1
    assert found[0] == found[1] == ["norm-left"]


class Gain(keras.layers.Layer):
    """Multiplies by numbers that no convolution takes up."""

    def __init__(self, gain: np.ndarray, **kwargs: Any):
        super().__init__(**kwargs)
        self.gain = gain.astype(np.float32)

    def call(self, x: Any) -> Any:
        return x * self.gain


def _gained(gain: np.ndarray, *after: Any) -> bytes:
    layers = [keras.layers.Activation("tanh"), Gain(gain), *after, keras.layers.Activation("tanh")]
    return lower_model(FrozenModel(randomize(models.network(*layers, channels=32, size=12), 0)))


def _factors(content: bytes) -> list[tuple[int, ...]]:
    return [t.shape for o in parse(content).operators if o.name == "MUL" for t in o.inputs if t is not None and t.constant]


def test_a_gain_of_equal_values_is_one_number_and_changes_no_bit() -> None:
    before = _gained(np.full(32, 1.3))
    assert _factors(before) == [(32,)]
    after, details = arrange_model(before)
    assert details["numbers"] == 1
    assert _factors(after) == [(1,)]
    assert len(after) < len(before)
    _same(before, after, 12)
    assert arrange_model(after)[0] == after


def test_gains_that_differ_in_the_last_bit_and_normalizations_stay() -> None:
    gain = np.full(32, 1.3, np.float32)
    gain[7] = np.nextafter(gain[7], np.float32(2))
    assert arrange_model(_gained(gain))[1]["numbers"] == 0
    left = _gained(np.full(32, 1.3), Shift(name="shift"))
    assert [f.rule for f in check_graph(parse(left))] == ["norm-left"]
    after, details = arrange_model(left)
    assert details["numbers"] == 0
    assert [f.rule for f in check_graph(parse(after))] == ["norm-left"]


@pytest.mark.parametrize(("views", "bitcasts"), [("bitcast", True), ("reshape", False)])
def test_a_conversion_says_what_makes_its_views(views: str, bitcasts: bool) -> None:
    job = convert(models.network(_linked, size=24), options=Options(verify_images=4, views=views))
    assert ("BITCAST" in {o.name for o in parse(job.need_tflite()).operators}) == bitcasts
    entry = next(entry for entry in job.report if entry.step == "arrange")
    assert entry.details["views"] == views
    assert "BITCAST" in entry.details["reason"]


def test_an_unknown_kind_of_view_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown kind of view 'bitcas'; did you mean bitcast"):
        Options(views="bitcas")

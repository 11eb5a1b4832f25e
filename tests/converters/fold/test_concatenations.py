"""Scales and shifts of concatenations."""

from typing import Any

import numpy as np
import pytest
import tf_keras as keras
from binary_models import binary, norm
from random_networks import Gain, Shift, randomize

from el_larq.converters.fold.forest import Edge, Forest
from el_larq.converters.fold.ir import AFFINE, PRELU, FoldGraph, Node, Readers, shift_of
from el_larq.converters.fold.normal_form import import_graph
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.proof import TOLERANCE, compare
from el_larq.converters.fold.scales import multiplications
from el_larq.converters.fold.step import REWRITES
from el_larq.converters.frozen import FrozenModel
from el_larq.models.build import build


def _folded(model: keras.Model) -> FoldGraph:
    frozen = FrozenModel(model)
    original = import_graph(frozen)
    graph = original.copy()
    for rewrite in REWRITES.values():
        rewrite(graph, Notes())
    assert compare(original, graph, frozen) <= TOLERANCE
    return graph


def _additions(graph: FoldGraph) -> list[Node]:
    """Additions of constants that no operator absorbs."""
    readers = Readers(graph)
    return [n for n in graph.nodes() if n.op == AFFINE and not readers.absorbs(n) and np.any(shift_of(n))]


def _joined(left: Any, right: Any, behind: Any = None, negative: bool = False) -> keras.Model:
    """Two branches that are concatenated, a layer behind that, and a unit with an identity link."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(image))
    y = keras.layers.Concatenate()([left(x), right(x)])
    y = y if behind is None else behind(y)
    z = norm("n")(binary(16, "c")(Shift(name="sign_shift")(y)))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([y, z]))
    return randomize(keras.Model(image, keras.layers.Dense(3)(pooled), name="net"), 0, negative)


def _prelu(name: str, *layers: Any) -> Any:
    def branch(x: Any) -> Any:
        x = keras.layers.PReLU(shared_axes=[1, 2], name=name)(norm(f"{name}_norm")(binary(8, f"{name}_conv")(x)))
        for layer in layers:
            x = layer(x)
        return x

    return branch


def test_scales_move_through_a_concatenation() -> None:
    model = _joined(_prelu("a", Gain(True, name="g")), _prelu("b", Gain(name="h")), Gain(True, name="behind"))
    assert multiplications(_folded(model)) == []


def test_negative_scales_stay_in_front_of_a_concatenation() -> None:
    model = _joined(_prelu("a", Gain(name="g")), _prelu("b", Gain(name="h")))
    layer: Any = model.get_layer("g")
    layer.gain.assign(-0.5)
    (left,) = multiplications(_folded(model))
    assert left.channels == 8


def test_shifts_in_front_of_a_concatenation_become_part_of_the_next_ones() -> None:
    """Of the four, only the one before the sign remains: the others are in it, and in the bias of the convolution."""
    model = _joined(_prelu("a", Shift(name="s")), _prelu("b", Shift(name="t")))
    (left,) = _additions(_folded(model))
    assert left.channels == 16


def test_a_shift_of_one_part_or_that_is_read_elsewhere_stays() -> None:
    graph = _folded(_joined(_prelu("a", Shift(name="s")), _prelu("b")))
    assert sorted(node.channels for node in _additions(graph)) == [8, 16]
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Activation("tanh")(keras.layers.Conv2D(8, 3)(image))
    a, b = Shift(name="s")(x), Shift(name="t")(x)
    model = keras.Model(image, [keras.layers.Concatenate()([a, b]), a], name="net")
    graph = _folded(randomize(model, 1))
    assert sorted(node.channels for node in _additions(graph)) == [8, 8]


def test_a_concatenation_of_rows_stays() -> None:
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.Conv2D(8, 3)(image))
    y = keras.layers.Concatenate(axis=1)([Shift(name="s")(Gain(name="g")(x)), Shift(name="t")(x)])
    model = randomize(keras.Model(image, keras.layers.Activation("tanh")(y), name="net"), 2)
    graph = _folded(model)
    assert len(_additions(graph)) == 2
    # The gain moves into the stem, and from there in front of the other part.
    assert len(multiplications(graph)) == 1


def test_reactnet_with_elastic_links_has_the_additions_of_its_own_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gammas are absorbed, and shifts then meet: one addition before each sign, and one for each link."""
    monkeypatch.setattr("el_larq.models.reactnets.BLOCKS", ((2, 1), (4, 2), (4, 1)))
    counts = []
    for link in ("identity", "elastic"):
        model = build("reactnet_a", "reactnet", link=link, width=0.125, input_shape=(32, 32, 3), num_classes=4)
        for variable in model.variables:
            if "shift" in variable.name or "rprelu" in variable.name:
                variable.assign(np.random.default_rng(0).uniform(0.1, 0.5, variable.shape))
        graph = _folded(model)
        assert multiplications(graph) == []
        operators = [node.op for node in graph.nodes()]
        counts.append((len(_additions(graph)), operators.count("AddV2"), operators.count(PRELU)))
    assert counts[0] == counts[1] == (8, 8, 8)


def test_a_forest_refuses_a_contradiction_and_changes_nothing() -> None:
    a, b, c = (Node("x", shape=(None, channels)) for channels in (2, 4, 6))
    edges = [
        Edge(9, a, b, np.array([2.0, 3.0, 2.0, 3.0])),
        Edge(8, a, c, np.ones(2)),
        Edge(7, b, c, np.ones(4), 2),
        Edge(6, None, c, np.ones(6)),
    ]
    forest = Forest([a, b, c], edges)
    assert [forest.connect(edge) for edge in edges] == [True, True, True, False]
    np.testing.assert_allclose(forest.offset[id(c)], np.concatenate([forest.offset[id(a)], forest.offset[id(b)]]))
    np.testing.assert_allclose(forest.offset[id(b)], edges[0].factor * np.tile(forest.offset[id(a)], 2))
    # The other way round, the anchor is first, and no other equation fits.
    forest = Forest([a, b, c], edges)
    assert [forest.connect(edge) for edge in reversed(edges)] == [True, True, True, False]
    np.testing.assert_array_equal(np.concatenate([*forest.offset.values()]), 1)


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_a_forest_multiplies_the_side_that_is_not_anchored(factor: float) -> None:
    a, b = (Node("x", shape=(None, 2)) for _ in range(2))
    edges = [Edge(3, None, b, np.ones(2)), Edge(2, a, b, np.full(2, factor))]
    forest = Forest([a, b], edges)
    assert all(forest.connect(edge) for edge in edges)
    np.testing.assert_array_equal(forest.offset[id(a)], 1 / factor)

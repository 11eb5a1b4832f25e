"""Rewrites of real-valued parts: the stem, links around depthwise convolutions, pooling, and links that meet in one sum."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from binary_models import binary, layer, norm
from random_networks import Gain, Shift, randomize

from el_larq.converters.fold.ir import EXPAND, PRELU, FoldGraph, Node
from el_larq.converters.fold.normal_form import import_graph
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.proof import TOLERANCE, compare
from el_larq.converters.fold.step import REWRITES, fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.lower import lower_model
from el_larq.layers import ElasticLink
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse


def _folded(model: keras.Model, until: str = "") -> tuple[FoldGraph, dict[str, Notes]]:
    """The graph after all rewrites, or all before one, each of which is exact in double precision."""
    frozen = FrozenModel(model)
    original = import_graph(frozen)
    graph = original.copy()
    notes = {name: Notes() for name in REWRITES}
    for name, rewrite in REWRITES.items():
        if name == until:
            break
        rewrite(graph, notes[name])
    assert compare(original, graph, frozen) <= TOLERANCE
    return graph, notes


def _operators(graph: FoldGraph) -> Counter:
    return Counter(node.op for node in graph.nodes())


def _of(graph: FoldGraph, op: str) -> list[Node]:
    return [node for node in graph.nodes() if node.op == op]


def _stem(size: tuple[int, int], kernel: int, padding: Any, channels: int = 3, strides: int = 2, dilation: int = 1) -> keras.Model:
    x = image = keras.Input((*size, channels), name="image")
    if not isinstance(padding, str):
        x = keras.layers.ZeroPadding2D(padding)(x)
    x = keras.layers.Conv2D(
        4,
        kernel,
        strides,
        "valid" if not isinstance(padding, str) else padding,
        dilation_rate=dilation,
        use_bias=False,
        name="stem",
    )(x)
    return randomize(keras.Model(image, keras.layers.Flatten()(norm("n")(x)), name="net"), 0)


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "columns"),
    [
        ((16, 16), 7, "same", 4),
        ((15, 18), 7, "same", 4),
        ((16, 16), 7, 3, 4),  # as in PyTorch: an odd number of pixels before
        ((16, 16), 7, ((1, 0), (2, 3)), 4),
        ((16, 16), 7, "valid", 4),
        ((16, 16), 5, "same", 3),
        ((16, 16), 5, ((0, 0), (0, 1)), 3),
        ((16, 16), 6, 1, 4),
    ],
)
def test_a_stem_reads_pairs_of_pixels(size: tuple[int, int], kernel: int, padding: Any, columns: int) -> None:
    graph, notes = _folded(_stem(size, kernel, padding))
    (convolution,) = _of(graph, "Conv2D")
    assert notes["stem"].applied == ["net/stem/Conv2D"]
    assert convolution.inputs[1].shape == (kernel, columns, 6, 4)
    assert convolution.attributes["strides"] == [1, 2, 1, 1]


@pytest.mark.parametrize("padding", ["same", 3])
def test_the_file_of_a_stem_has_the_convolution_of_pairs_and_the_padding(padding: Any) -> None:
    model = _stem((16, 16), 7, padding)
    content = lower_model(fold_model(FrozenModel(model)).model)
    graph = parse(content)
    convolution = next(o for o in graph.operators if o.name == "CONV_2D")
    assert convolution.options["strides"] == (2, 1)
    assert convolution.inputs[1] is not None
    assert convolution.inputs[1].shape == (4, 7, 4, 6)
    assert ("PADV2" in {o.name for o in graph.operators}) == (padding == 3)
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(Interpreter(content).run(x)[0], model(x), rtol=1e-4, atol=1e-5)


def test_a_stem_on_an_odd_width_stays_and_says_why() -> None:
    graph, notes = _folded(_stem((16, 15), 7, "same"))
    assert notes["stem"].refused == ["net/stem/Conv2D: its input has an odd width, 15"]
    assert _of(graph, "Conv2D")[0].inputs[1].shape == (7, 7, 3, 4)


@pytest.mark.parametrize("changes", [{"kernel": 3}, {"channels": 4}, {"strides": 1}, {"strides": 1, "dilation": 2}])
def test_other_convolutions_are_no_stems(changes: dict[str, Any]) -> None:
    _, notes = _folded(_stem((16, 16), **({"kernel": 7, "padding": "same"} | changes)))
    assert notes["stem"] == Notes()


def _around(strides: int, kernel: int = 3, *, size: int = 8, before: Any = None, link: Any = None) -> keras.Model:
    """A link around a depthwise convolution, with gains of both signs."""
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.ReLU()(keras.layers.Conv2D(4, 3, padding="same")(image))
    y = x if before is None else keras.layers.ZeroPadding2D(before)(x)
    padding = "same" if before is None else "valid"
    y = norm("n")(keras.layers.DepthwiseConv2D(kernel, strides, padding, use_bias=False, name="depthwise")(y))
    z = x if strides == 1 else keras.layers.AveragePooling2D(strides, strides, "same")(x)
    z = Gain(name="gain")(z) if link is None else link(z)
    x = keras.layers.ReLU()(keras.layers.Add(name="sum")([z, y]))
    return randomize(keras.Model(image, keras.layers.Flatten()(x), name="net"), 1, negative=True)


@pytest.mark.parametrize(
    ("strides", "kernel", "before"), [(1, 3, None), (2, 3, None), (1, 5, None), (2, 4, None), (2, 3, ((1, 0), (1, 0))), (1, 3, 1)]
)
def test_a_link_around_a_depthwise_convolution_is_part_of_its_kernel(strides: int, kernel: int, before: Any) -> None:
    graph, notes = _folded(_around(strides, kernel, before=before))
    assert len(notes["depthwise_links"].applied) == 1
    assert not {"AddV2", "AvgPool"} & set(_operators(graph))


def test_an_elastic_link_in_front_of_a_normalization_is_part_of_the_kernel_too() -> None:
    graph, notes = _folded(_around(1, link=norm("linked")))
    assert len(notes["depthwise_links"].applied) == 1
    assert _operators(graph)["AddV2"] == 0


@pytest.mark.parametrize(
    "model",
    [
        lambda: _around(2, size=9),  # the last window of the pool is half outside of the map
        lambda: _around(2, before=((0, 1), (2, 0))),  # the kernel does not read the pooled pixels
        lambda: _around(1, link=keras.layers.ReLU()),
        lambda: _around(1, link=keras.layers.AveragePooling2D(3, 1, "same")),
    ],
    ids=["odd", "beside", "relu", "another pool"],
)
def test_other_sums_with_depthwise_convolutions_stay(model: Any) -> None:
    graph, notes = _folded(model())
    assert notes["depthwise_links"].applied == []
    assert _operators(graph)["AddV2"] == 1


def test_a_depthwise_convolution_that_is_read_elsewhere_keeps_its_link() -> None:
    image = keras.Input((8, 8, 4), name="image")
    x = keras.layers.ReLU()(image)
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    model = keras.Model(image, keras.layers.Flatten()(keras.layers.Concatenate()([y, keras.layers.Add()([x, y])])), name="net")
    _, notes = _folded(randomize(model, 2))
    assert notes["depthwise_links"].applied == []


def _pooled(layer: Any, size: int = 8) -> keras.Model:
    image = keras.Input((size, size, 3), name="image")
    x = layer(keras.layers.ReLU()(keras.layers.Conv2D(4, 3, padding="same")(image)))
    return randomize(keras.Model(image, keras.layers.Flatten()(keras.layers.ReLU()(x)), name="net"), 3)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pooling_of_whole_windows_is_a_depthwise_convolution(padding: str) -> None:
    model = _pooled(keras.layers.AveragePooling2D(2, 2, padding))
    graph, _ = _folded(model)
    assert (_operators(graph)["AvgPool"], _operators(graph)["DepthwiseConv2dNative"]) == (0, 1)
    operators = Counter(o.name for o in parse(lower_model(fold_model(FrozenModel(model)).model)).operators)
    assert (operators["AVERAGE_POOL_2D"], operators["DEPTHWISE_CONV_2D"]) == (0, 1)


def test_pooling_of_many_channels_stays_where_the_file_would_grow_by_more_than_a_hundredth() -> None:
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.ReLU()(keras.layers.Conv2D(64, 1)(image))
    model = keras.Model(image, keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(x)), name="net")
    _, notes = _folded(randomize(model, 3))
    assert notes["averages"].applied == []


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (keras.layers.AveragePooling2D(2, 2, "same"), 9),
        (keras.layers.AveragePooling2D(2), 6),  # the pooled map is small
        (keras.layers.AveragePooling2D(3, 2), 9),
        (keras.layers.AveragePooling2D(3, 3), 9),
        (keras.layers.MaxPooling2D(2, 2), 8),
    ],
)
def test_other_pooling_stays(layer: Any, size: int) -> None:
    graph, notes = _folded(_pooled(layer, size))
    assert notes["averages"].applied == []
    assert _operators(graph)["AvgPool"] + _operators(graph)["MaxPool"] == 1


def _meeting(narrow: tuple[int, ...], *, also_read: bool = False) -> keras.Model:
    """Sums of binary convolutions and links from tensors of these numbers of channels to 32, and global pooling."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(32, 3, padding="same", use_bias=False)(image)
    sums = []
    for index, channels in enumerate(narrow):
        y = norm(f"n{index}")(binary(channels, f"c{index}", 1)(x))
        z = norm(f"m{index}")(binary(32, f"d{index}", 1)(y))
        sums.append(ElasticLink(name=f"l{index}")([y, z]))
    x = sums[0]
    for other in sums[1:]:
        x = keras.layers.Add()([x, other])
    pooled: Any = keras.layers.GlobalAveragePooling2D()(x)
    if also_read:
        pooled = keras.layers.Concatenate()([pooled, keras.layers.Flatten()(x)])
    return randomize(keras.Model(image, keras.layers.Dense(3)(pooled), name="net"), 4)


@pytest.mark.parametrize(("narrow", "expands"), [((8, 8), 1), ((8, 16), 2), ((16, 8, 4), 3), ((8,), 1)])
def test_links_into_one_sum_are_added_while_narrow(narrow: tuple[int, ...], expands: int) -> None:
    graph, notes = _folded(_meeting(narrow), until="pooling")
    assert len(notes["together"].applied) == (len(narrow) > 1)
    assert len(_of(graph, EXPAND)) == expands
    # Wide sums are of the convolutions, and one of them and the links.
    assert sum(node.channels == 32 for node in _of(graph, "AddV2")) == len(narrow)


def test_links_of_other_widths_and_sums_that_are_read_elsewhere_stay() -> None:
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(48, 3, padding="same")(image)
    a, b = (keras.layers.Conv2D(n, 1)(x) for n in (16, 24))
    y, z = (keras.layers.Add()([tf.tile(n, [1, 1, 1, 48 // n.shape[-1]]), keras.layers.Conv2D(48, 1)(n)]) for n in (a, b))
    model = randomize(keras.Model(image, keras.layers.Flatten()(keras.layers.Add()([y, z])), name="net"), 5)
    _, notes = _folded(model)
    assert notes["together"].applied == []


def test_copies_of_a_single_pixel_in_a_sum_stay() -> None:
    """As in squeeze and excitation: the sum repeats them along the map too."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same")(image)
    pixel = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    wide = keras.layers.Conv2D(32, 1)(x)
    y = tf.tile(pixel, [1, 1, 1, 4]) + (wide + tf.tile(x, [1, 1, 1, 4]))
    model = randomize(keras.Model(image, keras.layers.Flatten()(keras.layers.ReLU()(y)), name="net"), 6)
    _, notes = _folded(model)
    assert notes["together"].applied == []


def test_a_sum_that_only_global_pooling_reads_is_added_as_one_pixel() -> None:
    model = _meeting((8, 16))
    graph, notes = _folded(model)
    assert len(notes["pooled_sums"].applied) == 1
    assert all(node.shape[1:3] in ((1, 1), (1, 2), (1, 4)) for node in _of(graph, "AddV2"))
    graph, notes = _folded(_meeting((8, 16), also_read=True))
    assert notes["pooled_sums"].applied == []


def _max_pooled(*layers: Any, pool: Any = None, also_read: bool = False) -> keras.Model:
    """Layers and maximum pooling of a sum, which absorbs nothing."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Add()([keras.layers.Conv2D(8, 3, padding="same")(image), keras.layers.Conv2D(8, 1)(image)])
    x = keras.layers.PReLU(shared_axes=[1, 2])(x)
    for each in layers:
        x = each(x)
    y = (pool or keras.layers.MaxPooling2D(2))(x)
    y = keras.layers.Flatten()(keras.layers.Conv2D(4, 1)(keras.layers.ReLU()(y)))
    y = keras.layers.Concatenate()([y, keras.layers.Flatten()(x)]) if also_read else y
    return randomize(keras.Model(image, y, name="net"), 7)


@pytest.mark.parametrize("pool", [keras.layers.MaxPooling2D(2), keras.layers.MaxPooling2D(3, 2, "same")])
@pytest.mark.parametrize("activation", [[], [keras.layers.ReLU()], [keras.layers.ReLU(6.0), Shift(name="shift")]])
def test_normalizations_and_activations_are_computed_after_maximum_pooling(pool: Any, activation: list[Any]) -> None:
    graph, notes = _folded(_max_pooled(norm("n"), *activation, pool=pool))
    assert len(notes["max_pools"].applied) == 1
    (pooled,) = _of(graph, "MaxPool")
    assert pooled.inputs[0].op == PRELU


def test_they_stay_before_maximum_pooling_where_that_would_save_nothing_or_be_wrong() -> None:
    negative = _max_pooled(norm("n"))
    gamma = layer(negative, "n").gamma
    gamma.assign(-gamma)
    image = keras.Input((8, 8, 3), name="image")
    absorbed = keras.layers.ReLU()(norm("n")(keras.layers.Conv2D(8, 3, use_bias=False)(image)))
    convolution = keras.Model(image, keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(absorbed)), name="net")
    for model in (
        negative,
        randomize(convolution, 8),
        _max_pooled(keras.layers.ReLU()),
        _max_pooled(norm("n"), also_read=True),
        _max_pooled(norm("n"), pool=keras.layers.MaxPooling2D(3, 1, "same")),
    ):
        assert _folded(model)[1]["max_pools"].applied == []

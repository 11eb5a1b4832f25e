"""Rewrites are exact, apply where they should, and leave alone what they must not touch."""

from collections import Counter
from random import Random
from typing import Any

import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import Gain, Shift, random_network, randomize

from el_larq.converters.fold.ir import AFFINE, BINARIZE, EXPAND, SQUEEZE, FoldGraph
from el_larq.converters.fold.left import Left, left_over
from el_larq.converters.fold.normal_form import import_graph
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.proof import TOLERANCE, exact_outputs, largest_share
from el_larq.converters.fold.scales import multiplications
from el_larq.converters.fold.step import REWRITES, fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.lower import lower_model
from el_larq.converters.pipeline import convert
from el_larq.layers import ElasticLink
from el_larq.models.build import build
from el_larq.tflite.reader import parse

NETWORKS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], derandomize=True)


def _check(model: keras.Model) -> None:
    """After each rewrite, in double precision; then the frozen result against the model itself, in single."""
    frozen = FrozenModel(model)
    original = import_graph(frozen)
    graph = original.copy()
    wanted, before = exact_outputs(original, frozen), _state(graph)
    for name, rewrite in REWRITES.items():
        rewrite(graph, Notes())
        if (after := _state(graph)) != before:
            assert largest_share(wanted, exact_outputs(graph, frozen)) <= TOLERANCE, name
            before = after
    images = np.random.default_rng(1).standard_normal((3, *frozen.input_shape))
    exact = tf.function(lambda x: original.run([x], precision=tf.float64)[0][0])(tf.constant(images)).numpy()
    float64_of_keras = frozen.fetch(frozen.outputs)(images.astype(np.float32))[0]
    # One sign within rounding of zero may flip in single precision; most images agree.
    agree = np.abs(exact - float64_of_keras).max(axis=1) <= 1e-4 * np.abs(exact).max()
    assert agree.any()


def _state(graph: FoldGraph) -> list[tuple[Any, ...]]:
    """Equal for a graph that has not changed: its nodes, and all that determines what they compute."""
    return [
        (
            node,
            node.op,
            *node.inputs,
            node.shape,
            None if node.value is None else node.value.tobytes(),
            str(node.attributes),
            node.integers,
        )
        for node in graph.nodes()
    ]


@settings(NETWORKS, max_examples=4)
@given(st.randoms(use_true_random=False))
def test_random_networks_keep_what_they_compute(random: Random) -> None:
    _check(random_network(random))


@pytest.mark.slow
@settings(NETWORKS, max_examples=30)
@given(st.randoms(use_true_random=False))
def test_thirty_random_networks_keep_what_they_compute(random: Random) -> None:
    _check(random_network(random))


def test_resizing_is_compared_in_double_precision() -> None:
    """TensorFlow resizes doubles to single precision, which fits no double, and whose rounding looks like a wrong rewrite."""
    image = keras.Input((5, 7, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, use_bias=False)(image))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Resizing(4, 6)(x)))
    folded = fold_model(FrozenModel(randomize(keras.Model(image, keras.layers.UpSampling2D(2, interpolation="bilinear")(x)), 0)))
    assert not folded.left_out
    assert folded.difference <= TOLERANCE


def _conv(filters: int, size: int, name: str, **arguments: Any) -> Any:
    return larq.layers.QuantConv2D(
        filters,
        size,
        padding="valid" if size == 1 else "same",
        pad_values=0.0 if size == 1 else 1.0,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        use_bias=False,
        name=name,
        **arguments,
    )


def _folded(model: keras.Model) -> tuple[FoldGraph, dict[str, Notes]]:
    graph = import_graph(FrozenModel(model))
    notes = {name: Notes() for name in REWRITES}
    for name, rewrite in REWRITES.items():
        rewrite(graph, notes[name])
    return graph, notes


def _operators(graph: FoldGraph) -> Counter:
    return Counter(node.op for node in graph.nodes())


def _stem(channels: int) -> tuple[Any, Any]:
    image: Any = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name="stem")(image)
    return image, keras.layers.BatchNormalization(name="stem_norm")(x)


def _end(image: Any, x: Any) -> keras.Model:
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(4, name="logits")(x), name="net")


@pytest.mark.slow
def test_elastic_links_leave_no_copies_and_at_most_one_multiplication_a_block() -> None:
    model = randomize(build("resnet26", "el", width=0.125, input_shape=(64, 64, 3), num_classes=10), 0)
    frozen = FrozenModel(model)
    folded = fold_model(frozen).model
    names = Counter(operator.name for operator in parse(lower_model(folded)).operators)
    assert not names["CONCATENATION"] + names["TILE"] + names["SPLIT"] + names["ADD_N"]
    assert names["MUL"] <= 8
    assert names["LceBconv2d"] == 24


def test_the_same_scale_around_a_cycle_leaves_nothing() -> None:
    """Identity links with gates under a shortcut: the product of the gates has to be made up for once."""
    image, x = _stem(32)
    y = x
    for index in range(3):
        z = keras.layers.BatchNormalization(name=f"n{index}")(_conv(32, 1, f"c{index}")(y))
        y = keras.layers.Add()([z, Gain(name=f"g{index}")(y)])
    graph, notes = _folded(randomize(_end(image, y), 1))
    assert notes["scales"].applied == ["3 multiplications before, 0 after"]
    assert multiplications(graph) == []


def test_a_shortcut_over_gates_leaves_one_on_the_narrowest_tensor() -> None:
    image, x = _stem(32)
    y = keras.layers.BatchNormalization(name="n1")(_conv(8, 1, "c1")(x))
    z = keras.layers.BatchNormalization(name="n2")(_conv(8, 3, "c2")(y))
    y = keras.layers.Add()([z, Gain(name="g")(y)])
    wide = ElasticLink(name="link")([y, keras.layers.BatchNormalization(name="n3")(_conv(32, 1, "c3")(y))])
    total = keras.layers.Add()([wide, x])
    total = keras.layers.Add()([total, Gain(name="outer")(total)])
    graph, _ = _folded(randomize(_end(image, total), 2))
    assert all(node.channels == 8 or node.name.startswith("net/outer") for node in multiplications(graph))


def test_negative_gates_stay_multiplications() -> None:
    image, x = _stem(32)
    z = keras.layers.BatchNormalization(name="n")(_conv(32, 3, "c")(x))
    model = randomize(_end(image, keras.layers.Add()([z, Gain(name="g")(x)])), 3)
    layer: Any = model.get_layer("g")
    layer.gain.assign(-0.7)
    graph, notes = _folded(model)
    assert len(multiplications(graph)) == 1
    assert "left on 32 channels" in notes["scales"].refused[0]
    assert [left.kind for left in left_over(graph)] == ["with factors that are not all positive"]
    _check(model)


def test_a_nonlinearity_that_is_not_homogeneous_stops_scales() -> None:
    image, x = _stem(32)
    y = keras.layers.Activation("tanh")(Gain(name="g")(x))
    model = randomize(_end(image, keras.layers.BatchNormalization(name="n")(_conv(32, 1, "c")(y))), 4)
    _check(model)
    graph, _ = _folded(model)
    tanh = next(node for node in graph.nodes() if node.op == "Tanh")
    assert tanh.inputs[0].op == AFFINE


def test_before_norm_moves_into_the_convolution() -> None:
    image, x = _stem(32)
    linked = ElasticLink(name="link")([x, _conv(32, 3, "c")(x)])
    model = randomize(_end(image, keras.layers.BatchNormalization(name="n")(linked)), 5, negative=True)
    _, notes = _folded(model)
    assert len(notes["placement"].applied) == 1
    _check(model)


def test_before_norm_is_left_alone_where_the_sum_is_read_elsewhere() -> None:
    image, x = _stem(32)
    linked = ElasticLink(name="link")([x, _conv(32, 3, "c")(x)])
    y = keras.layers.ReLU()(keras.layers.Add()([keras.layers.BatchNormalization(name="n")(linked), linked]))
    model = randomize(_end(image, y), 6)
    graph, notes = _folded(model)
    assert notes["placement"].applied == []
    assert "read elsewhere" in notes["placement"].refused[0]
    assert [left.kind for left in left_over(graph)] == ["of a sum that is read elsewhere too"]
    _check(model)


@pytest.mark.parametrize("channels", [(32, 8), (8, 32), (12, 5), (5, 12)])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("per_channel", [False, True])
def test_squeezes_and_expands_are_views(channels: tuple[int, int], strides: int, per_channel: bool) -> None:
    image, x = _stem(channels[0])
    z = keras.layers.BatchNormalization(name="n")(_conv(channels[1], 1, "c", strides=strides)(x))
    model = randomize(_end(image, ElasticLink(per_channel, name="link")([x, z])), 7, negative=True)
    _check(model)
    graph, _ = _folded(model)
    if channels[0] % channels[1] == 0 or channels[1] % channels[0] == 0:
        assert not _operators(graph)[SQUEEZE] + _operators(graph)[EXPAND]


def test_pooling_is_part_of_a_strided_squeeze() -> None:
    image, x = _stem(32)
    z = keras.layers.BatchNormalization(name="n")(_conv(8, 1, "c", strides=2)(x))
    model = randomize(_end(image, ElasticLink(name="link")([x, z])), 8)
    graph, _ = _folded(model)
    assert _operators(graph)["DepthwiseConv2dNative"] == 1
    assert _operators(graph)["AvgPool"] == 2  # global pooling of both summands


def _react_block(x: Any, name: str) -> Any:
    for half in ("a", "b"):
        z = _conv(x.shape[-1], 3 if half == "a" else 1, f"{name}{half}")(Shift(name=f"{name}{half}_sign")(x))
        x = keras.layers.Add()([keras.layers.BatchNormalization(name=f"{name}{half}_norm")(z), x])
        x = keras.layers.PReLU(shared_axes=[1, 2], name=f"{name}{half}_prelu")(Shift(name=f"{name}{half}_in")(x))
        x = Shift(name=f"{name}{half}_out")(x)
    return x


@pytest.mark.slow
def test_shifts_leave_four_additions_in_a_block_of_two_convolutions() -> None:
    image, x = _stem(32)
    for index in range(3):
        x = _react_block(x, f"k{index}")
    model = randomize(_end(image, x), 9)
    folded = fold_model(FrozenModel(model)).model
    names = [Counter(o.name for o in parse(lower_model(m)).operators) for m in (FrozenModel(model), folded)]
    assert (names[0]["ADD"], names[1]["ADD"]) == (24, 12)
    assert names[0]["PRELU"] == names[1]["PRELU"] == 6
    _check(model)


def _before_sign(scale: list[float]) -> keras.Model:
    image, x = _stem(len(scale))
    y = keras.layers.PReLU(shared_axes=[1, 2])(x)
    y = keras.layers.BatchNormalization(name="first")(y)
    model = randomize(_end(image, keras.layers.BatchNormalization(name="n")(_conv(8, 3, "c")(y))), 10)
    layer: Any = model.get_layer("first")
    layer.gamma.assign(scale)
    return model


def test_a_normalization_before_a_sign_becomes_a_threshold() -> None:
    model = _before_sign([0.5, 2.0, 1.5, 0.1])
    graph, notes = _folded(model)
    assert len(notes["threshold"].applied) == 1
    sign = next(node for node in graph.nodes() if node.op == BINARIZE)
    assert np.all(np.asarray(sign.inputs[0].inputs[1].value) == 1)
    _check(model)


def test_a_negative_scale_before_a_sign_stays() -> None:
    model = _before_sign([0.5, -2.0, 1.5, 0.1])
    graph, notes = _folded(model)
    assert notes["threshold"].applied == []
    assert "1 of 4 scales before the sign are not positive" in notes["threshold"].refused[0]
    (left,) = left_over(graph)
    _, height, width, channels = next(node for node in graph.nodes() if node.op == BINARIZE).shape
    operations = 2 * (height or 0) * (width or 0) * (channels or 0)
    assert left == Left("before a sign with factors that are not all positive", 1, operations)
    _check(model)


def _operators_of(model: keras.Model) -> Counter:
    """Of the .tflite after all rewrites."""
    return Counter(o.name for o in parse(lower_model(fold_model(FrozenModel(model)).model)).operators)


@pytest.mark.parametrize("negative", [False, True])
def test_a_normalization_behind_a_relu_in_a_binary_convolution_stays_there(negative: bool) -> None:
    """As in QuickNet: LCE computes both inside the convolution, so moving the scale away would leave a ReLU and an addition."""
    image, x = _stem(32)
    for name in "ab":
        z = keras.layers.BatchNormalization(name=f"{name}_norm")(_conv(32, 3, name, activation="relu")(x))
        x = keras.layers.Add()([x, z])
    model = randomize(_end(image, x), 14, negative)
    graph, _ = _folded(model)
    assert left_over(graph) == ()
    operators = _operators_of(model)
    assert (operators["ADD"], operators["RELU"], operators["MUL"]) == (2, 0, 0)
    _check(model)


def _normalized_behind(join: Any, negative: bool) -> keras.Model:
    """Two binary convolutions, a layer that reads both, a normalization, and a binary convolution."""
    image, x = _stem(32)
    a = keras.layers.BatchNormalization(name="a_norm")(_conv(32, 3, "a")(x))
    y = join([a, _conv(32, 1, "b", activation="relu")(x)])
    y = keras.layers.BatchNormalization(name="behind")(y)
    return randomize(_end(image, keras.layers.BatchNormalization(name="n")(_conv(8, 1, "c")(y))), 15, negative)


def _max_pooled(x: Any) -> Any:
    return keras.layers.MaxPool2D(2)(keras.layers.Concatenate()(x))


def _averaged(x: Any) -> Any:
    return keras.layers.AveragePooling2D(2, padding="same")(keras.layers.Concatenate()(x))


@pytest.mark.parametrize(("join", "negative"), [(keras.layers.Concatenate(), True), (_averaged, True), (_max_pooled, False)])
def test_a_normalization_behind_pooling_or_a_concatenation_moves_into_the_convolutions(join: Any, negative: bool) -> None:
    model = _normalized_behind(join, negative)
    _, notes = _folded(model)
    assert [note.split(":")[0] for note in notes["norms"].applied] == ["net/behind/FusedBatchNormV3"]
    assert _operators_of(model)["ADD"] == 0
    _check(model)


def test_a_negative_scale_stays_behind_maximum_pooling() -> None:
    model = _normalized_behind(_max_pooled, True)
    graph, notes = _folded(model)
    assert notes["norms"].applied == []
    assert [left.kind for left in left_over(graph)] == ["before a sign with factors that are not all positive"]
    _check(model)


def test_larqs_order_of_pooling_and_normalization_leaves_no_addition() -> None:
    """QuantConv2D, MaxPool2D, BatchNormalization without scale: the pooled values stay packed."""
    image, x = _stem(32)
    pooled = keras.layers.MaxPool2D(2)(_conv(32, 3, "a")(x))
    y = _conv(32, 3, "b")(keras.layers.BatchNormalization(scale=False, name="n")(pooled))
    model = randomize(_end(image, y), 16)
    operators = _operators_of(model)
    assert (operators["ADD"], operators["LceBMaxPool2d"]) == (0, 1)
    _check(model)


def _last_half(x: Any) -> Any:
    return x[..., -16:]


def _second_of_two(x: Any) -> Any:
    return tf.split(x, 2, axis=-1)[1]


def _without_first_half(x: Any) -> Any:
    return x[:, :, :, 16:]


@pytest.mark.parametrize("part", [_last_half, _second_of_two, _without_first_half])
def test_a_slice_of_a_concatenation_is_its_part(part: Any) -> None:
    """An improvement block of MeliusNet."""
    image, x = _stem(16)
    both = keras.layers.Concatenate()([x, _conv(16, 3, "dense")(x)])
    better = part(both) + _conv(16, 3, "improve")(both)
    model = randomize(_end(image, keras.layers.Concatenate()([both[..., :16], better])), 17)
    graph, notes = _folded(model)
    assert len(notes["slices"].applied) == 2
    assert not {"StridedSlice", "Split", "SplitV"} & set(_operators(graph))
    _check(model)


@pytest.mark.parametrize(
    "part",
    [lambda x: x[..., -15:-1], lambda x: x[..., 8:24], lambda x: x[..., 16::2], lambda x: x[:, 1:, :, 16:], lambda x: x[..., ::-1]],
)
def test_other_slices_stay(part: Any) -> None:
    image, x = _stem(16)
    both = keras.layers.Concatenate()([x, _conv(16, 3, "dense")(x)])
    model = randomize(_end(image, part(both)), 18)
    _, notes = _folded(model)
    assert notes["slices"].applied == []


def test_a_binary_dense_layer_becomes_a_binary_convolution() -> None:
    image, x = _stem(8)
    x = keras.layers.Flatten()(x)
    quantizers = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
    x = larq.layers.QuantDense(32, **quantizers, use_bias=False, name="dense")(x)
    model = keras.Model(image, keras.layers.BatchNormalization(name="n")(x), name="net")
    job = convert(randomize(model, 11))
    assert Counter(o.name for o in parse(job.need_tflite()).operators)["LceBconv2d"] == 1


def test_a_real_valued_dense_layer_stays() -> None:
    image, x = _stem(8)
    _, notes = _folded(randomize(_end(image, x), 12))
    assert notes["dense"].applied == []


def test_only_a_mean_over_both_sizes_becomes_average_pooling() -> None:
    image, x = _stem(8)
    rows = keras.layers.Lambda(lambda x: tf.reduce_mean(x, axis=1))(x)
    _, notes = _folded(keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(rows)), name="net"))
    assert notes["pooling"].applied == []
    _, notes = _folded(_end(image, x))
    assert len(notes["pooling"].applied) == 1


def test_a_copy_of_a_graph_can_change_alone() -> None:
    image, x = _stem(8)
    frozen = FrozenModel(randomize(_end(image, x), 13))
    graph = import_graph(frozen)
    other = graph.copy()
    REWRITES["pooling"](other, Notes())
    assert _operators(graph)["Mean"] == 1
    assert _operators(other)["Mean"] == 0

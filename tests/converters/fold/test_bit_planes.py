"""The mean of a binary convolution from the digits of summed signs: exact for every sum, and only where it saves."""

from random import Random
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from binary_models import binary, norm
from random_networks import randomize

from el_larq.converters.fold import bit_planes as module
from el_larq.converters.fold.bit_planes import bit_planes, digits_of, folds
from el_larq.converters.fold.ir import BINARIZE, INPUT, FoldGraph, Node, affine, constant
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.proof import run_graph
from el_larq.converters.fold.step import NOT_FOR_INT8, fold, fold_model
from el_larq.converters.frozen import FrozenModel
from el_larq.converters.job import Job, Options
from el_larq.converters.lower import lower_model
from el_larq.converters.stored_kernels import with_restored_kernels, with_stored_kernels
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import parse


@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize("positions", [*range(1, 70), 196, 784, 3136, 12544])
def test_the_planes_are_the_digits_of_every_sum(positions: int, precision: Any) -> None:
    sums, steps = np.arange(-positions, positions + 1, 2), folds(positions) / positions
    f = (sums / positions).astype(precision)[:, None] + steps[0].astype(precision)
    for step in steps[1:]:
        f = np.abs(f) + step.astype(precision)
    assert np.min(np.abs(f)) > 0.99 / positions  # far from rounding
    digits = -np.sign(f) @ 2.0 ** np.arange(digits_of(positions))
    np.testing.assert_array_equal(digits, sums + (positions % 2 == 0))


def _known(size: int | None) -> int:
    assert size is not None
    return size


def _graph(random: Random, **changes: Any) -> FoldGraph:
    """A global mean of a binary convolution, with or without padding and normalization."""
    chosen = {
        "kernel": random.choice([(1, 1), (3, 3), (3, 1), (1, 2)]),
        "side": random.randint(3, 9),
        "pad": random.choice([0, 1]),
        "value": 1.0,
    } | changes
    channels, filters, side, kernel = random.randint(1, 9), random.randint(1, 9), chosen["side"], chosen["kernel"]
    numbers = np.random.default_rng(random.randint(0, 2**31))
    image = Node(INPUT, shape=(None, side, side + 1, channels), name="image")
    x = Node(BINARIZE, [image], {}, None, image.shape, "signs")
    if chosen["pad"]:
        amounts = constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        shape = (None, side + 2, side + 3, channels)
        x = Node("PadV2", [x, amounts, constant(np.float32(chosen["value"]))], {}, None, shape, "padded")
    weights = constant(numbers.choice(np.array([-1, 1], np.float32), (*kernel, channels, filters)))
    stride = chosen.get("stride", 1)
    height, width = ((_known(size) - wide) // stride + 1 for size, wide in zip(x.shape[1:3], kernel, strict=True))
    attributes = {"strides": [1, stride, stride, 1], "padding": b"VALID"}
    x = convolution = Node("Conv2D", [x, weights], attributes, None, (None, height, width, filters), "conv", integers=True)
    if random.randint(0, 1):
        x = affine(x, numbers.uniform(-2, 2, filters), numbers.normal(size=filters), "norm")
    window = {"ksize": [1, height, width, 1], "strides": [1, height, width, 1], "padding": b"VALID"}
    pool = Node("AvgPool", [x], window, None, (None, 1, 1, filters), "pool")
    return FoldGraph([image], [pool, convolution] if chosen.get("read") else [pool])


def _rewritten(graph: FoldGraph) -> Notes:
    notes = Notes()
    bit_planes(graph, notes)
    return notes


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rewrite also where it saves nothing, as in small graphs."""
    monkeypatch.setattr(module, "MAX_GROWTH", 1e9)
    monkeypatch.setattr(module, "_saved", lambda *_: 1.0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 200), marks=pytest.mark.slow)], ids=["some", "all"])
def test_random_means_are_the_same_in_double_precision(seeds: range) -> None:
    for seed in seeds:
        graph = _graph(Random(seed))
        image = tf.constant(np.random.default_rng(seed).standard_normal((2, *map(_known, graph.inputs[0].shape[1:]))))
        wanted = run_graph(graph, [image], precision=tf.float64)[0][0]
        assert len(_rewritten(graph).applied) == 1
        got = run_graph(graph, [image], precision=tf.float64)[0][0]
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stride": 2}, "it has a stride or is dilated"),
        ({"pad": 1, "value": 0.0}, "it is not padded with ones"),
        ({"side": 200, "pad": 0}, "it has more than 16384 positions"),
    ],
)
def test_other_convolutions_stay_and_say_why(changes: dict[str, Any], reason: str) -> None:
    assert _rewritten(_graph(Random(0), **changes)).refused == [f"conv: {reason}"]


@pytest.mark.usefixtures("always")
def test_a_convolution_with_other_readers_stays() -> None:
    assert _rewritten(_graph(Random(0), read=True)) == Notes()


def test_small_convolutions_stay_because_nothing_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _rewritten(_graph(Random(0))).refused == ["conv: the file would grow too much"]
    monkeypatch.setattr(module, "MAX_GROWTH", 1e9)
    assert _rewritten(_graph(Random(0))).refused == ["conv: it takes fewer instructions as it is"]


def _network(kernel: int, size: int) -> keras.Model:
    image = keras.Input((size, size, 3))
    x = norm("n1")(keras.layers.Conv2D(256, 1, name="first")(image))
    x = norm("n2")(binary(768, "last", kernel)(x))
    x = keras.layers.Dense(1000, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    return randomize(keras.Model(image, x), 0)


@pytest.mark.parametrize(("kernel", "size", "digits"), [(1, 7, 6), (3, 8, 7)])
def test_the_file_has_the_digits_and_computes_the_same(kernel: int, size: int, digits: int) -> None:
    model = FrozenModel(_network(kernel, size))
    contents = {}
    for without in ((), NOT_FOR_INT8):
        folded = fold_model(model, without)
        assert folded.difference < 1e-9
        contents[without] = lower_model(folded.model)
    (after, before) = (next(o for o in parse(content).operators if o.name == BINARY) for content in contents.values())
    assert before.outputs[0].shape == (1, size, size, 768)
    assert after.outputs[0].shape == (1, 1, digits, 768)
    assert len(contents[()]) < 1.01 * len(contents[NOT_FOR_INT8])
    x = np.random.default_rng(1).standard_normal((4, size, size, 3)).astype(np.float32)
    wanted, got = (Interpreter(content).run(x)[0] for content in reversed(contents.values()))
    assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_it_is_left_out_where_operators_compute_with_int8() -> None:
    applied = []
    for options in (Options(), Options(int8="weights"), Options(int8="full", calibrate="digits")):
        job = fold(Job(None, options, model=FrozenModel(_network(1, 7))))
        applied.append(len(job.details["rewrites"]["bit_planes"]["applied"]))
    assert applied == [1, 1, 0]


def test_the_kernel_that_adds_up_digits_is_stored_exactly() -> None:
    content = lower_model(fold_model(FrozenModel(_network(1, 7))).model)
    digits = [o for o in parse(content).operators if o.name == "DEPTHWISE_CONV_2D"]
    (kernel,) = (o.inputs[1].array() for o in digits if o.inputs[1] is not None)
    stored, kernels = with_stored_kernels(content, "int8")
    (restored,) = (
        o.inputs[1].array()
        for o in parse(with_restored_kernels(stored)).operators
        if o.name == "DEPTHWISE_CONV_2D" and o.inputs[1] is not None
    )
    np.testing.assert_array_equal(restored, kernel)
    assert [one.sqnr for one in kernels if np.isinf(one.sqnr)] == [np.inf]

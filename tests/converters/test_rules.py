"""Each rule over a flatbuffer: a graph in which it finds nothing, and one in which it does."""

import ast
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.lower import lower_model, run_converter
from el_larq.converters.rules.rule import Finding, summarized
from el_larq.converters.rules.rule_registry import check_graph
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph, parse


def _graph(*middle: Any, **arguments: Any) -> TfliteGraph:
    return parse(lower_model(FrozenModel(models.network(*middle, **arguments))))


def _unchanged(*middle: Any) -> TfliteGraph:
    """What LCE's converter makes of the network by itself."""
    return parse(run_converter(FrozenModel(models.network(*middle))))


def _found(graph: TfliteGraph) -> set[str]:
    return {finding.rule for finding in check_graph(graph)}


@pytest.fixture(scope="module")
def clean() -> TfliteGraph:
    return _graph(models.binary(32, "a"), models.norm("n1"))


def _one_operator(multiplier: Tensor, kernel_words: int = 1, channels_in: int = 32) -> TfliteGraph:
    """A graph of a single LceBconv2d, for what LCE's own converter does not make."""
    source = Tensor(0, "x", "int32", (1, 8, 8, 1), b"")
    kernel = Tensor(1, "kernel", "int32", (4, 1, 1, kernel_words), bytes(16 * kernel_words))
    output = Tensor(3, "y", "float32", (1, 8, 8, 4), b"")
    options = {"channels_in": channels_in, "padding": 1, "pad_values": 0}
    operator = Operator(0, "LceBconv2d", (source, kernel, multiplier, None, None), (output,), options)
    return TfliteGraph((source, kernel, multiplier, output), (operator,), (source,), (output,), {}, 0)


def _floats(*values: float, shape: tuple[int, ...] | None = None) -> Tensor:
    data = np.array(values, np.float32)
    return Tensor(2, "multiplier", "float32", shape or data.shape, data.tobytes())


def test_a_clean_graph_has_no_findings(clean: TfliteGraph) -> None:
    assert check_graph(clean) == []


def test_findings_are_one_line_each_and_errors_come_first() -> None:
    graph = _one_operator(_floats(1, 2, 0, 4, shape=(1, 1, 1, 4)), channels_in=30)
    findings = check_graph(graph)
    assert [finding.severity for finding in findings] == ["error", "warning", "note"]
    assert all("\n" not in str(finding) and finding.remedy for finding in findings)


def test_scale_rank() -> None:
    assert "scale-rank" not in _found(_one_operator(_floats(1, 2, 3, 4)))
    assert "scale-rank" in _found(_one_operator(_floats(1, 2, 3, 4, shape=(1, 1, 1, 4))))


def test_dynamic_shape(clean: TfliteGraph) -> None:
    assert not any(tensor.dynamic and tensor.shape[1:] == () for tensor in clean.tensors)
    open_ = Tensor(0, "x", "float32", (1, -1, -1, 3), b"", dynamic=True)
    assert "dynamic-shape" in _found(TfliteGraph((open_,), (), (open_,), (open_,), {}, 0))
    batch = Tensor(0, "x", "float32", (1, 8, 8, 3), b"", dynamic=True)
    assert "dynamic-shape" not in _found(TfliteGraph((batch,), (), (batch,), (batch,), {}, 0))


@pytest.mark.parametrize("layer", [keras.layers.Conv2D, keras.layers.DepthwiseConv2D])
def test_stride_over_kernel(layer: Any) -> None:
    def strided(size: int, strides: int, padding: str) -> list[Any]:
        kernel = (size, strides) if layer is keras.layers.DepthwiseConv2D else (8, size, strides)
        return [layer(*kernel, padding=padding, name="strided"), models.norm("n"), models.binary(32, "c", 1)]

    assert "stride-over-kernel" in _found(_unchanged(*strided(2, 4, "same")))
    assert "stride-over-kernel" not in _found(_unchanged(*strided(2, 4, "valid")))
    assert "stride-over-kernel" not in _found(_unchanged(*strided(4, 4, "same")))
    assert "stride-over-kernel" not in _found(_unchanged(*strided(1, 4, "same")))


@pytest.mark.parametrize(
    ("size", "kernel", "strides", "remedy"),
    [
        ((8, 8), (2, 2), 4, 'use padding="valid"'),
        ((8, 8), (2, 1), 2, 'use padding="valid"'),
        ((8, 8), (3, 1), 2, "put Cropping2D(((0, 0), (0, 1))) before it"),
        ((10, 9), (1, 3), 4, "put Cropping2D(((0, 1), (0, 0))) before it"),
    ],
)
def test_the_remedy_for_a_stride_over_the_kernel_is_the_same_convolution(size: Any, kernel: Any, strides: int, remedy: str) -> None:
    """With (3, 1), "valid" is not: it makes 3x4 of 8x8 pixels, where "same" makes 4x4."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*size, 4), name="image")
    same = keras.layers.Conv2D(8, kernel, strides, padding="same", name="strided")
    wrong = keras.Model(image, same(image))
    x = np.random.default_rng(0).standard_normal((2, *size, 4)).astype(np.float32)
    content = run_converter(FrozenModel(wrong))
    (finding,) = check_graph(parse(content))
    assert finding.remedy.startswith(remedy)
    assert not np.allclose(Interpreter(content).run(x)[0], wrong.predict(x, verbose=0), atol=1e-4)  # pyright: ignore[reportArgumentType]
    if "valid" in remedy:
        right = keras.Model(image, keras.layers.Conv2D(8, kernel, strides, name="right", weights=same.get_weights())(image))
    else:
        crop = ast.literal_eval(finding.remedy.partition("Cropping2D(")[2].partition(") before")[0])
        right = keras.Model(image, same(keras.layers.Cropping2D(crop)(image)))
    content = run_converter(FrozenModel(right))
    assert "stride-over-kernel" not in {finding.rule for finding in check_graph(parse(content))}
    assert np.allclose(Interpreter(content).run(x)[0], wrong.predict(x, verbose=0), atol=1e-4)  # pyright: ignore[reportArgumentType]


def _padded_with_zeros(size: tuple[int, int], kernel: tuple[int, int], dilation: int, strides: int) -> tuple[Any, bytes]:
    keras.utils.set_random_seed(1)
    image = keras.Input((*size, 32), name="image")
    layer = models.binary(
        8, "c", kernel, strides=strides, dilation_rate=dilation, padding="same", pad_values=0.0
    )  # fmt: skip
    model = keras.Model(image, layer(image))
    return model, run_converter(FrozenModel(model))


def _zero_padded_cases() -> Iterator[Any]:
    """The slow suite has all; the fast one, those at the bounds."""
    fast = [(2, 3, 1, 1), (3, 3, 1, 1), (2, 3, 1, 2), (8, 3, 4, 1), (9, 3, 4, 1), (4, 5, 1, 1), (5, 5, 1, 1)]
    for kernel, (dilation, strides) in itertools.product((3, 5), ((1, 1), (1, 2), (2, 1), (4, 1))):
        for size in range(1, 11):
            case = ((size, size), (kernel, kernel), dilation, strides)
            yield pytest.param(*case, marks=[] if (size, kernel, dilation, strides) in fast else [pytest.mark.slow])
    for size, kernel in (
        ((2, 8), (3, 3)),
        ((8, 2), (3, 3)),
        ((1, 8), (1, 3)),
        ((8, 1), (3, 1)),
        ((1, 1), (3, 1)),
        ((2, 2), (2, 2)),
    ):
        yield pytest.param(size, kernel, 1, 1, marks=[] if size == (2, 8) else [pytest.mark.slow])
    yield pytest.param((6, 6), (7, 7), 1, 3)  # smaller than the kernel, and right all the same: every window is corrected


@pytest.mark.parametrize(("size", "kernel", "dilation", "strides"), list(_zero_padded_cases()))
def test_zero_padded_small_map(size: Any, kernel: Any, dilation: int, strides: int) -> None:
    """The rule finds exactly what LCE's default and indirect kernels compute wrongly."""
    model, content = _padded_with_zeros(size, kernel, dilation, strides)
    x = np.random.default_rng(0).standard_normal((4, *size, 32)).astype(np.float32)
    wanted = model.predict(x, verbose=0)
    for indirect in (False, True):
        wrong = not np.allclose(Interpreter(content, indirect=indirect).run(x)[0], wanted, atol=1e-3)
        assert wrong == ("zero-padded-small-map" in {finding.rule for finding in check_graph(parse(content))})


def test_float_on_signs(clean: TfliteGraph) -> None:
    assert "float-on-signs" not in _found(clean)
    depthwise = larq.layers.QuantDepthwiseConv2D(
        3, padding="same", pad_values=1.0, input_quantizer="ste_sign", depthwise_quantizer="ste_sign",
        depthwise_constraint="weight_clip", name="d",
    )  # fmt: skip
    assert "float-on-signs" in _found(_graph(depthwise, models.norm("n")))


def test_a_view_of_itself_does_not_hang_the_rules() -> None:
    """As in a file made by hand; a converter writes none."""
    image = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Reshape((4, 16, 4))(image))

    def turn(model: Any) -> None:
        operators = model.subgraphs[0].operators
        views = [operator for operator in operators if len(operator.outputs) == 1 and operator.outputs[0] in operators[-1].inputs]
        views[0].inputs = np.array([views[0].outputs[0], *views[0].inputs[1:]], np.int32)

    content = lower_model(FrozenModel(keras.Model(image, x)))
    assert parse(content).operators[0].name == "RESHAPE"
    graph = parse(models.edit(content, turn))
    assert graph.operators[0].inputs[0] is graph.operators[0].outputs[0]
    assert "float-on-signs" not in {finding.rule for finding in check_graph(graph)}


def test_groups() -> None:
    assert "groups" not in _found(_graph(models.binary(64, "c"), models.norm("n"), channels=64))
    assert "groups" in _found(_graph(models.binary(64, "c", groups=2), models.norm("n"), channels=64))


@pytest.mark.parametrize("size", [1, 3])
def test_zero_padding(size: int) -> None:
    padded = _graph(models.binary(32, "c", size, padding="same", pad_values=0.0), models.norm("n"))
    remedy = next(finding.remedy for finding in check_graph(padded) if finding.rule == "zero-padding")
    assert ("valid" in remedy) == (size == 1)
    assert "zero-padding" not in _found(_graph(models.binary(32, "c", size, padding="valid"), models.norm("n")))


def test_norm_left() -> None:
    def residual_before_norm(x: Any) -> Any:
        return models.norm("n")(keras.layers.Add()([models.binary(32, "c")(x), x]))

    def residual_after_norm(x: Any) -> Any:
        return keras.layers.Add()([models.norm("n")(models.binary(32, "c")(x)), x])

    assert "norm-left" in _found(_graph(residual_before_norm))
    (finding,) = (finding for finding in check_graph(_graph(residual_before_norm)) if finding.rule == "norm-left")
    assert "after ADD" in finding.reason
    assert finding.operations == 2 * 8 * 8 * 32
    assert "norm-left" not in _found(_graph(residual_after_norm))


def test_channels() -> None:
    assert "channels" not in _found(_one_operator(_floats(1, 2, 3, 4), channels_in=32))
    assert "channels" in _found(_one_operator(_floats(1, 2, 3, 4), channels_in=31))


def test_dead_channels() -> None:
    assert "dead-channels" not in _found(_one_operator(_floats(1, -2, 3, 4)))
    finding = check_graph(_one_operator(_floats(1, 0, 0, 4)))[0]
    assert (finding.rule, finding.reason) == ("dead-channels", "2 of 4 output channels are constant")


def _quantized(x: Any) -> Any:
    return keras.layers.Lambda(lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -3.0, 3.0))(x)


def test_left_float() -> None:
    def doubled(x: Any) -> Any:
        x = _quantized(keras.layers.ReLU()(_quantized(x)))
        return keras.layers.Add()([x, keras.layers.MaxPooling2D(3, strides=1, padding="same")(x)])

    missing = "ADD computes in float"
    for after, named in ((_quantized, False), (lambda x: x * 2.0, True)):
        findings = [finding for finding in check_graph(_graph(doubled, after)) if finding.rule == "left-float"]
        assert (missing in [finding.reason for finding in findings]) == named


def test_only_float() -> None:
    quantized = _graph(_quantized, keras.layers.ReLU(), _quantized)
    assert "only-float" not in _found(quantized)
    findings = check_graph(_graph(_quantized, keras.layers.ReLU(), _quantized, keras.layers.Activation("exponential")))
    assert ["EXP" in finding.reason for finding in findings if finding.rule == "only-float"] == [True]


def test_slow_on_arm32(clean: TfliteGraph) -> None:
    assert "slow-on-arm32" not in _found(clean)
    chain = _graph(models.binary(32, "a"), models.norm("n1"), models.binary(32, "b"), models.norm("n2"))
    assert "slow-on-arm32" in _found(chain)


def test_a_finding_that_is_repeated_is_one_with_a_count() -> None:
    names = [f"block{number}" for number in range(13)]
    many = [Finding("binary-depthwise", "error", name, "runs as DEPTHWISE_CONV_2D", "keep it real-valued") for name in names]
    other = Finding("not-binary", "error", "a", "its input is not a sign", "give it one")
    allowed = Finding("binary-depthwise", "error", "b", "runs as DEPTHWISE_CONV_2D", "keep it real-valued", allowed=True)
    found = summarized([*many[:6], other, *many[6:], allowed])
    assert [str(finding) for finding in found] == [
        "[binary-depthwise] block0, block1, block2 and 10 more (13 in all): runs as DEPTHWISE_CONV_2D; keep it real-valued",
        str(other),
        str(allowed),
    ]
    assert summarized(many[:1]) == many[:1]
    costly = [replace(finding, layer=finding.subject, operations=100) for finding in many[:2]]
    assert [str(finding) for finding in summarized(costly)] == [
        "[binary-depthwise] block0, block1: runs as DEPTHWISE_CONV_2D (200 operations per image); keep it real-valued"
    ]

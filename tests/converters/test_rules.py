"""Each rule over a flatbuffer: a graph in which it finds nothing, and one in which it does."""

from typing import Any

import binary_models as models
import larq
import numpy as np
import pytest
import tf_keras as keras

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.lower import lower_model
from el_larq.converters.rules.registry import check_graph
from el_larq.converters.rules.rule import Finding, summarized
from el_larq.tflite.reader import Graph, Operator, Tensor, parse


def _graph(*middle: Any, **arguments: Any) -> Graph:
    return parse(lower_model(FrozenModel(models.network(*middle, **arguments))))


def _found(graph: Graph) -> set[str]:
    return {finding.rule for finding in check_graph(graph)}


@pytest.fixture(scope="module")
def clean() -> Graph:
    return _graph(models.binary(32, "a"), models.norm("n1"))


def _one_operator(multiplier: Tensor, kernel_words: int = 1, channels_in: int = 32) -> Graph:
    """A graph of a single LceBconv2d, for what LCE's own converter does not make."""
    source = Tensor(0, "x", "int32", (1, 8, 8, 1), b"")
    kernel = Tensor(1, "kernel", "int32", (4, 1, 1, kernel_words), bytes(16 * kernel_words))
    output = Tensor(3, "y", "float32", (1, 8, 8, 4), b"")
    options = {"channels_in": channels_in, "padding": 1, "pad_values": 0}
    operator = Operator(0, "LceBconv2d", (source, kernel, multiplier, None, None), (output,), options)
    return Graph((source, kernel, multiplier, output), (operator,), (source,), (output,), {}, 0)


def _floats(*values: float, shape: tuple[int, ...] | None = None) -> Tensor:
    data = np.array(values, np.float32)
    return Tensor(2, "multiplier", "float32", shape or data.shape, data.tobytes())


def test_a_clean_graph_has_no_findings(clean: Graph) -> None:
    assert check_graph(clean) == []


def test_findings_are_one_line_each_and_errors_come_first() -> None:
    graph = _one_operator(_floats(1, 2, 0, 4, shape=(1, 1, 1, 4)), channels_in=30)
    findings = check_graph(graph)
    assert [finding.severity for finding in findings] == ["error", "warning", "note"]
    assert all("\n" not in str(finding) and finding.remedy for finding in findings)


def test_scale_rank() -> None:
    assert "scale-rank" not in _found(_one_operator(_floats(1, 2, 3, 4)))
    assert "scale-rank" in _found(_one_operator(_floats(1, 2, 3, 4, shape=(1, 1, 1, 4))))


def test_dynamic_shape(clean: Graph) -> None:
    assert not any(tensor.dynamic and tensor.shape[1:] == () for tensor in clean.tensors)
    open_ = Tensor(0, "x", "float32", (1, -1, -1, 3), b"", dynamic=True)
    assert "dynamic-shape" in _found(Graph((open_,), (), (open_,), (open_,), {}, 0))
    batch = Tensor(0, "x", "float32", (1, 8, 8, 3), b"", dynamic=True)
    assert "dynamic-shape" not in _found(Graph((batch,), (), (batch,), (batch,), {}, 0))


@pytest.mark.parametrize("layer", [keras.layers.Conv2D, keras.layers.DepthwiseConv2D])
def test_stride_over_kernel(layer: Any) -> None:
    def strided(size: int, strides: int, padding: str) -> list[Any]:
        kernel = (size, strides) if layer is keras.layers.DepthwiseConv2D else (8, size, strides)
        return [layer(*kernel, padding=padding, name="strided"), models.norm("n"), models.binary(32, "c", 1)]

    assert "stride-over-kernel" in _found(_graph(*strided(2, 4, "same")))
    assert "stride-over-kernel" not in _found(_graph(*strided(2, 4, "valid")))
    assert "stride-over-kernel" not in _found(_graph(*strided(4, 4, "same")))
    assert "stride-over-kernel" not in _found(_graph(*strided(1, 4, "same")))


def test_float_on_signs(clean: Graph) -> None:
    assert "float-on-signs" not in _found(clean)
    depthwise = larq.layers.QuantDepthwiseConv2D(
        3, padding="same", pad_values=1.0, input_quantizer="ste_sign", depthwise_quantizer="ste_sign",
        depthwise_constraint="weight_clip", name="d",
    )  # fmt: skip
    assert "float-on-signs" in _found(_graph(depthwise, models.norm("n")))


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
    assert "norm-left" not in _found(_graph(residual_after_norm))


def test_channels() -> None:
    assert "channels" not in _found(_one_operator(_floats(1, 2, 3, 4), channels_in=32))
    assert "channels" in _found(_one_operator(_floats(1, 2, 3, 4), channels_in=31))


def test_dead_channels() -> None:
    assert "dead-channels" not in _found(_one_operator(_floats(1, -2, 3, 4)))
    finding = check_graph(_one_operator(_floats(1, 0, 0, 4)))[0]
    assert (finding.rule, finding.reason) == ("dead-channels", "2 of 4 output channels are constant")


def test_slow_on_arm32(clean: Graph) -> None:
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

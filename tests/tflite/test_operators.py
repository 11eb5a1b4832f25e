"""What operators are, from hand-made ones: shapes in channels, bits, multiply-accumulates, and damage."""

from typing import Any

import numpy as np
import pytest

from el_larq.devices.measured_layers import join
from el_larq.devices.profile_log import ProfileRow
from el_larq.errors import ElLarqError
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.tflite.macs import count_macs, mac_bits
from el_larq.tflite.operators import binary_groups, kernel_shape, kernel_signs, output_shape, source_of, unpack_signs
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph


def tensor(index: int, kind: str, *shape: int, data: bytes = b"") -> Tensor:
    return Tensor(index, f"t{index}", kind, shape, data)


def operator(name: str, inputs: list[Tensor | None], output: Tensor, **options: Any) -> Operator:
    return Operator(0, name, tuple(inputs), (output,), options)


def graph_of(one: Operator) -> TfliteGraph:
    tensors = [t for t in (*one.inputs, *one.outputs) if t is not None]
    return TfliteGraph(tuple(tensors), (one,), (tensors[0],), one.outputs, {}, 0, tuple(output.name for output in one.outputs))


def binary(c_in: int, words: int, c_out: int, output: tuple[int, ...], kind: str = "float32") -> Operator:
    kernel = np.random.default_rng(0).integers(-(2**31), 2**31, (c_out, 3, 3, words), np.int64).astype(np.int32)
    return operator(
        "LceBconv2d",
        [tensor(0, "int32", 1, 4, 4, -(-c_in // 32)), tensor(1, "int32", c_out, 3, 3, words, data=kernel.tobytes()), None],
        tensor(2, kind, *output),
        channels_in=c_in,
    )


def test_a_binary_convolution_counts_channels_and_not_words() -> None:
    one = binary(64, 2, 48, (1, 4, 4, 48))
    assert kernel_shape(one) == (48, 3, 3, 64)
    assert count_macs(one) == 48 * 9 * 64 * 16
    assert mac_bits(one) == 1
    packed = binary(64, 2, 48, (1, 4, 4, 2), "int32")
    assert output_shape(packed) == (1, 4, 4, 48)
    assert count_macs(packed) == count_macs(one)


def test_groups_share_the_input_channels() -> None:
    one = binary(128, 2, 48, (1, 4, 4, 48))
    assert binary_groups(one) == 2
    assert kernel_shape(one) == (48, 3, 3, 64)
    assert kernel_signs(one).shape == (48, 3, 3, 64)


@pytest.mark.parametrize("channels", [1, 31, 32, 33, 70])
def test_signs_are_unpacked_as_they_were_packed(channels: int) -> None:
    signs = np.random.default_rng(0).random((5, channels)) < 0.5
    words = np.zeros((5, -(-channels // 32)), np.uint32)
    for row, channel in zip(*np.nonzero(signs), strict=True):
        words[row, channel // 32] |= np.uint32(1 << channel % 32)
    np.testing.assert_array_equal(unpack_signs(words.view(np.int32), channels), signs)


@pytest.mark.parametrize(("source", "kernel", "bits"), [("float32", "int8", 32), ("int8", "int8", 8), ("float32", "float16", 32)])
def test_every_reader_counts_the_wider_operand(source: str, kernel: str, bits: int) -> None:
    """A convolution with float input and int8 kernel multiplies in float, whoever asks."""
    weights = tensor(1, kernel, 8, 3, 3, 4, data=bytes(8 * 9 * 4 * (2 if kernel == "float16" else 1)))
    options = {"padding": "same", "strides": (1, 1), "dilations": (1, 1)}
    one = operator("CONV_2D", [tensor(0, source, 1, 4, 4, 4), weights], tensor(2, source, 1, 4, 4, 8), **options)
    assert mac_bits(one) == bits
    assert inspect_graph(graph_of(one), "model").layers[0].mac_bits == bits
    row = ProfileRow("CONV_2D", "conv", 0, avg_ms=1.0, percent=100.0, times_called=1)
    (layer,) = join([row], graph_of(one))
    assert (layer.bits, layer.macs) == (bits, 8 * 9 * 4 * 16)


def test_a_transposed_convolution_reads_its_third_input() -> None:
    size, kernel, source = tensor(0, "int32", 4), tensor(1, "float32", 8, 3, 3, 4), tensor(2, "float32", 1, 5, 5, 4)
    one = operator("TRANSPOSE_CONV", [size, kernel, source], tensor(3, "float32", 1, 10, 10, 8))
    assert source_of(one) is source
    assert count_macs(one) == 8 * 9 * 4 * 25


@pytest.mark.parametrize("options", [{}, {"channels_in": "many"}, {"channels_in": 0}, {"channels_in": -5}])
def test_a_damaged_binary_convolution_is_one_line(options: dict[str, Any]) -> None:
    one = binary(64, 2, 48, (1, 4, 4, 48))
    with pytest.raises(ElLarqError, match="does not state its number of input channels; the file is damaged"):
        count_macs(Operator(0, one.name, one.inputs, one.outputs, options))
    for inputs in ((), (one.inputs[0],), (one.inputs[0], None), (one.inputs[0], tensor(1, "int32", 48, 3, 3, 0))):
        with pytest.raises(ElLarqError, match="has no kernel"):
            count_macs(Operator(0, one.name, inputs, one.outputs, one.options))

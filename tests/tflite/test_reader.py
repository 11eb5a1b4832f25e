import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from el_larq.errors import ElLarqError
from el_larq.tflite.reader import IDENTIFIER, Tensor, parse

DATA = Path(__file__).parents[1] / "data"
FILES = ("bin4", "binpool", "float", "int8", "t1")
CONTENT = {name: (DATA / f"{name}.tflite").read_bytes() for name in FILES}


def test_operators_of_a_binary_network_in_their_order() -> None:
    graph = parse(CONTENT["binpool"])
    assert Counter(operator.name for operator in graph.operators).keys() == {
        "LceQuantize",
        "LceBconv2d",
        "MAX_POOL_2D",
        "MUL",
    }
    assert [operator.index for operator in graph.operators] == list(range(7))
    assert graph.inputs[0].shape == (1, 32, 32, 64)
    assert graph.outputs[0].shape == (1, 16, 16, 64)
    assert graph.size == len(CONTENT["binpool"])


def test_options_and_tensors_of_a_binary_convolution() -> None:
    graph = parse(CONTENT["bin4"])
    convolution = next(operator for operator in graph.operators if operator.name == "LceBconv2d")
    assert convolution.options["channels_in"] == 256
    source, kernel = convolution.inputs[:2]
    assert source is not None
    assert kernel is not None
    assert source.type == kernel.type == "int32"
    assert source.shape == (1, 28, 28, 8)
    assert kernel.constant
    assert not source.constant
    assert kernel.array().shape == kernel.shape
    assert graph.producers[source.index].name == "LceQuantize"


def test_options_of_built_in_convolutions_and_pools() -> None:
    graph = parse(CONTENT["float"])
    by_name = {operator.name: operator for operator in graph.operators}
    assert by_name["CONV_2D"].options.keys() == {"activation", "padding", "strides", "dilations"}
    assert by_name["DEPTHWISE_CONV_2D"].options["depth_multiplier"] == 1
    assert by_name["DEPTHWISE_CONV_2D"].options["dilations"] == (1, 1)
    pool = by_name["MAX_POOL_2D"].options
    assert pool["strides"] == pool["window"] == (2, 2)
    assert by_name["SOFTMAX"].options == {}


def test_types_of_an_int8_model() -> None:
    graph = parse(CONTENT["int8"])
    assert graph.inputs[0].type == graph.outputs[0].type == "int8"
    convolution = next(operator for operator in graph.operators if operator.name == "CONV_2D")
    weights, bias = convolution.inputs[1:]
    assert weights is not None
    assert bias is not None
    assert weights.array().dtype == np.int8
    assert bias.array().dtype == np.int32


def test_metadata_is_read() -> None:
    assert "min_runtime_version" in parse(CONTENT["float"]).metadata


def _option(table: Any, name: str) -> Any:
    return getattr(table.builtinOptions, name)


@pytest.mark.parametrize("name", FILES)
def test_reader_agrees_with_the_schema_of_lce(name: str) -> None:
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph = parse(CONTENT[name])
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(CONTENT[name], 0))
    wanted = model.subgraphs[0]
    types = {getattr(schema.TensorType, key): key.lower() for key in vars(schema.TensorType) if key.isupper()}
    assert len(graph.tensors) == len(wanted.tensors)
    for tensor, other in zip(graph.tensors, wanted.tensors, strict=True):
        assert tensor.name == other.name.decode()
        assert tensor.shape == tuple([] if other.shape is None else other.shape)
        assert tensor.type == types[other.type]
        data = model.buffers[other.buffer].data
        assert tensor.data == (b"" if data is None else bytes(data))
    codes = {getattr(schema.BuiltinOperator, key): key for key in vars(schema.BuiltinOperator) if key.isupper()}
    assert len(graph.operators) == len(wanted.operators)
    for operator, other in zip(graph.operators, wanted.operators, strict=True):
        assert [-1 if tensor is None else tensor.index for tensor in operator.inputs] == list(other.inputs)
        assert [tensor.index for tensor in operator.outputs] == list(other.outputs)
        code = model.operatorCodes[other.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        assert operator.name == (code.customCode.decode() if codes[builtin] == "CUSTOM" else codes[builtin])
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"):
            assert operator.options["strides"] == (_option(other, "strideH"), _option(other, "strideW"))
            assert operator.options["padding"] == ("same", "valid")[_option(other, "padding")]
        if operator.name.endswith("CONV_2D"):
            assert operator.options["dilations"] == (_option(other, "dilationHFactor"), _option(other, "dilationWFactor"))
        if operator.name.endswith("POOL_2D"):
            assert operator.options["window"] == (_option(other, "filterHeight"), _option(other, "filterWidth"))
    assert [tensor.index for tensor in graph.inputs] == list(wanted.inputs)
    assert [tensor.index for tensor in graph.outputs] == list(wanted.outputs)
    assert set(graph.metadata) == {entry.name.decode() for entry in model.metadata}


def test_names_of_built_in_operators_are_those_of_the_schema() -> None:
    from larq_compute_engine.mlir.python.tflite_schema import BuiltinOperator

    from el_larq.tflite.builtin_names import BUILTIN

    for key, code in vars(BuiltinOperator).items():
        if key.isupper():
            assert BUILTIN[code] == key


def _graph_or_error(content: bytes) -> None:
    message = None
    try:
        parse(content, "model of a stranger")
    except ElLarqError as error:
        message = str(error)
    assert message is None or (re.fullmatch(r"model of a stranger: .+", message) and len(message) < 300)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(("binpool", "t1")), st.data())
def test_damaged_bytes_give_a_graph_or_one_clear_line(name: str, data: st.DataObject) -> None:
    content = bytearray(CONTENT[name])
    size = len(content)
    # Tables lie at both ends, constants in the middle: damage all of it, the ends more often.
    place = st.one_of(st.integers(0, size - 1), st.integers(0, 4000), st.integers(size - 6000, size - 1))
    for position, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=20)):
        content[position] = value
    _graph_or_error(bytes(content))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(("binpool", "t1")), st.floats(0, 1, exclude_max=True))
def test_truncated_files_give_a_graph_or_one_clear_line(name: str, share: float) -> None:
    _graph_or_error(CONTENT[name][: int(share * len(CONTENT[name]))])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_behind_the_identifier_give_one_clear_line(content: bytes) -> None:
    _graph_or_error(content[:4].ljust(4, b"\0") + IDENTIFIER + content[4:])


@pytest.mark.parametrize("content", [b"", b"TFL3", b"a text file, not a model\n", b"\x89HDF\r\n\x1a\n", bytes(64)])
def test_a_file_that_is_not_a_tflite_is_refused(content: bytes) -> None:
    with pytest.raises(ElLarqError, match=r"^notes\.txt: not a \.tflite"):
        parse(content, "notes.txt")


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_by_any_round_share_is_refused(name: str) -> None:
    content = CONTENT[name]
    for tenth in range(1, 10):
        with pytest.raises(ElLarqError, match=r"^cut\.tflite: "):
            parse(content[: tenth * len(content) // 10], "cut.tflite")


def test_two_subgraphs_are_refused_by_number() -> None:
    import flatbuffers
    from larq_compute_engine.mlir.python import tflite_schema as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(CONTENT["binpool"], 0))
    model.subgraphs = [model.subgraphs[0], model.subgraphs[0]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    with pytest.raises(ElLarqError, match=r"^two\.tflite: 2 subgraphs"):
        parse(bytes(builder.Output()), "two.tflite")


def test_reading_numbers_of_a_wrong_size_is_refused() -> None:
    with pytest.raises(ElLarqError, match=r"'kernel' has 2 values for shape \(3,\)"):
        Tensor(0, "kernel", "float32", (3,), bytes(8)).array()
    with pytest.raises(ElLarqError, match="'text' has type string"):
        Tensor(0, "text", "string", (1,), bytes(8)).array()

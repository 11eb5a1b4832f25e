"""Readers with damaged files: they return what they document, or raise a one-line error that names the file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hostile_flatbuffer import doubling_options, flatbuffer, with_int4_types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from el_larq import card
from el_larq.converters.rules.rule_registry import check_graph
from el_larq.devices import record
from el_larq.errors import ElLarqError
from el_larq.inspection.tflite_graph import inspect_graph
from el_larq.report.collect import read_run
from el_larq.tflite.reader import parse

SEEDS = Path(__file__).parent / "seeds"
CONTENT = (SEEDS / "model.tflite").read_bytes()
DATA = Path(__file__).parents[1] / "data"

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _or_named(what: Callable[[], Any], name: str) -> Any:
    try:
        return what()
    except ElLarqError as error:
        clear = name in str(error) and "\n" not in str(error)
    assert clear
    return None


@quick
@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), max_size=20), st.integers(0, len(CONTENT)))
def test_a_tflite_with_any_bytes(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(CONTENT)
    for position, value in changes:
        data[position] = value
    for content in (bytes(data), bytes(data[:end])):
        graph = _or_named(lambda content=content: parse(content, "a.tflite"), "a.tflite")
        if graph is not None:
            _or_named(lambda graph=graph: inspect_graph(graph, "a.tflite"), "a.tflite")
            _or_named(lambda graph=graph: check_graph(graph, "a.tflite"), "a.tflite")


def test_the_audit_of_an_operator_without_an_output_is_one_line() -> None:
    """Found with `inspect --audit`, which does not plan the memory first and so did not refuse the file."""
    graph = parse(CONTENT, "a.tflite")
    convolution = next(operator for operator in graph.operators if operator.name == "CONV_2D")
    for damaged in (replace(convolution, outputs=()), replace(convolution, options={})):
        with pytest.raises(ElLarqError, match=r"^a\.tflite: its operators are inconsistent"):
            check_graph(replace(graph, operators=(damaged,)), "a.tflite")


@quick
@given(st.binary(max_size=200))
def test_custom_options_of_any_bytes(options: bytes) -> None:
    graph = _or_named(lambda: parse(flatbuffer(options=options), "a.tflite"), "a.tflite")
    if graph is not None:
        assert all(isinstance(value, (bool, int, float, str)) for value in graph.operators[0].options.values())


def test_int4_kernels_of_a_wrong_size_are_one_line() -> None:
    graph = parse(with_int4_types(DATA), "a.tflite")
    with pytest.raises(ElLarqError, match=r"^a\.tflite: tensor '.*' has 1728 values for shape \(32, 3, 3, 3\)$"):
        inspect_graph(graph, "a.tflite")


def test_work_grows_with_the_size_of_the_file_and_not_with_the_sizes_it_declares() -> None:
    with pytest.raises(ElLarqError, match="its parts overlap"):
        parse(flatbuffer(buffers=1000, buffer=bytes(100_000)), "a.tflite")
    assert len(parse(flatbuffer(buffers=2, buffer=bytes(100_000)), "a.tflite").tensors) == 2
    with pytest.raises(ElLarqError, match=r"more than 10,000 operators"):
        parse(flatbuffer(operators=10_001), "a.tflite")
    assert parse(flatbuffer(options=doubling_options()), "a.tflite").operators[0].options == {}


@quick
@given(values | st.just("[" * 100_000) | st.binary(max_size=40))
def test_a_card_of_anything(content: Any) -> None:
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    found = _or_named(lambda: card.parse(text, "a file"), "a file")
    assert found is None or isinstance(found, dict)
    if found is not None:
        _or_named(lambda: card.preprocessing(found, "a file"), "a file")


def test_a_card_nested_too_deep_is_one_line() -> None:
    with pytest.raises(ElLarqError, match="a file: its el-larq card is damaged"):
        card.parse("[" * 100_000, "a file")


@quick
@given(values, st.lists(values | st.binary(max_size=20), max_size=5), values, values)
def test_a_run_folder_of_anything(tmp_path: Path, config: Any, metrics: list[Any], result: Any, environment: Any) -> None:
    for name, content in (("config", config), ("result", result), ("environment", environment)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in metrics]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    run = _or_named(lambda: read_run(tmp_path), str(tmp_path))
    if run is not None:
        assert all(isinstance(value, float) for epoch in run.epochs for value in epoch.values())


@quick
@given(values | st.binary(max_size=40))
def test_a_record_of_anything(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    _or_named(lambda: record.read(path), str(path))


@quick
@given(values)
def test_a_configuration_of_anything(config: Any) -> None:
    from el_larq.loading.guard import check_config

    for whole in (config, {"class_name": config, "config": config}, {"layers": [{"name": "a", "inbound_nodes": config}]}):
        _or_named(lambda whole=whole: check_config(whole, "a file"), "a file")

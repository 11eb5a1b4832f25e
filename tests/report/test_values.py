"""Files that a report is made of, with any of their values replaced by anything: a page, or one clear error."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from el_larq import card
from el_larq.devices import measured_layers, profile_log, record
from el_larq.errors import ElLarqError
from el_larq.report.collect import ModelFile, collect
from el_larq.report.page import render
from el_larq.tflite.reader import parse

SEEDS = Path(__file__).parents[1] / "fuzz" / "seeds"
DATA = Path(__file__).parents[1] / "data"
ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        "",
        "text",
        "$\\frac{$",
        "x\0y",
        "y" * 5000,
        [],
        [None],
        ["a"],
        [[]],
        [10**400],
        {},
        {"a": None},
        {"celsius": [None]},
    ),
    *(-1, 0, 1, 2**63, 10**400, -(10**400), 0.5, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")),
)


def _content() -> dict[str, Any]:
    """A record with every field and a profile, as JSON has it."""
    rows = profile_log.parse((DATA / "logs/aarch64/profile_t1_noxnn.stdout").read_text())
    joined = [layer.to_dict() for layer in measured_layers.join(rows, parse((DATA / "t1.tflite").read_bytes()))][:1]
    device = {"machine": "aarch64", "bits": 64, "kernel": "6.1", "board": "b", "android": None, "cpus": 4, "big_cores": [2, 3]}
    device |= {"governors": ["ondemand"], "celsius": 71.5, "throttled": "0x1", "clock_offset_s": 9e4, "temperatures": {"cpu": 70.0}}
    latency = {"avg_ms": 2.0, "median_ms": 1.9, "min_ms": 1.5, "max_ms": 3.0, "stddev_ms": 0.1, "iqr_ms": 0.2}
    return {
        "time": "2026-01-01T00:00:00.000+00:00",
        "target": "ssh://pi",
        "model": {"path": "m.tflite", "name": "m.tflite", "sha256": "0" * 64, "bytes": 5},
        "device": device,
        "engine": {"name": "engine", "sha256": "0" * 64},
        "runtime": {"num_threads": 1, "cores": [2, 3], "use_xnnpack": False, "profile": False, "repeat": 0, "order": 0},
        "latency_metrics": latency,
        "memory_metrics": {"peak_mem_mb": 5.0, "overall_footprint_kb": 100.0},
        "misc_metrics": {"num_runs": 50, "num_warmup_runs": 5},
        "command": ["./engine", "--graph=m.tflite"],
        "before": {"celsius": 50.0},
        "after": {"celsius": 55.0},
        "layers": joined,
        "marks": ["a mark"],
        "schema": 1,
        "logs": ["x.txt"],
    }


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a JSON value there is something, from the outside in."""
    yield here
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(part, (*here, key))


def _with(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


CONTENT = _content()
PLACES = tuple(_places(CONTENT))
RUN = {name: json.loads((SEEDS / "run" / f"{name}.json").read_text()) for name in ("config", "result", "environment")}
RUN["metrics"] = json.loads((SEEDS / "run" / "metrics.jsonl").read_text().splitlines()[0])
RUN_PLACES = tuple(_places(RUN))[1:]
thorough = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _or_line(what: Callable[[], Any], path: Path) -> Any:
    """What it returns, or None where it raises an error of one line that names the file."""
    try:
        return what()
    except ElLarqError as error:
        message = str(error)
    assert path.name in message
    assert "\n" not in message
    assert len(message) < 1000
    return None


def _page_or_line(path: Path) -> str | None:
    return _or_line(lambda: render(collect([path])), path)


def test_the_record_as_it_is_makes_a_page(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(CONTENT))
    assert _page_or_line(path)
    assert set(CONTENT) - {"logs"} == set(asdict(record.read(path)))


@pytest.mark.parametrize("place", [("before", "celsius"), ("after", "celsius"), ("device", "celsius")], ids=".".join)
def test_a_temperature_that_is_a_list_is_named(place: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(_with(CONTENT, place, [None])))
    with pytest.raises(
        ElLarqError, match=rf"record\.json is not a result .*\(record\.{'.'.join(place)} is not a number\); measure again$"
    ):
        record.read(path)


def test_a_record_with_any_value_replaced_is_read_or_one_line(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    read = 0
    for place in PLACES:
        for value in ODD:
            path.write_text(json.dumps(_with(CONTENT, place, value)))
            read += _or_line(lambda: record.read(path), path) is not None
    assert 0.1 < read / (len(PLACES) * len(ODD)) < 0.6  # neither everything nor nothing


@thorough
@given(st.lists(st.tuples(st.sampled_from(PLACES[1:]), st.sampled_from(ODD)), min_size=1, max_size=2))
def test_a_page_of_a_record_with_values_replaced(tmp_path: Path, changes: list[tuple[Any, Any]]) -> None:
    content: Any = CONTENT
    for place, value in changes:
        try:
            content = _with(content, place, value)
        except (KeyError, IndexError, TypeError):
            continue  # the change before has taken this place away
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content))
    _page_or_line(path)


@thorough
@given(st.sampled_from(RUN_PLACES), st.sampled_from(ODD))
def test_a_page_of_a_run_with_a_value_replaced(tmp_path: Path, place: Any, value: Any) -> None:
    content = _with(RUN, place, value)
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    for name in ("config", "result", "environment"):
        (folder / f"{name}.json").write_text(json.dumps(content[name]))
    (folder / "metrics.jsonl").write_text(json.dumps(content["metrics"]) + "\n")
    _page_or_line(folder)


EVALUATION = {
    "model": "m.tflite",
    "sha256": "0" * 64,
    "output": "logits",
    "dataset": "digits",
    "images": 3,
    "top1": 1 / 3,
    "top5": None,
    "ece": 0.1,
    "classes": [{"label": "a"}, {"label": "b"}],
    "confusion": [[1, 1], [1, 0]],
    "notes": ["n"],
}


@thorough
@given(st.sampled_from(tuple(_places(EVALUATION))), st.sampled_from(ODD))
def test_a_page_of_an_evaluation_with_a_value_replaced(tmp_path: Path, place: Any, value: Any) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(_with(EVALUATION, place, value)))
    _page_or_line(path)


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_a_page_of_a_model_whose_card_says_anything(value: Any, tmp_path: Path) -> None:
    from el_larq.converters.rewrite import with_metadata

    path = tmp_path / "model.tflite"
    facts = {
        "schema": 1,
        "labels": value,
        "quantization": {"a": value},
        "verified": dict.fromkeys(("images", "max_difference"), value),
    }
    for accuracy in (value, {"top1": value}):
        content = with_metadata(
            (SEEDS / "model.tflite").read_bytes(), card.NAME, json.dumps(facts | {"accuracy": accuracy}).encode()
        )
        path.write_bytes(content)
        _page_or_line(path)


def test_an_accuracy_is_a_share() -> None:
    for top1, accuracy in ((0.5, 0.5), (1, 1.0), (float("nan"), None), (10**400, None), (-1, None), ("0.5", None)):
        assert ModelFile("m", "m", "0", 1, {}, {}, {"accuracy": {"top1": top1}}).accuracy == accuracy

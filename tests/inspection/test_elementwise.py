"""Work in addition to multiply-accumulates, counted by hand on small graphs and on whole files."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from el_larq.inspection.elementwise import Work, work
from el_larq.inspection.inspect import inspect
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph

DATA = Path(__file__).parents[1] / "data"

X = (1, 8, 8, 4)
VALUES = 8 * 8 * 4


def _tensor(*shape: int, kind: str = "float32") -> Tensor:
    return Tensor(0, "x", kind, shape, b"")


def _work(name: str, inputs: list[Tensor | None], output: Tensor, **options: Any) -> Work:
    operator = Operator(0, name, tuple(inputs), (output,), options)
    (found,) = work(TfliteGraph((), (operator,), (), (), {}, 0))
    assert (found.operator, found.count) == (name, 1)
    return found


def _kinds(one: Work) -> tuple[int, int, int, int]:
    return one.multiplications, one.additions, one.comparisons, one.functions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ADD", (0, VALUES, 0, 0)),  # a link, a shift before a sign
        ("MUL", (VALUES, 0, 0, 0)),  # a gate, a scale by position
        ("PRELU", (VALUES, 0, VALUES, 0)),
        ("RELU", (0, 0, VALUES, 0)),
        ("RELU6", (0, 0, 2 * VALUES, 0)),
        ("LOGISTIC", (0, 0, 0, VALUES)),
        ("CONCATENATION", (0, 0, 0, 0)),
    ],
)
def test_operators_that_take_a_value_at_a_time(name: str, expected: tuple[int, ...]) -> None:
    # A constant that is spread over the tensor makes no difference: what is written counts.
    found = _work(name, [_tensor(*X), _tensor(4)], _tensor(*X))
    assert _kinds(found) == expected
    assert found.values == VALUES
    assert found.counted


def test_operators_that_join_values() -> None:
    assert _kinds(_work("ADD_N", [_tensor(*X)] * 4, _tensor(*X))) == (0, 3 * VALUES, 0, 0)
    # The mean of |x| over four channels, and over all positions.
    assert _kinds(_work("MEAN", [_tensor(*X), None], _tensor(1, 8, 8, 1))) == (64, 3 * 64, 0, 0)
    assert _kinds(_work("SUM", [_tensor(*X), None], _tensor(1, 4))) == (0, 4 * 63, 0, 0)
    assert _kinds(_work("REDUCE_MAX", [_tensor(*X), None], _tensor(1, 4))) == (0, 0, 4 * 63, 0)
    half = _tensor(1, 4, 4, 4)
    assert _kinds(_work("AVERAGE_POOL_2D", [_tensor(*X)], half, window=(2, 2))) == (64, 3 * 64, 0, 0)
    assert _kinds(_work("MAX_POOL_2D", [_tensor(*X)], half, window=(3, 3))) == (0, 0, 8 * 64, 0)


def test_what_a_binary_convolution_does_to_its_sums() -> None:
    kernel = _tensor(48, 3, 3, 1, kind="int32")
    real = _work("LceBconv2d", [_tensor(1, 8, 8, 1, kind="int32"), kernel], _tensor(1, 8, 8, 48))
    assert _kinds(real) == (64 * 48, 64 * 48, 0, 0)
    # 48 bits a pixel are packed into two words.
    packed = _work("LceBconv2d", [_tensor(1, 8, 8, 1, kind="int32"), kernel], _tensor(1, 8, 8, 2, kind="int32"))
    assert (packed.values, _kinds(packed)) == (64 * 48, (0, 0, 64 * 48, 0))
    assert _kinds(_work("LceQuantize", [_tensor(*X)], _tensor(1, 8, 8, 1, kind="int32"))) == (0, 0, VALUES, 0)


def test_operators_of_one_name_are_added_up_and_macs_and_shapes_left_out() -> None:
    operators = [
        Operator(number, name, (_tensor(*X), _tensor(*X)), (_tensor(*X),), {})
        for number, name in enumerate(("ADD", "CONV_2D", "RESHAPE", "MUL", "ADD", "FULLY_CONNECTED", "Mystery"))
    ]
    found = work(TfliteGraph((), tuple(operators), (), (), {}, 0))
    assert [(one.operator, one.count, one.operations) for one in found] == [
        ("ADD", 2, 2 * VALUES),
        ("MUL", 1, VALUES),
        ("Mystery", 1, 0),
    ]
    assert [one.counted for one in found] == [True, True, False]


def test_a_whole_file_by_hand() -> None:
    """binpool.tflite: packed, a convolution to 32x32x64, pooled 2x2, multiplied, packed; two convolutions on 16x16x64."""
    found = {one.operator: one for one in inspect(DATA / "binpool.tflite").other_operations}
    whole, quarter = 32 * 32 * 64, 16 * 16 * 64
    assert set(found) == {"LceBconv2d", "LceQuantize", "MAX_POOL_2D", "MUL"}
    assert _kinds(found["LceBconv2d"]) == (whole + quarter, whole + quarter, quarter, 0)
    assert _kinds(found["LceQuantize"]) == (0, 0, whole + quarter, 0)
    assert _kinds(found["MAX_POOL_2D"]) == (0, 0, 3 * quarter, 0)
    assert _kinds(found["MUL"]) == (quarter, 0, 0, 0)


def test_the_command_shows_it(el_larq_command: Callable[..., CompletedProcess[str]]) -> None:
    path = DATA / "binpool.tflite"
    done = el_larq_command("inspect", path, "--full")
    assert done.returncode == 0, done.stderr
    assert "Operations other than MACs, for one input" in done.stdout
    assert "other ops  98,304 multiplications, 81,920 additions, 147,456 comparisons" in done.stdout
    content = json.loads(el_larq_command("inspect", path, "--json").stdout)
    assert content["beside"][0]["operator"] == "LceBconv2d"

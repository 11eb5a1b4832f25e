from typing import Literal

import pytest

from el_larq.errors import UsageError
from el_larq.methods import options
from el_larq.methods.method_registry import get_method, parse_options


def make(k: Literal["off", "all"] = "off", bases: int = 3, clip: float = 1.0, positive: bool = True) -> dict[str, object]:
    return {"k": k, "bases": bases, "clip": clip, "positive": positive}


def test_options_are_described_by_the_signature():
    assert options.choices(make) == {
        "k": "off or all; default off",
        "bases": "an integer; default 3",
        "clip": "a number; default 1.0",
        "positive": "yes or no; default yes",
    }


def test_texts_become_values_of_their_types():
    assert options.parse("m", make, ["k=all", "bases=5", "clip=1.3", "positive=no"]) == {
        "k": "all",
        "bases": 5,
        "clip": 1.3,
        "positive": False,
    }
    assert options.apply("m", make, {"clip": 2}) == make(clip=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k", "not NAME=VALUE"),
        ("k=some", "option k takes off or all; got 'some'"),
        ("bases=2.5", "option bases takes an integer; got '2.5'"),
        ("clip=wide", "option clip takes a number"),
        ("positive=perhaps", "option positive takes yes or no; got 'perhaps'"),
        ("base=3", "unknown option of method 'm' 'base'; did you mean bases"),
    ],
)
def test_wrong_options_are_one_line(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        options.parse("m", make, [text])


def test_values_from_python_are_checked_too():
    with pytest.raises(UsageError, match="option bases takes an integer; got True"):
        options.apply("m", make, {"bases": True})


def test_a_method_without_options_says_so():
    with pytest.raises(UsageError, match="'binary' has no options of its own"):
        parse_options("binary", ["k=all"])
    with pytest.raises(UsageError, match="'binary' has no options of its own"):
        get_method("binary", chosen={"k": "all"})

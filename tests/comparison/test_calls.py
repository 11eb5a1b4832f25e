"""Calls in processes: each has an outcome, whatever becomes of its process."""

import multiprocessing
from typing import Any

import pytest

from el_larq.comparison import calls
from el_larq.comparison.calls import Call, Outcome, run


def _run(*calls: tuple[str, Any], jobs: int = 1) -> list[tuple[Any, Outcome]]:
    done = run([Call(f"calls:{name}", argument) for name, argument in calls], jobs)
    return [(call.argument, outcome) for call, outcome in done]


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_call_has_its_outcome(jobs: int) -> None:
    found = _run(*(("double", value) for value in range(5)), jobs=jobs)
    assert sorted((value, outcome.value) for value, outcome in found) == [(value, 2 * value) for value in range(5)]
    assert all(not outcome.error for _value, outcome in found)
    assert not multiprocessing.active_children()


def test_a_failure_of_one_call_is_its_outcome_and_the_others_go_on() -> None:
    found = _run(("refuse", "no room"), ("stumble", 1), ("crash", 2), ("double", 3))
    errors = [outcome.error for _argument, outcome in found]
    assert errors == ["no room", "unexpected ValueError: two", "the process that ran it died by SIGSEGV", ""]
    assert found[-1][1].value == 6


def test_a_process_does_several_calls_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_CALLS", 2)
    processes = [outcome.value for _argument, outcome in _run(*(("process", number) for number in range(5)))]
    assert [processes.index(process) for process in processes] == [0, 0, 2, 2, 4]


def test_no_process_stays_behind_an_interruption() -> None:
    outcomes = run([Call("calls:double", 1), Call("calls:sleep", None)], jobs=2)
    next(outcomes)
    assert multiprocessing.active_children()
    outcomes.close()  # what an exception in the loop over it does  # pyright: ignore[reportAttributeAccessIssue]
    assert not multiprocessing.active_children()

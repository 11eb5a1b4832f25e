"""When states are saved between the ends of epochs."""

import time

import pytest

from el_larq.training.save_schedule import SaveSchedule


def test_a_state_is_saved_each_minute_and_less_often_where_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock on the wall says."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: -now[0])
    schedule = SaveSchedule(60.0)

    def due_after(seconds: float, step: int = 7, every_steps: int | None = None, cost: float = 0.5) -> bool:
        schedule.every_steps = every_steps
        now[0] = 1000.0
        schedule.saved(began=1000.0 - cost)
        now[0] = 1000.0 + seconds
        return schedule.is_due(step)

    assert not due_after(59)
    assert due_after(61)
    assert not due_after(199, cost=10.0)  # a twentieth of the time at most
    assert due_after(201, cost=10.0)
    assert due_after(0, every_steps=7)
    assert not due_after(0, every_steps=6)


def test_the_time_before_the_first_step_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    schedule = SaveSchedule(60.0)
    now[0] = 100.0
    assert schedule.is_due(1)
    schedule.restart()
    assert not schedule.is_due(1)

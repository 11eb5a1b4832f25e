"""Lines of progress, with a clock that the tests move."""

import io
from typing import Any

import pytest
from rich.console import Console

from el_larq.training import progress
from el_larq.training.progress import TrainingProgress

LOGS = {"loss": 1.25, "accuracy": 0.5}


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def _run(clock: Clock, epochs: int, steps: int, seconds: float, *, first: float = 30.0) -> tuple[list[str], list[str]]:
    """The notes and the lines of a training whose steps take so many seconds each, and the first one ``first`` more."""
    notes: list[str] = []
    lines: list[str] = []
    shown = TrainingProgress(epochs, steps, Console(file=io.StringIO()), notes.append, lines.append)
    shown.start(0)
    clock.now += first
    for step in range(1, epochs * steps + 1):
        clock.now += seconds
        shown.step(step, LOGS)
        if step % steps == 0:
            shown.epoch(step, {"loss": 1.0, "accuracy": 0.75, "val_accuracy": 0.625, "seconds": steps * seconds})
    shown.close()
    return notes, lines


def test_each_epoch_has_a_line_with_the_remaining_time(clock: Clock) -> None:
    notes, lines = _run(clock, 3, 20, 0.5)
    assert lines == [
        "epoch 1/3: loss 1.000  accuracy 0.750  validation 0.625; 10 s; about 20 s left",
        "epoch 2/3: loss 1.000  accuracy 0.750  validation 0.625; 10 s; about 10 s left",
        "epoch 3/3: loss 1.000  accuracy 0.750  validation 0.625; 10 s",
    ]
    assert notes == []  # it is soon over


def test_long_epochs_have_a_line_each_minute(clock: Clock) -> None:
    notes, lines = _run(clock, 1, 100, 2.0)
    assert notes == ["about 3 min for 89 more steps"]
    assert lines[0] == "epoch 1/1, step 15/100: loss 1.250  accuracy 0.500; about 3 min left"
    assert [line.partition(":")[0] for line in lines] == [
        "epoch 1/1, step 15/100",
        "epoch 1/1, step 45/100",
        "epoch 1/1, step 75/100",
        "epoch 1/1",
    ]


def test_a_training_of_hours_says_what_takes_less(clock: Clock) -> None:
    notes, _ = _run(clock, 30, 100, 5.0)
    assert notes == ["about 4 h 9 min for 2,989 more steps; a smaller --width or --image-size, or fewer --epochs, take less"]


def test_a_resumed_training_estimates_from_its_own_steps(clock: Clock) -> None:
    lines: list[str] = []
    shown: Any = TrainingProgress(2, 1000, Console(file=io.StringIO()), print, lines.append)
    shown.start(900)
    for step in range(901, 1001):
        clock.now += 0.2
        shown.step(step, LOGS)
    shown.epoch(1000, {"loss": 1.0, "accuracy": 0.75, "seconds": 20})
    assert lines == ["epoch 1/2: loss 1.000  accuracy 0.750; 20 s; about 3 min left"]


def test_a_terminal_has_a_bar_that_says_what_happens(clock: Clock) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=120)
    shown = TrainingProgress(1, 2, console, print, None)
    shown.start(0)
    shown.close()
    assert "compiling" in file.getvalue()
    shown = TrainingProgress(1, 2, console, print, None)
    shown.start(0)
    shown.step(1, LOGS)
    shown._bar.refresh()
    assert "loss 1.250" in file.getvalue()
    shown.epoch(2, {"loss": 1.0, "accuracy": 0.75, "val_accuracy": 0.625})
    shown.doing("saving the model")
    shown.close()
    assert "saving the model" in file.getvalue()
    assert "loss 1.000  accuracy 0.750  validation 0.625" in file.getvalue()

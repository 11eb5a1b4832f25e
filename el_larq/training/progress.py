"""How far a training is: a bar on a terminal, lines elsewhere and in a log."""

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from el_larq.training.run_options import Notify
from el_larq.training.selection import validated

SECONDS = 60.0
"""Within an epoch, a line is written after so many seconds without one."""

TIMED_STEPS = 10
"""The remaining time is estimated after so many steps; the first one, which takes much longer, is not one of them."""

LONG = 1800.0
"""A training that takes longer is announced with what would make it shorter."""


class TrainingProgress:
    """Shows steps, epochs and the remaining time.

    Arguments:
        console: the bar is drawn here if it is a terminal.
        notify: called once with the estimated time of the whole training.
        lines: called with a line at the end of each epoch and once a minute in long epochs; None for none.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, console: Console, notify: Notify, lines: Notify | None):
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.notify, self.lines = notify, lines
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=epochs * steps_per_epoch, figures="")
        self._validation = ""
        self._first: tuple[int, float] | None = None
        self._last_line = time.monotonic()

    def start(self, step: int) -> None:
        if not self._bar.disable:
            self._bar.update(self._task, completed=step, description="compiling; the first step takes longest")
            self._bar.start()
        self._last_line = time.monotonic()

    def step(self, step: int, logs: Mapping[str, float]) -> None:
        """``step`` steps are done; ``logs`` are the loss and, of classifiers, the accuracy since the epoch began."""
        now = time.monotonic()
        if self._first is None:
            self._first = step, now
        elif step - self._first[0] == TIMED_STEPS:
            self._announce(step, now)
        figures = _figures(logs)
        epoch = min((step - 1) // self.steps_per_epoch + 1, self.epochs)
        if not self._bar.disable:
            figures_and_validation = f"{figures}  validation {self._validation}" if self._validation else figures
            self._bar.update(self._task, completed=step, figures=figures_and_validation, description=f"epoch {epoch}/{self.epochs}")
        if self.lines is not None and now - self._last_line >= SECONDS:
            within = step - (epoch - 1) * self.steps_per_epoch
            self._last_line = now
            self.lines(f"epoch {epoch}/{self.epochs}, step {within}/{self.steps_per_epoch}: {figures}{self._remaining(step, now)}")

    def epoch(self, step: int, record: Mapping[str, float]) -> None:
        """An epoch has ended after ``step`` steps in all; ``record`` has its metrics, those of validation with "val_" in front."""
        now = time.monotonic()
        figures = _figures(record)
        if (score := validated(record)) is not None:
            self._validation = f"{'' if 'val_accuracy' in record else 'mAP@0.5 '}{score:.3f}"
            figures += f"  validation {self._validation}"
        self._last_line = now
        if not self._bar.disable:
            self._bar.update(self._task, figures=figures)
        if self.lines is not None:
            epoch, took = step // self.steps_per_epoch, _duration(record.get("seconds", 0))
            self.lines(f"epoch {epoch}/{self.epochs}: {figures}; {took}{self._remaining(step, now)}")

    def doing(self, what: str) -> None:
        """Show what happens after the last step."""
        if not self._bar.disable:
            self._bar.update(self._task, description=what)

    def close(self) -> None:
        """Stop drawing and restore the terminal."""
        if not self._bar.disable:  # without a terminal, rich would print an empty line
            self._bar.stop()

    def _seconds_left(self, step: int, now: float) -> float | None:
        if self._first is None or step - self._first[0] < TIMED_STEPS:
            return None
        first, then = self._first
        return (now - then) / (step - first) * (self.epochs * self.steps_per_epoch - step)

    def _remaining(self, step: int, now: float) -> str:
        seconds = self._seconds_left(step, now)
        return f"; about {_duration(seconds)} left" if seconds else ""

    def _announce(self, step: int, now: float) -> None:
        seconds = self._seconds_left(step, now)
        if seconds is None or seconds < SECONDS:
            return
        line = f"about {_duration(seconds)} for {self.epochs * self.steps_per_epoch - step:,} more steps"
        if seconds > LONG:
            line += "; a smaller --width or --image-size, or fewer --epochs, take less"
        self.notify(line)


def _figures(logs: Mapping[str, float]) -> str:
    return f"loss {logs.get('loss', 0):.3f}" + (f"  accuracy {logs['accuracy']:.3f}" if "accuracy" in logs else "")


def _duration(seconds: float) -> str:
    """ "35 s", "4 min", "1 h 12 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"

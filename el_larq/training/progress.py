"""A progress bar over all steps with the remaining time, shown on a terminal only."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class LiveProgress:
    def __init__(self, epochs: int, steps_per_epoch: int, console: Console):
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=epochs * steps_per_epoch, figures="")
        self._validation = ""

    def start(self, step: int) -> None:
        if not self._bar.disable:
            self._bar.update(self._task, completed=step)
            self._bar.start()

    def step(self, step: int, logs: Mapping[str, float]) -> None:
        if self._bar.disable:
            return
        figures = f"loss {logs.get('loss', 0):.3f}  accuracy {logs.get('accuracy', 0):.3f}{self._validation}"
        epoch = min((step - 1) // self.steps_per_epoch + 1, self.epochs)
        self._bar.update(self._task, completed=step, figures=figures, description=f"epoch {epoch}/{self.epochs}")

    def validated(self, accuracy: float) -> None:
        self._validation = f"  validation {accuracy:.3f}"

    def close(self) -> None:
        """Stop drawing and restore the terminal."""
        if not self._bar.disable:  # without a terminal, rich would print an empty line
            self._bar.stop()

"""What happens beside the optimization: metrics, checkpoints, progress, and a stop when the loss is no number."""

import math
import time
from typing import Any

import tf_keras as keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from el_larq.errors import ElLarqError
from el_larq.files import beside
from el_larq.training.run import Run, append_line


class Metrics(keras.callbacks.Callback):
    """One JSON line an epoch: epoch (from 1), step, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        optimizer = self.model.optimizer
        record = {
            "epoch": epoch + 1,
            "step": int(optimizer.iterations),
            **{name: float(value) for name, value in (logs or {}).items()},
            "learning_rate": float(optimizer.learning_rate),
            "seconds": round(time.monotonic() - self._start, 3),
        }
        append_line(self.run.metrics, record)


class Checkpoints(keras.callbacks.Callback):
    """The weights of the last epoch, and of the best one by validation accuracy."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run
        self.best = -math.inf

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        names = ["last"]
        accuracy = (logs or {}).get("val_accuracy", -math.inf)
        if accuracy > self.best:
            self.best = accuracy
            names.append("best")
        for name in names:
            with beside(self.run.checkpoints / f"{name}.weights.h5") as temporary:
                self.model.save_weights(temporary)


class StopOnNaN(keras.callbacks.Callback):
    """Ends the training at the first step whose loss is not finite, before a checkpoint is overwritten."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check("loss", (logs or {}).get("loss", 0.0))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # A step's loss is that before its update: what the last one broke shows in the validation only.
        self._check("validation loss", (logs or {}).get("val_loss", 0.0))

    def _check(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            step = int(self.model.optimizer.iterations)
            raise ElLarqError(f"the {name} is {loss} at step {step}; lower the learning rate with --learning-rate")


class LiveProgress(keras.callbacks.Callback):
    """A bar over all steps with the time left, on a terminal only."""

    def __init__(self, epochs: int, steps_per_epoch: int, console: Console):
        super().__init__()
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

    def on_train_begin(self, logs: Any = None) -> None:
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        logs = logs or {}
        figures = f"loss {logs.get('loss', 0):.3f}  accuracy {logs.get('accuracy', 0):.3f}{self._validation}"
        self._bar.update(self._task, advance=1, figures=figures)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._bar.update(self._task, description=f"epoch {epoch + 1}/{self.epochs}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._validation = f"  validation {(logs or {}).get('val_accuracy', 0):.3f}"

    def close(self) -> None:
        """Give the terminal back; also after an error, when Keras calls no callback."""
        self._bar.stop()

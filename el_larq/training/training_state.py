"""The state of a running training: everything that the rest of it depends on.

Between two steps, these are the variables (model, optimizer, metrics, random generators), the number of completed steps and the
records of the completed epochs. Batches follow from the step (`el_larq.data.dataset.Dataset.training_batches`).
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError
from el_larq.keras_internals import build_metrics, leaf_layers, random_state
from el_larq.training.average import WeightAverage
from el_larq.training.distribution import Distribution, ReplicaVariables
from el_larq.training.half_precision import SkippedSteps
from el_larq.training.kernel_metrics import KernelMetrics
from el_larq.training.models import example
from el_larq.training.optimizer import optimizer_variables
from el_larq.training.recipe import Recipe
from el_larq.training.selection import EpochRecord, measured
from el_larq.training.state_files import SavedState

# Space in a state file for everything that is not an array: names, and one record per epoch.
_HEADER = 1 << 26


class TrainingState:
    """The state of the training of a compiled model; at first that of step 0.

    step: number of completed steps, 0 to ``total``.
    records: one for each completed epoch, as in metrics.jsonl.
    """

    def __init__(
        self, model: keras.Model, data: Dataset, recipe: Recipe, distribution: Distribution, others: Sequence[tf.Variable] = ()
    ):
        """``others``: variables that belong to the training only: ranges of `el_larq.training.int8_aware`, masks of `pruning`."""
        self.data = data
        self.steps_per_epoch = data.steps_per_epoch(recipe.batch_size)
        self.total = self.steps_per_epoch * recipe.epochs
        self.step = 0
        self.records: list[EpochRecord] = []
        named = _variables(model, data) | {f"range/{index}": variable for index, variable in enumerate(others)}
        self.average = WeightAverage(model, recipe.average, distribution) if recipe.average else None
        if self.average is not None:
            named |= {f"average/{index}": variable for index, variable in enumerate(self.average.variables)}
        self._names, self._variables = list(named), ReplicaVariables(list(named.values()), distribution)
        # The variables that a forward pass of the model may change, and what belongs to its weights.
        self.of_model = ReplicaVariables(
            [variable for name, variable in named.items() if name.startswith(("model/", "random/", "range/"))], distribution
        )
        self.kernels = KernelMetrics(model, self.steps_per_epoch)
        self.skipped = SkippedSteps(model.optimizer)
        # Seconds spent by earlier processes on the whole training and on the current epoch, and the clock's time since then.
        self._seconds = self._epoch_seconds = 0.0
        self._began = self._epoch_began = time.monotonic()

    @property
    def epoch(self) -> int:
        """The number of completed epochs."""
        return self.step // self.steps_per_epoch

    @property
    def is_between_epochs(self) -> bool:
        return self.step % self.steps_per_epoch == 0

    @property
    def epoch_is_unrecorded(self) -> bool:
        """Whether the last step completed an epoch whose record is still missing."""
        return self.step == (len(self.records) + 1) * self.steps_per_epoch

    @property
    def elapsed(self) -> float:
        """Seconds of training, including those of earlier processes."""
        return self._seconds + time.monotonic() - self._began

    @property
    def epoch_elapsed(self) -> float:
        """The same for the current epoch."""
        return self._epoch_seconds + time.monotonic() - self._epoch_began

    def start_clock(self) -> None:
        """Count the time from here on as this process's share of the training."""
        self._began = self._epoch_began = time.monotonic()

    def begin_epoch(self) -> None:
        self._epoch_began, self._epoch_seconds = time.monotonic(), 0.0
        self.kernels.begin_epoch()
        self.skipped.begin_epoch()

    def advance(self, train_step: Callable[[], Mapping[str, Any]]) -> dict[str, float]:
        """Do one step of the training; returns its loss and metrics."""
        self.kernels.before_step(self.step)
        self.skipped.before_step()
        logs = {name: float(value) for name, value in train_step().items()}
        if self.average is not None:
            self.average.update(self.step)
        self.step += 1
        self.kernels.after_step()
        self.skipped.after_step()
        return logs

    def record(self, trained: dict[str, float], validated: dict[str, float], learning_rate: float | None) -> EpochRecord:
        """The record of the epoch that the last step completed."""
        return {
            "epoch": len(self.records) + 1,
            "step": self.step,
            **trained,
            **validated,
            **self.kernels.epoch(),
            **self.skipped.epoch(),
            **({} if learning_rate is None else {"learning_rate": learning_rate}),
            "seconds": round(self.epoch_elapsed, 3),
        }

    @property
    def largest_file(self) -> int:
        """The size in bytes that a state file of this training cannot exceed."""
        return sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in self._described().values()) + _HEADER

    def _described(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of each array of a saved state."""
        kinds = (variable.dtype.name for variable in self._variables.variables)
        return dict(zip(self._names, zip(self._variables.shapes, kinds, strict=True), strict=True))

    def snapshot(self) -> SavedState:
        """A copy, to be written to a file."""
        facts = {
            "records": self.records,
            "seconds": self.elapsed,
            "epoch_seconds": self.epoch_elapsed,
            "flips": self.kernels.sampled,
            "skipped_steps": self.skipped.count,
        }
        facts |= self._sizes()
        return SavedState(self.step, facts, dict(zip(self._names, self._variables.read(), strict=True)))

    def _sizes(self) -> dict[str, Any]:
        return {"steps_per_epoch": self.steps_per_epoch, "training_images": self.data.train_size}

    def restore(self, saved: SavedState, folder: Path) -> None:
        """Continue from a saved state of the same training, whose run folder is ``folder``.

        Raises:
            ElLarqError: the data or the network differ from those of the state.
            KeyError, TypeError, ValueError, AttributeError: it is not the state of a training.
        """
        for name, value in self._sizes().items():
            if saved.facts[name] != value:
                what = name.replace("_", " ")
                raise ElLarqError(
                    f"{folder} cannot be resumed with other data: "
                    f"it was started with {saved.facts[name]} {what}, {self.data.name} has {value}"
                )
        if self._described() != {name: (array.shape, array.dtype.name) for name, array in saved.arrays.items()}:
            raise ElLarqError(f"{folder} cannot be resumed: the network or the optimizer is not the one it was started with")
        step, records = saved.step, list(saved.facts["records"])
        seconds, epoch_seconds = float(saved.facts["seconds"]), float(saved.facts["epoch_seconds"])
        flips = saved.facts.get("flips", [0.0, 0])  # states of older versions have none
        sampled, skipped = [float(flips[0]), int(flips[1])], int(saved.facts.get("skipped_steps", 0))
        # At the end of an epoch, a state may have been saved before or after the epoch's record was added.
        if not 0 <= step <= self.total or len(records) not in (step // self.steps_per_epoch, (step - 1) // self.steps_per_epoch):
            raise ValueError("not a step of this training")
        needed = ("epoch", *((f"val_{measured(self.data.task)}",) if self.data.validation_size else ()))
        if not all(isinstance(record[name], (int, float)) for record in records for name in (*record, *needed)):
            raise ValueError("no records of epochs")
        self._variables.write([saved.arrays[name] for name in self._names])
        self.kernels.sampled, self.skipped.count = sampled, skipped
        self.step, self.records, self._seconds, self._epoch_seconds = step, records, seconds, epoch_seconds


def _variables(model: keras.Model, data: Dataset) -> dict[str, tf.Variable]:
    """Every variable that a step changes, by a name that is unique and the same in every process."""
    slots = optimizer_variables(model)
    build_metrics(model, *example(model, data))
    groups: dict[str, list[tf.Variable]] = {
        "model": list(model.variables),
        "optimizer": slots,
        "metrics": [variable for metric in model.metrics for variable in metric.variables],
        "random": [state for layer in leaf_layers(model) if (state := random_state(layer)) is not None],
    }
    # Keras' own names depend on how many layers the process has created.
    return {f"{group}/{index}": variable for group, variables in groups.items() for index, variable in enumerate(variables)}

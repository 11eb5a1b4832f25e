"""The training loop. Its result depends only on the state it starts from, not on what happened before that state was saved.

Between two steps, a training consists of its variables (model, optimizer, metrics, random generators), the number of completed
steps and the records of the completed epochs. Batches follow from the step (`el_larq.data.dataset.Dataset.training_batches`).
At the end of an epoch, its record and the weights are written, then a state is saved. A search, if the method has one, runs
right before the first step of an epoch, after that state was saved.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.by_name import load_by_name
from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError, summarize
from el_larq.files import atomic_path, write_json
from el_larq.keras_internals import leaf_layers, random_state
from el_larq.training.config import FAILURE
from el_larq.training.determinism import make_deterministic
from el_larq.training.optimizer import learning_rate, optimizer_variables
from el_larq.training.progress import LiveProgress
from el_larq.training.recipe import Recipe
from el_larq.training.run_folder import RunFolder, write_lines
from el_larq.training.state import State, States, check_space
from el_larq.training.stopping import Interrupted, Stop
from el_larq.training.tensorboard import TensorBoard

EVALUATION_BATCH = 256
SEARCH_BATCHES = 4

# Saving states between the ends of epochs may take at most this share of the time.
_SHARE = 0.05

# Space in a state for everything that is not an array: names, and one record per epoch.
_HEADER = 1 << 26


class _StoppedError(Exception):
    pass


class Loop:
    """Trains a compiled model from its current state, or a restored one, to the end.

    Arguments:
        search: "module:function", see `el_larq.methods.method.Method.search`.
        every_seconds: a state is saved about this often, and at the end of each epoch.
        every_steps: a state is also saved whenever the step is a multiple of this number.
    """

    def __init__(
        self,
        run: RunFolder,
        model: keras.Model,
        data: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        search: str | None,
        stop: Stop,
        progress: LiveProgress,
        every_seconds: float,
        every_steps: int | None,
        notify: Callable[[str], None],
    ):
        self.run, self.model, self.data, self.recipe, self.seed = run, model, data, recipe, seed
        self.stop, self.progress, self.notify = stop, progress, notify
        self.every_seconds, self.every_steps = every_seconds, every_steps
        self.search = load_by_name(search) if search else None
        self.states = States(run.checkpoints)
        self.steps_per_epoch = data.steps_per_epoch(recipe.batch_size)
        self.total = self.steps_per_epoch * recipe.epochs
        self.step = 0
        self.records: list[dict[str, Any]] = []
        self.seconds = self.epoch_seconds = 0.0
        """Seconds spent by earlier processes on the whole training and on the current epoch."""
        self._began = self._epoch_began = self._saved_at = time.monotonic()
        self._save_cost = 0.0
        self._variables = _variables(model, data)
        self._metrics = [variable for metric in model.metrics for variable in metric.variables]

    # --- State ------------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        now = time.monotonic()
        facts = {
            "records": self.records,
            "seconds": self.elapsed,
            "epoch_seconds": self.epoch_seconds + now - self._epoch_began,
            **self._sizes(),
        }
        return State(self.step, facts, {name: variable.numpy() for name, variable in self._variables.items()})

    @property
    def elapsed(self) -> float:
        """Seconds of training, including those of earlier processes."""
        return self.seconds + time.monotonic() - self._began

    def _sizes(self) -> dict[str, Any]:
        return {"steps_per_epoch": self.steps_per_epoch, "training_images": self.data.train_size}

    def load(self, notify: Callable[[str], None]) -> State | None:
        """Load the run's newest undamaged state; see `States.load`."""
        size = sum((variable.shape.num_elements() or 0) * variable.dtype.size for variable in self._variables.values())
        return self.states.load(notify, size + _HEADER)

    def restore(self, state: State) -> None:
        """Continue from a state of the same training.

        Raises:
            ElLarqError: the data or the network differ from those of the state.
            KeyError, TypeError, ValueError, AttributeError: it is not the state of a training.
        """
        for name, value in self._sizes().items():
            if state.facts[name] != value:
                what = name.replace("_", " ")
                raise ElLarqError(
                    f"{self.run.folder} cannot go on with other data: "
                    f"it was begun with {state.facts[name]} {what}, {self.data.name} has {value}"
                )
        here = {name: (tuple(variable.shape), variable.dtype.name) for name, variable in self._variables.items()}
        if here != {name: (array.shape, array.dtype.name) for name, array in state.arrays.items()}:
            raise ElLarqError(f"{self.run.folder} cannot go on: the network or the optimizer is not the one it was begun with")
        step, records = state.step, list(state.facts["records"])
        seconds, epoch_seconds = float(state.facts["seconds"]), float(state.facts["epoch_seconds"])
        # At the end of an epoch, a state may have been saved before or after the epoch's record was added.
        if not 0 <= step <= self.total or len(records) not in (step // self.steps_per_epoch, (step - 1) // self.steps_per_epoch):
            raise ValueError("no step of this training")
        needed = ("epoch", *(("val_accuracy",) if self.data.validation_size else ()))
        if not all(isinstance(record[name], (int, float)) for record in records for name in (*record, *needed)):
            raise ValueError("no records of epochs")
        for name, variable in self._variables.items():
            variable.assign(state.arrays[name])
        self.step, self.records, self.seconds, self.epoch_seconds = step, records, seconds, epoch_seconds

    def save(self) -> None:
        """Save the state. Raises ElLarqError if a variable is NaN or Inf, which every resume would restore, or if writing fails."""
        begin = time.monotonic()
        state = self.state()
        if not state.is_finite:
            raise self._failed("state of the training", "not finite")
        with self.writing():
            self.states.save(state)
        self._saved_at = time.monotonic()
        self._save_cost = self._saved_at - begin

    @property
    def _is_due(self) -> bool:
        if self.every_steps and self.step % self.every_steps == 0:
            return True
        return time.monotonic() - self._saved_at > max(self.every_seconds, self._save_cost / _SHARE)

    # --- Steps ------------------------------------------------------------------------------------------------------------

    def train(self) -> dict[str, float]:
        """Train to the end and return the final model's loss and metrics on the test split.

        Raises:
            Interrupted: a stop was requested; the state is saved.
            ElLarqError: a loss or the state is not finite, or the run folder cannot be written.
        """
        make_deterministic()
        with self.writing():
            write_lines(self.run.metrics, self.records)
            self._tensorboard = TensorBoard(self.run.folder / "tensorboard", self.records)
        self.progress.start(self.step)
        self._began = self._epoch_began = self._saved_at = time.monotonic()
        try:
            if not self.states.paths():
                self.save()  # so that there is always a state to resume from
            with self.data.reading():
                self._train()
                tested = self._evaluate(self.data.test_batches(EVALUATION_BATCH))
        finally:
            self._tensorboard.close()
        self._check("test loss", tested.get("loss", 0.0))
        return tested

    def _train(self) -> None:
        validation = self.data.validation_batches(EVALUATION_BATCH)
        batches = iter(self._batches(self.step))
        train_step: Any = self.model.make_train_function()
        while True:
            if self.step == (len(self.records) + 1) * self.steps_per_epoch:
                self._end_epoch(validation)
            if self.step == self.total:
                return
            if self.step % self.steps_per_epoch == 0:
                self._begin_epoch()
            logs = {name: float(value) for name, value in train_step(batches).items()}
            self.step += 1
            self._check("loss", logs.get("loss", 0.0))
            self.progress.step(self.step, logs)
            if self.stop.asked:
                self._interrupt()
            if self.step % self.steps_per_epoch and self._is_due:
                self.save()

    def _batches(self, start: int) -> Any:
        return self.data.training_batches(self.recipe.batch_size, self.recipe.epochs, self.seed, start)

    def _begin_epoch(self) -> None:
        self.model.reset_metrics()
        self._epoch_began, self.epoch_seconds = time.monotonic(), 0.0
        epoch = self.step // self.steps_per_epoch
        if self.search is not None and epoch >= 1:
            batches = list(self._batches(self.step).take(min(SEARCH_BATCHES, self.steps_per_epoch)).as_numpy_iterator())
            self.search(self.model, batches, self.seed, epoch)

    def _end_epoch(self, validation: Any) -> None:
        """Validate if there is a validation split, write the weights and the epoch's record, then save the state."""
        trained = {metric.name: float(metric.result()) for metric in self.model.metrics}
        found = {} if validation is None else self._evaluate(validation)
        validated = {f"val_{name}": value for name, value in found.items()}
        # A step's loss is computed before its update: damage done by the epoch's last update shows only in the validation.
        self._check("validation loss", validated.get("val_loss", 0.0))
        rate = learning_rate(self.model.optimizer, self.step - 1)
        record = {
            "epoch": len(self.records) + 1,
            "step": self.step,
            **trained,
            **validated,
            **({} if rate is None else {"learning_rate": rate}),
            "seconds": round(self.epoch_seconds + time.monotonic() - self._epoch_began, 3),
        }
        accuracy = record.get("val_accuracy")
        is_best = accuracy is not None and all(accuracy > known["val_accuracy"] for known in self.records)
        with self.writing():
            for name in ["last", "best"] if is_best else ["last"]:
                self._save_weights(name)
            write_lines(self.run.metrics, [*self.records, record])
            self._tensorboard.add(record)
        self.records.append(record)
        if accuracy is not None:
            self.progress.validated(accuracy)
        self.save()
        if self.stop.asked and self.step < self.total:
            self._interrupt()

    def _evaluate(self, batches: Any) -> dict[str, float]:
        """Loss and metrics on a split. The metrics' variables are restored to the epoch's, as a state saved here must have them."""
        stop = self.stop

        class Watch(keras.callbacks.Callback):
            def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
                if stop.asked:
                    raise _StoppedError

        before = [variable.numpy() for variable in self._metrics]
        try:
            found: Any = self.model.evaluate(batches, verbose=0, return_dict=True, callbacks=[Watch()])  # pyright: ignore[reportArgumentType]
        except _StoppedError:
            found = None
        for variable, value in zip(self._metrics, before, strict=True):
            variable.assign(value)
        if found is None:
            self._interrupt()
        return {name: float(value) for name, value in found.items()}

    def _save_weights(self, name: str) -> None:
        path = self.run.checkpoints / f"{name}.weights.h5"
        check_space(path.parent, 4 * self.model.count_params() + (1 << 18))
        with atomic_path(path) as temporary:
            self.model.save_weights(temporary)

    # --- Ends -------------------------------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        self.save()
        message = f"stopped at step {self.step} of {self.total}; to go on: {self.run.command}"
        self.notify(message)
        raise Interrupted(message)

    def _check(self, name: str, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._failed(name, str(loss))

    def _failed(self, name: str, value: str) -> ElLarqError:
        kept = self.states.kept_step()
        lower = f"--learning-rate {self.recipe.learning_rate / 10:g}"
        if self.run.config.compiled is not None:
            message = f"the {name} is {value} at step {self.step}; change the optimizer or loss that the network is compiled with"
        elif kept is None:
            message = f"the {name} is {value} at step {self.step}; train again with a lower rate: {lower}"
        else:
            message = (
                f"the {name} is {value} at step {self.step}; step {kept} is kept, "
                f"to go on from it with a lower rate: {self.run.command} {lower}"
            )
        with contextlib.suppress(ElLarqError):
            write_json(self.run.folder / FAILURE, {"step": self.step, "kept_step": kept, "message": message})
        return ElLarqError(message)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failure to write into an ElLarqError that states the cause and how to resume once it is fixed."""
        try:
            yield
        except (ElLarqError, OSError, RuntimeError) as error:  # HDF5 raises RuntimeErrors on a full disk
            kept = self.states.kept_step()
            cause = str(error) if isinstance(error, ElLarqError) else f"cannot write {self.run.folder}: {summarize(error)}"
            how = f"; step {kept} is kept, when that is mended: {self.run.command}" if kept is not None else ""
            raise ElLarqError(cause + how) from error


def _variables(model: keras.Model, data: Dataset) -> dict[str, tf.Variable]:
    """Every variable that a step changes, by a name that is unique and the same in every process."""
    slots = optimizer_variables(model)
    # Keras creates the metrics at the first step; their variables are needed before it.
    logits, labels = tf.zeros([1, data.num_classes]), tf.zeros([1], tf.int64)
    if not model.compiled_loss.built:
        model.compiled_loss.build(logits)
    if not model.compiled_metrics.built:
        model.compiled_metrics.build(logits, labels)
    groups: dict[str, list[tf.Variable]] = {
        "model": list(model.variables),
        "optimizer": slots,
        "metrics": [variable for metric in model.metrics for variable in metric.variables],
        "random": [state for layer in leaf_layers(model) if (state := random_state(layer)) is not None],
    }
    # Keras' own names depend on how many layers the process has created.
    return {f"{group}/{index}": variable for group, variables in groups.items() for index, variable in enumerate(variables)}

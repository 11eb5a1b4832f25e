"""The training loop. Its result depends only on the state it starts from, not on what happened before that state was saved.

At the end of an epoch, its record and the weights are written, then a state is saved. A search, if the method has one, runs
right before the first step of an epoch, after that state was saved.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import tf_keras as keras

from el_larq.by_name import load_by_name
from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError, summarize
from el_larq.files import atomic_path
from el_larq.printable import counted
from el_larq.training.average import BATCHES
from el_larq.training.determinism import missing_kernels_named
from el_larq.training.failure import Failures
from el_larq.training.figures import CSV, count_confusions, write_csv
from el_larq.training.mixing import recipe_batches
from el_larq.training.optimizer import learning_rate
from el_larq.training.progress import LiveProgress
from el_larq.training.recipe import Recipe
from el_larq.training.run_folder import RunFolder, write_lines
from el_larq.training.save_schedule import SaveSchedule
from el_larq.training.selection import best_epoch, has_stalled
from el_larq.training.state_files import StateFiles, check_space
from el_larq.training.stopping import Interrupted, Stop
from el_larq.training.tensorboard import TensorBoard
from el_larq.training.training_state import TrainingState

EVALUATION_BATCH = 256
SEARCH_BATCHES = 4


class _StoppedError(Exception):
    pass


class Loop:
    """Trains a compiled model from its current state, or a restored one, to the end.

    Arguments:
        search: "module:function", see `el_larq.methods.method.Method.search`.
        every_seconds, every_steps: see `el_larq.training.save_schedule.SaveSchedule`; a state is also saved at each epoch's end.
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
        self.search = load_by_name(search) if search else None
        self.states = StateFiles(run.checkpoints)
        self.state = TrainingState(model, data, recipe)
        self.schedule = SaveSchedule(every_seconds, every_steps)
        self.failures = Failures(run, self.states, recipe.learning_rate)
        self._metrics = [variable for metric in model.metrics for variable in metric.variables]

    def save(self) -> None:
        """Save the state. Raises ElLarqError if a variable is NaN or Inf, which every resume would restore, or if writing fails."""
        began = time.monotonic()
        saved = self.state.snapshot()
        if not saved.is_finite:
            raise self.failures.not_finite("state of the training", "not finite", self.state.step)
        with self.failures.writing():
            self.states.save(saved)
        self.schedule.saved(began)

    def train(self) -> dict[str, float]:
        """Train to the end and return the final model's loss and metrics on the test split.

        ``confusion`` is then the confusion matrix of that split, see `el_larq.training.figures.count_confusions`.

        Raises:
            Interrupted: a stop was requested; the state is saved.
            ElLarqError: a loss or the state is not finite, or the run folder cannot be written.
        """
        with self.failures.writing():
            self._write_metrics(self.state.records)
            self._tensorboard = TensorBoard(self.run.folder / "tensorboard", self.state.records)
        self.progress.start(self.state.step)
        self.state.start_clock()
        self.schedule.restart()
        try:
            if not self.states.paths():
                self.save()  # so that there is always a state to resume from
            with self.data.reading(), missing_kernels_named():
                self._train()
                self._restore_kept()
                test = self.data.test_batches(EVALUATION_BATCH)
                tested = self._evaluate(test)
                if tested is None:
                    self._interrupt()
                self.confusion = count_confusions(self.model, test, self.data.num_classes)
        finally:
            self._tensorboard.close()
        self.failures.check_loss("test loss", tested.get("loss", 0.0), self.state.step)
        return tested

    def _train(self) -> None:
        state = self.state
        validation = self.data.validation_batches(EVALUATION_BATCH)
        batches = iter(self._batches(state.step))
        train_step: Any = self.model.make_train_function()
        while True:
            if state.epoch_is_unrecorded:
                self._end_epoch(validation)
            if state.step == state.total:
                return
            if state.is_between_epochs and has_stalled(state.records, self.recipe.patience):
                patience = counted(self.recipe.patience, "epoch")
                self.notify(f"stopped after epoch {state.epoch}: validation accuracy has not improved for {patience}")
                return
            if state.is_between_epochs:
                self._begin_epoch()
            state.kernels.before_step(state.step)
            logs = {name: float(value) for name, value in train_step(batches).items()}
            if state.average is not None:
                state.average.update(state.step)
            state.step += 1
            state.kernels.after_step()
            self.failures.check_loss("loss", logs.get("loss", 0.0), state.step)
            self.progress.step(state.step, logs)
            if self.stop.asked:
                self._interrupt()
            if not state.is_between_epochs and self.schedule.is_due(state.step):
                self.save()

    def _batches(self, start: int) -> Any:
        return recipe_batches(self.data, self.recipe, self.seed, start)

    def _begin_epoch(self) -> None:
        self.model.reset_metrics()
        self.state.begin_epoch()
        self.state.kernels.begin_epoch()
        if self.search is not None and self.state.epoch >= 1:
            count = min(SEARCH_BATCHES, self.state.steps_per_epoch)
            batches = list(self._batches(self.state.step).take(count).as_numpy_iterator())
            self.search(self.model, batches, self.seed, self.state.epoch)

    def _end_epoch(self, validation: Any) -> None:
        """Validate if there is a validation split, write the weights and the epoch's record, then save the state."""
        state = self.state
        trained = {metric.name: float(metric.result()) for metric in self.model.metrics}
        with self._averaged():
            found = {} if validation is None else self._evaluate(validation)
            if found is not None:
                self._record_epoch(trained, found)
        if found is None:
            self._interrupt()
        self.save()
        if self.stop.asked and state.step < state.total:
            self._interrupt()

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with the average of its weights, if the recipe has one."""
        if self.state.average is None:
            yield
            return
        count = min(BATCHES, self.state.steps_per_epoch)
        with self.state.average.applied(self._batches(self.state.step - count).take(count), self.state.of_model):
            yield

    def _record_epoch(self, trained: dict[str, float], found: dict[str, float]) -> None:
        """Write the weights and the epoch's record: its own metrics, and those that were found in validation."""
        state = self.state
        validated = {f"val_{name}": value for name, value in found.items()}
        # A step's loss is computed before its update: damage done by the epoch's last update shows only in the validation.
        self.failures.check_loss("validation loss", validated.get("val_loss", 0.0), state.step)
        rate = learning_rate(self.model.optimizer, state.step - 1)
        record = {
            "epoch": len(state.records) + 1,
            "step": state.step,
            **trained,
            **validated,
            **state.kernels.epoch(),
            **({} if rate is None else {"learning_rate": rate}),
            "seconds": round(state.epoch_elapsed, 3),
        }
        accuracy = record.get("val_accuracy")
        is_best = accuracy is not None and all(accuracy > known["val_accuracy"] for known in state.records)
        with self.failures.writing():
            for name in ["last", "best"] if is_best else ["last"]:
                self._save_weights(name)
            self._write_metrics([*state.records, record])
            self._tensorboard.add(record)
        state.records.append(record)
        if accuracy is not None:
            self.progress.validated(accuracy)

    @property
    def kept(self) -> dict[str, Any]:
        """Which weights the final model has, for its card; empty for those of the last step."""
        records, average = self.state.records, {"average": self.recipe.average} if self.recipe.average else {}
        if self.recipe.keep == "best":
            return {"epoch": best_epoch(records)["epoch"], **average}
        return average

    def _restore_kept(self) -> None:
        """Give the model the weights of the epoch that the recipe keeps."""
        if self.recipe.keep == "last" and self.state.average is None:
            return
        path = self.run.checkpoints / f"{self.recipe.keep}.weights.h5"
        try:
            self.model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            raise ElLarqError(
                f"{path} cannot be read, but contains the model to be saved: {summarize(error)}; train again"
            ) from error

    def _write_metrics(self, records: list[dict[str, Any]]) -> None:
        write_lines(self.run.metrics, records)
        if records:
            write_csv(self.run.folder / CSV, records)

    def _evaluate(self, batches: Any) -> dict[str, float] | None:
        """Loss and metrics on a split; None if a stop was requested meanwhile.

        The metrics' variables are restored to the epoch's, as a state saved here must have them.
        """
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
        return None if found is None else {name: float(value) for name, value in found.items()}

    def _save_weights(self, name: str) -> None:
        path = self.run.checkpoints / f"{name}.weights.h5"
        check_space(path.parent, 4 * self.model.count_params() + (1 << 18))
        with atomic_path(path) as temporary:
            self.model.save_weights(temporary)

    def _interrupt(self) -> NoReturn:
        self.save()
        message = f"stopped at step {self.state.step} of {self.state.total}; to continue: {self.run.command}"
        self.notify(message)
        raise Interrupted(message)

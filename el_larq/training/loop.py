"""The training loop. Its result depends only on the state it starts from, not on what happened before that state was saved.

At the end of an epoch, its record and the weights are written, then a state is saved. A search, if the method has one, runs
right before the first step of an epoch, after that state was saved.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import tf_keras as keras

from el_larq.by_name import load_by_name
from el_larq.card import simulated_name
from el_larq.data.dataset import Dataset
from el_larq.keras_internals import build_metrics
from el_larq.printable import counted
from el_larq.training import selection
from el_larq.training.average import BATCHES
from el_larq.training.detection_evaluator import DetectionEvaluator
from el_larq.training.determinism import missing_kernels_named
from el_larq.training.distribution import AgreedStop, Distribution
from el_larq.training.epoch_log import EpochLog
from el_larq.training.evaluator import Evaluator, SplitResult
from el_larq.training.failure import Failures
from el_larq.training.int8_aware import CALIBRATION, Simulation
from el_larq.training.kept_weights import KeptWeights
from el_larq.training.mixing import recipe_batches
from el_larq.training.models import example
from el_larq.training.optimizer import learning_rate
from el_larq.training.progress import TrainingProgress
from el_larq.training.pruning import Pruning
from el_larq.training.recipe import Recipe
from el_larq.training.run_folder import RunFolder
from el_larq.training.run_options import RunOptions
from el_larq.training.save_schedule import SaveSchedule
from el_larq.training.selection import has_stalled
from el_larq.training.state_files import StateFiles
from el_larq.training.stopping import Interrupted, Stop, StopRequestedError
from el_larq.training.training_state import TrainingState

EVALUATION_BATCH, EVALUATION_PIXELS = 256, 1 << 22
"""The number of images in a batch of validation and test, and how many pixels they may have: of large images, fewer at once."""
SEARCH_BATCHES = 4


class Loop:
    """Trains a compiled model from its current state, or a restored one, to the end: steps, epochs and saved states.

    Arguments:
        simulation: of int8, installed; None for a training without it. pruning: likewise.
        tested_apart: the network that is tested in place of the model, with the weights that the recipe keeps; None for the model.
        search: "module:function", see `el_larq.methods.method.Method.search`.
    """

    def __init__(
        self,
        run: RunFolder,
        model: keras.Model,
        data: Dataset,
        recipe: Recipe,
        *,
        simulation: Simulation | None,
        pruning: Pruning | None,
        tested_apart: keras.Model | None,
        search: str | None,
        stop: Stop,
        progress: TrainingProgress,
        options: RunOptions,
        distribution: Distribution,
    ):
        self.run, self.model, self.data, self.recipe = run, model, data, recipe
        self.stop, self.progress, self.notify = AgreedStop(stop, distribution), progress, options.notify
        self.distribution = distribution
        self.search = load_by_name(search) if search else None
        self.states = StateFiles(run.checkpoints)
        self.simulation, self.pruning = simulation, pruning
        others = [variable for part in (simulation, pruning) if part is not None for variable in part.variables]
        self.state = TrainingState(model, data, recipe, distribution, others)
        self.schedule = SaveSchedule(options.checkpoint_seconds, options.checkpoint_steps)
        self.failures = Failures(run, self.states, recipe.learning_rate)
        beside = simulation.variables if simulation is not None and simulation.learns else ()
        self.weights = KeptWeights(run, model, tested_apart or model, recipe, data, beside)
        self.evaluator = Evaluator(model, data.num_classes, self.stop, distribution)
        self.detector = DetectionEvaluator(model, data, self.stop) if data.task == "detection" else None
        self.tested_apart = tested_apart

    def save(self) -> None:
        """Save the state. Raises ElLarqError if a variable is NaN or Inf, which every resume would restore, or if writing fails."""
        began = time.monotonic()
        saved = self.state.snapshot()
        if not saved.is_finite:
            raise self.failures.not_finite("state of the training", "not finite", self.state.step)
        with self.failures.writing():
            self.states.save(saved)
        self.schedule.saved(began)

    def train(self) -> SplitResult:
        """Train to the end, give the model the weights that the recipe keeps, and evaluate it on the test split, with confusions.

        Raises:
            Interrupted: a stop was requested; the state is saved.
            ElLarqError: a loss or the state is not finite, or the run folder cannot be written.
        """
        with self.failures.writing():
            log = EpochLog(self.run, self.state.records)
        self.progress.start(self.state.step)
        self.state.start_clock()
        self.schedule.restart()
        with contextlib.closing(log), self.data.reading(), missing_kernels_named():
            if not self.states.paths():
                self._calibrate()
                self.save()  # so that there is always a state to resume from
            tested = self._train_and_test(log)
        if tested is None:
            self._interrupt()
        self.failures.check_loss("test loss", tested.figures.get("loss", 0.0), self.state.step)
        return tested

    def _train_and_test(self, log: EpochLog) -> SplitResult | None:
        """The result on the test split; None if a stop was requested meanwhile."""
        try:
            self._train(log)
            self.weights.restore()
            if self.recipe.keep == "best" or self.recipe.average:
                self._calibrate_ranges()  # they are those of the weights of the last step
            self.progress.doing("testing")
            return self._test()
        except StopRequestedError:  # while features were computed, between two steps
            return None

    def _test(self) -> SplitResult | None:
        """The result of the network in float, with the accuracy with simulated quantization if that was trained."""
        if self.detector is not None:
            return self.detector.evaluate(self._test_batches(), "test", complete=True)
        if self.simulation is None:
            return self._tester().evaluate(self._test_batches(), confusions=True)
        simulated = self.evaluator.evaluate(self._test_batches())
        self.simulation.store_kernels()
        with self.simulation.in_float():
            plain = Evaluator(self.model, self.data.num_classes, self.stop, self.distribution)
            tested = plain.evaluate(self._test_batches(), confusions=True)
        if simulated is None or tested is None:
            return None
        return replace(tested, figures=tested.figures | {simulated_name(self.simulation.bits): simulated.figures["accuracy"]})

    def _test_batches(self) -> Any:
        return self.data.test_batches(_evaluation_batch(self.data))

    def _calibrate(self) -> None:
        if self.simulation is not None:
            self.progress.doing("calibrating")
            count = min(CALIBRATION, self.state.steps_per_epoch)
            self.simulation.calibrate(self.model, itertools.islice(self._batches(0), count))

    def _calibrate_ranges(self) -> None:
        """Of a simulation whose ranges are averages of what was seen, for weights that they were not seen with."""
        if self.simulation is not None and not self.simulation.learns:
            self._calibrate()

    def _tester(self) -> Evaluator:
        if (network := self.tested_apart) is None:
            return self.evaluator
        network.set_weights(self.model.get_weights())
        build_metrics(network, *example(network, self.data))
        with self.distribution.prepare(network):
            return Evaluator(network, self.data.num_classes, self.stop, self.distribution)

    def _train(self, log: EpochLog) -> None:
        state = self.state
        validation = self.data.validation_batches(_evaluation_batch(self.data))
        batches = iter(self._batches(state.step))
        train_step: Any = self.model.make_train_function()
        while True:
            if state.epoch_is_unrecorded:
                self._end_epoch(validation, log)
            if state.step == state.total:
                return
            if state.is_between_epochs and has_stalled(state.records, self.recipe.patience):
                patience = counted(self.recipe.patience, "epoch")
                self.notify(f"stopped after epoch {state.epoch}: validation has not improved for {patience}")
                return
            if state.is_between_epochs:
                self._begin_epoch()
            if self.simulation is not None and self.simulation.freezes(state.step, state.total):
                train_step = self.model.make_train_function(force=True)
            with self.simulation.training_step() if self.simulation else contextlib.nullcontext():
                logs = state.advance(lambda train_step=train_step: self._step(train_step, batches))
            self.failures.check_loss("loss", logs.get("loss", 0.0), state.step)
            self.progress.step(state.step, logs)
            if self.stop.asked:
                self._interrupt()
            if not state.is_between_epochs and self.distribution.any(self.schedule.is_due(state.step)):
                self.save()

    def _step(self, train_step: Any, batches: Any) -> Any:
        if self.pruning is None:
            return train_step(batches)
        self.pruning.before_step(self.state.step)
        logs = train_step(batches)
        self.pruning.after_step()
        return logs

    def _batches(self, start: int) -> Any:
        batches = recipe_batches(self.data, self.recipe, self.run.config.seed, start, self.distribution.share)
        return self.distribution.distribute(batches)

    def _begin_epoch(self) -> None:
        self.model.reset_metrics()
        self.state.begin_epoch()
        if self.search is not None and self.state.epoch >= 1:
            count = min(SEARCH_BATCHES, self.state.steps_per_epoch)
            batches = list(self._batches(self.state.step).take(count).as_numpy_iterator())
            self.search(self.model, batches, self.run.config.seed, self.state.epoch)

    def _end_epoch(self, validation: Any, log: EpochLog) -> None:
        """Validate if there is a validation split, write the weights and the epoch's record, then save the state."""
        state = self.state
        trained = {metric.name: float(metric.result()) for metric in self.model.metrics}
        with self._averaged():
            found = SplitResult({}) if validation is None else self._validate(validation)
            if found is not None:
                self._record_epoch(trained, found.figures, log)
        if found is None:
            self._interrupt()
        self.save()
        if self.stop.asked and state.step < state.total:
            self._interrupt()

    def _validate(self, batches: Any) -> SplitResult | None:
        return self.evaluator.evaluate(batches) if self.detector is None else self.detector.evaluate(batches, "validation")

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with the average of its weights, if the recipe has one."""
        if self.state.average is None:
            yield
            return
        state, simulation = self.state, self.simulation
        frozen = simulation is not None and simulation.has_frozen(state.step - 1, state.total)
        count = 0 if frozen else min(BATCHES, state.steps_per_epoch)
        batches = itertools.islice(self._batches(state.step - count), count)
        with self.state.average.applied(batches, state.of_model):
            self._calibrate_ranges()
            yield

    def _record_epoch(self, trained: dict[str, float], found: dict[str, float], log: EpochLog) -> None:
        """Write the weights and the epoch's record: its own metrics, and those that were found in validation."""
        state = self.state
        validated = {f"val_{name}": value for name, value in found.items()}
        # A step's loss is computed before its update: damage done by the epoch's last update shows only in the validation.
        self.failures.check_loss("validation loss", validated.get("val_loss", 0.0), state.step)
        record = state.record(trained, validated, learning_rate(self.model.optimizer, state.step - 1))
        with self.failures.writing():
            self.weights.save_epoch(selection.validated(validated), state.records)
            log.add(state.records, record)
        state.records.append(record)
        self.progress.epoch(state.step, record)

    def _interrupt(self) -> NoReturn:
        self.save()
        message = f"stopped at step {self.state.step} of {self.state.total}; to continue: {self.run.command}"
        self.notify(message)
        raise Interrupted(message)


def _evaluation_batch(data: Dataset) -> int:
    height, width, _ = data.preprocessing.input_shape
    return max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // (height * width)))

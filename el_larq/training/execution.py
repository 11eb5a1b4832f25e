"""A training in its run folder, from the state it has to the end: everything is resolved, and network and data exist."""

import contextlib
from dataclasses import dataclass
from typing import Any

import tf_keras as keras
from rich.console import Console

from el_larq.card import simulated_name
from el_larq.counting.real_valued_layers import allowances
from el_larq.data.dataset import Dataset
from el_larq.data.validation import TEST
from el_larq.files import write_json
from el_larq.training.bop import make_signs
from el_larq.training.config import CONFIG, OWN, RESULT, TrainConfig, damaged
from el_larq.training.distribution import Distribution
from el_larq.training.evaluator import SplitResult
from el_larq.training.features import Features
from el_larq.training.figures import CONFUSION, CURVE, draw_confusion, draw_curve
from el_larq.training.frozen_layers import Trainable, restore_trainable
from el_larq.training.half_precision import scaling
from el_larq.training.initialize import initialize
from el_larq.training.int8_aware import Simulation
from el_larq.training.loop import Loop
from el_larq.training.models import bare, make_card, save_model
from el_larq.training.multibox_loss import MultiboxLoss
from el_larq.training.optimizer import make_accuracy, make_loss, make_optimizer
from el_larq.training.progress import TrainingProgress
from el_larq.training.pruning import Pruning
from el_larq.training.run_folder import RunFolder, is_stage, record_resume
from el_larq.training.run_options import RunOptions
from el_larq.training.selection import ACCURACY, MAP_50, MAP_50_95, EpochRecord, best_epoch, measured, validated
from el_larq.training.stopping import stoppable
from el_larq.training.trained import Trained
from el_larq.training.training_plan import TrainingPlan, find_stored
from el_larq.training.worker_check import check_same_start, count_in_all

NOT_DETERMINISTIC = (
    "note: without deterministic operations, a resumed run and one with the same seed end with similar, not identical, weights"
)


@dataclass(frozen=True)
class Prepared:
    """A network and what a training of it needs.

    network: what is tested and saved: in float32. Its variables are those of the model, unless that one has a lower precision.
    model: what the steps compute, with the recipe's precision and loss. It is not compiled, unless the user compiled it.
    data: what the model takes, images or features.
    simulation: of quantization in the network's layers, if the recipe has it. pruning: of the model's kernels, likewise.
    """

    network: keras.Model
    model: keras.Model
    data: Dataset
    simulation: Simulation | None
    pruning: Pruning | None


@dataclass(frozen=True)
class Execution:
    """A training that can run.

    trainable: which of its layers were trainable before some were frozen; the saved model's are again.
    """

    run: RunFolder
    prepared: Prepared
    plan: TrainingPlan
    options: RunOptions
    trainable: Trainable
    distribution: Distribution

    @property
    def network(self) -> keras.Model:
        return self.prepared.network

    @property
    def model(self) -> keras.Model:
        return self.prepared.model

    @property
    def data(self) -> Dataset:
        return self.prepared.data

    @property
    def is_lowered(self) -> bool:
        """Whether the model has variables of its own, in a lower precision than the network."""
        return self.model.variables[0] is not self.network.variables[0]

    @property
    def saved(self) -> keras.Model:
        return self.network if self.is_lowered else self.model

    def to_the_end(self, resumed: bool) -> Trained:
        """Train from the run's last state, or from the start, and write the files of a finished run."""
        recipe, config = self.plan.recipe, self.run.config
        steps_per_epoch = self.data.steps_per_epoch(recipe.batch_size)
        if config.compiled is None:
            optimizer = scaling(make_optimizer(recipe, self.model, steps_per_epoch * recipe.epochs), recipe.precision)
            self._compile(optimizer)
        console = self.options.console or Console(stderr=True)
        lines = None if console.is_terminal else self.options.notify
        progress = TrainingProgress(recipe.epochs, steps_per_epoch, console, self.options.notify, lines)
        search = self.plan.search if config.method != OWN else None
        simulated = self.prepared.simulation or contextlib.nullcontext()
        with stoppable() as stop, contextlib.closing(progress), self.distribution.prepare(self.model), simulated:
            data = self.data.stopped_by(stop) if isinstance(self.data, Features) else self.data
            loop = Loop(
                self.run,
                self.model,
                data,
                recipe,
                simulation=self.prepared.simulation,
                pruning=self.prepared.pruning,
                tested_apart=self.network if self.is_lowered else None,
                search=search,
                stop=stop,
                progress=progress,
                options=self.options,
                distribution=self.distribution,
            )
            if resumed:
                self._restore(loop)
            if recipe.optimizer == "bop" and config.compiled is None:
                make_signs(self.model)  # after initialization, and without effect on a restored state
            tested = loop.train()
            restore_trainable(self.trainable)
            progress.doing("saving the model")
            seconds = self._write_results(loop, tested)
        return Trained(self.run.folder, bare(self.saved), _tested(tested), seconds)

    def _compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        if self.data.task == "detection":
            self.model.compile(optimizer, MultiboxLoss())
            return
        loss, classes = make_loss(self.plan.recipe, self.data.num_classes), self.data.num_classes
        self.model.compile(optimizer, loss, metrics=[make_accuracy(classes)])
        if self.is_lowered:
            self.network.compile(loss=loss, metrics=[make_accuracy(classes)])

    def _restore(self, loop: Loop) -> None:
        """Continue from the last saved state, or, if none is left, from the model that the run was initialized from."""
        run, notify = self.run, self.options.notify
        if (state := loop.states.load(notify, loop.state.largest_file)) is not None:
            try:
                loop.state.restore(state, run.folder)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise damaged(loop.states.paths()[0]) from error  # load() removed newer, damaged ones
        elif run.config.init_from is not None:
            source = run.config.init_from.get("source")
            if not isinstance(source, str):
                raise damaged(run.folder / CONFIG)
            whole = self.plan.recipe.start is not None
            initialize(self.model, find_stored(source, run.folder), self.options.trust, whole, self.data.labels, partial=True)
        check_same_start(self.model, (), self.distribution)
        notify(f"continuing {run.folder} at step {loop.state.step} of {loop.state.total}")
        differences = record_resume(run, loop.state.step)
        if not run.config.deterministic:
            notify(NOT_DETERMINISTIC)
        elif differences:
            notify(f"this is not the machine on which the run started, so weights may differ by rounding: {', '.join(differences)}")

    def _write_results(self, loop: Loop, tested: SplitResult) -> float:
        """Write the model, the pictures, and at last the result, which makes the run a finished one; returns its seconds."""
        run, data, records = self.run, self.data, loop.state.records
        figures = _tested(tested)
        name = simulated_name(self.plan.recipe.qat_bits)
        simulated = {name: found} if (found := tested.figures.get(name)) is not None else {}
        kept = loop.weights.describe(records)
        if simulated:
            kept |= {"qat_bits": self.plan.recipe.qat_bits, name: round(simulated[name], 5)}
        with loop.failures.writing():
            save_model(run.folder, self.saved, make_card(run.config, data, figures, kept))
            draw_curve(run.folder / CURVE, records)
            if tested.confusion is not None:
                draw_confusion(run.folder / CONFUSION, tested.confusion, data.labels)
        seconds = loop.state.elapsed
        pruning = self.prepared.pruning
        sparse = {} if pruning is None else {"sparsity": round(pruning.sparsity(), 5)}
        result: dict[str, Any] = {
            **figures,
            **simulated,
            **sparse,
            **_validated(run.config, records, data.task),
            "seconds": round(seconds, 1),
        }
        if skipped := count_in_all(data.skipped, self.distribution):
            result["skipped_images"] = skipped
        if allow := allowances(self.saved):
            result["allow"] = allow
        with loop.failures.writing():
            write_json(run.folder / RESULT, result)
        loop.states.remove(keep=0 if is_stage(run.folder) else 1)  # the last one, so that the run can be extended
        return seconds


def _tested(tested: SplitResult) -> dict[str, float]:
    return {name: tested.figures[name] for name in (ACCURACY, MAP_50, MAP_50_95) if name in tested.figures}


def _validated(config: TrainConfig, records: list[EpochRecord], task: str) -> dict[str, Any]:
    """Validation of the epoch that was kept and of the best one (the first of equals); empty without validation."""
    if validated(records[-1]) is None:
        return {}
    best = best_epoch(records)
    if config.validation == TEST:
        return {"best_accuracy": best["val_accuracy"]}  # on the test split, as in older runs
    kept = best if config.recipe.get("keep") == "best" else records[-1]
    return {
        f"validation_{measured(task)}": validated(kept),
        f"best_validation_{measured(task)}": validated(best),
        "best_epoch": best["epoch"],
        "kept_epoch": kept["epoch"],
    }

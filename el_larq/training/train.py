"""Training of a network with a method on a data set: from names to a run folder that contains a model, with resume."""

from dataclasses import replace
from pathlib import Path
from typing import Unpack

import tf_keras as keras
from rich.console import Console

from el_larq.data.dataset import Dataset
from el_larq.printable import say
from el_larq.training.cluster import check_divisible, scaled
from el_larq.training.config import read_config
from el_larq.training.distribution import open_distribution
from el_larq.training.extension import check_epochs
from el_larq.training.resuming import Replacements, resume_with
from el_larq.training.run_options import CHECKPOINT_SECONDS, Notify, RunOptions
from el_larq.training.single import continue_single, start_single
from el_larq.training.staged import continue_stages, start_stages
from el_larq.training.trained import Trained
from el_larq.training.training_plan import Settings, TrainingPlan, make_plan


def train(
    network: str | keras.Model,
    *,
    trust: bool = False,
    console: Console | None = None,
    notify: Notify = say,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
    **settings: Unpack[Settings],
) -> Trained:
    """Train a network and write everything into a run folder (see `el_larq.training.run_folder`).

    The saved model is that of the last epoch, and the test split is used once, for that model. The weights of the best epoch,
    chosen by the validation split, are kept as a checkpoint.

    Arguments:
        network: a name from the registry, the user's own "my_network.py:build" (see `el_larq.loading.user_network`), a Keras
            model from images to logits, whose weights the training starts from, or zoo:NAME or keras:NAME=PATH, a pretrained
            network (`el_larq.zoo.named_models`), whose classifier is replaced. A user network or model that comes compiled
            keeps its optimizer and loss (see `el_larq.training.compiled`), and ``learning_rate`` is then an error.
        settings: method, data set, recipe ...: see `el_larq.training.training_plan.Settings`. Two runs with the same seed on the
            same machine end with the same weights, interrupted or not, if they are deterministic. Whether they are is a setting
            of TensorFlow's for the whole process, until the next training.
        trust: load the models of ``init_from`` and of a teacher including any code in them (docs/safety.md).
        console: where to draw a progress bar, if it is a terminal.
        notify: called with a line when the training starts, with anything else a user should know and, if there is no bar, with a
            line at the end of each epoch and once a minute. By default, the lines are printed on the standard error.
        checkpoint_seconds, checkpoint_steps: a state to resume from is saved about this often, in addition to those at the ends
            of epochs. If saving is slow, checkpoint_seconds is extended so that saving takes at most a twentieth of the time.

    Raises:
        UsageError: an unknown name or a value out of range.
        ElLarqError: the folder cannot be written, or the loss is not finite.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; a KeyboardInterrupt. The state is saved, and `notify` was called with how to resume.
    """
    plan = make_plan(network, **settings)
    options = RunOptions(
        trust=trust,
        console=console,
        notify=notify,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
    )
    return start(plan, options)


def start(plan: TrainingPlan, options: RunOptions) -> Trained:
    """Execute a plan; the errors are those of `train`."""
    replicas = open_distribution(plan.strategy).replicas
    if plan.scale_batch:
        plan = replace(plan, recipe=scaled(plan.recipe, replicas))
    check_divisible(plan.recipe, replicas, "replicas")
    return start_stages(plan, options) if plan.recipe.stages else start_single(plan, options)


def resume(
    folder: str | Path,
    *,
    dataset: Dataset | None = None,
    model: keras.Model | None = None,
    learning_rate: float | None = None,
    epochs: int | None = None,
    trust: bool = False,
    console: Console | None = None,
    notify: Notify = say,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
) -> Trained:
    """Resume a run that was stopped or killed; the result is the same as without the interruption. A finished run is returned.

    With more ``epochs``, the run, also a finished one, is extended; see `el_larq.training.extension` for its schedule.

    Arguments:
        folder: the run folder.
        dataset: required if the run was given a Dataset that `load_dataset` cannot load by name.
        model: required if the run was given a compiled Keras model: the same model, built and compiled again.
        learning_rate: a new peak from here on, for a run that ended because its loss was not finite; otherwise an error.
        epochs: the total number, if it is to be larger than the run's.
        trust: for the model of ``init_from``, which is read again if no state is left; the run does not store it.
        console, notify, checkpoint_seconds, checkpoint_steps: see `train`.

    Raises:
        UsageError: a new learning rate for a run that has not failed, or for a network that comes compiled; fewer epochs than the
            run's; or more for a run of several stages or workers, or for one that was stopped early.
        ElLarqError: the folder is not a run folder, is damaged, of a newer schema or of one too old to resume, in use or not
            writable; its loss was not finite and no learning rate is given; or its data or network have changed.
        Interrupted: see `train`.
    """
    options = RunOptions(
        trust=trust,
        console=console,
        notify=notify,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
    )
    given = Replacements(dataset=dataset, model=model, learning_rate=learning_rate, epochs=epochs)
    return resume_run(Path(folder), options, given)


def resume_run(folder: Path, options: RunOptions, given: Replacements | None = None) -> Trained:
    """Resume a run; the errors are those of `resume`."""
    given = given or Replacements()
    config = read_config(folder)
    check_epochs(folder, config, given.epochs)
    has_stages = bool(config.recipe.get("stages"))
    return resume_with(continue_stages if has_stages else continue_single, folder, options, given)

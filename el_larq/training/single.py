"""A training of one stage: from a plan to a new run, and the continuation of a run."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict, replace

import tensorflow as tf
import tf_keras as keras

from el_larq.counting.real_valued_layers import without_operator
from el_larq.data.dataset import Dataset
from el_larq.data.validation import apply, choose
from el_larq.errors import UsageError
from el_larq.keras_internals import is_compiled
from el_larq.loading.user_network import UserNetwork
from el_larq.missing_operators import describe_missing
from el_larq.models.stems import IMAGENET_FROM, reduced_size
from el_larq.printable import counted
from el_larq.training.bop import check_binary
from el_larq.training.compiled import prepare_compiled, summary
from el_larq.training.config import (
    FAILURE,
    read_json,
    recipe_of,
)
from el_larq.training.determinism import is_deterministic, set_deterministic
from el_larq.training.distillation import with_loss
from el_larq.training.distribution import open_distribution
from el_larq.training.execution import NOT_DETERMINISTIC, Execution, Prepared
from el_larq.training.extension import describe_extension, extend, is_extension
from el_larq.training.features import with_features
from el_larq.training.frozen_layers import freeze_layers
from el_larq.training.half_precision import SLOW_ON_CPU, describe, lowered
from el_larq.training.initialize import Initialized, adopt_preprocessing, initialize
from el_larq.training.int8_aware import Simulation
from el_larq.training.learned_steps import with_steps
from el_larq.training.mixing import class_weights
from el_larq.training.network import build_model, check_compiled, for_network, load_function, network_again, sources
from el_larq.training.new_run import create_run, make_config
from el_larq.training.optimizer import scheduled_rate
from el_larq.training.pruning import Pruning
from el_larq.training.recipe import FLOAT16, FLOAT32
from el_larq.training.resuming import Replacements
from el_larq.training.run_data import load_data, load_data_again
from el_larq.training.run_folder import RunFolder
from el_larq.training.run_options import Notify, RunOptions
from el_larq.training.trained import Trained
from el_larq.training.training_plan import TrainingPlan, plan_again
from el_larq.training.worker_check import check_same_data, check_same_start
from el_larq.zoo.named_models import is_model_name


def start_single(plan: TrainingPlan, options: RunOptions) -> Trained:
    """Execute the plan of one stage in a new run folder. The errors are those of `el_larq.training.train.train`."""
    deterministic = is_deterministic(plan.deterministic)
    set_deterministic(deterministic)
    distribution = open_distribution(plan.strategy)
    factor = distribution.replicas if plan.scale_batch else 1
    own = load_function(plan)
    data = load_data(plan, options.notify)
    if plan.init_from is not None:
        data = adopt_preprocessing(data, plan.init_from)
    rule = choose(data, plan.validation)
    data = apply(data, rule)
    check_same_data(data, distribution)
    with distribution.scope():
        model = build_model(plan, own, data)
        data = for_network(data, model)
        compiled = None
        if plan.is_own and is_compiled(model):
            _check_settings(plan, own)
            compiled = prepare_compiled(model, plan.recipe, data.num_classes, plan.network_name)
        if plan.recipe.optimizer == "bop" and compiled is None:
            check_binary(model)
        files = sources(plan, own)
        whole = plan.recipe.start is not None
        started = None
        if plan.init_from is not None:
            started = initialize(model, plan.init_from, options.trust, whole, data.labels, plan.partial)
        fresh = [name.rpartition("/")[2] for name, _ in started.fresh] if started is not None else []
        check_same_start(model, fresh, distribution)
        trainable = freeze_layers(model, plan.recipe, fresh)
        if plan.recipe.class_weights != "none":
            class_weights(data)  # whether there are any, before a folder is made
        data.check_batch(plan.recipe.batch_size)
        notes: list[str] = []
        trained = _for_training(model, plan, data, options, distribution.replicas, notes.append)
        if trained.pruning is not None:
            trained.pruning.check_start(plan.init_from)
        config = make_config(plan, own, data, rule, deterministic, distribution.facts(factor), started, compiled)
        with create_run(plan, config, own, data, files) as run:
            for line in (*_remarks(run, plan, model, data, started, distribution.describe(plan.recipe, factor)), *notes):
                options.notify(line)
            return Execution(run, trained, plan, options, trainable, distribution).to_the_end(resumed=False)


def continue_single(run: RunFolder, options: RunOptions, given: Replacements) -> Trained:
    """Continue a run of one stage, whose folder is locked. The errors are those of `el_larq.training.train.resume`."""
    if given.learning_rate is not None:
        _change_learning_rate(run, given.learning_rate)
    longer = is_extension(run.config, given.epochs)
    if longer and given.epochs is not None:
        extend(run, given.epochs)
    folder, config = run.folder, run.config
    plan = plan_again(config, folder, network_again(folder, config, given.model, options.trust), given.dataset)
    set_deterministic(config.deterministic)
    distribution = open_distribution(plan.strategy)
    distribution.check_same(config.distribution, folder)
    own = load_function(plan)
    data = apply(load_data_again(plan, options.notify, config, folder), config.validation)
    check_same_data(data, distribution)
    if longer:
        rate = scheduled_rate if config.compiled is None else None
        options.notify(describe_extension(run, plan.recipe, data.steps_per_epoch(plan.recipe.batch_size), rate))
    with distribution.scope():
        model = build_model(plan, own, data)
        data = for_network(data, model)
        if config.compiled is not None:
            check_compiled(folder, config, model)
            prepare_compiled(model, plan.recipe, data.num_classes, config.network)
        trainable = freeze_layers(model, plan.recipe)
        trained = _for_training(model, plan, data, options, distribution.replicas, options.notify)
        return Execution(run, trained, plan, options, trainable, distribution).to_the_end(resumed=True)


def _for_training(
    network: keras.Model, plan: TrainingPlan, data: Dataset, options: RunOptions, replicas: int, notify: Notify
) -> Prepared:
    """The network with what a training of it needs."""
    recipe = plan.recipe
    model, data = with_features(network, data, recipe, plan.search, replicas, notify)
    if recipe.precision != FLOAT32 and model is network:
        keras.utils.set_random_seed(plan.seed)  # for layers that draw random numbers
        model = lowered(network, recipe.precision)
        notify(describe(model))
        if recipe.precision == FLOAT16 and not tf.config.list_logical_devices("GPU"):
            notify(SLOW_ON_CPU)
    elif recipe.precision != FLOAT32:
        notify(f"the head is trained in float32, so precision {recipe.precision} has no effect")
    simulation = None
    if recipe.qat_bits:
        simulation = Simulation(network, recipe.qat_bits, recipe.qat_ranges)
        notify(simulation.describe())
    model = with_loss(model, plan, data, options.trust)
    if simulation is not None and simulation.trained:
        model = with_steps(model, simulation.trained)
    pruning = None
    if recipe.prune != "none":
        pruning = Pruning(model, recipe, recipe.epochs * data.steps_per_epoch(recipe.batch_size))
        notify(pruning.describe())
    return Prepared(network, model, data, simulation, pruning)


def _check_settings(plan: TrainingPlan, own: UserNetwork | None) -> None:
    """Raise UsageError for settings that do not apply to a network that comes compiled."""
    if plan.strategy != "none":
        raise UsageError(
            f"{plan.network_name} is compiled with its own optimizer, which may not sum gradients over replicas; "
            "omit --strategy, or do not compile the model"
        )
    if plan.recipe.average:
        raise UsageError(f"{plan.network_name} is compiled, so the average of its weights does not apply; set average to 0")
    if plan.recipe.precision != FLOAT32:
        raise UsageError(
            f"{plan.network_name} is compiled, so precision {plan.recipe.precision} does not apply; do not compile the model, "
            f"or set precision to {FLOAT32}"
        )
    if plan.recipe.qat_bits:
        raise UsageError(
            f"{plan.network_name} is compiled, so qat_bits does not apply; do not compile the model, or set qat_bits to 0"
        )
    if "learning_rate" in plan.given:
        where = f"set it in {own.path.name}" if own else "set it where the model is compiled"
        raise UsageError(f"{plan.network_name} is compiled, so --learning-rate does not apply; {where}")


def _remarks(
    run: RunFolder, plan: TrainingPlan, model: keras.Model, data: Dataset, started: Initialized | None, replicas: str | None
) -> Iterator[str]:
    """What a user should know before the first step, a line each."""
    config = run.config
    yield (
        f"training {plan.network_name} with method {config.method}, link {config.link}, on {data.name}: "
        f"{counted(data.train_size, 'image')}, {data.validation_size or 'none'} for validation, "
        f"{counted(plan.recipe.epochs, 'epoch')}, seed {plan.seed}, "
        f"{'deterministic' if config.deterministic else 'not deterministic'} -> {run.folder}"
    )
    yield _describe_sizes(plan, model, data)
    if replicas is not None:
        yield replicas
    if config.compiled is not None:
        yield summary(plan.network_name, config.compiled)
    for rule, names in without_operator(model).items():
        yield f"note: {describe_missing(rule, names)}"
    if plan.recipe.qat_bits and started is None:
        bits = plan.recipe.qat_bits
        yield f"note: int{bits} is simulated from random weights; a trained network to start from (--init-from) is usually better"
    if plan.recipe.prunes and started is None:
        yield "note: random weights are pruned; a trained network to start from (--init-from) is usually better"
    if started is not None:
        yield started.summary
        if is_model_name(started.source) and not plan.is_own:
            yield (
                f"note: {plan.network_name} is another definition than that of {started.source}, and computes other features with "
                f"the same weights; el-larq train {shlex.quote(started.source)} trains that network itself"
            )
    if not config.deterministic:
        yield NOT_DETERMINISTIC
    if not data.exact_resume:
        yield f"{data.name} cannot be read from an arbitrary position: a resumed run ends with similar, not identical, weights"


def _describe_sizes(plan: TrainingPlan, model: keras.Model, data: Dataset) -> str:
    """What decides how long a step takes, and how many there are."""
    height, width, channels = data.preprocessing.input_shape
    line = f"images {height}x{width}x{channels}"
    reduced = reduced_size(model) if not plan.is_own else None
    if reduced is not None:
        line += f", {reduced[0]}x{reduced[1]} after the stem"
        if min(height, width) < IMAGENET_FROM and plan.network_options.get("stem") is None:
            line += f" (the default below {IMAGENET_FROM} pixels keeps their size; --stem)"
    if plan.width != 1:
        line += f", width {plan.width:g}"
    steps = data.steps_per_epoch(plan.recipe.batch_size)
    return f"{line}, {model.count_params():,} parameters, {steps:,} steps per epoch of {plan.recipe.batch_size} images each"


def _change_learning_rate(run: RunFolder, learning_rate: float) -> None:
    """Set another learning rate for a run whose loss was not finite."""
    if learning_rate != run.config.recipe["learning_rate"]:
        recipe = recipe_of(run.config, run.folder).with_changes(learning_rate=learning_rate)
        change = {"step": read_json(run.folder / FAILURE).get("kept_step"), "learning_rate": learning_rate}
        run.change(replace(run.config, recipe=asdict(recipe), changes=[*run.config.changes, change]))
    (run.folder / FAILURE).unlink(missing_ok=True)
